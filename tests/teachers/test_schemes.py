"""Self-distillation, mutual learning and ensembles, by config alone."""

import copy

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper

from kd3d.core.distiller import Distiller
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.losses.logit.ensemble import confidence_weights, entropy_weights, map_error
from tests import toy
from tests.paths import SHARED, needs_shared

register_all()
METHOD = [dict(type="response"), dict(type="fitnets")]


def distiller(teacher, method=METHOD, **changes):
    torch.manual_seed(0)
    model = Distiller(toy.centerpoint(), dict(teacher=teacher), copy.deepcopy(method), **changes)
    model.init_weights()
    model.train()
    return model


def optimizer(model, lr=1e-3):
    return OptimWrapper(torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1))


def steps(model, optim, numbers):
    for step in numbers:
        logs = model.train_step(toy.batch(seed=step), optim)
    return logs


def same(first, second):
    return all(torch.equal(v, second[k]) for k, v in first.items())


@pytest.mark.parametrize("buffers", ["average", "copy"])
def test_ema_is_the_running_mean_of_the_students_weights_and_buffers(buffers):
    momentum = dict(type="linear", start=0.0, end=0.9)
    model = distiller(dict(type="EMA", momentum=momentum, warmup=False, buffers=buffers))
    optim = optimizer(model)
    naive = {k: v.clone() for k, v in model.student.state_dict().items()}
    weights = {name for name, _ in model.student.named_parameters()}
    for step in range(3):
        model.set_progress(step / 3)
        steps(model, optim, [step])
        m = 0.9 * step / 3
        for key, value in model.student.state_dict().items():
            whole = not value.is_floating_point() or (buffers == "copy" and key not in weights)
            naive[key] = value.clone() if whole else m * naive[key] + (1 - m) * value
    mean = model.teachers["teacher"].model.state_dict()
    for key, value in naive.items():
        torch.testing.assert_close(mean[key], value, rtol=1e-5, atol=1e-7)
    assert any(not torch.equal(mean[k], v) for k, v in model.student.state_dict().items())


def test_ema_warms_up_and_starts_as_the_student():
    model = distiller(dict(type="EMA"), method=[dict(type="response")])
    data = model.data_preprocessor(toy.batch(), True)
    model.student.eval()  # as the teacher is
    assert model(**data, mode="loss")["kd.response.loss"] < 1e-6
    model.train()
    steps(model, optimizer(model), range(2))
    teacher = model.teachers["teacher"]
    assert teacher.updates == 2
    assert not any(m.training for m in teacher.model.modules())
    ours = {id(p) for p in model.parameters()}
    assert not any(id(p) in ours for p in teacher.model.parameters())


def test_ema_resumes_bit_for_bit():
    teacher = dict(type="EMA", momentum=0.9)
    whole = distiller(teacher)
    steps(whole, optimizer(whole), range(2))
    saved = copy.deepcopy(whole.state_dict())
    assert any(k.startswith("kd.teachers.teacher.") for k in saved)
    again = distiller(teacher)
    assert not again.load_state_dict(saved).missing_keys
    for model in (whole, again):
        torch.manual_seed(3)
        steps(model, optimizer(model), range(2, 4))
    assert same(whole.state_dict(), again.state_dict())
    stock = {k: v for k, v in saved.items() if not k.startswith("kd.")}
    again.load_state_dict(stock, strict=False)  # a detector's weights hold no average


def test_synchronous_peers_teach_each_other():
    peer = dict(type="Online", model=toy.centerpoint(width=0.5))
    model = distiller(peer)
    losses = toy.loss(model, toy.batch())
    assert {"task.task0.loss_bbox", "task.teacher.task0.loss_bbox"} <= set(losses)
    assert {"kd.response.loss", "kd.response_to_teacher.loss", "kd.bev_to_teacher.loss"} <= set(
        losses
    )
    student, other = model.student, model.peers["teacher"]
    losses["kd.response.loss"].backward(retain_graph=True)
    assert all(p.grad is None for p in other.parameters())
    assert any(p.grad is not None for p in student.parameters())
    student.zero_grad()
    losses["kd.response_to_teacher.loss"].backward()
    assert all(p.grad is None for p in student.parameters())
    assert any(p.grad is not None for p in other.parameters())
    saved = model.state_dict()
    assert {k for k in saved if not k.startswith("kd.")} == set(student.state_dict())
    assert {f"kd.peers.teacher.{k}" for k in other.state_dict()} <= set(saved)


