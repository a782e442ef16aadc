"""Checks of single values in a record."""

from __future__ import annotations

import math
from typing import Any

from kd3d.errors import UserError


def is_number(value: Any) -> bool:
    """Return whether a JSON value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def as_object(value: Any, where: str, wanted: str) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        UserError: Something else.
    """
    if not isinstance(value, dict):
        raise UserError(f"{where} is no object; {wanted}")
    return value
