"""The evaluated frames: which to show, and what each model found in them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from kd3d.console import track
from kd3d.errors import UserError
from kd3d.report.record import RunRecord
from kd3d.report.scenes import Boxes, Scenes, scenes_of
from kd3d.report.scenes.scenes import GROUND_TRUTH
from kd3d.report.strata import Strata

SHOWN_FRAMES = 5
RULE = (
    "{even} frames evenly spaced through the {count} evaluated ones{extra}. Boxes with a score of "
    "at least {score:g} are drawn. A label counts as found when such a box of its class has its "
    "centre within {radius:g} m, seen from above."
)
RULE_EXTRA = ", and the one where the labels found by {distilled} and {baseline} differ most"


def choose_frames(
    runs: list[RunRecord],
    missing: list[str],
    *,
    score: float,
    count: int = SHOWN_FRAMES,
    root: str | os.PathLike[str] | None = None,
) -> tuple[dict[str, Any], Scenes] | None:
    """Choose the frames to show and count what was found in every evaluated frame.

    Args:
        runs: The runs; those without predictions are left out.
        missing: Sentences about what is missing are appended here.
        score: Boxes below this score are not drawn and find nothing.
        count: Number of evenly spaced frames.
        root: Data set folder, where the records' own is not right.

    Returns:
        ``{"rule", "root", "runs", "score", "shown": [id], "frames": {id: counts}, "strata":
        rows}`` and the scenes, or None where predictions or data are missing.
    """
    try:
        scenes = scenes_of(runs[0], root)
        if scenes is None:
            missing.append(
                f"data folder {root or runs[0].data['root']} not found: frame pictures left out"
            )
            return None
        return _choose(scenes, runs, missing, score, count)
    except UserError as error:
        missing.append(f"frame pictures left out: {error}")
        return None


def _choose(
    scenes: Scenes, runs: list[RunRecord], missing: list[str], score: float, count: int
) -> tuple[dict[str, Any], Scenes] | None:
    evaluated = {run.name: scenes.evaluated(run) for run in runs}
    drawn = [run for run in runs if evaluated[run.name]]
    missing += [
        f"{run.name}: no prediction files, so no pictures" for run in runs if run not in drawn
    ]
    frames = common_frames([evaluated[run.name] for run in drawn])
    if not frames:
        missing.append("no frame has predictions of the runs: frame pictures left out")
        return None
    bar = track(frames, "comparing frames") if len(frames) > 500 else frames
    strata = Strata()
    counts = {frame: frame_counts(scenes, frame, drawn, score, strata) for frame in bar}
    shown = evenly_spaced(frames, count)
    extra, pair = _largest_difference(counts, drawn)
    rule = RULE.format(
        even=len(shown), count=len(frames), score=score, radius=scenes.match_m,
        extra=RULE_EXTRA.format(distilled=pair[1], baseline=pair[0]) if extra else "",
    )  # fmt: skip
    choice = {
        "rule": rule,
        "root": str(scenes.folder.root),
        "runs": [run.name for run in drawn],
        "score": score,
        "largest_difference": extra,
        "shown": shown + ([extra] if extra and extra not in shown else []),
        "frames": counts,
        "strata": strata.rows(),
    }
    return choice, scenes


def common_frames(evaluated: list[list[str]]) -> list[str]:
    """Return the ids that all lists hold, in the order of the first."""
    if not evaluated:
        return []
    common = set(evaluated[0]).intersection(*evaluated[1:])
    return [frame for frame in evaluated[0] if frame in common]


def evenly_spaced(ids: list[str], count: int) -> list[str]:
    """Return up to `count` ids, evenly spaced from the first to the last."""
    places = np.unique(np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(int))
    return [ids[i] for i in places] if ids else []


def found_labels(truth: Boxes, found: Boxes, radius_m: float) -> np.ndarray:
    """Return (N,) bool: which labels have a box of their class with its centre near.

    Boxes are taken by falling score, each takes the nearest free label within `radius_m`.
    """
    free = np.ones(len(truth.box), dtype=bool)
    for i in np.argsort(-found.score, kind="stable"):
        distance = np.hypot(*(truth.box[:, :2] - found.box[i, :2]).T)
        distance[~free | (truth.name != found.name[i])] = np.inf
        if len(distance) and distance.min() <= radius_m:
            free[distance.argmin()] = False
    return ~free


def frame_counts(
    scenes: Scenes, frame: str, runs: list[RunRecord], score: float, strata: Strata
) -> dict[str, int | dict[str, dict[str, int]]]:
    """Return the number of labels, and by run the boxes drawn and the labels found.

    The frame is added to the strata.
    """
    truth = scenes.folder.truth(frame)
    by_run, flags = {}, {}
    for run in runs:
        boxes = scenes.found(run, frame).of_score(score)
        flags[run.name] = found_labels(truth, boxes, scenes.match_m)
        by_run[run.name] = {"boxes": len(boxes.box), "found": int(flags[run.name].sum())}
    strata.add(truth, flags)
    return {"labels": len(truth.box), "runs": by_run}


def grouped_boxes(
    scenes: Scenes, frame: str, groups: dict[str, RunRecord], score: float
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return boxes and scores by group: the labels, then the runs' boxes of enough score."""
    boxes = {GROUND_TRUTH: scenes.folder.truth(frame).box}
    scores = {}
    for group, run in groups.items():
        found = scenes.found(run, frame).of_score(score)
        boxes[group], scores[group] = found.box, found.score
    return boxes, scores


def _largest_difference(
    counts: dict[str, Any], runs: list[RunRecord]
) -> tuple[str | None, tuple[str, str]]:
    baseline = next((run.name for run in runs if run.role == "baseline"), None)
    distilled = next((run.name for run in runs if run.role == "distilled"), None)
    if baseline is None or distilled is None:
        return None, ("", "")

    def difference(frame: str) -> int:
        by_run = counts[frame]["runs"]
        return abs(by_run[distilled]["found"] - by_run[baseline]["found"])

    largest = max(counts, key=difference)  # the first of equals
    return (largest if difference(largest) else None), (baseline, distilled)
