"""Frames without labels in a batch: the detection loss leaves them out, the terms need not."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from torch import Tensor

from kd3d.errors import UserError

FLAG = "labelled"  # metainfo of a sample; absent means True


@contextlib.contextmanager
def only_labelled(model: Any, samples: list[Any], where: str) -> Iterator[None]:
    """Let a detector's loss see only the samples of a batch that are labelled.

    The forward pass runs over the whole batch, so taps and normalisation see every frame; only what
    the head hands to its ``loss_by_feat`` is cut. A batch without any labelled sample has a
    detection loss of zero, attached to the graph.

    Args:
        model: An mmdet3d detector; as before afterwards.
        samples: Its data samples; those whose metainfo says ``labelled=False`` are left out.
        where: For messages.

    Raises:
        UserError: A frame has no labels, and the detector has no head whose loss can be cut
            (two-stage detectors).
    """
    keep = [i for i, sample in enumerate(samples) if sample.metainfo.get(FLAG, True)]
    if len(keep) == len(samples):
        yield
        return
    head = getattr(model, "pts_bbox_head", None) or getattr(model, "bbox_head", None)
    if getattr(model, "roi_head", None) is not None or not hasattr(head, "loss_by_feat"):
        raise UserError(
            f"a {type(model).__name__} cannot leave frames without labels out of its loss",
            where,
            "train it on labelled frames only, or let a teacher label the others (labels=...)",
        )
    assert head is not None
    head.loss_by_feat = _cut(head.loss_by_feat, keep)
    try:
        yield
    finally:
        del head.loss_by_feat


def _cut(loss: Callable[..., dict[str, Any]], keep: list[int]) -> Callable[..., dict[str, Any]]:
    names = list(inspect.signature(loss).parameters)

    @wraps(loss)
    def of_labelled(*args: Any, **kwargs: Any) -> dict[str, Any]:
        if not keep:
            return {name: _zero(value) for name, value in loss(*args, **kwargs).items()}
        given = dict(zip(names, args)) | kwargs
        cut = {
            name: _samples(value, keep) if name.startswith("batch_") else _maps(value, keep)
            for name, value in given.items()
        }
        return loss(**cut)

    return of_labelled


def _samples(values: Any, keep: list[int]) -> Any:
    return None if values is None else [values[i] for i in keep]


def _maps(value: Any, keep: list[int]) -> Any:
    """Cut the batch dimension of every map in a nest of lists and dicts."""
    if isinstance(value, Tensor):
        return value[keep]
    if isinstance(value, dict):
        return {name: _maps(item, keep) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_maps(item, keep) for item in value)
    return value


def _zero(value: Any) -> Any:
    return [_zero(item) for item in value] if isinstance(value, list) else value * 0.0
