"""Is the exported model the trained one? Tensors, detections, and the time both take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from kd3d.console import track
from kd3d.deploy.frames import camera_frame, raw_outputs, run_exported
from kd3d.deploy.graphs import Part
from kd3d.deploy.refusals import CAMERAS
from kd3d.deploy.runtime.detector import Arrays, Detector
from kd3d.engine.scoring import Boxes, torch_predictor

NEAR_M, NEAR_SCORE = 0.01, 0.001  # what counts as the same detection
Report = dict[str, Any]


def compare(model: Any, parts: list[Part], detector: Detector, batches: list[dict]) -> Report:
    """Compare the exported model with torch, frame by frame.

    Tensors: every output of every graph, of the same inputs, as the largest absolute difference
    and the largest magnitude. Detections: the stock detector's whole prediction, with its own
    preprocessing, beside the runtime's. Two are the same when their class is the same, no value of
    their boxes differs by more than `NEAR_M` (metres, radians, m/s) and their scores by no more
    than `NEAR_SCORE`.

    Args:
        model: The stock detector.
        parts: What was exported of it.
        detector: The exported one.
        batches: Collated batches of one frame.

    Returns:
        ``tensors`` name -> ``error``, ``magnitude``; ``detections`` with ``torch``, ``exported``,
        ``same``, ``box_error``, ``score_error``.
    """
    tensors: dict[str, dict[str, float]] = {}
    counts = {"torch": 0, "exported": 0, "same": 0, "box_error": 0.0, "score_error": 0.0}
    predict = torch_predictor(model)
    for batch in track(batches, "comparing with torch"):
        for name, pair in _tensor_pairs(parts, detector, batch):
            old = tensors.get(name, {"error": 0.0, "magnitude": 0.0})
            error = float(np.abs(pair[0] - pair[1]).max(initial=0.0))
            size = float(np.abs(pair[0]).max(initial=0.0))
            tensors[name] = {
                "error": max(error, old["error"]), "magnitude": max(size, old["magnitude"])
            }  # fmt: skip
        _add(counts, predict(batch), run_exported(detector, batch))
    return {"tensors": tensors, "detections": counts, "frames": len(batches)}


def _tensor_pairs(
    parts: list[Part], detector: Detector, batch: dict
) -> list[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Return output name -> (torch's, exported) of every graph, of the exported one's inputs."""
    if detector.spec["kind"] != CAMERAS:
        inputs, outputs = raw_outputs(detector, batch)
        return _pairs(parts[0], inputs, outputs)
    images, rig = camera_frame(batch)
    first = detector.prepare_images(images, rig)
    made = detector.graphs["image"](first)
    second = {"bev": detector.lift_of(rig).pool(made["depth"], made["context"])}
    pairs = _pairs(parts[0], first, made)
    return pairs + _pairs(parts[1], second, detector.graphs["bev"](second))


@torch.no_grad()
def _pairs(
    part: Part, inputs: Arrays, outputs: Arrays
) -> list[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    made = part.module(*(torch.from_numpy(inputs[name]) for name in part.example))
    return [(name, (value.numpy(), outputs[name])) for name, value in zip(part.outputs, made)]


def _add(counts: dict[str, Any], ours: Boxes, theirs: Boxes) -> None:
    """Count the detections of one frame; each is matched once, the nearest first."""
    ours = {key: np.asarray(value) for key, value in ours.items()}
    counts["torch"] += len(ours["scores"])
    counts["exported"] += len(theirs["scores"])
    if not len(ours["scores"]) or not len(theirs["scores"]):
        return
    box = ours["boxes"][:, None] - theirs["boxes"][None]
    box[..., 6] = (box[..., 6] + np.pi) % (2 * np.pi) - np.pi
    box = np.abs(box).max(-1)
    score = np.abs(ours["scores"][:, None] - theirs["scores"][None])
    other = ours["labels"][:, None] != theirs["labels"][None]
    box = np.where(other | (box > NEAR_M) | (score > NEAR_SCORE), np.inf, box)
    while np.isfinite(box).any():
        row, column = np.unravel_index(box.argmin(), box.shape)
        counts["same"] += 1
        counts["box_error"] = max(counts["box_error"], float(box[row, column]))
        counts["score_error"] = max(counts["score_error"], float(score[row, column]))
        box[row], box[:, column] = np.inf, np.inf


def latency(model: Any, detector: Detector, batches: list[dict], rounds: int = 20) -> Report:
    """Time both on this machine, one frame at a time, raw points or images to boxes.

    Returns:
        Median milliseconds: ``torch``, ``exported``, and of the latter ``prepare``, ``network``
        and ``finish``; ``threads`` of both.
    """
    predict = torch_predictor(model)
    times: dict[str, list[float]] = {
        name: [] for name in ("torch", "exported", "prepare", "network", "finish")
    }
    for i in track(range(3 + rounds), "timing"):
        batch = batches[i % len(batches)]
        whole, _ = _timed(lambda: predict(batch))  # noqa: B023
        steps = _steps(detector, batch)
        if i >= 3:
            times["torch"].append(whole)
            times["exported"].append(sum(steps))
            for name, value in zip(("prepare", "network", "finish"), steps):
                times[name].append(value)
    medians: Report = {name: statistics.median(values) for name, values in times.items()}
    return medians | {"threads": torch.get_num_threads(), "rounds": rounds}


def _steps(detector: Detector, batch: dict) -> tuple[float, float, float]:
    """Return the milliseconds of preparing, of the network with its lift, and of finishing."""
    if detector.spec["kind"] == CAMERAS:
        images, rig = camera_frame(batch)
        first, inputs = _timed(lambda: detector.prepare_images(images, rig))
        second, outputs = _timed(lambda: detector.network_images(inputs, rig))
    else:
        points = batch["inputs"]["points"][0].numpy()
        first, inputs = _timed(lambda: detector.prepare_points(points))
        second, outputs = _timed(lambda: detector.network(inputs))
    return first, second, _timed(lambda: detector.finish(outputs))[0]


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    made = call()
    return 1000 * (time.perf_counter() - started), made
