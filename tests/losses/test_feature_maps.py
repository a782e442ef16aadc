"""Losses on whole maps against plain loops in numpy, with gradient checks."""

import math

import numpy as np
import pytest
import torch

from kd3d.losses.feature.activation import (
    activation_boundaries,
    negative_margin,
    partial_squared_error,
    unit_deviation,
)
from kd3d.losses.feature.attention import attention_transfer, spatial_attention
from kd3d.losses.feature.channel_wise import channel_wise_divergence
from kd3d.losses.feature.factors import factor_error
from kd3d.losses.feature.focal import cell_attention, channel_attention, focal_error
from kd3d.losses.feature.masked_generation import kept_cells
from kd3d.losses.feature.pearson import pearson_distance, standard_scores
from kd3d.losses.feature.pyramid import hierarchical_error
from kd3d.losses.similarity.selectivity import neuron_selectivity
from tests.losses.test_losses import rand

SHAPE = (2, 3, 4, 6)


def softmax(values):
    powers = [math.exp(v - max(values)) for v in values]
    return [p / sum(powers) for p in powers]


def attention(s, t):
    want = []
    for b in range(len(s)):
        maps = []
        for f in (s[b], t[b]):
            q = [sum(v * v for v in f[:, i, j]) / len(f) for i, j in np.ndindex(f.shape[1:])]
            length = math.sqrt(sum(v * v for v in q))
            maps.append([v / length for v in q])
        want.append([(a - c) ** 2 for a, c in zip(*maps)])
    return want


def channel_wise(s, t):
    want = np.zeros(s.shape[:2])
    for b, c in np.ndindex(want.shape):
        p, q = (softmax([v / 3.0 for v in f[b, c].ravel()]) for f in (t, s))
        want[b, c] = 9.0 * sum(x * math.log(x / y) for x, y in zip(p, q))
    return want


def pearson(s, t):
    want = np.zeros((s.shape[0], *s.shape[2:]))
    for c in range(s.shape[1]):
        z = [(f[:, c] - f[:, c].mean()) / (f[:, c].std(ddof=1) + 1e-6) for f in (s, t)]
        want += 0.5 * (z[0] - z[1]) ** 2 / s.shape[1]
    return want


def focal(s, t):
    want = np.zeros((s.shape[0], *s.shape[2:]))
    channels, height, width = s.shape[1:]
    for b in range(len(s)):
        activity = [abs(t[b, :, i, j]).mean() / 0.5 for i, j in np.ndindex(height, width)]
        cells = softmax(activity)
        of_channel = softmax([abs(t[b, c]).mean() / 0.5 for c in range(channels)])
        for i, j in np.ndindex(height, width):
            square = [of_channel[c] * (s[b, c, i, j] - t[b, c, i, j]) ** 2 for c in range(channels)]
            want[b, i, j] = cells[i * width + j] * height * width * sum(square)
    return want


def per_value(rule):
    """Return a reference that applies a rule to every pair of values and averages channels."""
    return lambda s, t: np.vectorize(rule)(s, t).mean(1)


def factors(s, t):
    want = []
    for ours, theirs in zip(s, t):
        scaled = [f / np.sqrt((f * f).mean()) for f in (ours, theirs)]
        want.append(abs(scaled[0] - scaled[1]).mean(0))
    return want


def hierarchical(s, t):
    """Height 4 leaves 2 and 1 of the levels."""
    want = ((s - t) ** 2).mean((1, 2, 3))
    for weight, (rows, columns) in ((0.5, (2, 3)), (0.25, (4, 6))):
        d = s - t
        cells = [
            d[:, :, i : i + rows, j : j + columns].mean((2, 3)) ** 2
            for i in range(0, 4, rows)
            for j in range(0, 6, columns)
        ]
        want = want + weight * np.stack(cells).mean((0, 2))
    return want / 1.75


def selectivity(s, t):
    want = []
    for ours, theirs in zip(s, t):
        rows = [[c.ravel() / math.sqrt((c**2).sum()) for c in f] for f in (ours, theirs)]
        kernel = lambda a, b: np.mean([[(x @ y) ** 2 for y in b] for x in a])  # noqa: E731
        ours, theirs = rows
        want.append(kernel(theirs, theirs) + kernel(ours, ours) - 2 * kernel(ours, theirs))
    return want


