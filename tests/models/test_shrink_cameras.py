"""Smaller camera and fusion detectors build, train and predict; budgets are met."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config

from kd3d.core.probe import inputs_of
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.evaluation.efficiency import parameters
from kd3d.models import tiny_bev
from kd3d.models.compact import FLOPS, PARAMETERS, compact, cost
from kd3d.models.shrink import shrink_model
from kd3d.models.source import build_detector, resolve_detector
from tests import toy
from tests.engine.tiny import failure, run

register_all()
FULL = ("bevdet_r18_nus", "bevdet_tiny_nus", "bevfusion_r50_nus")
SIZE = (64, 128)


def full(name):
    return resolve_detector(dict(config=f"kd3d::_base_/models/{name}.py"))


def aware():
    """A camera-aware depth net, a feature pyramid, two layers of voxels."""
    model = copy.deepcopy(tiny_bev.bevdet())
    model["img_neck"] = dict(
        type="mmdet.FPN", in_channels=[16, 32, 64], out_channels=24, num_outs=3
    )
    net = dict(type="CameraAwareDepthNet", in_channels=24, context_channels=16, mid_channels=16)
    model["img_depth_net"] = net | dict(blocks=2, dilated=False)
    model["view_transform"]["z"] = [-5.0, 3.0, 4.0]
    model["pts_backbone"]["in_channels"] = 32
    return model


def mobile():
    model = copy.deepcopy(tiny_bev.bevdet())
    model["img_backbone"] = dict(type="mmdet.MobileNetV2", out_indices=(2, 4), widen_factor=0.5)
    model["img_neck"] |= dict(in_channels=[16, 48], out_channels=[8, 8], upsample_strides=[1, 2])
    model["img_depth_net"]["in_channels"] = 16
    return model


MADE = {
    "camera": tiny_bev.bevdet,
    "aware": aware,
    "mobile": mobile,
    "gated": tiny_bev.bevfusion,
    "concat": lambda: tiny_bev.bevfusion(mode="concat"),
}


@pytest.fixture(scope="module")
def points():
    low, high = np.array(tiny_bev.RANGE[:3]), np.array(tiny_bev.RANGE[3:])
    cloud = np.random.default_rng(0).uniform([*low, 0], [*high, 1], (500, 4))
    return cloud.astype(np.float32)


@pytest.mark.parametrize("name", FULL)
def test_parameters_shrink_with_the_square_of_the_width(name):
    stock = full(name)
    small = shrink_model(stock, width=0.5)
    assert small["view_transform"] == stock["view_transform"]
    assert small["img_backbone"]["init_cfg"] is None
    share = parameters(build_detector(small)) / parameters(build_detector(stock))
    assert share == pytest.approx(0.25, rel=0.2)


@pytest.mark.parametrize("change", [dict(width=0.5), dict(width=0.3, depth=0.5, divisor=2)])
@pytest.mark.parametrize("name", MADE)
def test_shrunk_detectors_train_and_predict(name, change):
    torch.manual_seed(0)
    stock = MADE[name]()
    model = build_detector(shrink_model(stock, **change))
    assert parameters(model) < parameters(build_detector(stock))
    data = tiny_bev.batch()
    data["inputs"] = {key: data["inputs"][key] for key in inputs_of(model)}
    losses = toy.loss(model, data)
    toy.total(losses).backward()
    assert torch.isfinite(toy.total(losses))
    learns = {k.split(".")[0] for k, p in model.named_parameters() if p.grad is not None}
    assert learns == {k.split(".")[0] for k, _ in model.named_parameters()}
    model.eval()
    with torch.no_grad():
        found = model(**model.data_preprocessor(data, False), mode="predict")
    assert len(found) == 2


def test_depth_takes_layers_out_everywhere():
    small = shrink_model(aware(), depth=0.5)
    assert small["pts_backbone"]["layer_nums"] == [1, 1]
    assert small["img_depth_net"]["blocks"] == 1
    for before, after in ((152, 101), (101, 50), (50, 50), (34, 18), (18, 18)):
        model = aware()
        model["img_backbone"] |= dict(depth=before, init_cfg=dict(type="Pretrained"))
        image = shrink_model(model, depth=0.5)["img_backbone"]
        assert image["depth"] == after
        assert (image["init_cfg"] is None) == (before != after)


@pytest.mark.parametrize("name, unit", [("camera", PARAMETERS), ("gated", FLOPS)])
def test_the_found_width_is_the_nearest_of_all(name, unit, points):
    stock = MADE[name]()
    target = dict(params=0.4) if unit == PARAMETERS else dict(flops=0.4)
    found = compact(stock, points, divisor=1, image_size=SIZE, **target)
    wanted = 0.4 * found.before.total(unit)
    miss = abs(found.after.total(unit) - wanted)
    assert miss < 0.15 * wanted
    assert found.model == shrink_model(stock, found.width, divisor=1)
    for step in (-0.05, 0.05):
        other = cost(shrink_model(stock, found.width + step, divisor=1), points, SIZE)
        assert abs(other.total(unit) - wanted) >= miss
    parts = ["img_backbone", "img_neck", "img_depth_net", "pts_backbone", "pts_neck"]
    assert list(found.after.flops)[:3] == parts[:3]
    assert all(found.after.flops[part] < found.before.flops[part] for part in parts)
    assert sum(found.after.parameters.values()) == parameters(build_detector(found.model))


def test_images_twice_as_large_cost_the_image_parts_four_times_as_much(points):
    small, large = (cost(tiny_bev.bevdet(), points, size).flops for size in ((64, 128), (128, 256)))
    for part in ("img_backbone", "img_neck", "img_depth_net"):
        assert large[part] == 4 * small[part]
    assert large["pts_backbone"] == small["pts_backbone"]


def test_what_cannot_be_shrunk_is_refused():
    with pytest.raises(UserError, match="cells of a lifted map"):
        shrink_model(tiny_bev.bevdet(), voxel_m=3.2)
    for part, kind in (("img_backbone", "mmdet.SwinTransformer"), ("img_depth_net", "Other")):
        model = copy.deepcopy(tiny_bev.bevdet())
        model[part]["type"] = kind
        with pytest.raises(UserError, match=f"cannot shrink a {kind}"):
            shrink_model(model, width=0.5)


def test_the_written_config_is_a_smaller_camera_detector(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = "kd3d::_base_/models/bevdet_small_demo.py"
    printed = run(["shrink", config, "--params", "0.3", "--out", "small.py"])
    assert printed.splitlines()[-1] == "small.py"
    written = Config.fromfile("small.py", import_custom_modules=False)
    assert "kd3d.models.bev.bevdet" in written.custom_imports.imports
    stock = full("bevdet_small_demo")
    share = parameters(build_detector(written.model)) / parameters(build_detector(stock))
    assert share == pytest.approx(0.3, rel=0.1)
    small = ["shrink", config, "--width", "0.5", "--image-size", "8", "8"]
    assert "wanted 32 pixels" in failure(small)
