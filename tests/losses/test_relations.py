"""Relations between rows against plain loops, with gradient checks."""

import math

import numpy as np
import pytest
import torch

from kd3d.losses.similarity.relations import (
    angle_relations,
    distance_relations,
    edge_difference,
    probabilistic_transfer,
    similarity_preserving,
)
from tests.losses.test_losses import rand


def smooth(a, b):
    return 0.5 * (a - b) ** 2 if abs(a - b) < 1 else abs(a - b) - 0.5


def norm(v):
    return math.sqrt(sum(x * x for x in v))


def similarity(s, t):
    n = len(s)
    gram = [[[f[i] @ f[j] for j in range(n)] for i in range(n)] for f in (s, t)]
    return [
        [
            (gram[0][i][j] / norm(gram[0][i]) - gram[1][i][j] / norm(gram[1][i])) ** 2
            for j in range(n)
        ]
        for i in range(n)
    ]


def distances(s, t):
    n, sides = len(s), []
    for f in (s, t):
        d = [[norm(f[i] - f[j]) for j in range(n)] for i in range(n)]
        mean = sum(map(sum, d)) / (n * (n - 1))
        sides.append([[v / mean for v in row] for row in d])
    return [[smooth(sides[0][i][j], sides[1][i][j]) for j in range(n)] for i in range(n)]


def angles(s, t):
    n = len(s)

    def cosine(f, i, j, k):
        a, b = f[i] - f[j], f[i] - f[k]
        return 0.0 if i in (j, k) else a @ b / norm(a) / norm(b)

    return [
        [[smooth(cosine(s, i, j, k), cosine(t, i, j, k)) for k in range(n)] for j in range(n)]
        for i in range(n)
    ]


def neighbours(s, t):
    n, sides = len(s), []
    for f in (s, t):
        kernel = [
            [(f[i] @ f[j] / norm(f[i]) / norm(f[j]) + 1) / 2 for j in range(n)] for i in range(n)
        ]
        for i in range(n):
            kernel[i][i] = 0.0
        sides.append([[v / sum(row) for v in row] for row in kernel])
    return [
        [q * math.log((q + 1e-7) / (p + 1e-7)) for p, q in zip(sides[0][i], sides[1][i])]
        for i in range(n)
    ]


def edges(s, t):
    sides = []
    for f in (s, t):
        a = [[norm(x - y) ** 2 for y in f] for x in f]
        sides.append(np.array(a) / max(map(max, a)))
    return (sides[0] - sides[1]) ** 2


REFERENCES = {
    "similarity": (similarity_preserving, similarity),
    "distances": (distance_relations, distances),
    "angles": (angle_relations, angles),
    "neighbours": (probabilistic_transfer, neighbours),
    "edges": (edge_difference, edges),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_relation_equals_a_plain_loop_and_passes_gradcheck(name):
    function, reference = REFERENCES[name]
    student, teacher = rand(5, 3), rand(5, 4, seed=1)
    value = function(student, teacher)
    want = torch.as_tensor(np.array(reference(student.numpy(), teacher.numpy())))
    torch.testing.assert_close(value, want, rtol=1e-6, atol=1e-9)
    assert torch.autograd.gradcheck(function, (student.requires_grad_(), teacher))


@pytest.mark.parametrize("rows", [0, 1, 2, 5])
@pytest.mark.parametrize("name", REFERENCES)
def test_few_rows_zero_rows_and_half_precision_are_finite(name, rows):
    function, _ = REFERENCES[name]
    for scale in (0.0, 1.0, 100.0):
        ours = (scale * rand(rows, 3, dtype=torch.float32)).half().requires_grad_()
        value = function(ours, (scale * rand(rows, 4, seed=1)).bfloat16())
        assert value.dtype == torch.float32
        value.sum().backward()
        assert torch.isfinite(value).all()
        assert torch.isfinite(ours.grad).all()


@pytest.mark.parametrize("name", REFERENCES)
def test_rotated_and_scaled_rows_have_the_same_relations(name):
    function, _ = REFERENCES[name]
    rows = rand(6, 4)
    rotation, _ = torch.linalg.qr(rand(4, 4, seed=3))
    assert function(3.0 * rows @ rotation, rows).abs().max() < 1e-9


@pytest.mark.parametrize("name", REFERENCES)
def test_a_row_without_direction_has_no_huge_gradient(name):
    function, _ = REFERENCES[name]
    rows = rand(5, 3)
    rows[0] = 0.0
    rows[1] = rows[2]
    rows.requires_grad_()
    function(rows, rand(5, 4, seed=1)).mean().backward()
    assert rows.grad.abs().max() < 100
