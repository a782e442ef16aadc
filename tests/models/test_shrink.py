"""Smaller detectors are stock detectors that build and run."""

import pytest
import torch

from kd3d.errors import UserError
from kd3d.evaluation.efficiency import parameters
from kd3d.models.shrink import shrink_model
from kd3d.models.source import build_detector, resolve_detector
from tests import toy

SECOND = "mmdet3d::second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py"
CENTER_VOXEL = "mmdet3d::_base_/models/centerpoint_voxel01_second_secfpn_nus.py"


@pytest.mark.parametrize("width, ratio", [(0.5, 4), (0.25, 16)])
@pytest.mark.parametrize(
    "config", [toy.POINTPILLARS, "kd3d::_base_/models/centerpoint_pillar016_kitti.py"]
)
def test_parameters_shrink_with_the_square_of_the_width(config, width, ratio):
    full = parameters(build_detector(dict(config=config)))
    small = parameters(build_detector(dict(config=config, shrink=dict(width=width))))
    assert full / small == pytest.approx(ratio, rel=0.2)


@pytest.mark.parametrize("config", [SECOND, CENTER_VOXEL])
def test_sparse_encoders_shrink_consistently(config):
    model = resolve_detector(dict(config=config, shrink=dict(width=0.5, depth=0.5)))
    prefix = "pts_" if "pts_backbone" in model else ""
    middle, backbone = model[f"{prefix}middle_encoder"], model[f"{prefix}backbone"]
    assert middle.get("output_channels") == 64
    assert backbone["in_channels"] == 128
    assert middle["base_channels"] == 8
    assert backbone["layer_nums"] == [2, 2]


@pytest.mark.parametrize("family", toy.FAMILIES)
@pytest.mark.parametrize("change", [dict(width=0.3), dict(depth=0.01), dict(voxel_m=0.8)])
def test_shrunk_detectors_run_on_the_cpu(family, change):
    make = toy.FAMILIES[family]
    stock = make(width=1.0, depth=1.0) if family == "pointpillars" else make(width=0.5, depth=1.0)
    model = build_detector(shrink_model(stock, **change))
    data = toy.batch(box_dim=9 if family == "centerpoint" else 7)
    losses = toy.loss(model, data)
    assert torch.isfinite(toy.total(losses))
    toy.total(losses).backward()
    model.eval()
    with torch.no_grad():
        found = model(**model.data_preprocessor(data, False), mode="predict")
    assert len(found) == 2


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(width=0), "wanted a factor"),
        (dict(width=1.5), "wanted a factor"),
        (dict(voxel_m=0.3), "multiples of"),
    ],
)
def test_impossible_sizes_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        shrink_model(toy.centerpoint(), **change)


def test_unknown_parts_are_refused():
    model = toy.pointpillars()
    model["backbone"]["type"] = "DLANet"
    with pytest.raises(UserError, match="cannot shrink a DLANet"):
        shrink_model(model, width=0.5)
