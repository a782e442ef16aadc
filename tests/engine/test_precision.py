"""Accumulation, recomputed activations, averages, bfloat16, compiled trunks; all distilling."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS

from kd3d.core.portable import student_state
from kd3d.engine.trunk import compile_trunks, recompute
from kd3d.errors import UserError
from kd3d.models.source import build_detector
from kd3d.teachers.frozen import Frozen
from tests import toy
from tests.engine import ranks


def gradients(model, data, context=None):
    """Return losses and gradients of one batch."""
    losses = toy.loss(model, data)
    toy.total(losses).backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    assert all(g.isfinite().all() for g in found.values())
    return {name: toy.total({name: v}) for name, v in losses.items() if "loss" in name}, found


def test_accumulated_batches_are_one_large_batch():
    """Masks and boxes of one size: each small batch has its own counts, as its own step would."""
    whole, small = ranks.distiller(), ranks.distiller()
    data = toy.batch(samples=2)
    data["inputs"]["points"][1] = data["inputs"]["points"][0] * torch.tensor([1.0, -1.0, 1.0, 1.0])
    data["data_samples"][1] = copy.deepcopy(data["data_samples"][0])
    data["data_samples"][1].gt_instances_3d.bboxes_3d.flip("horizontal")
    ranks.train(whole, ranks.sgd(whole), [data])
    optim = ranks.sgd(small, accumulative_counts=2)
    start = ranks.all_state(small)
    ranks.train(small, optim, [ranks.part(data, 0)])
    assert all(torch.equal(v, start[k]) for k, v in small.state_dict().items())
    ranks.train(small, optim, [ranks.part(data, 1)])
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(small.state_dict()[key], value, rtol=1e-4, atol=2e-6)
    assert any(not torch.equal(v, start[k]) for k, v in small.state_dict().items())


def test_checkpointed_activations_change_neither_gradients_nor_statistics():
    plain, saving = ranks.distiller(batch_norm=True), ranks.distiller(batch_norm=True)
    recompute(saving, ["pts_backbone", "pts_neck.deblocks.0"])
    calls = []
    saving.student.pts_backbone.blocks[0][0].register_forward_hook(lambda *_: calls.append(1))
    losses, wanted = gradients(plain, toy.batch())
    again, found = gradients(saving, toy.batch())
    assert len(calls) == 2  # it was computed again
    assert losses == again
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    assert list(saving.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(v, saving.state_dict()[k]) for k, v in plain.state_dict().items())
    with pytest.raises(UserError, match=r"no module 'backbone' .*'pts_backbone'"):
        recompute(saving, ["backbone"])


def test_mmengines_average_copies_learners_only():
    model = ranks.distiller(batch_norm=True)
    teacher = model.teachers["teacher"].model
    hook = EMAHook(momentum=0.5)
    runner = SimpleNamespace(model=model, iter=0)
    hook.before_run(runner)
    copied = hook.ema_model.module
    assert copied.teachers["teacher"].model is teacher
    assert dict(copied.named_parameters()).keys() == dict(model.named_parameters()).keys()
    optim = ranks.sgd(model)
    history = []
    for step in range(2):
        ranks.train(model, optim, [toy.batch(seed=step)])
        runner.iter = step
        hook.after_train_iter(runner, step)
        history.append({n: p.detach().clone() for n, p in model.named_parameters()})
    for name, parameter in copied.named_parameters():
        mean = (history[0][name] + history[1][name]) / 2
        torch.testing.assert_close(parameter, mean, rtol=1e-6, atol=1e-8)
    checkpoint = dict(state_dict=model.state_dict())
    hook.before_save_checkpoint(runner, checkpoint)
    exported = student_state(checkpoint["state_dict"])
    stock = build_detector(toy.centerpoint())
    stock.load_state_dict(exported, strict=True)
    name = "pts_neck.deblocks.0.0.weight"
    assert torch.equal(exported[name], copied.student.state_dict()[name])
    assert not torch.equal(exported[name], model.student.state_dict()[name])


def test_bfloat16_trains_on_a_cpu_with_float32_terms_and_weights():
    exact, mixed = ranks.distiller(), ranks.distiller()
    optimizer = torch.optim.SGD(mixed.parameters(), lr=1e-4)
    optim = OPTIM_WRAPPERS.build(dict(type="Bf16OptimWrapper", optimizer=optimizer))
    assert isinstance(optim, OptimWrapper)
    seen = []
    mixed.student.pts_neck.register_forward_hook(lambda m, i, output: seen.append(output[0].dtype))
    distance = mixed.terms["bev"].loss
    mixed.terms["bev"].loss = lambda s, t: seen.append(s.dtype) or distance(s, t)
    logs = ranks.train(mixed, optim, [toy.batch()])
    wanted = ranks.train(exact, ranks.sgd(exact), [toy.batch()])
    assert seen == [torch.bfloat16, torch.float32]
    assert all(p.dtype is torch.float32 for p in mixed.parameters())
    for name in ("kd.bev.loss", "kd.response.loss", "task.task0.loss_heatmap"):
        assert logs[name].isfinite()
        assert logs[name] != wanted[name]
        torch.testing.assert_close(logs[name].float(), wanted[name], rtol=0.02, atol=0.0)


def test_a_frozen_teacher_runs_in_bfloat16_and_terms_see_float32():
    exact = build_frozen("float32")
    mixed = build_frozen("bfloat16")
    seen = []
    mixed.model.pts_neck.register_forward_hook(lambda m, i, output: seen.append(output[0].dtype))
    wanted, found = (knowledge(teacher) for teacher in (exact, mixed))
    assert seen == [torch.bfloat16]
    assert found["bev"].dtype is torch.float32
    assert not torch.equal(found["bev"], wanted["bev"])
    torch.testing.assert_close(found["bev"], wanted["bev"], rtol=0.05, atol=0.02)
    heat, other = (each["head"][0][0]["heatmap"] for each in (found, wanted))
    assert heat.dtype is torch.float32
    torch.testing.assert_close(heat, other, rtol=0.05, atol=0.02)
    with pytest.raises(UserError, match=r"unknown precision 'bfloat32'.*bfloat16"):
        build_frozen("bfloat32")


def build_frozen(precision):
    torch.manual_seed(0)
    teacher = Frozen(None, precision=precision, **toy.centerpoint())
    teacher.tap(["bev", "head"])
    return teacher


def knowledge(teacher):
    data = teacher.model.data_preprocessor(copy.deepcopy(toy.batch()), True)
    samples = data["data_samples"]
    return teacher({"teacher": data["inputs"]}, {"teacher": samples}, None)


def check_compiled(backend, recomputed=(), **tolerance):
    plain, fast = (ranks.distiller(batch_norm=True) for _ in range(2))
    recompute(fast, recomputed)
    compile_trunks(fast, dict(backend=backend))
    for step in range(2):
        losses, wanted = gradients(plain, toy.batch(seed=step))
        again, found = gradients(fast, toy.batch(seed=step))
        for name, value in losses.items():
            torch.testing.assert_close(again[name], value, **tolerance)
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, **tolerance)
        plain.zero_grad(), fast.zero_grad()
    assert fast.student.pts_backbone._compiled_call_impl is not None
    assert list(fast.state_dict()) == list(plain.state_dict())


def test_a_compiled_trunk_gives_the_same_losses():
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    torch._dynamo.reset()
    check_compiled(backend, ["pts_backbone.blocks.1"], rtol=1e-4, atol=1e-5)
    assert len(compiled) >= 2  # backbone and neck


@pytest.mark.slow
def test_a_trunk_compiled_by_inductor_gives_the_same_losses():
    torch._dynamo.reset()
    check_compiled("inductor", rtol=1e-3, atol=1e-3)
