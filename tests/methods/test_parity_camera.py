"""UniDistill against the authors' own numbers: values and gradients, rtol 1e-4."""

import pytest
import torch

from kd3d.adapters.objects import box_points
from kd3d.core.context import Context
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.engine.register import register_all
from tests.methods.test_parity import close, load

register_all()


def make(method, name, student, teacher, further=(), **options):
    """Return the term of that name, published form, built for two specs."""
    configs = METHODS.get(method)(official_parity=True, **options)
    (config,) = [one for one in configs if one["name"] == name]
    term = TERMS.get(config.pop("type"))(**config)
    term.further_specs = dict(further)
    term.build(student, teacher)
    return term


def square(feature, half_m, layout="map", maps=()):
    """The spec of a map of 2 half_m metres a side around the origin."""
    extent = (-half_m, -half_m, half_m, half_m)
    return FeatureSpec(feature.shape[1], layout, tuple(feature.shape[2:]), extent, maps)


def given(boxes, **more):
    return Context(
        [b[:, :7] for b in boxes], [torch.zeros(len(b)).long() for b in boxes], {}, 0.0, **more
    )


def check(value, loss, leaf, grad):
    """Compare a value and its gradient."""
    close(value, loss)
    value.backward()
    torch.testing.assert_close(leaf.grad, grad, rtol=1e-4, atol=1e-7)


def real_rows(padded):
    """The boxes (N, 10) of each sample without rows of zeros."""
    return [sample[sample.abs().sum(1) > 0] for sample in padded]


@pytest.mark.parametrize("which", ["base", "none"])
@pytest.mark.parametrize("part", ["feature", "relation"])
def test_unidistill_points_equal_the_authors_code(part, which):
    data = load(f"unidistill_{part}_{which}")
    student, teacher = data["student"].requires_grad_(), data["teacher"]
    term = make("unidistill", part, square(student, 54.0), square(teacher, 54.0))
    assert term.weight == (100.0 if part == "feature" else 40.0)
    boxes = real_rows(data["gt_boxes"])
    check(term(student, teacher, given(boxes)), data["loss"], student, data["grad_student"])


def test_unidistill_points_are_corners_middles_and_centre():
    data = load("unidistill_feature_base")
    corners = (data["corners_bev"] * 6.0 - 54.0)[0]
    points = box_points(data["gt_boxes"][0], 3, rim=True)
    for found, four in zip(points, corners):
        middles = (four + four.roll(1, 0)) / 2
        for place in (*four, *middles, four.mean(0)):
            assert (found - place).norm(dim=1).min() < 1e-3


@pytest.mark.parametrize("which", ["base", "none"])
def test_unidistill_response_equals_the_authors_code(which):
    data = load(f"unidistill_response_{which}")
    names = ("hm", "reg", "height", "dim", "rot", "vel", "iou")
    leaves = {f"s{i}_{n}": data[f"s{i}_{n}"].requires_grad_() for i in range(2) for n in names}
    ours, theirs = (
        [[{n.replace("hm", "heatmap"): data[f"{side}{i}_{n}"] for n in names}] for i in range(2)]
        for side in "st"
    )
    for (task,) in ours:  # the authors' student is squashed already
        task["heatmap"] = task["heatmap"].logit()
    widths = tuple((n, m.shape[1]) for n, m in ours[0][0].items())
    spec = square(data["s0_hm"], 54.0, "center_head", (widths,))
    term = make("unidistill", "response", spec, spec)
    value = term(ours, theirs, given(real_rows(data["gt_boxes"])))
    close(value, data["loss_cls"] + data["loss_reg"])
    value.backward()
    for name, leaf in leaves.items():
        if f"grad_{name}" in data:
            torch.testing.assert_close(leaf.grad, data[f"grad_{name}"], rtol=1e-4, atol=1e-7)
