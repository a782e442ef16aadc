"""Metric resampling: what lies at a place in metres stays there."""

import pytest
import torch

from kd3d.adapters import FeatureAdapter, MetricResample
from kd3d.core.spec import FeatureSpec, describe
from kd3d.errors import UserError


def field(spec):
    """Channels x and y: each cell holds its own centre in metres."""
    x0, y0, x1, y1 = spec.extent_m
    height, width = spec.shape
    x = x0 + (torch.arange(width) + 0.5) * (x1 - x0) / width
    y = y0 + (torch.arange(height) + 0.5) * (y1 - y0) / height
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)])[None]


PAIRS = {
    "same cells, other range": (
        (40, 48),
        (0.0, -16.0, 38.4, 16.0),
        (20, 30),
        (4.0, -6.0, 28.0, 10.0),
    ),
    "teacher twice as fine": (
        (64, 96),
        (0.0, -12.8, 38.4, 12.8),
        (32, 48),
        (0.0, -12.8, 38.4, 12.8),
    ),
    "teacher coarser": ((16, 24), (0.0, -12.8, 38.4, 12.8), (32, 40), (2.0, -10.0, 34.0, 10.0)),
    "odd fine grid": ((65, 97), (0.0, -13.0, 38.8, 13.0), (20, 31), (1.0, -12.0, 38.0, 12.0)),
}


@pytest.mark.parametrize("case", PAIRS)
def test_resampled_cells_hold_their_own_metres(case):
    shape_t, extent_t, shape_s, extent_s = PAIRS[case]
    teacher, student = (
        FeatureSpec(2, "map", shape_t, extent_t),
        FeatureSpec(2, "map", shape_s, extent_s),
    )
    resample = MetricResample(teacher, student)
    ours, want = resample(field(teacher)), field(student)
    x0, y0, x1, y1 = extent_t
    margin = 2 * max(teacher.cell_m)
    inner = (want[0, 0] > x0 + margin) & (want[0, 0] < x1 - margin)
    inner &= (want[0, 1] > y0 + margin) & (want[0, 1] < y1 - margin)
    assert inner.sum() > 50
    torch.testing.assert_close(ours[0][:, inner], want[0][:, inner], rtol=0, atol=1e-3)


def test_cells_outside_the_teacher_do_not_count():
    teacher = FeatureSpec(1, "map", (20, 20), (0.0, -10.0, 20.0, 10.0))
    student = FeatureSpec(1, "map", (20, 40), (0.0, -10.0, 40.0, 10.0))
    resample = MetricResample(teacher, student)
    assert resample.valid[0, 0, :, :20].all()
    assert not resample.valid[0, 0, :, 20:].any()
    assert resample(torch.ones(1, 1, 20, 20))[0, 0, :, 20:].abs().sum() == 0
    far = FeatureSpec(1, "map", (4, 4), (100.0, 0.0, 104.0, 4.0))
    with pytest.raises(UserError, match="do not overlap"):
        MetricResample(teacher, far)


def test_specs_of_maps_at_a_stride_know_their_extent():
    grid = ((0.0, -39.68, 69.12, 39.68), (496, 432))
    spec = describe(torch.zeros(1, 8, 248, 216), grid)
    assert spec.extent_m == pytest.approx((0.0, -39.68, 69.12, 39.68))
    assert spec.cell_m == pytest.approx((0.32, 0.32))
    padded = describe(torch.zeros(1, 8, 25, 22), ((0.0, 0.0, 43.0, 50.0), (50, 43)))
    assert padded.extent_m == pytest.approx((0.0, 0.0, 44.0, 50.0))
    assert describe(torch.zeros(1, 8, 7, 13), grid).extent_m is None


def test_projection_is_made_only_where_it_is_needed():
    one = FeatureSpec(4, "map", (8, 6), (0.0, 0.0, 6.0, 8.0))
    assert not list(FeatureAdapter(one, one).parameters())
    wide = FeatureSpec(9, "map", (8, 6), (0.0, 0.0, 6.0, 8.0))
    assert FeatureAdapter(one, wide)(torch.zeros(2, 4, 8, 6)).shape == (2, 9, 8, 6)
    with pytest.raises(UserError, match="4 against 9 channels"):
        FeatureAdapter(one, wide, projection="never")
