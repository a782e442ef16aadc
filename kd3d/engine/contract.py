"""What every method must do on a pair of detectors that its card allows, tried on tiny ones."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
from torch import Tensor

from kd3d.console import quiet_logs
from kd3d.core.card import MethodCard
from kd3d.core.compatibility import Offer, refusal
from kd3d.core.distiller import Distiller
from kd3d.models.source import build_detector
from kd3d.models.tiny import PAIRS, batch

# Small graphs keep the trial fast; the full sizes are defaults only.
SMALL: dict[str, dict[str, Any]] = {"pointdistiller": dict(queries=40, neighbours=8)}
SCHEMES = {
    "offline": lambda detector: dict(type="Frozen", checkpoint=None, model=detector),
    "online": lambda detector: dict(type="Online", model=detector),
    "self": lambda detector: dict(type="EMA"),
}


@functools.cache
def offers(pair: str) -> tuple[Offer, Offer]:
    """Return what the student and the teacher of a pair of `kd3d.models.tiny` offer."""
    student, teacher = (Offer.of(build_detector(one)) for one in PAIRS[pair].detectors())
    return student, teacher


def not_allowed(card: MethodCard, pair: str) -> str | None:
    """Return why a method does not run on a pair, by `kd3d.core.compatibility.refusal`."""
    return refusal(card, *offers(pair))


def build(
    method: dict[str, Any], pair: str, scheme: str = "offline", same: bool = False
) -> Distiller:
    """Return the distiller of a method on a pair of tiny detectors, initialised.

    Args:
        method: The method's config.
        pair: Name of `kd3d.models.tiny.PAIRS`.
        scheme: offline, online or self.
        same: A teacher of the student's architecture.
    """
    torch.manual_seed(0)
    student, teacher = PAIRS[pair].detectors(same)
    options = {**copy.deepcopy(method), **SMALL.get(method["type"], {})}
    if method.get("variant") == "bev":
        options["queries"] = 20
    with quiet_logs():
        model = Distiller(student, dict(teacher=SCHEMES[scheme](teacher)), options)
        model.init_weights()
    return model


def data_of(pair: str, boxes: int = 3) -> dict[str, Any]:
    """Return a raw batch for a pair."""
    return batch(box_dim=PAIRS[pair].box_dim, boxes=boxes)


def kd_losses(model: Distiller, data: dict[str, Any]) -> dict[str, Tensor]:
    """Preprocess a raw batch as in training and return the terms' losses."""
    model.train()
    prepared = model.data_preprocessor(copy.deepcopy(data), True)
    losses = model(**prepared, mode="loss")
    return {k: v for k, v in losses.items() if k.startswith("kd.") and k.endswith("loss")}


def broken_promises(model: Distiller, pair: str) -> list[str]:
    """Take one step with objects and one without; return what a method must not do, but did.

    Detectors that cannot train without objects take the first step only.
    """
    teacher: Any = model.teachers["teacher"]
    before = copy.deepcopy(teacher.model.state_dict())
    losses = kd_losses(model, data_of(pair))
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    found = {
        "it has no loss": not losses,
        "a loss is negative or not finite": any(
            not torch.isfinite(v) or v < 0 for v in losses.values()
        ),
        "it does not reach the student": not any(_moved(p) for p in model.student.parameters()),
        "a parameter of its own has no gradient": any(
            p.grad is None for p in model.terms.parameters()
        ),
        "it trains the teacher": any(p.grad is not None for p in teacher.model.parameters()),
        "it changes the teacher": any(
            not torch.equal(v, before[k]) for k, v in teacher.model.state_dict().items()
        ),
    }
    if PAIRS[pair].needs_objects:
        return [what for what, broken in found.items() if broken]
    empty = torch.stack(list(kd_losses(model, data_of(pair, boxes=0)).values())).sum()
    model.zero_grad()
    empty.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    finite = torch.isfinite(empty) and all(torch.isfinite(g).all() for g in gradients)
    found["frames without objects are not finite"] = not finite
    return [what for what, broken in found.items() if broken]


def _moved(parameter: Tensor) -> bool:
    return parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
