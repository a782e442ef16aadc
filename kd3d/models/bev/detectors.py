"""All that registers with mmdet3d's ``MODELS``."""

from kd3d.models.bev.bevdet import BEVDet
from kd3d.models.bev.depth_net import CameraAwareDepthNet, DepthNet
from kd3d.models.bev.depth_pretraining import DepthPretraining
from kd3d.models.bev.fusion import BEVFuser, BEVFusionDetector
from kd3d.models.bev.label_detector import LabelBackbone, LabelDetector
from kd3d.models.bev.view_transform import LiftSplat

__all__ = [
    "BEVDet",
    "BEVFuser",
    "BEVFusionDetector",
    "CameraAwareDepthNet",
    "DepthNet",
    "DepthPretraining",
    "LabelBackbone",
    "LabelDetector",
    "LiftSplat",
]
