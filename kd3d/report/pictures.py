"""The frames section of the page: choice of frames, counts and encoded pictures."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import numpy as np

from kd3d.console import track
from kd3d.errors import UserError
from kd3d.report.frames import (
    MATCH_RADIUS_M,
    RULE,
    RULE_EXTRA,
    SHOWN_FRAMES,
    common_frames,
    data_root,
    draw_frame_bev,
    draw_frame_image,
    evenly_spaced,
    frame_counts,
    prediction_folder,
    read_boxes,
    read_calib,
    read_truth,
)
from kd3d.report.record import RunRecord

BEV_WIDTH_IN, BEV_DPI, BEV_COLORS = 4.4, 150, 96
IMAGE_WIDTH_PX = 1200


def choose_frames(
    runs: list[RunRecord],
    missing: list[str],
    *,
    score: float,
    count: int = SHOWN_FRAMES,
    root: str | os.PathLike[str] | None = None,
) -> dict[str, Any] | None:
    """Choose the frames to show and count what was found in every evaluated frame.

    Args:
        runs: The runs; those without prediction files are left out.
        missing: Sentences about what is missing are appended here.
        score: Boxes below this score are not drawn and find nothing.
        count: Number of evenly spaced frames.
        root: Data set folder, where the records' own is not right.

    Returns:
        ``{"rule", "root", "runs", "score", "shown": [id], "frames": {id: counts}}`` or None where
        predictions or data are missing.
    """
    drawn = [run for run in runs if any(prediction_folder(run).glob("*.txt"))]
    for run in runs:
        if run not in drawn:
            missing.append(f"{run.name}: no prediction files, so no pictures")
    frames = common_frames(drawn)
    folder = data_root(drawn[0], root) if drawn else None
    if not frames:
        missing.append("no frame has predictions of the runs: frame pictures left out")
        return None
    if folder is None:
        missing.append(
            f"data folder {root or drawn[0].data['root']} not found: frame pictures left out"
        )
        return None
    bar = track(frames, "comparing frames") if len(frames) > 500 else frames
    try:
        counts = {frame: frame_counts(folder, frame, drawn, score) for frame in bar}
    except UserError as error:
        missing.append(f"frame pictures left out: {error}")
        return None
    shown = evenly_spaced(frames, count)
    extra, pair = _largest_difference(counts, drawn)
    rule = RULE.format(
        even=len(shown), count=len(frames), score=score, radius=MATCH_RADIUS_M,
        extra=RULE_EXTRA.format(distilled=pair[1], baseline=pair[0]) if extra else "",
    )  # fmt: skip
    return {
        "rule": rule,
        "root": str(folder),
        "runs": [run.name for run in drawn],
        "score": score,
        "largest_difference": extra,
        "shown": shown + ([extra] if extra and extra not in shown else []),
        "frames": counts,
    }


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


def picture_range(
    root: Path, frame: str, runs: list[RunRecord], score: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the x and y range in metres that shows every box of a frame."""
    calibration = read_calib(root, frame)
    boxes = [read_truth(root, frame, calibration).box]
    for run in runs:
        found = read_boxes(prediction_folder(run) / f"{frame}.txt", calibration, True)
        boxes.append(found.of_score(score).box)
    reach = np.abs(np.concatenate(boxes)[:, :2]).max(axis=0, initial=0.0) + 3.0
    x, y = np.clip(np.ceil(reach / 5.0) * 5.0, [30.0, 15.0], [80.0, 40.0])
    return (0.0, float(x)), (-float(y), float(y))


def draw_frames(choice: dict[str, Any], runs: list[RunRecord]) -> list[dict[str, Any]]:
    """Return the shown frames with a BEV PNG and an image JPEG for each run, as data URIs."""
    from kd3d.viz.style import jpeg_bytes, png_bytes

    drawn = [run for run in runs if run.name in choice["runs"]]
    root, score = Path(choice["root"]), choice["score"]
    frames = []
    for frame in track(choice["shown"], "drawing frames"):
        x_range_m, y_range_m = picture_range(root, frame, drawn, score)
        panels = []
        for run in drawn:
            groups = {run.role: run}
            bev = draw_frame_bev(
                root, frame, groups, score, x_range_m=x_range_m, y_range_m=y_range_m,
                width_in=BEV_WIDTH_IN, dpi=BEV_DPI,
            )  # fmt: skip
            photo = draw_frame_image(root, frame, groups, score, IMAGE_WIDTH_PX)
            panels.append(
                {
                    "run": run.name,
                    "role": run.role,
                    "counts": choice["frames"][frame]["runs"][run.name],
                    "bev": data_uri("png", png_bytes(bev, BEV_COLORS)),
                    "image": data_uri("jpeg", jpeg_bytes(photo)) if photo else None,
                }
            )
        frames.append(
            {
                "id": frame,
                "labels": choice["frames"][frame]["labels"],
                "largest": frame == choice["largest_difference"],
                "panels": panels,
            }
        )
    return frames


def data_uri(kind: str, data: bytes) -> str:
    """Return picture bytes as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
