"""Feature methods against the authors' own numbers: losses and gradients, rtol 1e-4."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kd3d.core.context import Context
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.engine.register import register_all
from kd3d.losses import masked_mean, squared_error
from kd3d.losses.feature.activation import partial_squared_error
from kd3d.losses.feature.attention import attention_transfer
from kd3d.losses.feature.factors import factor_error
from kd3d.losses.feature.pyramid import hierarchical_error
from tests.methods.test_parity import close, load

register_all()


def make(method, student, teacher, extent=(0.0, 0.0, 8.0, 6.0), **options):
    """Return the method's term, built for two maps of one extent, and its weight."""
    config = METHODS.get(method)(official_parity=True, **options)[0]
    term = TERMS.get(config.pop("type"))(**config)
    term.build(
        *(FeatureSpec(f.shape[1], "map", tuple(f.shape[2:]), extent) for f in (student, teacher))
    )
    return term


def run(term, student, teacher, boxes=None):
    empty = [torch.zeros(0, 7)] * len(student)
    value = term(student, teacher, Context(boxes or empty, [], {}, 0.0))
    return value * term.weight


def pair(data):
    """Return the student, ready for its gradient, the teacher, and the student's gradient."""
    ours, theirs = ("preds_S", "preds_T") if "preds_S" in data else ("student", "teacher")
    return data[ours].requires_grad_(), data[theirs], data[f"grad_{ours}"]


MMRAZOR = {
    "mmrazor_at": ("at", dict(weight=1.0)),
    "mmrazor_at_zero_teacher": ("at", dict(weight=1.0)),
    "mmrazor_cwd_tau1": ("cwd", dict(weight=1.0)),
    "mmrazor_pkd": ("pkd", dict(weight=1.0)),
    "mmrazor_pkd_resize": ("pkd", {}),
}


@pytest.mark.parametrize("name", MMRAZOR)
def test_map_methods_equal_the_authors_code(name):
    data = load(name)
    method, options = MMRAZOR[name]
    student, teacher, grad = pair(data)
    loss = run(make(method, student, teacher, **options), student, teacher)
    close(loss, data["loss"])
    loss.backward()
    close(student.grad, grad)
    assert torch.isfinite(student.grad).all()


def test_attention_of_two_stages_equals_mdistiller():
    data = load("mdistiller_at")
    stages = [data[f"s{i}"].requires_grad_() for i in range(2)]
    pooled = F.adaptive_avg_pool2d(stages[0], 4)  # theirs is the smaller map
    loss = attention_transfer(pooled, data["t0"]).mean()
    loss = loss + attention_transfer(stages[1], data["t1"]).mean()
    close(loss, data["loss"])
    loss.backward()
    for i, stage in enumerate(stages):
        close(stage.grad, data[f"grad_s{i}"])


def test_cross_entropy_form_of_cwd_differs_by_the_teachers_entropy():
    data = load("focal_cwd_same")
    student, teacher, grad = pair(data)
    term = make("cwd", student, teacher, temperature=2.0, weight=0.25)
    probability = (teacher.flatten(2) / 2).softmax(2)
    entropy = -(probability * probability.log()).sum(2).mean() * 4 * 0.25
    loss = run(term, student, teacher)
    close(loss + entropy, data["loss"])
    loss.backward()
    close(student.grad, grad)


