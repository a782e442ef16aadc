"""Automatic weights against naive forms of the papers' formulas."""

import copy
import math

import pytest
import torch
from torch import nn

from kd3d.core.gradients import TermStep
from tests.core.balanced import TERMS, Toy, batch, total, train


def gradient_norm(model, x, pick):
    """Norm of one loss's gradient on the layer before the tap, by a backward pass of its own."""
    model = copy.deepcopy(model)
    model.zero_grad()
    pick(model.parts(x)).backward()
    layer = model.trunk[2]
    return torch.cat([layer.weight.grad.flatten(), layer.bias.grad]).norm().item()


def naive_norms(model, x):
    picks = [lambda p: p[1], lambda p: p[2]["a"], lambda p: p[2]["b"]]
    return [gradient_norm(model, x, pick) for pick in picks]


def test_gradient_ratio_is_held_whatever_the_weight_and_follows_the_schedule():
    weights = {"a": dict(type="warmup", value=3.0, until=0.5), "b": 0.01}
    setting = dict(type="GradientRatio", ratio=dict(a=0.25, b=2.0), smoothing=0.0, interval=1)
    model = Toy(setting, weights, scale=300.0)
    for seed, progress in enumerate([0.0, 0.25, 0.5, 1.0]):
        task, a, b = naive_norms(model, batch(seed))
        _, steps = model(batch(seed), progress)
        assert steps["a"].weight.item() * a == pytest.approx(
            0.25 * task * min(1.0, progress / 0.5), rel=1e-5
        )
        assert steps["b"].weight.item() * b == pytest.approx(2.0 * task, rel=1e-5)


def test_smoothed_gradient_ratio_is_a_running_mean_of_logarithms():
    model = Toy(dict(type="GradientRatio", ratio=0.5, smoothing=0.8, interval=3))
    logs = None
    for seed in range(8):
        task, a, _ = naive_norms(model, batch(seed))
        if seed % 3 == 0:
            new = math.log(0.5 * task / (a * TERMS["a"]))
            logs = new if logs is None else 0.8 * logs + 0.2 * new
        train(model, [seed])
        assert model.balance.factor[1].item() == pytest.approx(math.exp(logs), rel=1e-4)


def test_gradient_ratio_reaches_its_ratio_in_training():
    """Started at a wrong factor, with gradients that move, it settles within a tenth."""
    setting = dict(type="GradientRatio", ratio=0.5, smoothing=0.8, interval=1)
    model = Toy(setting, scale=100.0)
    model.balance.factor.fill_(50.0)
    model.balance.seen.fill_(True)
    train(model, [0] * 60, torch.optim.Adam(model.parameters(), lr=1e-3))
    task, a, b = naive_norms(model, batch(0))
    _, steps = model(batch(0))
    for name, norm in (("a", a), ("b", b)):
        assert steps[name].weight.item() * norm / task == pytest.approx(0.5, rel=0.1)


def test_gradient_ratio_keeps_its_factor_where_nothing_can_be_measured():
    model = Toy(dict(type="GradientRatio", interval=1))
    train(model, [0])
    before = model.balance.factor.clone()
    _, task, values = model.parts(batch(1))
    feature = model.trunk(batch(1))
    for broken in (values["a"] * 0.0, values["a"] * math.nan):
        steps = {
            "a": TermStep(broken, torch.tensor(2.0), feature, None, "student"),
            "b": TermStep(values["b"] * 0.0, torch.tensor(2.0), feature, None, "student"),
        }
        model.balance.apply_to({"task.loss": task}, {"student": task}, steps)
        assert torch.equal(model.balance.factor, before)


def test_uncertainty_is_kendalls_sum_and_finds_the_logarithms_of_the_losses():
    model = Toy(dict(type="Uncertainty"))
    with torch.no_grad():
        model.balance.log_variance.copy_(torch.tensor([0.3, -0.7, 1.1]))
    _, task, values = model.parts(batch(0))
    parts = [task, 2.0 * values["a"], 0.5 * values["b"]]
    s = [0.3, -0.7, 1.1]
    losses, _ = model(batch(0))
    naive = sum(math.exp(-si) * p.item() + si for si, p in zip(s, parts))
    assert total(losses).item() == pytest.approx(naive, rel=1e-6)
    total(losses).backward()
    wanted = [1 - math.exp(-si) * p.item() for si, p in zip(s, parts)]
    assert model.balance.log_variance.grad.tolist() == pytest.approx(wanted, rel=1e-5)
    train(model, [0] * 400, torch.optim.Adam(model.balance.parameters(), lr=0.05))
    wanted = [p.log().item() for p in parts]
    assert model.balance.log_variance.tolist() == pytest.approx(wanted, abs=1e-2)


