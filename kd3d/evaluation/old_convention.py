"""What a detector would score if its boxes were in the convention of mmdet3d before 1.0."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from mmdet3d.registry import METRICS
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.evaluator import BaseMetric


@METRICS.register_module()
class OldConvention(BaseMetric):
    """Score predictions after converting them from mmdet3d's convention before 1.0.

    There, a LiDAR box's sizes were (width, length, height) and its yaw ran clockwise from -y. In
    today's terms ``yaw = -yaw_old - pi / 2`` with the first two sizes swapped (mmdet3d 1.0,
    ``tools/update_data_coords.py``). Heads with anchors decode old weights against today's anchor
    sizes, so that the sizes come out in today's order already: for those only the yaw is old.
    Boxes of other frames are left as they are.

    Args:
        metric: Config of the metric that scores the converted predictions.
        swap_sizes: Whether the first two sizes are swapped too.
        prefix: Put before the metric's names.
        names: Regular expression of the metric names that are kept.
    """

    def __init__(
        self, metric: dict[str, Any], swap_sizes: bool, prefix: str, names: str = ""
    ) -> None:
        super().__init__(prefix=prefix)
        self.swap_sizes, self.names = swap_sizes, names
        self.metric = METRICS.build(metric)
        self.metric.results = self.results

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Let the metric process converted copies of the samples."""
        self.metric.dataset_meta = self.dataset_meta
        self.metric.process(data_batch, [self._converted(sample) for sample in data_samples])

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the metric's values that are kept."""
        values = self.metric.compute_metrics(results)
        return {name: value for name, value in values.items() if re.search(self.names, name)}

    def _converted(self, sample: dict[str, Any]) -> dict[str, Any]:
        predictions = sample["pred_instances_3d"]
        boxes = predictions["bboxes_3d"]
        if isinstance(boxes, LiDARInstance3DBoxes):
            boxes = from_old_convention(boxes, self.swap_sizes)
        return {**sample, "pred_instances_3d": {**predictions, "bboxes_3d": boxes}}


def from_old_convention(boxes: LiDARInstance3DBoxes, swap_sizes: bool) -> LiDARInstance3DBoxes:
    """Return boxes (N, 7 or more) [x, y, z, dx, dy, dz, yaw, ...] in today's convention."""
    new = boxes.clone()
    if swap_sizes:
        new.tensor[:, [3, 4]] = boxes.tensor[:, [4, 3]]
    new.tensor[:, 6] = -boxes.tensor[:, 6] - math.pi / 2
    return new
