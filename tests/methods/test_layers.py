"""Methods on several layers: ReviewKD's fusion and IRG's transformations, against naive loops."""

import pytest
import torch
import torch.nn.functional as F

from kd3d.core.context import Context
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec, LevelsSpec
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.losses.similarity.relations import transformation_difference
from tests.losses.test_losses import rand

register_all()
EXTENT = (0.0, 0.0, 8.0, 6.0)
SHAPES = ((6, 8), (3, 4))
STUDENT, TEACHER = (4, 6), (8, 10)


def levels(channels, shapes=SHAPES, extent=EXTENT):
    return LevelsSpec.of(FeatureSpec(c, "map", s, extent) for c, s in zip(channels, shapes))


def make(method, student, teacher, **options):
    torch.manual_seed(0)
    config = METHODS.get(method)(**options)[0]
    term = TERMS.get(config.pop("type"))(**config)
    term.build(student, teacher)
    return term


def maps(channels, seed, shapes=SHAPES):
    return [rand(2, c, *s, seed=seed + i).float() for i, (c, s) in enumerate(zip(channels, shapes))]


def objects(*points):
    boxes = torch.zeros(len(points), 7)
    boxes[:, :2] = torch.tensor(points).reshape(-1, 2)
    return Context([boxes, boxes[:1]], [], {}, 0.0)


def normalised(x, layer):
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    x = (x - mean.view(1, -1, 1, 1)) / (variance + layer.eps).sqrt().view(1, -1, 1, 1)
    return x * layer.weight.view(1, -1, 1, 1) + layer.bias.view(1, -1, 1, 1)


def review(term, student, teacher):
    """The paper's figure 3 by hand: stages from deep to shallow, nearest cells, raw teacher."""
    total, below = 0.0, None
    for fusion, s, t in reversed(list(zip(term.fusions, student, teacher))):
        x = torch.einsum("oc,bchw->bohw", fusion.reduce[0].weight[:, :, 0, 0], s)
        x = normalised(x, fusion.reduce[1])
        if below is not None:
            up = below.repeat_interleave(2, 2).repeat_interleave(2, 3)
            both = torch.cat([x, up], 1)
            kernel, bias = fusion.attend.weight[:, :, 0, 0], fusion.attend.bias
            share = torch.einsum("oc,bchw->bohw", kernel, both) + bias.view(1, -1, 1, 1)
            share = 1 / (1 + (-share).exp())
            x = x * share[:, 0:1] + up * share[:, 1:2]
        below = x
        y = normalised(F.conv2d(x, fusion.expand[0].weight, padding=1), fusion.expand[1])
        value, weights = ((y - t) ** 2).mean(), 1.0
        for i, cells in enumerate(c for c in (4, 2, 1) if c < s.shape[2]):
            coarse = F.adaptive_avg_pool2d(y, cells) - F.adaptive_avg_pool2d(t, cells)
            value = value + 0.5 ** (i + 1) * (coarse**2).mean()
            weights += 0.5 ** (i + 1)
        total = total + value / weights
    return total


def test_review_joins_stages_from_deep_to_shallow():
    term = make("reviewkd", levels(STUDENT), levels(TEACHER), official_parity=True)
    student, teacher = maps(STUDENT, 0), maps(TEACHER, 5)
    student = [s.requires_grad_() for s in student]
    for layer in term.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.uniform_(layer.bias)
    value = term(student, teacher, objects())
    want = review(term, student, teacher)
    torch.testing.assert_close(value, want)
    learned = [*student, *term.parameters()]
    ours, theirs = (torch.autograd.grad(v, learned) for v in (value, want))
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_deeper_stages_are_read_in_metres():
    """A grid of 5 x 7 cells is padded to 3 x 4 of the double size, which reach further."""
    student = LevelsSpec.of(
        [
            FeatureSpec(4, "map", (5, 7), (0.0, 0.0, 7.0, 5.0)),
            FeatureSpec(6, "map", (3, 4), (0.0, 0.0, 8.0, 6.0)),
        ]
    )
    term = make("reviewkd", student, student)
    ramp = torch.arange(4.0).expand(1, 6, 3, 4) * 2 + 1  # the centres' x in metres
    upward = term._upward(0, ramp, torch.zeros(1, 4, 5, 7))
    torch.testing.assert_close(upward[0, 0, 2, 1:], torch.arange(1.0, 7.0) + 0.5)


