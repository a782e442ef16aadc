"""Exported detectors of every kind find what the stock ones find; others are refused."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config

from kd3d.data.image_augmentation import centred
from kd3d.deploy.convert import SUFFIX, write_graph
from kd3d.deploy.export import _write_anchors, class_names
from kd3d.deploy.frames import frames_for
from kd3d.deploy.graphs import make_parts
from kd3d.deploy.parity import compare
from kd3d.deploy.refusals import CAMERAS, kind_of
from kd3d.deploy.runtime.detector import Detector
from kd3d.deploy.runtime.lift import Rig
from kd3d.deploy.spec import grid_anchors, model_spec, padded_size
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.fileio import write_json
from kd3d.models import tiny, tiny_bev
from kd3d.models.source import build_detector

SIZE = (60, 128)  # padded to 64


def circles(model):
    model["test_cfg"]["pts"] |= dict(nms_type="circle", min_radius=[4.0], post_max_size=20)
    return model


def upright(model):
    model["test_cfg"] |= dict(use_rotate_nms=False, nms_thr=0.2, nms_pre=200, max_num=30)
    return model


def two_tasks(model):
    head = model["pts_bbox_head"]
    head["tasks"] = [
        dict(num_class=1, class_names=["car"]),
        dict(num_class=2, class_names=["truck", "pedestrian"]),
    ]
    head["bbox_coder"]["max_num"] = 20
    return model


def aware(model):
    net = model["img_depth_net"] | dict(type="CameraAwareDepthNet", mid_channels=16, blocks=1)
    return model | dict(img_depth_net=net)


CASES = {
    "centerpoint": (tiny.centerpoint, "onnx"),
    "centerpoint circles": (lambda: circles(tiny.centerpoint()), "onnx"),
    "centerpoint torchscript": (tiny.centerpoint, "torchscript"),
    "pointpillars": (tiny.pointpillars, "onnx"),
    "pointpillars upright": (lambda: upright(tiny.pointpillars()), "onnx"),
    "bevdet two tasks": (lambda: two_tasks(tiny_bev.bevdet()), "onnx"),
    "bevdepth": (lambda: aware(tiny_bev.bevdet()), "onnx"),
    "bevdet torchscript": (tiny_bev.bevdet, "torchscript"),
}


def built(make):
    """A detector whose random head is unsure enough to give boxes, and batch norms that do work."""
    register_all()
    torch.manual_seed(0)
    model = build_detector(make())
    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    heads = [m for name, m in model.named_modules() if name.endswith(("conv_cls", "heatmap.1"))]
    for head in heads:
        torch.nn.init.normal_(head.weight, 0, 0.3)
        torch.nn.init.constant_(head.bias, -1.0)
    assert heads
    return model.eval()


def config():
    pipeline = [dict(type="LoadSurroundImages", size=SIZE)]
    return Config(dict(test_dataloader=dict(dataset=dict(data_root="none", pipeline=pipeline))))


def exported(model, folder, form):
    kind = kind_of(model, "here")
    size = SIZE if kind == CAMERAS else None
    parts = make_parts(model, kind, padded_size(model, size) if size else None)
    for part in parts:
        write_graph(part, folder, form)
    spec = model_spec(model, kind, parts, SUFFIX[form], size, class_names(model, config()))
    write_json(folder / "model.json", spec)
    if spec["head"]["type"] == "anchors":
        _write_anchors(folder, grid_anchors(model, parts))
    return kind, parts, Detector(folder)


@pytest.mark.parametrize("name", CASES)
def test_same_tensors_and_same_detections(name, tmp_path):
    make, form = CASES[name]
    model = built(make)
    kind, parts, detector = exported(model, tmp_path, form)
    found = compare(model, parts, detector, frames_for(config(), model, kind, 2).batches)
    assert found["tensors"]
    for tensor, one in found["tensors"].items():
        assert one["error"] <= 1e-5 * max(1.0, one["magnitude"]), tensor
    boxes = found["detections"]
    assert boxes["torch"] == boxes["exported"] == boxes["same"] > 10
    assert boxes["box_error"] < 1e-4


def test_a_wrong_export_is_noticed(tmp_path):
    """The comparison can fail: other weights give other tensors and other boxes."""
    model = built(tiny.centerpoint)
    kind, parts, detector = exported(model, tmp_path, "onnx")
    before = copy.deepcopy(detector.spec["preprocess"])
    detector.spec["preprocess"]["middle_offset"][0] += 0.2
    batches = frames_for(config(), model, kind, 1).batches
    found = compare(model, parts, detector, batches)["detections"]
    assert found["same"] < found["torch"]
    detector.spec["preprocess"] = before
    with torch.no_grad():
        next(parts[0].module.parameters()).add_(0.1)
    found = compare(model, parts, detector, batches)
    assert max(one["error"] for one in found["tensors"].values()) > 1e-3


REFUSED = [
    (tiny.second, "sparse convolutions .*pillars"),
    (tiny.centerpoint_voxel, "sparse convolutions"),
    (tiny.pointrcnn, "PointRCNN is neither a BEVDet nor a detector on pillars"),
    (tiny_bev.bevfusion, "fusion detector.*camera or a LiDAR student"),
]


@pytest.mark.parametrize("make, words", REFUSED, ids=[make.__name__ for make, _ in REFUSED])
def test_what_cannot_be_exported_is_refused_with_the_alternative(make, words):
    register_all()
    with pytest.raises(UserError, match=words) as error:
        kind_of(build_detector(make()), "model.py")
    assert str(error.value).startswith("model.py: ")
    assert " -> " in str(error.value)


def test_clouds_of_any_size_run(tmp_path):
    """No point in range, one, and more pillars than the example had."""
    _, _, detector = exported(built(tiny.centerpoint), tmp_path, "onnx")
    for count in (0, 1, 5000):
        points = np.random.default_rng(0).uniform([0, -6, -3, 0], [19, 6, 1, 1], (count, 4))
        found = detector.detect_points(points)
        assert np.isfinite(found["boxes"]).all()
        assert found["boxes"].shape == (len(found["scores"]), 9)


def test_raw_images_are_fitted_as_the_pipeline_does(tmp_path):
    """From pictures of another size, as they were taken, to the boxes of the fitted ones."""
    _, _, detector = exported(built(tiny_bev.bevdet), tmp_path, "onnx")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (90, 160, 3), dtype=np.uint8) for _ in range(3)]
    known, fit = tiny_bev.rig(), centred((90, 160), SIZE)
    found = detector.detect_images(images, known["lidar2cam"], known["cam2img"])
    rig = Rig.of(known["lidar2cam"], known["cam2img"], [fit.matrix((90, 160))] * 3)
    wanted = detector.detect_fitted(np.stack([fit(image) for image in images]), rig)
    assert len(wanted["scores"]) > 10
    np.testing.assert_array_equal(found["boxes"], wanted["boxes"])
