"""Smaller detectors are stock detectors that build and run."""

import pytest
import torch

from kd3d.core.probe import probe
from kd3d.core.taps import TapSet
from kd3d.errors import UserError
from kd3d.evaluation.efficiency import parameters
from kd3d.models.shrink import shrink_model
from kd3d.models.source import build_detector, resolve_detector
from tests import toy
from tests.models import families

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


CHANGES = {
    "width": dict(width=0.3),
    "depth": dict(depth=0.01),
    "voxel": dict(coarser=2),
    "all": dict(width=0.5, depth=0.5, coarser=2),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_shrunk_detectors_train_and_predict_on_the_cpu(family, change):
    torch.manual_seed(0)
    stock, change = families.small(family), dict(CHANGES[change])
    voxel_m = families.FAMILIES[family][1] * change.pop("coarser", 1)
    model = build_detector(shrink_model(stock, voxel_m=voxel_m, **change))
    if change:
        assert parameters(model) < parameters(build_detector(stock))
    data = families.batch(family)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = toy.loss(model, data)
    toy.total(losses).backward()
    assert torch.isfinite(toy.total(losses))
    weights = [p for k, p in model.named_parameters() if "weight" in k and ".vel." not in k]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in weights)
    optimizer.step()
    model.eval()
    with torch.no_grad():
        found = model(**model.data_preprocessor(data, False), mode="predict")
    assert len(found) == 2


@pytest.mark.parametrize("family, voxel_m, stride", [("pointpillars", 0.8, 2), ("second", 0.4, 8)])
def test_a_coarser_voxel_makes_a_coarser_map_of_the_same_range(family, voxel_m, stride):
    model = build_detector(shrink_model(families.small(family), voxel_m=voxel_m))
    taps = TapSet(model, ["bev"])
    probe(model, taps)
    spec = taps.specs["bev"]
    assert spec.extent_m == (0.0, -6.4, 19.2, 6.4)
    assert spec.shape == (round(12.8 / voxel_m / stride), round(19.2 / voxel_m / stride))


def test_groups_of_a_deformable_head_must_divide_its_channels():
    stock = families.small("centerpoint-dcn")
    with pytest.raises(UserError, match="19 channels cannot be split into the 4 groups"):
        shrink_model(stock, width=0.3, divisor=1)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(width=0), "wanted a factor"),
        (dict(width=1.5), "wanted a factor"),
        (dict(voxel_m=0.5), "multiples of"),
        (dict(voxel_m=0.3), "the model's own 0.4 m"),
        (dict(voxel_m=float("nan")), "wanted an edge"),
        (dict(voxel_m=20), "wanted an edge"),
        (dict(width=0.5, divisor=0), "wanted 1 or more"),
    ],
)
def test_impossible_sizes_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        shrink_model(toy.centerpoint(), **change)


@pytest.mark.parametrize("change", [dict(width=0.5), dict(depth=0.5), dict(voxel_m=0.8)])
def test_unknown_parts_are_refused(change):
    model = toy.pointpillars()
    model["backbone"]["type"] = "DLANet"
    with pytest.raises(UserError, match="cannot shrink a DLANet, only SECOND"):
        shrink_model(model, **change)
