"""Weights of a method's parts: the usual ones, and what a config says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kd3d.errors import UserError, did_you_mean

Weight = float | dict[str, Any]  # a number or a schedule


def part_weights(
    usual: Mapping[str, Weight | None], given: Mapping[str, Weight | None] | None, method: str
) -> dict[str, Any]:
    """Return part -> weight (or schedule) of the parts that are used, in the usual order.

    Args:
        usual: Of all parts; None: not used unless given.
        given: Those that differ; None leaves a part out.
        method: For messages.

    Raises:
        UserError: `given` names a part that the method does not have.
    """
    for name in given or {}:
        if name not in usual:
            raise UserError(f"unknown part {name!r}", method, did_you_mean(name, usual))
    chosen = {**usual, **(given or {})}
    return {name: weight for name, weight in chosen.items() if weight is not None}
