"""The card that every method carries: what it is, where it comes from, how far it was verified."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Variant:
    """Options with which a method needs something else of the two models.

    Attributes:
        options: Of the method.
        needs: Instead of the card's.
        same: Instead of the card's.
    """

    options: dict[str, Any]
    needs: tuple[str, ...]
    same: tuple[str, ...] | None = None


@dataclass(frozen=True)
class MethodCard:
    """Facts about a distillation method.

    Attributes:
        name: Registry name.
        title: The paper's title, with authors.
        venue: Where and when it was published.
        paper: Address of the paper.
        idea: One sentence.
        equation: The loss in one line of LaTeX-like text.
        source: The survey's knowledge sources: logit, feature, similarity.
        schemes: In which the method can run: offline, online, self; the paper's own first.
        algorithm: The survey's algorithm families; empty for plain imitation.
        needs: What both models must offer: tap aliases, ``gt_boxes``.
        heads: Head kinds it works with; empty where heads do not matter.
        routes: Sensors of the paper's teachers and students, ``"lidar to camera"``; image networks
            for tasks in the plane are ``image``. What a method runs on is said by its needs.
        same: What must agree in both models, of `kd3d.core.compatibility.AGREEMENTS`; None: what
            its needs suggest, heads of one kind and grid for ``head``, voxels for rows.
        status: ``formula-tested`` (equals an independent reference), ``parity-tested`` (equals the
            authors' code), ``trained-simulated``.
        differences: How the default differs from the authors' code.
        zero_when_equal: Whether a student equal to its teacher has no loss.
        variants: Options that need something else.
    """

    name: str
    title: str
    venue: str
    paper: str
    idea: str
    equation: str
    source: tuple[str, ...]
    schemes: tuple[str, ...]
    algorithm: tuple[str, ...]
    needs: tuple[str, ...]
    heads: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    same: tuple[str, ...] | None = None
    status: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    zero_when_equal: bool = True
    variants: tuple[Variant, ...] = ()

    @property
    def forms(self) -> dict[str, tuple[dict[str, Any], MethodCard]]:
        """Label -> config and card of the default and of every variant."""
        found: dict[str, tuple[dict[str, Any], MethodCard]] = {
            self.name: ({"type": self.name}, self)
        }
        for variant in self.variants:
            label = " ".join([self.name, *(f"{k}={v}" for k, v in variant.options.items())])
            card = replace(self, needs=variant.needs, same=variant.same, variants=())
            found[label] = ({"type": self.name, **variant.options}, card)
        return found
