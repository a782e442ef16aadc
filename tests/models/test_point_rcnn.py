"""Networks on points on the CPU: train, predict, are distilled, export as the stock ones."""

import copy
import math

import pytest
import torch
from mmdet3d.structures import PointData
from mmengine.config import Config

from kd3d.core.context import Context
from kd3d.core.distiller import Distiller
from kd3d.core.run import run_heads
from kd3d.core.taps import TapSet, aliases
from kd3d.engine.register import register_all
from kd3d.engine.runner import export_student
from kd3d.errors import UserError
from kd3d.evaluation.efficiency import parameters
from kd3d.models.shrink import shrink_model
from kd3d.models.source import build_detector, load_weights, resolve_detector
from tests import toy

register_all()
GRAPH = dict(type="pointdistiller", variant="point", queries=40, neighbours=8)
POINTS = dict(name="points", student="student:points", teacher="teacher:points")


def batch(**options):
    return toy.batch(box_dim=7, **options)


def distiller(kind="Frozen", **changes):
    torch.manual_seed(0)
    teacher = dict(type=kind, model=toy.pointrcnn(width=0.25))
    teacher |= dict(checkpoint=None) if kind == "Frozen" else {}
    model = Distiller(
        **(dict(student=toy.pointrcnn(), teachers=dict(teacher=teacher), method=GRAPH) | changes)
    )
    model.init_weights()
    return model


@pytest.mark.parametrize("channels, times", [(45, 8), (32, 16)])
def test_published_students(channels, times):
    """PointDistiller's students: all widths follow the features at the points, 128 at first."""
    full = build_detector(dict(config=toy.POINTRCNN))
    shrink = dict(width=channels / 128, divisor=1)
    small = build_detector(dict(config=toy.POINTRCNN, shrink=shrink))
    assert parameters(full) / parameters(small) == pytest.approx(times, rel=0.05)
    convolution = small.neck.FP_modules[-1].mlps[-1].conv
    assert convolution.out_channels == small.rpn_head.cls_layers[0].in_features == channels


def test_shrinking_refuses_what_is_not_there():
    stock = resolve_detector(dict(config=toy.POINTRCNN))
    for change in (dict(depth=0.5), dict(voxel_m=0.1)):
        with pytest.raises(UserError, match="no depth and no voxel_m"):
            shrink_model(stock, **change)
    stock["neck"]["type"] = "FPN"
    with pytest.raises(UserError, match="cannot shrink a FPN"):
        shrink_model(stock, width=0.5)


def test_trains_predicts_and_exports(tmp_path):
    model = distiller(method=None, teachers={})
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    first, second = [], []  # stages; the second regresses once a proposal fits an object
    for _ in range(20):
        losses = toy.loss(model, batch())
        assert all(torch.isfinite(v) for v in losses.values())
        optimizer.zero_grad()
        toy.total(losses).backward()
        optimizer.step()
        first.append(sum(v.item() for k, v in losses.items() if k.startswith("task.rpn")))
        second.append(losses["task.loss_bbox"].item())
    assert first[-1] < 0.5 * first[0]
    assert max(second) > 0
    model.eval()
    data = model.data_preprocessor(batch(), False)
    with torch.no_grad():
        found = [one.pred_instances_3d for one in model(**data, mode="predict")]
    assert sum(len(one.scores_3d) for one in found)
    assert all(torch.isfinite(one.bboxes_3d.tensor).all() for one in found)
    config = dict(model=dict(student=toy.pointrcnn(), type="Distiller", teachers={}))
    path = export_student(model, Config(dict(work_dir=str(tmp_path), **config)))
    stock = build_detector(toy.pointrcnn())
    load_weights(stock, path)
    stock.eval()
    with torch.no_grad():
        again = stock(**stock.data_preprocessor(batch(), False), mode="predict")
    for one, other in zip(found, again):
        assert torch.equal(one.bboxes_3d.tensor, other.pred_instances_3d.bboxes_3d.tensor)