@pytest.mark.parametrize(
    "name", ["mgd_official_det", "mmrazor_mgd_align", "mmrazor_mgd_same_channelmask"]
)
def test_mgd_equals_the_authors_code(name, monkeypatch):
    data = load(name)
    student, teacher, grad = pair(data)
    term = make("mgd", student, teacher, per_channel=name.endswith("channelmask"))
    weights = {k[6:]: v for k, v in data.items() if k.startswith("param.")}
    if "align.weight" in weights:
        term.adapter.project.weight.data = weights["align.weight"]
        term.adapter.project.bias.data = weights["align.bias"]
    for i in (0, 2):
        term.generator[i].weight.data = weights[f"generation.{i}.weight"]
        term.generator[i].bias.data = weights[f"generation.{i}.bias"]
    monkeypatch.setattr(torch, "rand", lambda shape, **_: data["rand"].reshape(shape))
    loss = run(term, student, teacher)
    close(loss, data["loss"])
    loss.backward()
    torch.testing.assert_close(student.grad, grad, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", ["fgd_init", "fgd_samechannels"])
def test_fgd_equals_the_authors_code(name):
    data = load(name)
    student, teacher, grad = pair(data)
    term = make("fgd", student, teacher, (0.0, 0.0, 80.0, 64.0), parts=dict(attention=1e-3))
    weights = {k[6:]: v for k, v in data.items() if k.startswith("param.")}
    if "align.weight" in weights:
        term.adapter.project.weight.data = weights["align.weight"]
        term.adapter.project.bias.data = weights["align.bias"]
    for side in ("student", "teacher"):
        block, short = getattr(term, f"{side}_context"), side[0]
        for key in ("weight", "bias"):
            getattr(block.attend, key).data = weights[f"conv_mask_{short}.{key}"]
            for i in (0, 1, 3):
                stored = weights[f"channel_add_conv_{short}.{i}.{key}"]
                getattr(block.gather[i], key).data = stored
    boxes = []
    for i in range(2):
        low, high = data[f"boxes_{i}"][:, :2], data[f"boxes_{i}"][:, 2:]
        flat = torch.zeros(len(low), 1)
        boxes.append(torch.cat([(low + high) / 2, flat, high - low, flat, flat], 1))
    loss = run(term, student, teacher, boxes)
    close(loss, data["loss"])
    loss.backward()
    torch.testing.assert_close(student.grad, grad, rtol=1e-4, atol=1e-8)


def overhaul(student, teacher, data):
    if "margin" in data:
        return partial_squared_error(student, torch.maximum(teacher, data["margin"])).sum() * 2
    return partial_squared_error(student, teacher).sum() * 3 / 1000


def factors(student, teacher, data):
    return factor_error(student, teacher).mean() / student[0].numel() ** 0.5


# name -> our value on the scale of theirs; maps of 2 samples, of 6 channels with mmrazor
FUNCTIONS = {
    "mdistiller_ofd_featloss": overhaul,
    "mmrazor_ofd": overhaul,
    "crkd_partial_l2": lambda s, t, _: partial_squared_error(s, t).mean(),
    "mmrazor_ft": factors,
    "mdistiller_reviewkd_hcl": lambda s, t, _: hierarchical_error(s, t).mean(),
    "mmrazor_l2_div": lambda s, t, _: masked_mean(squared_error(s, t)),
    "mmrazor_l2_dist": lambda s, t, _: (squared_error(s, t).sum() * s.shape[1]).sqrt(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_distances_equal_the_authors_code(name):
    data = load(name)
    student, teacher, grad = pair(data)
    loss = FUNCTIONS[name](student, teacher, data)
    close(loss, data["loss"])
    loss.backward()
    torch.testing.assert_close(student.grad, grad, rtol=1e-4, atol=1e-8)


def test_activation_boundaries_equal_mmrazor():
    data = load("mmrazor_ab")
    student, teacher, grad = pair(data)
    term = make("ab", student, teacher)
    term.regressor = nn.Identity()
    loss = run(term, student, teacher)
    close(loss, data["loss"])
    loss.backward()
    close(student.grad, grad)


def test_ofd_on_a_map_without_negatives_equals_mmrazor():
    data = load("mmrazor_ofd")
    student, teacher = data["preds_S"], data["preds_T"].abs()  # margin 0
    term = make("ofd", student, teacher)
    term.regressor = nn.Identity()
    close(run(term, student, teacher), overhaul(student, teacher, {}))
