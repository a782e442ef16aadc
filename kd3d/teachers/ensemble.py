"""Several teachers that speak with one voice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from kd3d.core.context import Context
from kd3d.core.registry import TEACHERS, build
from kd3d.core.spec import FeatureSpec
from kd3d.core.taps import DECODED
from kd3d.errors import UserError, did_you_mean
from kd3d.losses.logit.ensemble import (
    confidence_weights,
    entropy_weights,
    equal_weights,
    map_entropy,
    map_error,
    mix,
    mix_logits,
)
from kd3d.losses.logit.head_scores import class_scores
from kd3d.masks.boxes import class_gaussians
from kd3d.teachers.base import Teacher

MODES = ("mean", "entropy", "confidence")
HEAD = "head"


@TEACHERS.register_module()
class Ensemble(Teacher):
    """A weighted mean of teachers, with weights per sample.

    Class scores and directions are averaged as probabilities, boxes and features as values. The
    tap ``<member>/<tap>`` reads one member alone; its terms are weighted per sample by that
    member's weight, so members whose features differ each get a term of their own (CA-MKD's
    feature loss).

    Args:
        members: Member name -> teacher config (default type ``Frozen``).
        name: Its name in taps.
        weights: ``mean``; ``entropy`` (Kwon et al., ICASSP 2020): sure teachers count more;
            ``confidence`` (CA-MKD, Zhang et al., ICASSP 2022): teachers that agree with the ground
            truth count more. The published classifiers' entropy and cross-entropy become the mean
            entropy and the focal loss of the class maps.

    Raises:
        UserError: Unknown weights, or a joint tap whose features differ between members.
    """

    def __init__(
        self, members: dict[str, dict], name: str = "teacher", weights: str = "mean"
    ) -> None:
        super().__init__(name)
        where = f"teacher {name}"
        if weights not in MODES:
            raise UserError(f"unknown weights {weights!r}", where, did_you_mean(weights, MODES))
        self.mode = weights
        self.members: dict[str, Any] = {
            member: build(TEACHERS, c, f"{where}.{member}", type="Frozen", name=f"{name}/{member}")
            for member, c in members.items()
        }
        if not self.members or any(len(m.branches) != 1 for m in self.members.values()):
            raise UserError("an ensemble needs members that are one detector each", where)
        self.specs: dict[str, FeatureSpec] = {}

    @property
    def branches(self) -> dict[str, nn.Module]:
        """One branch a member, ``<name>/<member>``."""
        return {branch: m for t in self.members.values() for branch, m in t.branches.items()}

    @property
    def preprocessors(self) -> dict[str, dict]:
        """The members'."""
        return {branch: c for t in self.members.values() for branch, c in t.preprocessors.items()}

    def detector(self, tap: str) -> Any:
        """Return the detector of the member whose tap it is; joint taps have none."""
        member, slash, rest = tap.partition("/")
        return self.members[member].detector(rest) if slash and member in self.members else None

    def tap(self, names: Iterable[str]) -> dict[str, FeatureSpec]:
        """Tap every member for joint taps, and single members for theirs."""
        self.wanted = tuple(dict.fromkeys(names))
        joint = [name for name in self.wanted if "/" not in name]
        single = [tuple(name.split("/", 1)) for name in self.wanted if "/" in name]
        for member, _ in single:
            if member not in self.members:
                hint = did_you_mean(member, self.members)
                raise UserError(f"no member {member!r}", f"teacher {self.name}", hint)
        scored = [HEAD] if self.mode != "mean" else []
        specs = {
            member: teacher.tap([*joint, *scored, *(tap for m, tap in single if m == member)])
            for member, teacher in self.members.items()
        }
        self.specs = {tap: self._common(tap, specs) for tap in [*joint, *scored]}
        members = {f"{member}/{tap}": specs[member][tap] for member, tap in single}
        return {**self.specs, **members}

    def _common(self, tap: str, specs: dict[str, dict[str, FeatureSpec]]) -> FeatureSpec:
        found = {member: each[tap] for member, each in specs.items()}
        first = next(iter(found.values()))
        if tap in DECODED or any(spec != first for spec in found.values()):
            shown = "; ".join(f"{member} has {spec}" for member, spec in found.items())
            raise UserError(
                f"{tap} has no mean ({shown})",
                f"teacher {self.name}",
                f"give each member its own term: {self.name}:<member>/{tap}",
            )
        return first

    def __call__(
        self, inputs: dict[str, dict], data_samples: dict[str, list], context: Context
    ) -> dict[str, Any]:
        """Return tap name -> value, and leave the members' weights in the context."""
        values = {m: t(inputs, data_samples, context) for m, t in self.members.items()}
        weights = self.weigh([v.get(HEAD) for v in values.values()], context)  # (K, B)
        out: dict[str, Any] = {}
        for name in self.wanted:
            member, slash, tap = name.partition("/")
            if slash:
                out[name] = values[member][tap]
                context.sample_weights[f"{self.name}:{name}"] = weights[list(values).index(member)]
            else:
                found = [v[name] for v in values.values()]
                out[name] = _mean(found, self.specs[name], weights)
        return out

    def weigh(self, heads: list[Any], context: Context) -> Tensor:
        """Return the (K, B) weights of one batch."""
        if self.mode == "mean":
            return equal_weights(len(heads), len(context.boxes))
        spec = self.specs[HEAD]
        scores = [class_scores(head, spec.layout) for head in heads]
        if self.mode == "entropy":
            return entropy_weights(torch.stack([map_entropy(s) for s in scores]))
        assert spec.extent_m is not None
        assert spec.shape is not None
        boxes = [one.to(scores[0].device) for one in context.boxes]
        classes = scores[0].shape[1]
        truth = class_gaussians(boxes, context.labels, classes, spec.extent_m, spec.shape)
        return confidence_weights(torch.stack([map_error(s, truth) for s in scores]))


def _mean(values: list[Any], spec: FeatureSpec, weights: Tensor) -> Any:
    """Return the weighted mean of the members' values of one tap, or of each of several."""
    if spec.layout == "levels":
        return [_mean(list(v), one, weights) for v, one in zip(zip(*values), spec.each)]
    if spec.layout == "center_head":
        return tuple(
            [{key: _blend(key, [t[0][key] for t in tasks], weights) for key in tasks[0][0]}]
            for tasks in zip(*values)
        )
    if spec.layout == "anchor_head":
        scores, boxes, directions = zip(*values)
        return (
            [mix_logits([s[0] for s in scores], weights)],
            [mix([b[0] for b in boxes], weights)],
            [None if directions[0] is None else mix([d[0] for d in directions], weights)],
        )
    return mix(values, weights)


def _blend(key: str, values: list[Tensor], weights: Tensor) -> Tensor:
    return mix_logits(values, weights) if key == "heatmap" else mix(values, weights)
