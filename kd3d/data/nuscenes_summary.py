"""Counts of a prepared nuScenes folder."""

from __future__ import annotations

from collections import Counter
from typing import Any

from kd3d.data.nuscenes_tables import CATEGORIES

# scenes and key frames of the official splits
OFFICIAL_SAMPLES = {
    "v1.0-mini": {"train": 323, "val": 81},
    "v1.0-trainval": {"train": 28130, "val": 6019},
}


def summarise(
    infos: dict[str, list[dict[str, Any]]], simulated: bool, version: str
) -> dict[str, Any]:
    """Count samples, boxes and points in boxes.

    Returns:
        ``samples`` and mean ``sweeps`` by split; ``boxes`` by split and class, each with `boxes`,
        `points` (mean in a box), `empty` (boxes without a LiDAR point) and `moving` (boxes faster
        than 0.5 m/s); ``simulated``; ``differences`` from the official numbers of samples.
    """
    samples = {split: len(data) for split, data in infos.items()}
    official = OFFICIAL_SAMPLES[version]
    differences = (
        []
        if simulated
        else [
            f"{samples[split]} {split} samples, official {count}"
            for split, count in official.items()
            if samples[split] != count
        ]
    )
    return {
        "version": version,
        "simulated": simulated,
        "samples": samples,
        "sweeps": {
            split: round(sum(len(i.get("lidar_sweeps", ())) for i in data) / max(len(data), 1), 1)
            for split, data in infos.items()
        },
        "boxes": {split: _boxes(data) for split, data in infos.items()},
        "differences": differences,
    }


def format_summary(summary: dict[str, Any]) -> str:
    """Return the counts as a text table."""
    kind = "simulated " if summary["simulated"] else ""
    counts = ", ".join(
        f"{split} {count} ({summary['sweeps'][split]} sweeps)"
        for split, count in summary["samples"].items()
    )
    lines = [f"{summary['version']}, {kind}samples: {counts}"]
    lines.append(f"{'boxes (mean points, without points, moving)':44}{'train':>26}{'val':>26}")
    for name in CATEGORIES:
        cells = [summary["boxes"][split].get(name) for split in ("train", "val")]
        texts = [
            f"{c['boxes']} ({c['points']:.0f}, {c['empty']}, {c['moving']})" if c else "0"
            for c in cells
        ]
        lines.append(f"{name:44}{texts[0]:>26}{texts[1]:>26}")
    if summary["differences"]:
        lines.append("differs from the official data set: " + "; ".join(summary["differences"]))
    return "\n".join(lines)


def _boxes(data: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    count, points, empty, moving = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for info in data:
        for instance in info["instances"]:
            if instance["bbox_label_3d"] >= 0:
                name = CATEGORIES[instance["bbox_label_3d"]]
                count[name] += 1
                points[name] += instance["num_lidar_pts"]
                empty[name] += instance["num_lidar_pts"] == 0
                x, y = instance["velocity"]
                moving[name] += x * x + y * y > 0.25  # False for an unknown one, which is NaN
    return {
        name: {
            "boxes": n,
            "points": round(points[name] / n, 1),
            "empty": empty[name],
            "moving": moving[name],
        }
        for name, n in count.items()
    }