@pytest.mark.parametrize("method", ["reviewkd", "irg"])
def test_teachers_on_other_grids_and_what_does_not_fit(method):
    finer = levels(TEACHER, ((12, 16), (6, 8)))
    term = make(method, levels(STUDENT), finer)
    student = [s.requires_grad_() for s in maps(STUDENT, 0)]
    value = term(student, maps(TEACHER, 5, ((12, 16), (6, 8))), objects((1.0, 2.0), (5.0, 4.0)))
    value.backward()
    assert torch.isfinite(value)
    assert all(s.grad.abs().sum() > 0 for s in student)
    assert all(p.grad is not None for p in term.parameters())
    with pytest.raises(UserError, match="2 levels"):
        make(method, levels(STUDENT), FeatureSpec(4, "map", (6, 8), EXTENT))
    with pytest.raises(UserError, match="rows"):
        make(method, LevelsSpec.of([FeatureSpec(4, "rows")]), levels((4,)))


def test_transformations_equal_a_naive_loop_and_its_gradient():
    one, two = rand(4, 3).requires_grad_(), rand(4, 6, seed=1).requires_grad_()
    teacher = (rand(4, 8, seed=2), rand(4, 4, seed=3))

    def narrow(row, width):
        step = len(row) // width
        return [sum(row[i * step : (i + 1) * step]) / step for i in range(width)]

    def graphs(first, second):
        width = min(len(first[0]), len(second[0]))
        moved = [
            sum((a - b) ** 2 for a, b in zip(narrow(f, width), narrow(s, width)))
            for f, s in zip(first, second)
        ]
        edges = []
        for layer in (first, second):
            square = [[((a - b) ** 2).sum() for b in layer] for a in layer]
            largest = max(max(row) for row in square)
            edges.append([[v / largest for v in row] for row in square])
        change = [[(a - b) ** 2 for a, b in zip(r, q)] for r, q in zip(*edges)]
        return torch.stack([m / max(moved) for m in moved]), torch.stack(
            [torch.stack(row) for row in change]
        )

    ours, theirs = graphs(one, two), graphs(*teacher)
    found = transformation_difference((one, two), teacher)
    for value, s, t in zip(found, ours, theirs):
        torch.testing.assert_close(value, (s - t) ** 2)
    torch.autograd.gradcheck(
        lambda a, b: transformation_difference((a, b), teacher), (one, two), atol=1e-5
    )


def test_instance_graphs_add_up_their_parts():
    student, teacher = maps(STUDENT, 0), maps(TEACHER, 5)
    context = objects((1.2, 2.0), (5.0, 4.0), (6.5, 1.0))
    parts = {}
    for name in ("vertices", "edges", "transformations"):
        shares = dict(vertices=0.0, edges=0.0, transformations=0.0) | {name: 1.0}
        term = make("irg", levels(STUDENT), levels(TEACHER), **shares)
        parts[name] = term(student, teacher, context)
    whole = make("irg", levels(STUDENT), levels(TEACHER))(student, teacher, context)
    torch.testing.assert_close(whole, sum(parts.values()))
    assert all(value > 0 for value in parts.values())
    equal = make("irg", levels(STUDENT), levels(STUDENT), vertices=0.0)
    assert equal(student, student, context) == 0


@pytest.mark.parametrize("points", [(), ((1.0, 2.0),), ((1.0, 2.0), (1.0, 2.0))])
def test_graphs_of_no_one_or_equal_objects_are_finite(points):
    term = make("irg", levels(STUDENT), levels(TEACHER))
    student = [s.requires_grad_() for s in maps(STUDENT, 0)]
    value = term(student, maps(TEACHER, 5), objects(*points))
    value.backward()
    assert torch.isfinite(value)
    assert all(torch.isfinite(s.grad).all() for s in student)
    assert points or value == 0
