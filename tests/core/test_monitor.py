"""One look at a step: right figures, no effect on the training, clear advice."""

import copy
import re

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from kd3d.core.agreement import Agreement, agree
from kd3d.core.context import Context
from kd3d.core.distiller import Distiller
from kd3d.core.gradients import Comparison, last_parameters
from kd3d.core.monitor import Monitor, TermReport
from kd3d.core.probe import bev_grid
from kd3d.core.run import run_heads
from kd3d.core.spec import describe
from kd3d.engine.diagnostics import Advice, symptoms
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.masks.boxes import gaussian_mask
from tests import toy

register_all()
METHODS = [dict(type="fitnets", weight=3.0), dict(type="response")]


def distiller(family="centerpoint", **options):
    torch.manual_seed(0)
    make = toy.FAMILIES[family]
    teachers = dict(teacher=dict(type="Frozen", checkpoint=None, model=make(width=0.5)))
    model = Distiller(make(), **(dict(teachers=teachers, method=METHODS) | options))
    return model


def data(family="centerpoint", **options):
    return toy.batch(box_dim=9 if family == "centerpoint" else 7, **options)


def watched(model, batch):
    """Return the losses of one watched step and what was seen."""
    monitor = Monitor()
    monitor.attach(model)
    losses = toy.loss(model, batch)
    monitor.detach()
    return losses, monitor


def train(model, watch, steps=2):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(steps):
        batch = data(seed=step)
        losses = watched(model, batch)[0] if watch else toy.loss(model, batch)
        optimizer.zero_grad()
        toy.total(losses).backward()
        optimizer.step()
    return model.state_dict() | {"random": torch.get_rng_state()}


def test_watching_changes_no_bit_of_a_training_with_a_checkpointed_block(monkeypatch):
    """The block is run again by the extra gradients: its statistics must not move."""
    states = []
    for watch in (False, True):
        model = distiller()
        plain = model.student.pts_backbone.forward
        again = lambda x, plain=plain: checkpoint(plain, x, use_reentrant=False)  # noqa: E731
        monkeypatch.setattr(model.student.pts_backbone, "forward", again)
        states.append(train(model, watch))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_no_gradient_is_left_behind_and_the_teacher_stops_early_again():
    model = distiller(method=METHODS[:1])
    teacher = model.teachers["teacher"]
    calls = []
    teacher.model.pts_bbox_head.register_forward_hook(lambda *_: calls.append(1))
    _, monitor = watched(model, data())
    assert len(calls) == 1
    assert monitor.teachers
    assert all(p.grad is None for p in model.parameters())
    toy.loss(model, data())
    assert len(calls) == 1
    assert model.monitor is None
    assert len(teacher.model.pts_bbox_head._forward_hooks) == 1


@pytest.mark.parametrize("family", toy.FAMILIES)
def test_gradient_figures_equal_those_of_separate_backward_passes(family):
    model, batch = distiller(family), data(family)
    found = watched(model, batch)[1].terms
    neck = getattr(model.student, "pts_neck", None) or model.student.neck
    head = getattr(model.student, "pts_bbox_head", None) or model.student.bbox_head
    final = [
        m
        for m in head.modules()
        if getattr(m, "bias", None) is not None and not hasattr(m, "running_mean")
    ]
    places = {
        "bev": [p for block in neck.deblocks for p in block.parameters()],
        "response": [p for module in final for p in module.parameters()],
    }

    def gradient(pick, place):
        model.zero_grad()
        toy.total({k: v for k, v in toy.loss(model, batch).items() if pick(k)}).backward()
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in place]
        return torch.cat([g.flatten() for g in grads]).double()

    for name, place in places.items():
        task = gradient(lambda k: k.startswith("task."), place)
        kd = gradient(lambda k, name=name: k == f"kd.{name}.loss", place)
        seen = found[name].gradient
        if name == "bev":
            assert seen.shared == len(task)
        assert seen.ratio == pytest.approx((kd.norm() / task.norm()).item(), rel=1e-4)
        assert seen.cosine == pytest.approx(
            (torch.dot(kd, task) / kd.norm() / task.norm()).item(), abs=1e-4
        )


def test_coverage_adapter_norm_and_similarity():
    model, batch = distiller(), data()
    report = watched(model, batch)[1].terms["bev"]
    spec = model.taps["student"].specs["bev"]
    boxes = [s.gt_instances_3d.bboxes_3d.tensor for s in batch["data_samples"]]
    mask = gaussian_mask(boxes, spec.extent_m, spec.shape)
    assert report.coverage == pytest.approx((mask > 0).float().mean().item())
    parameters = torch.cat([p.flatten() for p in model.terms["bev"].parameters()])
    assert report.adapter_norm == pytest.approx(parameters.norm().item(), rel=1e-5)
    assert report.cka < 0.9
    same = distiller(
        teachers=dict(teacher=dict(type="Frozen", checkpoint=None, model=toy.centerpoint()))
    )
    same.teachers["teacher"].model.load_state_dict(same.student.state_dict())
    same.student.eval()
    same.student.train = lambda mode=True: same.student  # teacher and student alike
    assert watched(same, batch)[1].terms["bev"].cka == pytest.approx(1.0)