def test_alternating_peers_step_one_after_the_other():
    """The peer learns from the student's new weights, and neither moves in the other's turn."""
    peer = dict(type="Online", model=toy.centerpoint(width=0.5), update="alternating")
    model = distiller(peer, method=[dict(type="response")])
    assert model.turns == [("student",), ("teacher",)]
    wrapper, seen = optimizer(model), []
    step = wrapper.optimizer.step

    def watched(*args, **kwargs):
        before = copy.deepcopy(model.state_dict())
        step(*args, **kwargs)
        moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
        seen.append(moved)

    wrapper.optimizer.step = watched
    logs = steps(model, wrapper, range(2))
    assert {"kd.response.loss", "kd.response_to_teacher.loss"} <= set(logs)
    assert len(seen) == 4
    for turn, moved in enumerate(seen):
        peers = {k for k in moved if k.startswith("kd.peers.")}
        assert moved
        assert moved == (peers if turn % 2 else moved - peers)
    with pytest.raises(UserError, match="alternating peers need one process"):
        steps(model, OptimWrapper(wrapper.optimizer, accumulative_counts=2), [0])


def test_the_students_deeper_stage_can_teach_a_shallower_one():
    term = dict(name="own", student="student:stage0", teacher="student:bev")
    model = distiller(dict(type="EMA"), method=None, terms=[term])
    losses = toy.loss(model, toy.batch())
    losses["kd.own.loss"].backward()
    assert all(p.grad is None for n, p in model.student.named_parameters() if "neck" in n)
    assert any(p.grad is not None for n, p in model.student.named_parameters() if "backbone" in n)
    with pytest.raises(UserError, match="one tap"):
        distiller(
            dict(type="EMA"),
            method=None,
            terms=[dict(name="own", student="student:bev", teacher="student:bev")],
        )


def member():
    return dict(type="Frozen", checkpoint=None, model=toy.centerpoint(width=0.5))


@pytest.mark.parametrize("weights", ["mean", "entropy", "confidence"])
def test_ensemble_mixes_probabilities_with_weights_per_sample(weights):
    ensemble = dict(type="Ensemble", weights=weights, members=dict(a=member(), b=member()))
    model = distiller(ensemble, method=[dict(type="response")])
    teacher = model.teachers["teacher"]
    last = teacher.members["a"].model.pts_bbox_head.task_heads[0].heatmap[-1]
    last.weight.data.zero_()
    last.bias.data.zero_()  # a says 0.5 everywhere
    data = model.data_preprocessor(toy.batch(samples=3), True)
    context = model_context(model, data)
    out = teacher(*data.values(), context)["head"]
    heads = [m(*data.values(), context)["head"] for m in teacher.members.values()]
    w = teacher.weigh(heads, context)
    assert w.shape == (2, 3)
    torch.testing.assert_close(w.sum(0), torch.ones(3))
    if weights != "mean":
        assert (w[0] < w[1]).all()
    for b in range(3):
        p = sum(w[k, b] * heads[k][0][0]["heatmap"][b].sigmoid() for k in range(2))
        torch.testing.assert_close(out[0][0]["heatmap"][b].sigmoid(), p, rtol=1e-4, atol=1e-5)
        dim = sum(w[k, b] * heads[k][0][0]["dim"][b] for k in range(2))
        torch.testing.assert_close(out[0][0]["dim"][b], dim)
    assert "kd.response.loss" in toy.loss(model, toy.batch())


def test_several_taps_are_averaged_one_by_one():
    ensemble = dict(type="Ensemble", members=dict(a=member(), b=member()))
    model = distiller(ensemble, method=[dict(type="reviewkd"), dict(type="irg")])
    data = model.data_preprocessor(toy.batch(), True)
    values = model.teachers["teacher"](*data.values(), model_context(model, data))
    members = model.teachers["teacher"].members.values()
    single = [m(*data.values(), model_context(model, data))["stages"] for m in members]
    assert len(values["stages"]) == 3
    for joint, a, b in zip(values["stages"], *single):
        torch.testing.assert_close(joint, (a + b) / 2)


def model_context(model, data):
    from kd3d.core.context import Context

    return Context.from_batch(data["inputs"], data["data_samples"]["student"], 0.0)


