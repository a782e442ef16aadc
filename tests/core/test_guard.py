"""Steps that are not finite leave no trace, are counted, and name their cause."""

import copy

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS

from kd3d.core import guard as guards
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from tests import toy

register_all()
METHOD = [dict(type="response", scores=1.0), dict(type="fitnets")]
TEACHERS = dict(
    teacher=dict(type="Frozen", checkpoint=None, model=toy.centerpoint(width=0.5)),
    average=dict(type="EMA"),
)
SELF = dict(name="self", student="student:bev", teacher="average:bev")


class Scaled(OptimWrapper):
    """`AmpOptimWrapper`'s use of a loss scaler, which mmengine has for accelerators only."""

    def __init__(self, *args, scale=65536.0, **options):
        super().__init__(*args, **options)
        self.loss_scaler = torch.amp.GradScaler("cpu", init_scale=scale)

    def backward(self, loss, **options):
        self.loss_scaler.scale(loss).backward(**options)
        self._inner_count += 1

    def step(self, **options):
        self.loss_scaler.step(self.optimizer, **options)
        self.loss_scaler.update()


@pytest.fixture
def job():
    """A distiller with a frozen teacher and an average of the student, and how to train it."""
    return make()


def make(wrapper=OptimWrapper, guard=True, **options):
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type="Distiller",
            student=toy.centerpoint(),
            teachers=copy.deepcopy(TEACHERS),
            method=METHOD,
            terms=[SELF],
            guard=guard,
        )
    )
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    return model, wrapper(optimizer, **options)


def step(job, seed=0):
    model, wrapper = job
    torch.manual_seed(seed)
    return model.train_step(toy.batch(seed=seed), wrapper)


def state(job):
    model, wrapper = job
    moments = {
        f"optimizer.{i}.{name}": value
        for i, moment in wrapper.optimizer.state_dict()["state"].items()
        for name, value in moment.items()
    }
    return {k: v.clone() for k, v in (model.state_dict() | moments).items()}


def changed(before, after):
    assert before.keys() == after.keys()
    return [key for key in before if not torch.equal(before[key], after[key])]


def spoil(module, value=float("nan")):
    """Make a module's output not finite."""

    def hook(module, inputs, output):
        many = isinstance(output, (tuple, list))
        first = output[0] if many else output
        place = torch.arange(first.numel()).view_as(first) == min(5, first.numel() - 1)
        first = torch.where(place, value, first)
        return type(output)([first, *output[1:]]) if many else first

    return module.register_forward_hook(hook, prepend=True)


def by_teacher(model):
    return spoil(model.teachers["teacher"].model.pts_neck)


def by_student(model):
    return spoil(model.student.pts_neck)


def by_term(model):
    return spoil(model.terms["bev"])


def by_task(model):
    return spoil(model.student.pts_bbox_head.loss_cls, float("inf"))


def by_gradient(model):
    return model.student.pts_backbone.blocks[0][0].weight.register_hook(lambda g: g / 0)


CAUSES = [
    (by_teacher, r"kd\.bev\.loss is nan.*the teacher's feature teacher:\S+ has 1 of \d+ values"),
    (by_student, r"the student's feature student:\S+ has 1 of \d+ values not finite"),
    (by_term, r"kd\.bev\.loss is nan: both features of the term bev are finite"),
    (by_task, r"task\.task0\.loss_heatmap is inf.*the student's own loss is"),
    (by_gradient, r"not the gradient of student\.pts_backbone\.blocks\.0\.0\.weight"),
]


@pytest.mark.parametrize(("cause", "line"), CAUSES, ids=[c.__name__ for c, _ in CAUSES])
def test_a_bad_step_leaves_no_trace_and_is_explained(job, cause, line):
    model = job[0]
    step(job)
    before = state(job)
    fault = cause(model)
    log = step(job, 1)
    assert changed(before, state(job)) == []
    assert float(log["guard.skipped"]) == 1
    assert all(torch.isfinite(value).all() for value in log.values())
    assert all(p.grad is None for p in model.parameters())
    fault.remove()
    log = step(job, 2)  # training goes on, the next fault counts from one
    assert len(changed(before, state(job))) > 100
    assert "kd.teachers.average.updates" in changed(before, state(job))
    assert float(log["guard.skipped"]) == 1
    cause(model)
    model.guard.max_in_row = 3
    step(job, 3)
    step(job, 4)
    with pytest.raises(UserError, match="3 steps in a row were not finite; .*" + line):
        step(job, 5)


def test_an_average_that_starts_with_a_bad_step_recovers(job):
    fault = by_student(job[0])
    step(job)
    fault.remove()
    step(job, 1)
    assert all(torch.isfinite(value).all() for value in state(job).values())


def test_inputs_and_weights_are_named(job):
    model, wrapper = job
    model.guard.max_in_row = 1
    data = toy.batch()
    data["inputs"]["points"][1][7, 3] = float("nan")
    with pytest.raises(UserError, match="the inputs of the student are not finite"):
        model.train_step(data, wrapper)
    with torch.no_grad():
        model.student.pts_neck.deblocks[0][0].weight[0] = float("inf")
    with pytest.raises(UserError, match=r"the weight student\.pts_neck\.deblocks\.0\.0\.weight is"):
        step(job)


def test_finite_steps_are_mmengines_own():
    """With and without the guard, and by mmengine's train_step: the same bits."""
    ends = []
    for guard, train_step in ((True, None), (False, None), (True, BaseModel.train_step)):
        job = make(guard=guard)
        for seed in range(3):
            if train_step is None:
                step(job, seed)
            else:
                torch.manual_seed(seed)
                train_step(job[0], toy.batch(seed=seed), job[1])
                job[0].after_step()
        ends.append(state(job))
    assert changed(ends[0], ends[1]) == changed(ends[0], ends[2]) == []


def test_a_bad_batch_is_left_out_of_its_window():
    """Two accumulated batches: what is bad is as if it had not been there."""
    job = make(accumulative_counts=2)
    for seed in (8, 9):
        step(job, seed)
    before = state(job)
    fault = by_teacher(job[0])
    step(job, 1)
    step(job, 2)
    assert changed(before, state(job)) == []  # nothing was left in the window
    fault.remove()
    step(job, 3)
    fault = by_teacher(job[0])
    step(job, 4)
    fault.remove()
    alone = make(accumulative_counts=2)
    for seed in (8, 9, 3):
        step(alone, seed)
    alone[1].step()
    alone[0].after_step()
    assert changed(state(alone), state(job)) == []


def test_a_loss_scaler_may_overflow_until_its_scale_is_down():
    job = make(Scaled, guard=dict(max_in_row=2), scale=4.0)
    step(job)
    before = state(job)
    fault = by_gradient(job[0])
    for scale in (2.0, 1.0):
        log = step(job, 1)
        assert job[1].loss_scaler.get_scale() == scale
        assert changed(before, state(job)) == []
    assert float(log["guard.skipped"]) == 2
    step(job, 1)
    with pytest.raises(UserError, match="2 steps in a row"):
        step(job, 1)
    fault.remove()


def test_all_processes_skip_together(job, monkeypatch):
    """Another process tells of its bad loss; this one's is finite."""
    step(job)
    monkeypatch.setattr(guards, "all_reduce", lambda value, op: value.fill_(1.0))
    before = state(job)
    job[0].guard.max_in_row = 1
    with pytest.raises(UserError, match="on another process"):
        step(job)
    assert changed(before, state(job)) == []


def test_the_limit_is_checked():
    with pytest.raises(UserError, match=r"model\.guard\.max_in_row"):
        make(guard=dict(max_in_row=0))
