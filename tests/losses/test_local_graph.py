"""PointDistiller's graphs against the edge tensor in full, in several blocks."""

import pytest
import torch

from kd3d.losses.similarity import local_graph
from kd3d.losses.similarity.local_graph import (
    Neighbours,
    graph_distance,
    nearest_rows,
    normalised_edges,
)


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 3 queries or so, which do not divide the number of queries."""
    monkeypatch.setitem(local_graph._BLOCK, "cpu", 150)


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


def problem(rows=30, k=6, width=4):
    features = [rand(rows, 5).requires_grad_(), rand(rows, 7, seed=1)]
    parameters = [
        tuple(
            p.requires_grad_()
            for p in (
                rand(width, 2 * c, seed=c),
                1 + rand(width, seed=9).abs(),
                rand(width, seed=8),
            )
        )
        for c in (5, 7)
    ]
    queries = torch.arange(0, rows, 3)
    return features, parameters, queries, nearest_rows(features[1], queries, k)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("fuse", ["concat", "difference"])
def test_local_graph_equals_the_full_edge_tensor(fuse, pool):
    features, parameters, queries, rows = problem()
    weight = rand(10, seed=3).abs()
    neighbours = Neighbours(rows, 30)
    split = [
        normalised_edges(f, queries, neighbours, *p, fuse) for f, p in zip(features, parameters)
    ]
    ours = graph_distance(*split, neighbours, weight, pool)
    full = [naive_graph(f, queries, rows, *p, fuse) for f, p in zip(features, parameters)]
    if pool:
        full = [g.amax(1, keepdim=True) for g in full]
    want = ((full[0] - full[1]).square().mean((1, 2)) * weight).sum()
    torch.testing.assert_close(ours, want)
    leaves = [features[0], *parameters[0], *parameters[1]]
    for a, b in zip(torch.autograd.grad(3 * ours, leaves), torch.autograd.grad(3 * want, leaves)):
        torch.testing.assert_close(a, b)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("pool", [False, True])
def test_local_graph_passes_gradcheck(pool):
    features, parameters, queries, rows = problem(rows=12, k=3, width=2)
    neighbours, weight = Neighbours(rows, 12), rand(4, seed=3).abs()

    def value(student, *flat):
        split = [
            normalised_edges(f, queries, neighbours, *p)
            for f, p in zip((student, features[1]), (flat[:3], flat[3:]))
        ]
        return graph_distance(*split, neighbours, weight, pool)

    assert torch.autograd.gradcheck(value, (features[0], *parameters[0], *parameters[1]))


@pytest.mark.parametrize("rows", [5, 97, 300, 2000])  # all rows, one level, one level, two levels
@pytest.mark.parametrize("k", [7, 20])
def test_nearest_rows_equal_a_full_sort(rows, k, small_blocks):
    features, queries = 50 + rand(rows, 3), torch.randperm(rows)[:17]
    found = nearest_rows(features, queries, k)
    order = (features[queries][:, None] - features).norm(dim=2).argsort(1)[:, :k]
    assert torch.equal(found, order)
    quick = nearest_rows(features, queries, k, ordered=False)
    assert torch.equal(quick.sort(1).values, order.sort(1).values)


def test_no_weight_no_query_and_no_gradient():
    features, parameters, queries, rows = problem()
    neighbours = Neighbours(rows, 30)
    with torch.no_grad():
        split = [normalised_edges(f, queries, neighbours, *p) for f, p in zip(features, parameters)]
        value = graph_distance(*split, neighbours, torch.ones(10, dtype=torch.float64))
    assert value > 0
    assert not value.requires_grad
    split = [normalised_edges(f, queries, neighbours, *p) for f, p in zip(features, parameters)]
    zero = graph_distance(*split, neighbours, torch.zeros(10, dtype=torch.float64))
    zero.backward()
    assert zero == 0
    assert features[0].grad.abs().sum() == 0
    assert nearest_rows(features[1], queries[:0], 6).shape == (0, 6)


def test_gradient_has_the_same_bits_every_time():
    rows = torch.randint(0, 300, (200, 32), generator=torch.Generator().manual_seed(0))
    neighbours, queries = Neighbours(rows, 300), torch.arange(200)
    found = []
    for _ in range(2):
        features = rand(300, 8, dtype=torch.float32).requires_grad_()
        weight = rand(16, 16, dtype=torch.float32).requires_grad_()
        edges = normalised_edges(
            features, queries, neighbours, weight, torch.ones(16), torch.zeros(16)
        )
        graph_distance(edges, [2 * e for e in edges], neighbours, torch.ones(200)).backward()
        found.append((features.grad, weight.grad))
    assert all(torch.equal(a, b) for a, b in zip(*found))


def test_local_graph_never_holds_the_edge_tensor():
    """Neither the forward pass nor what it keeps for the backward pass is of size Q x K x D."""
    features = torch.randn(3000, 32, requires_grad=True)
    weight = torch.randn(16, 64, requires_grad=True)
    queries, rows = torch.arange(1000), torch.randint(0, 3000, (1000, 64))
    edges = rows.numel() * 16
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
        return tensor

    neighbours = Neighbours(rows, 3000)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        parts = normalised_edges(
            features, queries, neighbours, weight, torch.ones(16), torch.zeros(16)
        )
        fixed = tuple(2 * p.detach() for p in parts)
        value = graph_distance(parts, fixed, neighbours, torch.ones(1000))
    assert max(kept.values()) < edges / 4
    assert sum(kept.values()) < edges
    value.backward()
    assert features.grad.abs().sum() > 0