def test_members_with_other_features_are_weighted_sample_by_sample():
    narrow = dict(type="Frozen", checkpoint=None, model=toy.centerpoint(width=0.25))
    ensemble = dict(
        type="Ensemble", weights="confidence", members=dict(a=member(), b=narrow, c=member())
    )
    with pytest.raises(UserError, match=r"bev has no mean .* give each member its own term"):
        distiller(ensemble, method=[dict(type="fitnets")])
    terms = [
        dict(name=m, student="student:bev", teacher=f"teacher:{m}/bev", mask=mask)
        for m, mask in (("a", None), ("b", dict(type="gaussian")), ("c", None))
    ]
    model = distiller(ensemble, method=None, terms=terms)
    data = model.data_preprocessor(toy.batch(samples=2), True)
    losses = model(**data, mode="loss")
    teacher = model.teachers["teacher"]
    context = model_context(model, data)
    values = teacher(*data.values(), context)
    w = context.sample_weights["teacher:a/bev"]
    assert not torch.allclose(w[0], w[1])
    model.taps["student"].arm()
    model.student(data["inputs"]["student"], data["data_samples"]["student"], mode="loss")
    student = model.taps["student"].pop()["bev"]
    error = (model.terms["a"].adapter(student) - values["a/bev"]).square().mean((1, 2, 3))
    assert not torch.allclose(error[0], error[1])
    with torch.no_grad():
        torch.testing.assert_close(losses["kd.a.loss"], (w * error).mean(), rtol=1e-5, atol=0.0)


@needs_shared
@pytest.mark.parametrize("name", ["logit_camkd", "feature"])
def test_confidence_weights_equal_the_authors(name):
    data = np.load(SHARED / "parity" / f"camkd_{name}.npz")
    logits = [
        torch.tensor(data[k])
        for k in (("logit_t_%d", "logit_%d")[name == "feature"] % i for i in range(3))
    ]
    target = torch.tensor(data["target"])
    errors = torch.stack(
        [torch.nn.functional.cross_entropy(z, target, reduction="none") for z in logits]
    )
    torch.testing.assert_close(
        confidence_weights(errors), torch.tensor(data["weight"]).to(errors), rtol=1e-4, atol=1e-6
    )


def test_weights_for_one_teacher_and_for_equal_teachers():
    for weigh in (entropy_weights, confidence_weights):
        assert torch.equal(weigh(torch.rand(1, 4)), torch.ones(1, 4))
        torch.testing.assert_close(weigh(torch.zeros(3, 2)), torch.full((3, 2), 1 / 3))
    scores, truth = torch.rand(2, 3, 4, 5), torch.zeros(2, 3, 4, 5)
    truth[0, 1, 2, 3] = 1
    naive = []
    for b in range(2):
        value = 0.0
        for p, g in zip(scores[b].flatten().tolist(), truth[b].flatten().tolist()):
            value -= (1 - p) ** 2 * np.log(p) if g == 1 else (1 - g) ** 4 * p**2 * np.log(1 - p)
        naive.append(value)
    torch.testing.assert_close(
        map_error(scores, truth), torch.tensor(naive).float(), rtol=1e-4, atol=1e-4
    )


def test_boxes_are_the_teachers_detections():
    ensemble = dict(type="Frozen", checkpoint=None, model=toy.centerpoint())
    model = distiller(ensemble, method=None)
    teacher = model.teachers["teacher"]
    teacher.model.pts_bbox_head.task_heads[0].heatmap[-1].bias.data += 3.0
    assert teacher.tap(["boxes", "bev"])["boxes"].layout == "boxes"
    batch = model.student.data_preprocessor(toy.batch(), False)
    found = teacher({"teacher": batch["inputs"]}, {"teacher": batch["data_samples"]}, None)
    with torch.no_grad():
        want = teacher.model(**model.student.data_preprocessor(toy.batch(), False), mode="predict")
    assert len(found["boxes"]) == 2
    for ours, stock in zip(found["boxes"], want):
        assert len(ours["scores"])
        assert torch.equal(ours["boxes"], stock.pred_instances_3d.bboxes_3d.tensor)
        assert torch.equal(ours["scores"], stock.pred_instances_3d.scores_3d)
        assert torch.equal(ours["labels"], stock.pred_instances_3d.labels_3d)
    with pytest.raises(UserError, match="carry no gradient"):
        distiller(
            ensemble,
            method=None,
            terms=[dict(name="b", student="student:boxes", teacher="teacher:boxes")],
        )
