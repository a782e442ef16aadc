"""How far a single seed's gain depends on which frames were evaluated: frames drawn again.

The frames are resampled with replacement, the same ones for both runs, and everything is scored
anew (B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics, 1979). The
interval says nothing about other seeds. Frames of one drive resemble each other, so on nuScenes it
is too narrow.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from kd3d.console import track
from kd3d.errors import UserError
from kd3d.report.record import RunRecord
from kd3d.report.scenes import Scenes, scenes_of

RESAMPLES, SEED, CONFIDENCE = 200, 0, 0.95


def gain_over_frames(
    baseline: RunRecord,
    distilled: RunRecord,
    resamples: int = RESAMPLES,
    root: str | os.PathLike[str] | None = None,
) -> dict[str, list[float]]:
    """Return metric key -> 95 % interval of the gain; empty where predictions or data are missing.

    Args:
        baseline: Its run.
        distilled: The other run, evaluated on the same frames.
        resamples: How often frames are drawn.
        root: Data set folder, where the record's own is not right.
    """
    try:
        scenes = scenes_of(distilled, root)
        if scenes is None:
            return {}
        frames = scenes.evaluated(distilled)
        if not frames or set(frames) != set(scenes.evaluated(baseline)):
            return {}
        return _intervals(scenes, frames, baseline, distilled, resamples)
    except UserError:  # the frames section says what is wrong with the files
        return {}


def _intervals(
    scenes: Scenes, frames: list[str], baseline: RunRecord, distilled: RunRecord, resamples: int
) -> dict[str, list[float]]:
    scorers = [scenes.scorer(run, frames) for run in (baseline, distilled)]
    rng = np.random.default_rng(SEED)
    gains: dict[str, list[float]] = {metric.key: [] for metric in distilled.benchmark.metrics}
    for _ in track(range(resamples), "resampling frames"):
        drawn = rng.integers(0, len(frames), len(frames))
        before, after = (score(drawn) for score in scorers)
        for metric in distilled.benchmark.metrics:
            pair = metric.read(before), metric.read(after)
            if None not in pair:
                gains[metric.key].append(pair[1] - pair[0])  # type: ignore[operator]
    tail = (1 - CONFIDENCE) / 2
    return {key: _ends(values, tail) for key, values in gains.items() if values}


def _ends(values: list[float], tail: float) -> list[float]:
    ends: Any = np.quantile(values, [tail, 1 - tail])
    return [float(end) for end in ends]
