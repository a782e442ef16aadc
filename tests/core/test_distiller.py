"""The distiller's promises on stock detectors: nothing leaks or drifts, everything exports."""

import copy
import subprocess
import sys

import pytest
import torch
from mmengine.registry import MODELS

from kd3d.core.distiller import Distiller
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.models.source import build_detector
from tests import toy

register_all()
TEACHER = dict(teacher=dict(type="Frozen", checkpoint=None, model=toy.centerpoint(width=0.5)))
METHOD = [dict(type="response", scores=1.0), dict(type="fitnets")]


def distiller(**changes):
    torch.manual_seed(0)
    config = (
        dict(student=toy.centerpoint(), teachers=copy.deepcopy(TEACHER), method=METHOD) | changes
    )
    return MODELS.build(dict(type="Distiller", **config))


def train_steps(model, steps=3, boxes=3):
    torch.manual_seed(1)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    for step in range(steps):
        losses = toy.loss(model, toy.batch(seed=step, boxes=boxes))
        optimizer.zero_grad()
        toy.total(losses).backward()
        optimizer.step()
    return losses


def test_teacher_is_off_the_tree_and_never_changes():
    model = distiller()
    teacher = model.teachers["teacher"].model
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    ours = {id(p) for p in model.parameters()}
    assert not any(id(p) in ours for p in teacher.parameters())
    model.init_weights()
    losses = train_steps(model)
    assert {"kd.response.loss", "kd.bev.loss", "kd.bev.weight", "task.task0.loss_bbox"} <= set(
        losses
    )
    for key, value in teacher.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert not any(m.training for m in teacher.modules())
    assert all(p.grad is None for p in teacher.parameters())
    assert copy.deepcopy(model).teachers["teacher"].model is teacher


def test_gradients_reach_student_and_adapters():
    model = distiller()
    losses = toy.loss(model, toy.batch())
    (losses["kd.bev.loss"] + losses["kd.response.loss"]).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.terms.parameters())
    missing = [n for n, p in model.student.named_parameters() if p.grad is None and "vel" not in n]
    assert not missing


@pytest.mark.parametrize("family", toy.FAMILIES)
def test_weight_zero_trains_bit_for_bit_like_the_stock_detector(family):
    """Also: no global random state is used, and predict is the stock path."""
    config = toy.FAMILIES[family]
    box_dim = 9 if family == "centerpoint" else 7
    wide = dict(teacher=dict(type="Frozen", checkpoint=None, model=config(width=0.5)))
    method = [
        dict(type="response", scores=0.0),
        dict(type="fitnets", weight=0.0),
        dict(type="pointdistiller", weight=0.0, queries=20, neighbours=4),
    ]
    states = []
    for kind in ("stock", "distiller"):
        torch.manual_seed(0)
        if kind == "stock":
            model = build_detector(config())
        else:
            model = Distiller(config(), wide, method)
        model.init_weights()
        noise = torch.rand(1)
        optimizer = torch.optim.AdamW(getattr(model, "student", model).parameters(), lr=1e-3)
        for step in range(2):
            losses = toy.loss(model, toy.batch(seed=step, box_dim=box_dim))
            optimizer.zero_grad()
            toy.total(losses).backward()
            optimizer.step()
        model.eval()
        data = model.data_preprocessor(toy.batch(box_dim=box_dim), False)
        with torch.no_grad():
            boxes = model(**data, mode="predict")[0].pred_instances_3d
        states.append((noise, model.state_dict(), boxes))
    (noise_a, stock, boxes_a), (noise_b, ours, boxes_b) = states
    assert torch.equal(noise_a, noise_b)
    for key, value in stock.items():
        assert torch.equal(value, ours[key]), key
    assert torch.equal(boxes_a.bboxes_3d.tensor, boxes_b.bboxes_3d.tensor)


def test_checkpoint_has_exactly_the_stock_keys_and_loads_both_ways():
    model = distiller()
    state = model.state_dict()
    stock = build_detector(toy.centerpoint())
    ours = {k for k in state if not k.startswith("kd.")}
    assert ours == set(stock.state_dict())
    assert any(k.startswith("kd.terms.bev.") for k in state)
    again = distiller()
    train_steps(again, 1)
    assert not again.load_state_dict(state).missing_keys
    for key, value in again.state_dict().items():
        assert torch.equal(value, state[key]), key
    from mmengine.runner.checkpoint import load_state_dict

    third = distiller()
    for parameter in stock.parameters():
        torch.nn.init.constant_(parameter, 0.5)
    load_state_dict(third, stock.state_dict(), strict=False)
    assert all((p == 0.5).all() for p in third.student.parameters())


