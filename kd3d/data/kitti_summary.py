"""Counts of a prepared KITTI folder, and how they compare with the official data set."""

from __future__ import annotations

from collections import Counter
from typing import Any

from kd3d.data.kitti_infos import CATEGORIES
from kd3d.data.kitti_layout import OFFICIAL_FRAMES, KittiSource

# objects of the official train split (3712 frames), as other toolboxes print them
OFFICIAL_TRAIN_BOXES = {
    "Pedestrian": 2207,
    "Cyclist": 734,
    "Car": 14357,
    "Van": 1297,
    "Truck": 488,
    "Person_sitting": 56,
    "Tram": 224,
    "Misc": 337,
}


def summarise(
    source: KittiSource, infos: dict[str, list[dict[str, Any]]], database: dict[str, list[Any]]
) -> dict[str, Any]:
    """Count frames, boxes and points in boxes, and compare with the official numbers.

    Returns:
        ``frames`` by split; ``boxes`` by split and class, each with `boxes`, `points` (mean in a
        box) and `empty` (boxes without a point); ``simulated``; ``official`` whether the split is
        official, and ``differences``, the counts that differ from the official ones.
    """
    frames = {split: len(data) for split, data in infos.items()}
    frames["trainval"] = frames["train"] + frames["val"]
    boxes = {split: _boxes(infos[split]) for split in ("train", "val")}
    differences = []
    if source.official:
        expected = {k: v for k, v in OFFICIAL_FRAMES.items() if k != "test" or frames["test"]}
        differences += [
            f"{frames[s]} {s} frames, official {n}" for s, n in expected.items() if frames[s] != n
        ]
        differences += [
            f"{len(database.get(name, []))} {name} in train, official {n}"
            for name, n in OFFICIAL_TRAIN_BOXES.items()
            if len(database.get(name, [])) != n
        ]
    return {
        "simulated": source.simulated,
        "frames": frames,
        "boxes": boxes,
        "official": source.official,
        "differences": differences,
    }


def format_summary(summary: dict[str, Any]) -> str:
    """Return the counts as a text table."""
    frames = summary["frames"]
    kind = "simulated frames: " if summary["simulated"] else "frames: "
    lines = [kind + ", ".join(f"{split} {n}" for split, n in frames.items())]
    lines.append(f"{'boxes (mean points, without points)':36}{'train':>22}{'val':>22}")
    for name in CATEGORIES:
        cells = [summary["boxes"][split].get(name) for split in ("train", "val")]
        if any(cells):
            texts = [f"{c['boxes']} ({c['points']:.0f}, {c['empty']})" if c else "0" for c in cells]
            lines.append(f"{name:36}{texts[0]:>22}{texts[1]:>22}")
    if summary["differences"]:
        lines.append("differs from the official data set: " + "; ".join(summary["differences"]))
    elif summary["official"]:
        lines.append("all counts equal the official data set's")
    return "\n".join(lines)


def _boxes(data: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    count, points, empty = Counter[str](), Counter[str](), Counter[str]()
    for info in data:
        for instance in info["instances"]:
            if instance["bbox_label"] >= 0:
                name = CATEGORIES[instance["bbox_label"]]
                count[name] += 1
                points[name] += instance["num_lidar_pts"]
                empty[name] += instance["num_lidar_pts"] == 0
    return {
        name: {"boxes": n, "points": round(points[name] / n, 1), "empty": empty[name]}
        for name, n in count.items()
    }