REFERENCES = {
    "attention": (attention_transfer, attention),
    "channel_wise": (lambda s, t: channel_wise_divergence(s, t, 3.0), channel_wise),
    "pearson": (pearson_distance, pearson),
    "focal": (lambda s, t: focal_error(s, t, cell_attention(t), channel_attention(t)), focal),
    "partial": (
        partial_squared_error,
        per_value(lambda a, b: 0.0 if a <= b <= 0 else (a - b) ** 2),
    ),
    "boundaries": (
        activation_boundaries,
        per_value(lambda a, b: max(0.0, 1 - a if b > 0 else 1 + a) ** 2),
    ),
    "factors": (factor_error, factors),
    "hierarchical": (hierarchical_error, hierarchical),
    "selectivity": (neuron_selectivity, selectivity),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_loss_equals_a_plain_loop_and_passes_gradcheck(name):
    function, reference = REFERENCES[name]
    student, teacher = rand(*SHAPE), rand(*SHAPE, seed=1)
    value = function(student, teacher)
    want = torch.as_tensor(np.array(reference(student.numpy(), teacher.numpy())))
    torch.testing.assert_close(value, want, rtol=1e-9, atol=1e-12)
    assert torch.autograd.gradcheck(function, (student.requires_grad_(), teacher))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", REFERENCES)
def test_half_precision_and_empty_maps_are_finite(name, dtype):
    function, _ = REFERENCES[name]
    for student in (100 * rand(*SHAPE, dtype=torch.float32), torch.zeros(SHAPE)):
        for teacher in (100 * rand(*SHAPE, seed=1, dtype=torch.float32), torch.zeros(SHAPE)):
            ours = student.to(dtype).requires_grad_()
            value = function(ours, teacher.to(dtype))
            assert value.dtype == torch.float32
            value.sum().backward()
            assert torch.isfinite(value).all()
            assert torch.isfinite(ours.grad).all()


def test_widths_may_differ_where_only_cells_are_compared():
    for function in (attention_transfer, neuron_selectivity):
        assert torch.isfinite(function(rand(2, 3, 4, 6), rand(2, 5, 4, 6))).all()


def test_a_constant_channel_has_standard_score_zero():
    feature = rand(*SHAPE)
    feature[:, 1] = 3.0
    feature.requires_grad_()
    scores = standard_scores(feature)
    assert scores[:, 1].abs().max() < 1e-6
    scores.square().sum().backward()
    assert torch.isfinite(feature.grad).all()


def test_attention_has_mean_one_and_grows_with_energy():
    feature = rand(*SHAPE)
    cells = cell_attention(feature)
    torch.testing.assert_close(cells.mean((1, 2)), torch.ones(2, dtype=torch.float64))
    strongest = spatial_attention(feature, 1.0).flatten(1).argmax(1)
    assert torch.equal(cells.flatten(1).argmax(1), strongest)
    torch.testing.assert_close(channel_attention(feature).mean(1), torch.ones(2).double())


def test_margin_is_the_mean_negative_and_scaling_keeps_signs():
    feature = rand(*SHAPE)
    feature[:, 2] = feature[:, 2].abs()
    margin = negative_margin(feature).flatten()
    for c in range(2):
        values = [v for v in feature[:, c].flatten().tolist() if v < 0]
        assert margin[c].item() == pytest.approx(sum(values) / len(values))
    assert margin[2] == 0
    scaled = unit_deviation(feature)
    assert torch.equal(scaled.sign(), feature.sign())
    deviation = scaled.std((0, 2, 3), unbiased=False)
    torch.testing.assert_close(deviation, torch.ones(3).double(), rtol=1e-4, atol=0)


def test_kept_cells_have_the_wanted_share_and_shape():
    torch.manual_seed(0)
    kept = kept_cells(torch.zeros(2, 8, 100, 90), 0.65)
    assert kept.shape == (2, 1, 100, 90)
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    assert kept.mean().item() == pytest.approx(0.35, abs=0.02)
    assert kept_cells(torch.zeros(2, 8, 100, 90), 0.65, per_channel=True).shape == (2, 8, 1, 1)