def test_student_file_loads_strictly_without_kd3d(tmp_path):
    from mmengine.config import Config

    from kd3d.engine.runner import export_student

    model = distiller()
    path = export_student(
        model,
        Config(
            dict(
                work_dir=str(tmp_path),
                model=dict(type="Distiller", student=toy.centerpoint(), teachers={}),
            )
        ),
    )
    script = f"""
import sys, torch
from mmengine.config import Config
from mmdet3d.utils import register_all_modules
from mmdet3d.registry import MODELS
register_all_modules()
model = MODELS.build(Config.fromfile({str(path.with_name("student_config.py"))!r}).model)
checkpoint = torch.load({str(path)!r}, weights_only=True)
print(model.load_state_dict(checkpoint['state_dict'], strict=True))
assert not any(name.split('.')[0] == 'kd3d' for name in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert "All keys matched" in done.stdout, done.stderr[-2000:]


@pytest.mark.parametrize("boxes", [0, 3])
def test_batch_without_objects_gives_finite_losses(boxes):
    losses = toy.loss(distiller(), toy.batch(boxes=boxes))
    assert all(torch.isfinite(v).all() for v in losses.values())
    assert (losses["kd.bev.loss"] == 0) == (boxes == 0)
    toy.total(losses).backward()


def test_schedule_moves_the_weight_and_zero_keeps_the_graph():
    model = distiller(method=[dict(type="fitnets", weight=dict(type="stop", value=2.0, at=0.5))])
    assert toy.loss(model, toy.batch())["kd.bev.weight"] == 2.0
    model.set_progress(0.6)
    losses = toy.loss(model, toy.batch())
    assert losses["kd.bev.loss"] == 0
    losses["kd.bev.loss"].backward()
    assert all(p.grad is not None for p in model.terms.parameters())


def test_teacher_with_other_pillars_is_aligned_in_metres():
    teacher = dict(teacher=dict(type="Frozen", checkpoint=None, model=toy.centerpoint(voxel_m=0.2)))
    model = distiller(
        teachers=teacher, method=[dict(type="fitnets"), dict(type="response", boxes=0)]
    )
    assert model.taps["student"].specs["bev"].cell_m == pytest.approx((0.8, 0.8))
    teacher_spec = model.teachers["teacher"].taps.specs["bev"]
    assert teacher_spec.cell_m == pytest.approx((0.4, 0.4))
    losses = toy.loss(model, toy.batch())
    assert all(torch.isfinite(v).all() for v in losses.values())
    with pytest.raises(UserError, match="other grids"):
        distiller(teachers=teacher)


def test_identical_teacher_sees_the_students_voxels_unharmed():
    """PillarFeatureNet(legacy=True) writes into its input: the teacher needs a copy."""
    model = Distiller(
        toy.pointpillars(),
        dict(teacher=dict(type="Frozen", checkpoint=None, model=toy.pointpillars())),
        terms=[
            dict(
                name="same",
                student="student:pillars",
                teacher="teacher:pillars",
                adapter=dict(projection="never"),
            )
        ],
    )
    model.teachers["teacher"].model.load_state_dict(model.student.state_dict())
    model.student.eval()
    data = model.data_preprocessor(toy.batch(box_dim=7), True)
    assert model(**data, mode="loss")["kd.same.loss"] == 0


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(terms=[dict(name="a", student="student:nek", teacher="teacher:bev")]), "pts_neck"),
        (
            dict(terms=[dict(name="a", student="student:bev", teacher="tacher:bev")]),
            "did you mean 'teacher'",
        ),
        (dict(terms=[dict(name="a", student="student:bev", teacher="teacher:pillars")]), "rows of"),
        (dict(terms=[dict(name="my_loss", student="student:bev", teacher="teacher:bev")]), "loss"),
        (dict(method=dict(type="fitnet")), "fitnets"),
        (dict(method=dict(type="fitnets", wight=1)), "wight"),
        (
            dict(
                teachers=dict(
                    teacher=dict(type="Frozen", checkpoint="/nowhere.pth", model=toy.centerpoint())
                )
            ),
            "file not found",
        ),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(UserError, match=message):
        distiller(**change)


def test_cloud_out_of_range_is_named():
    data = toy.batch()
    data["inputs"]["points"][1][:, 0] = -100.0
    with pytest.raises(UserError, match="no point of this frame"):
        toy.loss(distiller(), data)
