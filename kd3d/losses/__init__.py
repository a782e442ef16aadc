"""Distillation losses as pure functions of tensors, grouped by the survey's knowledge sources.

Every function takes the student first and the teacher second, works in float32 or better and
returns un-reduced values; `kd3d.losses.reduce.masked_mean` reduces them. This package imports
torch only.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from kd3d.errors import UserError, did_you_mean
from kd3d.losses.feature.distance import absolute_error, cosine_distance, smooth_l1, squared_error
from kd3d.losses.reduce import masked_mean

__all__ = [
    "FEATURE_LOSSES",
    "absolute_error",
    "cosine_distance",
    "feature_loss",
    "masked_mean",
    "smooth_l1",
    "squared_error",
]

FEATURE_LOSSES: dict[str, Callable[..., Tensor]] = {
    function.__name__: function
    for function in (absolute_error, cosine_distance, smooth_l1, squared_error)
}


def feature_loss(name: str) -> Callable[..., Tensor]:
    """Return the feature loss called `name`; an unknown name is a `UserError`."""
    if name not in FEATURE_LOSSES:
        raise UserError(f"unknown loss {name!r}", "term", did_you_mean(name, FEATURE_LOSSES))
    return FEATURE_LOSSES[name]
