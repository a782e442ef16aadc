"""A detector that reads the labels themselves: an encoder of labels in front of a trained head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet3d.models import MVXTwoStageDetector
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from kd3d.adapters.label_encoder import LabelEncoder
from kd3d.core.detection_targets import BOX_NUMBERS, paint
from kd3d.core.spec import Detections
from kd3d.errors import UserError
from kd3d.models.bev.grid import BEVGrid, Bounds

FROZEN = ("pts_neck", "pts_bbox_head")


@MODELS.register_module()
class LabelBackbone(BaseModule):
    """Turn painted labels into maps like those of a LiDAR detector's backbone.

    Args:
        classes: K, in the order of the head's tasks.
        x: [low, high, cell] in metres of the first map.
        y: Likewise.
        out_channels: Of each map.
        layer_strides: Of each map relative to the one before; the first is 1.
        init_cfg: mmengine's.

    Attributes:
        grid: Of the first map; also what says where this detector's maps lie in metres.
        out_indices: Of the maps.

    Raises:
        UserError: As many strides as maps are not given, or the first is not 1.
    """

    def __init__(
        self,
        classes: int,
        x: Bounds,
        y: Bounds,
        out_channels: Sequence[int],
        layer_strides: Sequence[int],
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(layer_strides) != len(out_channels) or layer_strides[0] != 1:
            raise UserError(
                f"{len(out_channels)} maps and the strides {list(layer_strides)}",
                "LabelBackbone",
                "one stride a map, the first of them 1",
            )
        self.classes, self.grid = classes, BEVGrid.of(x, y, (0.0, 1.0, 1.0), "LabelBackbone")
        self.out_indices = tuple(range(len(out_channels)))
        self.encoder = LabelEncoder(BOX_NUMBERS + 2, classes, out_channels[0])
        norm = dict(type="GN", num_groups=1)
        self.further = nn.ModuleList(
            ConvModule(before, after, 3, stride=stride, padding=1, norm_cfg=norm)
            for before, after, stride in zip(out_channels, out_channels[1:], layer_strides[1:])
        )

    def forward(self, found: Detections) -> tuple[Tensor, ...]:
        """Return the maps (B, C, Y, X) of labels, a dict of ``boxes`` and ``labels`` a sample."""
        painted = paint(found, self.classes, self.grid.extent_m, self.grid.shape)
        maps = [torch.relu(self.encoder(*painted))]
        for layer in self.further:
            maps.append(layer(maps[-1]))
        return tuple(maps)


@MODELS.register_module()
class LabelDetector(MVXTwoStageDetector):
    """Labels -> `LabelBackbone` -> a trained detector's neck and centre head, which stay.

    The label encoder of S. Kim, Y. Kim, S. Hwang, H. Jeong, D. Kum, "LabelDistill: Label-guided
    cross-modal knowledge distillation for camera-based 3D object detection", ECCV 2024, section
    3.2: trained on the detection loss behind the fixed neck and head, it becomes their approximate
    inverse, and its maps teach what the LiDAR cannot see. Neck and head are a LiDAR detector's, by
    ``inherit=dict(type='handover', parts=['neck', 'bbox_head'])``. It reads the ground truth alone:
    a teacher, never an answer.

    Args:
        pts_backbone: ``LabelBackbone``.
        **options: Of mmdet3d's ``MVXTwoStageDetector``: ``pts_neck``, ``pts_bbox_head``,
            ``train_cfg``, ``test_cfg``, ``data_preprocessor``, ``init_cfg``.
    """

    def __init__(self, pts_backbone: dict, **options: Any) -> None:
        super().__init__(pts_backbone=pts_backbone, **options)
        for part in FROZEN:
            getattr(self, part).requires_grad_(False)

    def train(self, mode: bool = True) -> LabelDetector:
        """Switch the encoder; neck and head stay in eval mode."""
        super().train(mode)
        for part in FROZEN:
            getattr(self, part).eval()
        return self

    def encode_labels(self, data_samples: list) -> list[Tensor]:
        """Return the maps that the head reads.

        Args:
            data_samples: With ``gt_instances_3d``; boxes of a class that the head lacks are left
                out.

        Raises:
            UserError: A sample without ground truth.
        """
        return list(self.pts_neck(self.pts_backbone([self._labels(one) for one in data_samples])))

    def _labels(self, sample: Any) -> dict[str, Tensor]:
        if "gt_instances_3d" not in sample:
            raise UserError(
                "the sample has no ground truth to encode",
                str(sample.metainfo.get("sample_idx", "sample")),
                "pack gt_bboxes_3d and gt_labels_3d; frames without labels have no label teacher",
            )
        device = next(self.pts_backbone.parameters()).device
        truth = sample.gt_instances_3d
        boxes, labels = truth.bboxes_3d.tensor.to(device), truth.labels_3d.to(device)
        known = (labels >= 0) & (labels < self.pts_backbone.classes)
        return {"boxes": _with_velocity(boxes[known]), "labels": labels[known]}

    def loss(self, batch_inputs_dict: dict, batch_data_samples: list, **kwargs: Any) -> dict:
        """Return the head's losses of what it reads in the labels' maps."""
        return self.pts_bbox_head.loss(self.encode_labels(batch_data_samples), batch_data_samples)

    def predict(self, batch_inputs_dict: dict, batch_data_samples: list, **kwargs: Any) -> list:
        """Return the samples with the boxes that the head reads in their labels' maps."""
        maps = self.encode_labels(batch_data_samples)
        found = self.pts_bbox_head.predict(maps, batch_data_samples)
        return self.add_pred_to_datasample(batch_data_samples, found)


def _with_velocity(boxes: Tensor) -> Tensor:
    """Return (N, 9) boxes; a velocity that is unknown is 0."""
    if boxes.shape[1] < 9:
        boxes = torch.cat([boxes[:, :7], boxes.new_zeros(len(boxes), 2)], 1)
    return boxes[:, :9].nan_to_num(0.0)
