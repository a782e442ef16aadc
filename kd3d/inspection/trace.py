"""Every tap of a detector with its place in metres and what the device spends up to it."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kd3d.core.probe import bev_grid, spec_of
from kd3d.core.run import run_heads
from kd3d.core.spec import FeatureSpec
from kd3d.core.taps import aliases, groups, resolve

REPEATS = 3
KNOWN = ("map", "image", "rows", "points", "center_head", "anchor_head")


@dataclass(frozen=True)
class TapRow:
    """One tap.

    Attributes:
        path: As a term names it, without the model.
        aliases: Its other names, also those of groups it belongs to, as ``stages[0]``.
        spec: What it holds.
        stride: Cells of the voxel grid (of the picture, for images) a cell of the map; None where
            it has none.
        ms: Device time from the network's input up to it, milliseconds, median of `REPEATS`.
        rows: Rows that it held on this frame, of layout ``rows``.
    """

    path: str
    aliases: tuple[str, ...]
    spec: FeatureSpec
    stride: float | None
    ms: float
    rows: int | None = None

    @property
    def shape(self) -> str:
        """Channels and cells, one sample."""
        spec = self.spec
        if spec.maps:
            channels = [str(sum(n for _, n in group)) for group in spec.maps]
            return f"{'+'.join(channels)} x {spec.shape[0]} x {spec.shape[1]}"  # type: ignore[index]
        if spec.shape:
            return f"{spec.channels} x {spec.shape[0]} x {spec.shape[1]}"
        return f"{self.rows} x {spec.channels}" if self.rows is not None else f"{spec.channels} x N"

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain data."""
        spec = self.spec
        return {
            "path": self.path, "alias": list(self.aliases), "layout": spec.layout,
            "channels": spec.channels, "cells": spec.shape, "rows": self.rows,
            "stride": self.stride, "cell_m": spec.cell_m, "range_m": spec.extent_m,
            "device_ms": self.ms,
        }  # fmt: skip


@dataclass
class _Firings:
    """What one forward pass gave: module path -> times and outputs."""

    started: float = 0.0
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    outputs: dict[str, Any] = field(default_factory=dict)


@torch.no_grad()
def trace(model: Any, batch: dict[str, Any], everything: bool = False) -> list[TapRow]:
    """Run a detector on one frame and return its taps in the order in which they fire.

    Modules that fire more than once in a pass cannot be tapped and are left out, as is what has no
    known layout.

    Args:
        model: A stock detector; run in eval mode.
        batch: ``inputs`` and ``data_samples`` of one frame, preprocessed.
        everything: All modules; else those with an alias and the model's own parts.
    """
    was_training = model.training
    model.eval()
    passes = [_run(model, batch) for _ in range(REPEATS + 1)][1:]  # the first one warms up
    model.train(was_training)
    first, known = passes[0], _names(model)
    rows = []
    for path, times in first.times.items():
        if len(times) > 1:
            continue
        ms = statistics.median(1000 * (one.times[path][0] - one.started) for one in passes)
        for name, value in _parts(path, first.outputs[path], known):
            if everything or name in known or "." not in path:
                rows.append(_row(model, path, name, value, known.get(name, ()), ms))
    return [row for row in rows if row.spec.layout in KNOWN]


def _run(model: Any, batch: dict[str, Any]) -> _Firings:
    found = _Firings()
    hooks = [
        module.register_forward_hook(partial(_fired, found, path))
        for path, module in model.named_modules()
        if path and not path.startswith("data_preprocessor")
    ]
    try:
        found.started = _now()
        run_heads(model, batch["inputs"], batch["data_samples"])
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _fired(found: _Firings, path: str, module: nn.Module, inputs: Any, output: Any) -> None:
    found.times[path].append(_now())
    found.outputs[path] = output


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _names(model: Any) -> dict[str, tuple[str, ...]]:
    """Return path (with the way into the output) -> aliases."""
    found: dict[str, list[str]] = defaultdict(list)
    for alias in aliases(model):
        found[_address(model, alias)].append(alias)
    for group, taps in groups(model).items():
        for i, tap in enumerate(taps):
            found[_address(model, tap)].append(f"{group}[{i}]" if len(taps) > 1 else group)
    return {path: tuple(names) for path, names in found.items()}


def _address(model: Any, tap: str) -> str:
    address = resolve(model, tap)
    return ".".join([address.module, *address.index])


def _parts(path: str, output: Any, known: dict[str, tuple[str, ...]]) -> list[tuple[str, Any]]:
    """Return names and values of an output: itself, or the tensors of a tuple."""
    if isinstance(output, Tensor) or path in known:
        return [(path, output)]
    if isinstance(output, dict):
        return [(f"{path}.{key}", value) for key, value in output.items() if _is(value)]
    if isinstance(output, (list, tuple)):
        return [(f"{path}.{i}", value) for i, value in enumerate(output) if _is(value)]
    return []


def _is(value: Any) -> bool:
    return isinstance(value, Tensor)


def _row(model: Any, path: str, name: str, value: Any, other: tuple[str, ...], ms: float) -> TapRow:
    spec = spec_of(model, path, value)
    rows = len(value) if spec.layout == "rows" else None
    return TapRow(name, other, spec, _stride(model, spec), ms, rows)


def _stride(model: Any, spec: FeatureSpec) -> float | None:
    grid = bev_grid(model)
    if grid is None or spec.cell_m is None:
        return None
    (x_min, _, x_max, _), (_, columns) = grid
    return round(spec.cell_m[0] / ((x_max - x_min) / columns), 4)
