"""Detectors that inherit, and teachers whose every tensor is another."""

import torch

from kd3d.models.inherit.graph import is_norm
from kd3d.models.source import build_detector
from tests import toy
from tests.models.sparse import centerpoint_voxel, second


def two_layer_pillars(**shrink):
    """PointPillars whose second pillar layer reads [each point's features, their maximum]."""
    model = toy.pointpillars(**shrink)
    model["voxel_encoder"]["feat_channels"] = [24, *model["voxel_encoder"]["feat_channels"]]
    return model


DETECTORS = {
    "pointpillars": toy.pointpillars,
    "two_layer_pillars": two_layer_pillars,
    "second": second,
    "centerpoint_pillar": toy.centerpoint,
    "centerpoint_voxel": centerpoint_voxel,
}


class Given:
    """Stands for a frozen teacher with these weights."""

    trains = follows_student = False
    checkpoint = None

    def __init__(self, model):
        self.model = model


def inherit(kind, student, teacher, **arguments):
    found = kind(student, {"teacher": Given(teacher)}, **arguments)
    found.apply(student)
    return found


def trained(config, seed=0):
    """A detector in eval mode whose every tensor differs from its initial value."""
    torch.manual_seed(seed)
    model = build_detector(config)
    model.init_weights()
    with torch.no_grad():
        for module in model.modules():
            if is_norm(module):
                sign = torch.where(torch.rand_like(module.weight) < 0.2, -1.0, 1.0)
                module.weight.uniform_(0.5, 1.5).mul_(sign)
                module.bias.uniform_(-0.2, 0.5)
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
            elif getattr(module, "bias", None) is not None and module.bias.ndim == 1:
                module.bias.uniform_(-0.2, 0.2)
    return model.eval()
