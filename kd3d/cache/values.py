"""A batch's tapped value as one set of arrays a sample, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd3d.cache.record import Arrays
from kd3d.core.foreground import Foreground
from kd3d.errors import UserError

_EXACT = ("boxes", "scores", "labels", "cells", "weight", "mean", "variance")  # never in float16


def split(value: Any, layout: str, samples: int, rows: list[int] | None = None) -> list[Arrays]:
    """Return one dict of arrays a sample.

    Args:
        value: What the tap holds: (B, ...) tensors, nested for heads; rows (V, C) in the order of
            the samples; a dict a sample for boxes; a `Foreground`.
        layout: See `kd3d.core.spec.FeatureSpec`, or ``"foreground"``.
        samples: B.
        rows: Number of rows of each sample, for ``rows``.
    """
    if layout == "foreground":
        return _split_foreground(value, samples)
    if layout == "boxes":
        return [{key: _array(item) for key, item in one.items()} for one in value]
    if layout == "rows":
        assert rows is not None
        return [{"rows": _array(part)} for part in value.split(rows)]
    leaves = flatten(value)
    return [{path: _array(leaf[i]) for path, leaf in leaves.items()} for i in range(samples)]


def join(samples: list[Arrays], layout: str, skeleton: Any) -> Any:
    """Return the batch's value from one dict of arrays a sample, floats in float32, on the CPU.

    Args:
        samples: From `split`.
        layout: The same.
        skeleton: From `skeleton_of`.
    """
    if layout == "foreground":
        return _join_foreground(samples)
    if layout == "boxes":
        return [{key: _tensor(item) for key, item in one.items()} for one in samples]
    if layout == "rows":
        return _tensor(np.concatenate([one["rows"] for one in samples]))
    return _fill(
        skeleton, {key: _tensor(np.stack([s[key] for s in samples])) for key in samples[0]}
    )


def flatten(value: Any, path: str = "value") -> dict[str, Tensor]:
    """Return path -> tensor of a nested value; None is left out."""
    if isinstance(value, Tensor):
        return {path: value}
    if value is None:
        return {}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {k: v for key, item in items for k, v in flatten(item, f"{path}/{key}").items()}


def skeleton_of(value: Any, path: str = "value") -> Any:
    """Return the nesting of a value as JSON, with paths of `flatten` in the places of tensors."""
    if isinstance(value, Tensor):
        return path
    if isinstance(value, dict):
        return {key: skeleton_of(item, f"{path}/{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [skeleton_of(item, f"{path}/{i}") for i, item in enumerate(value)]
    return None


def only_maps(value: Any, names: list[str]) -> Any:
    """Return a centre head's output with only the named maps of each task."""
    return [[{k: v for k, v in part.items() if k in names} for part in task] for task in value]


def narrowed(arrays: Arrays, dtype: str, where: str) -> Arrays:
    """Return the arrays with features in `dtype`; boxes, weights and moments stay float32.

    Raises:
        UserError: A value is not finite, or too large for float16.
    """
    made = {}
    for key, array in arrays.items():
        if array.dtype.kind == "f":
            largest = float(np.abs(array).max(initial=0.0))
            if not np.isfinite(largest):
                raise UserError("the teacher gives values that are not finite", where)
            if dtype == "float16" and key.rsplit("/")[-1] not in _EXACT:
                if largest > np.finfo(np.float16).max:
                    raise UserError(f"{largest:.3g} is too large for float16", where, "float32")
                array = array.astype(np.float16)
        made[key] = array
    return made


def _split_foreground(value: Foreground, samples: int) -> list[Arrays]:
    counts = torch.bincount(value.cells[:, 0], minlength=samples).tolist()
    parts = zip(*(t.split(counts) for t in (value.cells[:, 1:], value.weight, value.rows)))
    made = []
    for i, (cells, weight, rows) in enumerate(parts):
        cells = cells.to(torch.int32)
        one = {"cells": _array(cells), "weight": _array(weight), "features": _array(rows)}
        if value.moments is not None:
            one |= {"mean": _array(value.moments[0][i]), "variance": _array(value.moments[1][i])}
        made.append(one)
    return made


def _join_foreground(samples: list[Arrays]) -> Foreground:
    cells = [
        np.concatenate([np.full((len(one["cells"]), 1), i), one["cells"]], 1, dtype=np.int64)
        for i, one in enumerate(samples)
    ]
    weight, rows = (np.concatenate([one[key] for one in samples]) for key in ("weight", "features"))
    moments = None
    if "mean" in samples[0]:
        mean, variance = (np.stack([one[key] for one in samples]) for key in ("mean", "variance"))
        moments = _tensor(mean), _tensor(variance)
    return Foreground(_tensor(np.concatenate(cells)), _tensor(weight), _tensor(rows), moments)


def _fill(skeleton: Any, leaves: dict[str, Tensor]) -> Any:
    if isinstance(skeleton, dict):
        return {key: _fill(item, leaves) for key, item in skeleton.items()}
    if isinstance(skeleton, list):
        return [_fill(item, leaves) for item in skeleton]
    return None if skeleton is None else leaves[skeleton]


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy()


def _tensor(array: np.ndarray) -> Tensor:
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    return torch.from_numpy(array if array.flags.writeable else array.copy())
