"""A simulated set of KITTI label and result files, for measuring speed: numbers, no scenes."""

from __future__ import annotations

import numpy as np

from kd3d.data.kitti_files import Labels, PathLike, write_labels

SIZES = {  # height, width, length in metres; share of the rows
    "Car": ((1.53, 1.63, 3.88), 0.66),
    "Pedestrian": ((1.76, 0.66, 0.84), 0.12),
    "Cyclist": ((1.74, 0.60, 1.76), 0.05),
    "Van": ((2.21, 1.90, 5.08), 0.08),
    "Truck": ((3.25, 2.59, 10.1), 0.04),
    "Person_sitting": ((1.27, 0.59, 0.80), 0.02),
    "Misc": ((1.9, 1.5, 3.5), 0.03),
}
FOCAL_PX, CENTRE_U_PX, CENTRE_V_PX, WIDTH_PX, HEIGHT_PX = 721.5, 609.6, 172.9, 1242.0, 375.0


def simulated_frame(rng: np.random.Generator) -> tuple[Labels, Labels]:
    """Return labels (about 6.6 objects and 1.5 DontCare areas) and about 6.6 detections."""
    truth = _objects(rng, int(rng.poisson(6.6)))
    found = _detect(rng, truth)
    false = _objects(rng, int(rng.poisson(1.9)))
    false.score = rng.uniform(0.05, 0.7, len(false))
    areas = _objects(rng, int(rng.poisson(1.5)))
    areas.name[:] = "DontCare"
    areas.truncated[:], areas.occluded[:], areas.alpha[:] = -1.0, -1, -10.0
    areas.dimensions[:], areas.location[:], areas.rotation_y[:] = -1.0, -1000.0, -10.0
    return _join(truth, areas), _join(found, false)


def write_simulated_set(folder: PathLike, frames: int, seed: int) -> tuple[int, int]:
    """Write ``label_2`` and ``pred`` under `folder`; same seed, same bytes.

    Returns:
        The number of labelled objects (DontCare areas not counted) and of detections.
    """
    from pathlib import Path

    rng = np.random.default_rng(seed)
    labels = detections = 0
    for frame in range(frames):
        truth, found = simulated_frame(rng)
        write_labels(Path(folder) / "label_2" / f"{frame:06d}.txt", truth)
        write_labels(Path(folder) / "pred" / f"{frame:06d}.txt", found)
        labels += int((truth.name != "DontCare").sum())
        detections += len(found)
    return labels, detections


def _objects(rng: np.random.Generator, count: int) -> Labels:
    """Return objects standing on a flat ground before the camera, boxes by a pinhole camera."""
    names = list(SIZES)
    share = np.array([SIZES[n][1] for n in names])
    name = np.array(names, dtype=object)[rng.choice(len(names), count, p=share / share.sum())]
    mean = np.array([SIZES[n][0] for n in name]).reshape(-1, 3)
    dimensions = mean * rng.normal(1.0, 0.07, (count, 3))
    depth = rng.gamma(2.5, 11.0, count) + 4.0
    side = rng.uniform(-0.75, 0.75, count) * depth
    location = np.column_stack([side, rng.normal(1.65, 0.1, count), depth])
    turn = rng.uniform(-np.pi, np.pi, count)
    return Labels(
        name=name,
        truncated=rng.choice([0.0, 0.1, 0.25, 0.4, 0.7], count, p=[0.8, 0.05, 0.05, 0.05, 0.05]),
        occluded=rng.choice(4, count, p=[0.5, 0.25, 0.15, 0.1]),
        alpha=_wrap(turn - np.arctan2(side, depth)),
        bbox=_rectangles(dimensions, location),
        dimensions=dimensions,
        location=location,
        rotation_y=turn,
        score=np.full(count, np.nan),
    )


def _rectangles(dimensions: np.ndarray, location: np.ndarray) -> np.ndarray:
    half = 0.5 * dimensions[:, 1:].mean(axis=1)
    scale = FOCAL_PX / location[:, 2]
    centre = CENTRE_U_PX + scale * location[:, 0]
    bottom = CENTRE_V_PX + scale * location[:, 1]
    box = [centre - scale * half, bottom - scale * dimensions[:, 0], centre + scale * half, bottom]
    limit = np.array([WIDTH_PX, HEIGHT_PX] * 2) - 1.0
    return np.clip(np.column_stack(box), 0.0, limit)


def _detect(rng: np.random.Generator, truth: Labels) -> Labels:
    """Return noisy detections of the objects; far ones are missed more often, some are flipped."""
    seen = rng.random(len(truth)) < np.clip(1.05 - truth.location[:, 2] / 120.0, 0.2, 1.0)
    seen &= np.isin(truth.name.astype(str), ["Car", "Pedestrian", "Cyclist", "Van"])
    found = truth[seen]
    count = len(found)
    found.name = np.where(found.name == "Van", "Car", found.name).astype(object)
    found.dimensions = found.dimensions * rng.normal(1.0, 0.03, (count, 3))
    found.location = found.location + rng.normal(0.0, 0.08, (count, 3))
    flip = np.pi * (rng.random(count) < 0.05)
    found.rotation_y = _wrap(found.rotation_y + rng.normal(0.0, 0.06, count) + flip)
    found.alpha = _wrap(found.rotation_y - np.arctan2(found.location[:, 0], found.location[:, 2]))
    found.bbox = np.clip(found.bbox + rng.normal(0.0, 1.5, (count, 4)), 0.0, WIDTH_PX)
    found.truncated, found.occluded = np.full(count, -1.0), np.full(count, -1)
    found.score = rng.beta(5.0, 2.0, count)
    return found


def _join(first: Labels, second: Labels) -> Labels:
    columns = vars(first)
    return Labels(*(np.concatenate([columns[c], getattr(second, c)]) for c in columns))


def _wrap(angle: np.ndarray) -> np.ndarray:
    return np.arctan2(np.sin(angle), np.cos(angle))
