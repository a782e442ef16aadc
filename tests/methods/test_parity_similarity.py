"""Similarity methods against the authors' own numbers: losses and gradients, rtol 1e-4."""

import pytest
import torch

from kd3d.core.context import Context
from kd3d.losses.similarity.relations import angle_relations, distance_relations
from tests.methods.test_parity import close, load
from tests.methods.test_parity_feature import make, pair, run


def as_objects(rows):
    """Return rows (N, C) as a map (1, C, 1, N) and a box in the middle of each of its cells."""
    boxes = torch.zeros(len(rows), 7)
    boxes[:, 0] = torch.arange(len(rows)) + 0.5
    boxes[:, 1] = 0.5
    return rows.t()[None, :, None], [boxes]


RELATIONS = {
    "mdistiller_rkd": ("rkd", {}),
    "mmrazor_rkd_distance": ("rkd", dict(angle=0.0, unit_length=True)),
    "mmrazor_rkd_angle": ("rkd", dict(distance=0.0, unit_length=True)),
    "mdistiller_pkt": ("pkt", dict(weight=1.0)),
}


@pytest.mark.parametrize("name", RELATIONS)
def test_relations_between_objects_equal_the_authors_code(name):
    data = load(name)
    method, options = RELATIONS[name]
    student, teacher, grad = pair(data)
    ours, boxes = as_objects(student)
    theirs, _ = as_objects(teacher)
    term = make(method, ours, theirs, (0.0, 0.0, float(len(student)), 1.0), **options)
    loss = run(term, ours, theirs, boxes)
    close(loss, data["loss"])
    loss.backward()
    torch.testing.assert_close(student.grad, grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name, method", [("mdistiller_sp", "sp"), ("mdistiller_nst", "nst")])
def test_whole_maps_equal_mdistiller(name, method):
    data = load(name)
    student, teacher, grad = pair(data)
    loss = run(make(method, student, teacher, weight=1.0), student, teacher)
    close(loss, data["loss"])
    loss.backward()
    torch.testing.assert_close(student.grad, grad, rtol=1e-4, atol=1e-8)


def test_equal_objects_are_finite():
    rows = torch.randn(1, 4).expand(5, 4).clone().requires_grad_()
    loss = distance_relations(rows, torch.randn(5, 3)).mean()
    loss = loss + angle_relations(rows, torch.ones(5, 3)).mean()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(rows.grad).all()


@pytest.mark.parametrize("method", ["rkd", "pkt", "sp", "irg"])
def test_objects_outside_either_map_are_left_out(method):
    student, teacher = torch.randn(1, 4, 6, 8, requires_grad=True), torch.randn(1, 5, 6, 8)
    options = dict(rows="objects") if method == "sp" else {}
    term = make(method, student, teacher, **options)
    boxes = torch.zeros(6, 7)
    boxes[:, :2] = torch.tensor([[1, 1], [2, 5], [7, 3], [4, 4], [9, 1], [2, -0.5]])
    everything = Context([boxes], [], {}, 0.0)
    inside = Context([boxes[:4]], [], {}, 0.0)
    close(term(student, teacher, everything), term(student, teacher, inside))
    nothing = term(student, teacher, Context([boxes[4:]], [], {}, 0.0))
    nothing.backward()
    assert nothing == 0
    assert student.grad is not None
