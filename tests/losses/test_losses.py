"""Losses against naive loops, in float64 with gradient checks, and the one reduction."""

import math

import pytest
import torch

from kd3d.losses import FEATURE_LOSSES, feature_loss, masked_mean
from kd3d.losses.box.residual import residual_smooth_l1
from kd3d.losses.logit.head_response import anchor_response, center_boxes, center_scores
from kd3d.losses.logit.quality_focal import quality_focal
from kd3d.losses.similarity.local_graph import graph_distance, nearest_rows, normalised_edges


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


def naive_graph(features, queries, neighbours, weight, gamma, beta, fuse):
    """The edge tensor in full, through stock batch normalisation."""
    ends = features[neighbours]  # (Q, K, C)
    centre = features[queries][:, None].expand_as(ends)
    first = ends if fuse == "concat" else centre - ends
    edges = torch.cat([first, centre], -1) @ weight.T
    flat = torch.nn.functional.batch_norm(
        edges.flatten(0, 1), None, None, gamma, beta, training=True, eps=1e-5
    )
    return flat.relu().reshape(*neighbours.shape, -1)


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("fuse", ["concat", "difference"])
def test_local_graph_equals_the_full_edge_tensor(fuse, pool):
    """Values and all gradients, with chunks that do not divide the number of queries."""
    features = [rand(30, 5).requires_grad_(), rand(30, 7, seed=1)]
    parameters = [
        (rand(4, 2 * c, seed=c).requires_grad_(), 1 + rand(4, seed=9).abs(), rand(4, seed=8))
        for c in (5, 7)
    ]
    queries = torch.arange(0, 30, 3)
    neighbours = nearest_rows(features[1], queries, 6)
    for i, q in enumerate(queries):
        order = (features[1] - features[1][q]).norm(dim=1).argsort()[:6]
        assert set(order.tolist()) == set(neighbours[i].tolist())
    split = [
        normalised_edges(f, queries, neighbours, *p, fuse) for f, p in zip(features, parameters)
    ]
    ours = graph_distance(*split, neighbours, pool=pool, chunk=3)
    full = [naive_graph(f, queries, neighbours, *p, fuse) for f, p in zip(features, parameters)]
    if pool:
        full = [g.amax(1, keepdim=True) for g in full]
    want = (full[0] - full[1]).square().mean((1, 2))
    torch.testing.assert_close(ours, want)
    leaves = [features[0], parameters[0][0], parameters[1][0]]
    weight = rand(10, seed=3)
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), leaves),
        torch.autograd.grad((want * weight).sum(), leaves),
    ):
        torch.testing.assert_close(a, b)


def test_local_graph_never_holds_the_edge_tensor():
    """Neither the forward pass nor what it keeps for the backward pass is of size Q x K."""
    features = torch.randn(3000, 32, requires_grad=True)
    weight = torch.randn(16, 64, requires_grad=True)
    queries, neighbours = torch.arange(1000), torch.randint(0, 3000, (1000, 64))
    edges = neighbours.numel() * 16
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        parts = normalised_edges(
            features, queries, neighbours, weight, torch.ones(16), torch.zeros(16)
        )
        value = graph_distance(parts, tuple(p.detach() for p in parts), neighbours, chunk=100)
    assert max(kept.values()) < edges / 4
    assert sum(kept.values()) < edges
    value.sum().backward()
    assert features.grad is not None