def test_last_parameters_pass_casts_and_stop_at_weights():
    trunk = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.Linear(4, 5), torch.nn.BatchNorm1d(5)
    )
    x = torch.randn(6, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = trunk(x).relu()
    found = {id(p) for p in last_parameters({"a": [value]})}
    assert found == {id(p) for module in trunk[1:] for p in module.parameters()}


def test_reentrant_checkpoints_are_refused_with_a_sentence(monkeypatch):
    model = distiller()
    plain = model.student.pts_neck.forward
    monkeypatch.setattr(
        model.student.pts_neck,
        "forward",
        lambda xs: [checkpoint(lambda *x: plain(x)[0], *xs, use_reentrant=True)],
    )
    with pytest.raises(UserError, match="reentrant"):
        watched(model, data())


def head_output(model, family, classes, shift=0):
    """Raw outputs of the toy head that are sure of the boxes' cells, and nowhere else."""
    batch = model.data_preprocessor(data(family), True)
    truth = [s.gt_instances_3d for s in batch["data_samples"]["student"]]
    context = Context(
        [t.bboxes_3d.tensor[:, :7] for t in truth], [t.labels_3d for t in truth], {}, 0.0
    )
    with torch.no_grad():
        head = run_heads(
            model.student, batch["inputs"]["student"], batch["data_samples"]["student"]
        )
    spec = describe(head, bev_grid(model.student))
    logits = head[0][0]["heatmap"] if family == "centerpoint" else head[0][0]
    logits.fill_(-9.0)
    x_min, y_min, *_ = spec.extent_m
    for i, (boxes, labels) in enumerate(zip(context.boxes, context.labels)):
        for box, label in zip(boxes, labels):
            column = int((box[0] - x_min) / spec.cell_m[0]) + shift
            row = int((box[1] - y_min) / spec.cell_m[1])
            if 0 <= column < spec.shape[1]:
                # the second of an anchor head's anchors: channels are anchor * classes + class
                first = 0 if family == "centerpoint" else 3
                logits[i, first + classes[label], row, column] = 2.0
    return head, context


@pytest.mark.parametrize("family", toy.FAMILIES)
def test_agreement_tells_mixed_up_classes_from_misplaced_objects(family):
    model = distiller(family)
    right = agree(model.student, *head_output(model, family, [0, 1, 2]), 0.1)
    assert (right.boxes, right.right, right.any_class) == (6, 1.0, 1.0)
    assert 0 < right.elsewhere < 0.05
    mixed = agree(model.student, *head_output(model, family, [1, 2, 0]), 0.1)
    assert (mixed.right, mixed.any_class) == (0.0, 1.0)
    shifted = agree(model.student, *head_output(model, family, [0, 1, 2], shift=5), 0.1)
    assert shifted.any_class < 0.5
    head, context = head_output(model, family, [0, 1, 2])
    context.boxes = [boxes + 1e3 for boxes in context.boxes]
    assert agree(model.student, head, context, 0.1) is None


def seen(report=None, agreement=None, boxes=9):
    monitor = Monitor()
    monitor.boxes = boxes
    monitor.terms = {"bev": report} if report else {}
    monitor.teachers = {"teacher": agreement} if agreement else {}
    return [line for _, line in symptoms(monitor, set())]


@pytest.mark.parametrize(
    "report, line",
    [
        (TermReport(Comparison(40.0, 1.0, 0.0, 9), 1.0), "40x the task gradient: lower its weight"),
        (TermReport(Comparison(1e-5, 1.0, 0.0, 9), 1.0), "1e-05x the task gradient"),
        (TermReport(Comparison(1.0, 1.0, -0.8, 9), 1.0), "against the task .cosine -0.80"),
        (TermReport(Comparison(0.0, 1.0, 0.0, 9), 1.0), "no gradient: is the tap detached"),
        (TermReport(Comparison(0.0, 1.0, 0.0, 9), 1.0, 0.0), "no cell, although the batch has 9"),
        (TermReport(Comparison(1.0, 1.0, 0.0, 9), 1.0, 0.0), "confident in no cell"),
        (TermReport(Comparison(0.0, 0.0, 0.0, 0), 1.0), "share no parameter"),
    ],
)
def test_symptoms_of_a_term(report, line):
    (told,) = seen(report)
    assert told.startswith("kd.bev ")
    assert re.search(line, told)
    stopped = copy.copy(report)
    stopped.weight = 0.0
    assert seen(stopped) == []


def test_symptoms_of_a_teacher_and_a_healthy_step():
    assert "class order" in seen(agreement=Agreement(20, 0.3, 0.9, 0.02))[0]
    assert "coordinate convention" in seen(agreement=Agreement(20, 0.05, 0.1, 0.02))[0]
    assert "weights loaded" in seen(agreement=Agreement(20, 1.0, 1.0, 0.9))[0]
    assert seen(agreement=Agreement(3, 0.0, 0.0, 0.0)) == []
    good = TermReport(Comparison(0.5, 1.0, 0.1, 9), 1.0, coverage=0.1)
    assert seen(good, Agreement(20, 0.9, 1.0, 0.02)) == []


def test_advice_waits_and_does_not_repeat_itself():
    advice = Advice(patience=2, quiet=3)
    told = [bool(advice.hear({"x": "line"} if sick else {})) for sick in (1, 0, 1, 1, 1, 1, 1, 0)]
    assert told == [False, False, False, True, False, False, True, False]
