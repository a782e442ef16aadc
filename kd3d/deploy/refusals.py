"""What can be exported, and what is refused with the alternative."""

from __future__ import annotations

from typing import Any

from mmdet3d.models.dense_heads import Anchor3DHead, CenterHead, FreeAnchor3DHead
from mmdet3d.models.middle_encoders import PointPillarsScatter
from mmdet3d.models.task_modules.coders import DeltaXYZWLHRBBoxCoder
from mmdet3d.models.voxel_encoders import PillarFeatureNet

from kd3d.core.probe import lifts
from kd3d.core.taps import head_of
from kd3d.errors import UserError
from kd3d.evaluation.efficiency import DEFORMABLE, is_sparse

PILLARS, CAMERAS = "pillars", "cameras"
_PILLAR_STUDENT = "distil it into a student on pillars (configs/_base_/models) and export that"


def kind_of(model: Any, where: object) -> str:
    """Return `PILLARS` or `CAMERAS`.

    Args:
        model: A stock detector.
        where: For messages.

    Raises:
        UserError: A detector that cannot be exported, with what to do instead.
    """
    if any(is_sparse(module) for module in model.modules()):
        raise UserError(
            "its sparse convolutions have no operator in ONNX or TorchScript's library",
            where,
            f"{_PILLAR_STUDENT}, or run the stock checkpoint with mmdet3d and spconv",
        )
    if any(isinstance(module, DEFORMABLE) for module in model.modules()):
        raise UserError(
            "its deformable convolutions have no operator in onnxruntime",
            where,
            "train a student without dcn_head or DCN layers",
        )
    kind = _camera(model, where) if lifts(model) else _lidar(model, where)
    _refuse_head(head_of(model), where)
    return kind


def part_of(model: Any, name: str) -> Any:
    """Return ``pts_<name>`` of the multi-modal family, or ``<name>``; None without."""
    return getattr(model, f"pts_{name}", None) or getattr(model, name, None)


def _camera(model: Any, where: object) -> str:
    if hasattr(model, "bev_fuser"):
        raise UserError(
            "a fusion detector is not exported",
            where,
            "export a camera or a LiDAR student that was taught by it",
        )
    if model.view_transform.frame != "lidar":
        raise UserError(
            "its boxes are not in the LiDAR's frame", where, "train it with frame='lidar'"
        )
    return CAMERAS


def _lidar(model: Any, where: object) -> str:
    encoder, scatter = part_of(model, "voxel_encoder"), part_of(model, "middle_encoder")
    if type(encoder) is not PillarFeatureNet or type(scatter) is not PointPillarsScatter:
        raise UserError(
            f"a {type(model).__name__} is neither a BEVDet nor a detector on pillars "
            "(PillarFeatureNet, PointPillarsScatter)",
            where,
            _PILLAR_STUDENT,
        )
    if any(layer.mode != "max" for layer in encoder.pfn_layers):
        raise UserError("its pillars take the mean of points", where, "train with mode='max'")
    layer = model.data_preprocessor.voxel_layer
    if layer.grid_shape[2] != 1:
        raise UserError(
            f"it has {layer.grid_shape[2]} layers of voxels, a pillar is one",
            where,
            "give voxel_size the whole height",
        )
    return PILLARS


def _refuse_head(head: Any, where: object) -> None:
    if isinstance(head, CenterHead):
        return
    name = type(head).__name__
    if type(head) not in (Anchor3DHead, FreeAnchor3DHead):
        raise UserError(
            f"the head {name} is not exported", where, "CenterHead and Anchor3DHead are"
        )
    plain = type(head.bbox_coder) is DeltaXYZWLHRBBoxCoder
    if not (plain and head.use_sigmoid_cls and head.use_direction_classifier):
        raise UserError(
            f"this {name} is not exported",
            where,
            "one with sigmoid scores, a direction classifier and DeltaXYZWLHRBBoxCoder is",
        )