def test_uncertainty_leaves_a_stopped_term_alone():
    model = Toy(dict(type="Uncertainty"), {"a": dict(type="stop", value=1.0, at=0.5), "b": 1.0})
    losses, _ = model(batch(0), progress=0.6)
    assert losses["kd.a.loss"] == 0
    total(losses).backward()
    gradient = model.balance.log_variance.grad
    assert gradient[1] == 0
    assert (gradient[[0, 2]] != 0).all()


def naive_grad_norm(model, x, factors, first, alpha):
    """The gradient of GradNorm's loss on log w by automatic differentiation, twice."""
    _, task, values = model.parts(x)
    losses = [task, 2.0 * values["a"], 0.5 * values["b"]]
    raw = [task.item(), values["a"].item(), values["b"].item()]
    log_w = torch.tensor(factors).log().requires_grad_()
    shared = list(model.trunk[2].parameters())
    norms = []
    for weight, loss in zip(log_w.exp(), losses):
        found = torch.autograd.grad(weight * loss, shared, create_graph=True)
        norms.append(torch.cat([g.flatten() for g in found]).norm())
    norms = torch.stack(norms)
    relative = torch.tensor([value / start for value, start in zip(raw, first)])
    target = (norms.mean() * (relative / relative.mean()) ** alpha).detach()
    (gradient,) = torch.autograd.grad((norms - target).abs().sum(), log_w)
    return gradient, raw


def test_grad_norm_takes_adams_step_on_the_papers_loss():
    model = Toy(dict(type="GradNorm", alpha=0.7, rate=0.05))
    log_w = nn.Parameter(torch.zeros(3))
    adam = torch.optim.Adam([log_w], lr=0.05, eps=1e-12)
    weights, first = model.balance.factor.tolist(), None
    for seed in range(6):
        first = first or naive_grad_norm(model, batch(seed), weights, [1.0] * 3, 0.7)[1]
        log_w.grad, _ = naive_grad_norm(model, batch(seed), weights, first, 0.7)
        with torch.no_grad():
            log_w.copy_(torch.tensor(weights).log())
        adam.step()
        moved = log_w.detach().exp()
        weights = (3 * moved / moved.sum()).tolist()
        train(model, [seed])
        assert model.balance.factor.tolist() == pytest.approx(weights, rel=2e-4), seed


def test_grad_norm_makes_gradients_of_very_different_scale_equal():
    model = Toy(dict(type="GradNorm", alpha=0.0, rate=0.05), scale=1000.0)
    norms = naive_norms(model, batch(0))
    assert 0.5 * norms[2] > 100 * 2.0 * norms[1]
    for _ in range(300):
        model(batch(0))
    factors = model.balance.factor
    weighted = [f * w * n for f, w, n in zip(factors.tolist(), (1.0, 2.0, 0.5), norms)]
    assert weighted == pytest.approx([sum(weighted) / 3] * 3, rel=0.15)
    assert factors.sum().item() == pytest.approx(3.0)


def test_dwa_follows_the_ratio_of_the_last_two_windows():
    model = Toy(dict(type="DWA", window=2, temperature=0.5))
    means, values = [], []
    for seed in range(10):
        _, task, terms = model.parts(batch(seed))
        values.append([task.item(), terms["a"].item(), terms["b"].item()])
        if len(values) % 2 == 0:
            means.append([(p + q) / 2 for p, q in zip(*values[-2:])])
        train(model, [seed])
        wanted = [1.0] * 3
        if len(means) >= 2:
            speed = [math.exp(new / old / 0.5) for new, old in zip(means[-1], means[-2])]
            wanted = [3 * s / sum(speed) for s in speed]
        assert model.balance.factor.tolist() == pytest.approx(wanted, rel=1e-5)
    assert wanted != [1.0] * 3