def test_features_at_the_points_are_alike_in_place():
    """Teacher and student read the same points; the tap ends the teacher before its proposals."""
    model = build_detector(toy.pointrcnn()).eval()
    assert aliases(model) == {"points": "neck.fp_features"}
    taps = TapSet(model, ["points"])
    data = model.data_preprocessor(batch(), False)
    taps.arm()
    with torch.no_grad():
        samples = run_heads(model, data["inputs"], data["data_samples"])
    value = taps.pop()["points"]
    assert value.shape == (2, 16, len(data["inputs"]["points"][0]))
    assert len(samples) == 2
    assert "pred_instances_3d" in samples[0]
    assert "pred_instances_3d" not in data["data_samples"][0]


def test_other_aliases_are_refused_by_name():
    with pytest.raises(UserError, match="no tap 'bev' in PointRCNN"):
        distiller(method=dict(type="fitnets"))


def test_generic_feature_term_on_points():
    term = dict(POINTS, type="FeatureTerm", normalise_teacher=True)
    model = distiller(method=None, terms=[term])
    losses = toy.loss(model, batch())
    losses["kd.points.loss"].backward()
    assert losses["kd.points.loss"] > 0
    assert all(p.grad.abs().sum() > 0 for p in model.terms.parameters())
    assert model.student.neck.FP_modules[0].mlps[0].conv.weight.grad.abs().sum() > 0
    assert model.student.rpn_head.cls_layers[0].weight.grad is None
    with pytest.raises(UserError, match="kernel of 3 over points"):
        distiller(method=None, terms=[dict(term, adapter=dict(kernel=3, norm=True))])


def test_two_learners_share_a_batch():
    """Stock PointRCNN replaces the boxes in its samples; every learner has samples of its own."""
    model = distiller("Online")
    data = model.data_preprocessor(batch(), True)
    losses = model(**data, mode="loss")
    assert all(torch.isfinite(v) for v in losses.values())
    kinds = {k.rpartition(".")[0] for k in losses if k.startswith("task.")}
    assert kinds == {"task", "task.teacher"}


def test_a_frame_without_objects_has_a_finite_term():
    """Stock PointRCNN itself cannot train on one; the term does not need objects."""
    model = distiller()
    data = model.data_preprocessor(batch(boxes=0), True)
    context = Context.from_batch(data["inputs"], data["data_samples"]["student"], 0.0)
    student = torch.rand(2, 16, 30, requires_grad=True)
    value = model.terms["graph"](student, torch.rand(2, 32, 30), context)
    value.backward()
    assert math.isfinite(value.item())
    assert student.grad.abs().sum() > 0
    with pytest.raises(UserError, match="60 points against 40"):
        model.terms["graph"](student, torch.rand(2, 32, 20), context)


@pytest.mark.parametrize("keep, message", [(100, "100 to 720 points"), (0, "0 to 720 points")])
def test_clouds_of_other_lengths_are_refused_by_name(keep, message):
    model = distiller()
    data = copy.deepcopy(batch())
    data["inputs"]["points"][1] = data["inputs"]["points"][1][:keep]
    for training in (True, False):
        with pytest.raises(UserError, match=message):
            model.data_preprocessor(data, training)


def test_3dssd_runs_on_the_same_operations():
    """It samples by features and groups in shells: distances given, radii from below."""
    override = dict(
        backbone=dict(
            num_points=(128, 64, (16, 16)), fps_sample_range_lists=((-1), (-1), (32, -1))
        ),
        bbox_head=dict(
            vote_module_cfg=dict(num_points=16), vote_aggregation_cfg=dict(num_point=16)
        ),
    )
    torch.manual_seed(0)
    config = dict(config="mmdet3d::3dssd/3dssd_4xb4_kitti-3d-car.py", override=override)
    model = build_detector(config)
    data = batch()
    for sample in data["data_samples"]:
        sample.gt_instances_3d.labels_3d.zero_()  # cars only
        sample.gt_pts_seg = PointData()
    loss = toy.total(toy.loss(model, data))
    loss.backward()
    assert torch.isfinite(loss)
    assert model.backbone.SA_modules[0].mlps[0][0].conv.weight.grad.abs().sum() > 0
    model.eval()
    with torch.no_grad():
        found = model(**model.data_preprocessor(data, False), mode="predict")
    assert len(found) == 2
