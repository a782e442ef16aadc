"""The image side of a BEVDet alone: what it learns, and that a detector begins with it."""

import copy

import pytest
import torch

from kd3d.core.distiller import Distiller
from kd3d.errors import UserError
from kd3d.models import tiny_bev
from kd3d.models.source import build_detector
from tests.models.test_bevdet import build, preprocessed

PARTS = ("img_backbone", "img_neck", "img_depth_net")


def images_alone(**changes):
    left_out = dict.fromkeys(("init_cfg", "pts_backbone", "pts_neck", "pts_bbox_head"))
    return tiny_bev.bevdet() | left_out | dict(type="DepthPretraining") | changes


def test_it_learns_the_detectors_depth_and_nothing_else():
    detector, alone = build(tiny_bev.bevdet()), build(images_alone())
    alone.load_state_dict(detector.state_dict(), strict=False)
    batch = preprocessed(detector, True)
    both = [one.train()(**copy.deepcopy(batch), mode="loss") for one in (detector, alone)]
    assert set(both[1]) == {"loss_depth"}
    assert both[1]["loss_depth"] == both[0]["loss_depth"]
    both[1]["loss_depth"].backward()
    context = alone.view_transform.bins.count  # the depth net's last channels are the context
    for name, parameter in alone.named_parameters():
        assert name.startswith(PARTS)
        if name.startswith("img_depth_net.conv"):
            assert parameter.grad[:context].any()
            assert not parameter.grad[context:].any()
        assert parameter.grad is not None


def test_a_detector_begins_with_its_weights(tmp_path, capsys):
    alone, file = build(images_alone()), tmp_path / "student.pth"
    torch.save({"state_dict": alone.state_dict()}, file)
    model = tiny_bev.bevdet()
    for part in PARTS:
        model[part]["init_cfg"] = dict(type="Pretrained", checkpoint=str(file), prefix=f"{part}.")
    distiller = Distiller(student=model)
    capsys.readouterr()
    distiller.init_weights()
    told = capsys.readouterr()
    assert "Loads checkpoint" in told.err
    assert "Loads checkpoint" not in told.out
    weights = distiller.student.state_dict()
    for name, value in alone.state_dict().items():
        assert torch.equal(weights[name], value)


def test_what_it_cannot_do_is_refused():
    with pytest.raises(UserError, match="give a depth loss"):
        build_detector(images_alone(depth_loss=None))
    with pytest.raises(UserError, match="pts_neck would not be trained"):
        build_detector(images_alone(pts_neck=tiny_bev.bevdet()["pts_neck"]))
    with pytest.raises(UserError, match="it finds no boxes"):
        build(images_alone()).predict({}, [])
