"""Losses against naive loops, in float64 with gradient checks, and the one reduction."""

import math

import pytest
import torch

from kd3d.losses import FEATURE_LOSSES, feature_loss, masked_mean
from kd3d.losses.box.residual import residual_smooth_l1
from kd3d.losses.logit.head_response import anchor_response, center_boxes, center_scores
from kd3d.losses.logit.quality_focal import quality_focal


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def naive(name, s, t):
    """One position's distance, from plain numbers."""
    pairs = list(zip(s.tolist(), t.tolist()))
    if name == "squared_error":
        return sum((a - b) ** 2 for a, b in pairs) / len(pairs)
    if name == "absolute_error":
        return sum(abs(a - b) for a, b in pairs) / len(pairs)
    if name == "smooth_l1":
        return sum(
            0.5 * (a - b) ** 2 if abs(a - b) < 1 else abs(a - b) - 0.5 for a, b in pairs
        ) / len(pairs)
    dot = sum(a * b for a, b in pairs)
    return 1 - dot / math.sqrt(sum(a * a for a, _ in pairs)) / math.sqrt(
        sum(b * b for _, b in pairs)
    )


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_feature_loss_equals_a_naive_loop_and_passes_gradcheck(name):
    student, teacher = rand(2, 3, 4, 5), rand(2, 3, 4, 5, seed=1)
    value = feature_loss(name)(student, teacher)
    for b in range(2):
        for y in range(4):
            for x in range(5):
                want = naive(name, student[b, :, y, x], teacher[b, :, y, x])
                assert value[b, y, x].item() == pytest.approx(want, rel=1e-9)
    rows = feature_loss(name)(
        student.flatten(2).transpose(1, 2), teacher.flatten(2).transpose(1, 2)
    )
    torch.testing.assert_close(rows, value.flatten(1))
    assert torch.autograd.gradcheck(feature_loss(name), (student[:1].requires_grad_(), teacher[:1]))
    half = feature_loss(name)(student.detach().bfloat16().float(), teacher.float())
    assert torch.isfinite(half).all()


def test_masked_mean_weighs_and_never_broadcasts():
    value = rand(2, 3, 4).requires_grad_()
    mask = rand(2, 1, 3, 4, seed=2).abs()
    want = sum(
        mask[b, 0, y, x] * value[b, y, x] for b in range(2) for y in range(3) for x in range(4)
    )
    torch.testing.assert_close(masked_mean(value, mask), want / mask.sum())
    assert masked_mean(value, torch.ones(2, 1, 3, 4)) != masked_mean(value, mask)
    empty = masked_mean(value, torch.zeros(2, 1, 3, 4))
    empty.backward()
    assert empty == 0
    assert torch.equal(value.grad, torch.zeros_like(value))
    for wrong in (
        torch.ones(3, 4),
        torch.ones(1, 1, 3, 4),
        torch.ones(2, 3, 3, 4),
        torch.ones(2, 4, 3),
    ):
        with pytest.raises(ValueError, match="does not fit"):
            masked_mean(value, wrong)


def test_quality_focal_and_residuals_have_right_gradients():
    logits, scores = rand(3, 4).requires_grad_(), rand(3, 4, seed=1).sigmoid()
    assert torch.autograd.gradcheck(quality_focal, (logits, scores))
    p, t = logits[0, 0].sigmoid().item(), scores[0, 0].item()
    want = abs(p - t) ** 2 * -(t * math.log(p) + (1 - t) * math.log(1 - p))
    assert quality_focal(logits, scores)[0, 0].item() == pytest.approx(want)
    box, other = rand(5, 7).requires_grad_(), rand(5, 7, seed=1)
    assert torch.autograd.gradcheck(residual_smooth_l1, (box, other))
    turned = box.detach().clone()
    turned[:, 6] += math.pi
    torch.testing.assert_close(residual_smooth_l1(turned, box.detach()), torch.zeros(5).double())


def test_response_is_finite_where_the_authors_give_nan():
    """No confident teacher cell: the authors' centre head averages an empty selection."""
    maps = {"heatmap": 3, "reg": 2, "height": 1, "dim": 3, "rot": 2}
    student = {
        k: rand(2, c, 4, 5, seed=i).requires_grad_() for i, (k, c) in enumerate(maps.items())
    }
    teacher = {k: v.detach() + 1 for k, v in student.items()} | {
        "heatmap": torch.full((2, 3, 4, 5), -20.0)
    }
    for flag in (False, True):
        value = center_boxes(student, teacher, sum_classes=flag)
        assert value == 0
        value.backward()
    assert torch.isfinite(center_scores(student["heatmap"], teacher["heatmap"].double()))
    rows = (rand(2, 6, 3), rand(2, 6, 7), rand(2, 6, 2))
    low = (torch.full((2, 6, 3), -20.0).double(), rand(2, 6, 7, seed=5), rand(2, 6, 2, seed=6))
    parts = anchor_response(rows, low)
    assert parts["boxes"] == 0
    assert all(torch.isfinite(v) for v in parts.values())
