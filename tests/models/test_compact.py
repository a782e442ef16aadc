"""The width that a budget asks for."""

import numpy as np
import pytest

from kd3d.errors import UserError
from kd3d.models.compact import FLOPS, PARAMETERS, compact, cost, nearest_width
from kd3d.models.shrink import shrink_model
from tests.models import families

FOUR = {
    "pointpillars": FLOPS, "second": FLOPS, "centerpoint-pillar": PARAMETERS,
    "centerpoint-voxel": PARAMETERS,
}  # fmt: skip


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(0)
    return rng.uniform([0, -6, -2, 0], [19, 6, 0, 1], (1000, 4)).astype(np.float32)


@pytest.mark.parametrize("family, unit", FOUR.items())
def test_the_found_width_is_the_nearest_of_all(family, unit, points):
    stock = shrink_model(families.small(family), width=0.5)
    target = dict(params=0.3) if unit == PARAMETERS else dict(flops=0.3)
    found = compact(stock, points, depth=0.5, **target)
    wanted = 0.3 * found.before.total(unit)
    miss = abs(found.after.total(unit) - wanted)
    assert miss < 0.1 * wanted
    assert found.model == shrink_model(stock, found.width, depth=0.5)
    for step in (-0.02, 0.02):
        other = cost(shrink_model(stock, found.width + step, depth=0.5), points)
        assert abs(other.total(unit) - wanted) >= miss
    assert f"{unit}: wanted 0.3 of the original; channels come in multiples of 4" in found.remark


@pytest.mark.parametrize("target", [0, 1, 7.9, 8, 8.5, 33, 60.1, 64, 65])
def test_bisection_against_all_steps(target):
    def value(width):  # channels in multiples of 4, squared
        return max(4, round(width * 32 / 4) * 4) ** 2 / 16

    values = [(i / 4) ** 2 for i in range(4, 33, 4)]
    width, around = nearest_width(value, target)
    assert abs(value(width) - target) == min(abs(v - target) for v in values)
    inside = [v for v in values if v <= target], [v for v in values if v >= target]
    assert around == (max(inside[0] or values[:1]), min(inside[1] or values[-1:]))
    assert width == round(width, 2)


def test_what_cannot_be_reached_is_said(points):
    stock = families.small("pointpillars")
    least = compact(stock, points, params=1e-6)
    assert "no width gives less" in least.remark
    assert compact(stock, points, width=0.001).model == least.model
    most = compact(stock, points, depth=0.3, params=0.9)
    assert "no width gives more" in most.remark
    assert most.model == shrink_model(stock, depth=0.3)
    assert compact(stock, points, params=1.0).remark == ""


def test_a_coarser_voxel_saves_flops_and_no_parameters(points):
    found = compact(families.small("second"), points, voxel_m=0.4)
    assert found.after.parameters == found.before.parameters
    assert all(found.after.flops[part] < found.before.flops[part] for part in ("backbone", "neck"))
    assert 0 < found.after.flops["middle_encoder"] < found.before.flops["middle_encoder"]


@pytest.mark.parametrize(
    "wishes, message",
    [
        (dict(), "nothing to change"),
        (dict(width=0.5, params=0.5), "--width and --params both decide the width"),
        (dict(params=0.5, flops=0.5), "both decide the width"),
        (dict(params=0.0), "wanted a share"),
        (dict(flops=1.5), "wanted a share"),
        (dict(flops=float("nan")), "wanted a share"),
        (dict(width=0.5, voxel_m=0.9), "multiples of the stride 8"),
    ],
)
def test_contradictions_are_refused(wishes, message, points):
    with pytest.raises(UserError, match=message):
        compact(families.small("pointpillars"), points, **wishes)


def test_a_frame_outside_the_range_is_refused(points):
    with pytest.raises(UserError, match="no point lies in the model's range"):
        compact(families.small("pointpillars"), points + 100, width=0.5)
