"""Lifting and pooling: against naive loops, the authors' numbers, and finite differences."""

import itertools
import math

import numpy as np
import pytest
import torch

from kd3d.errors import UserError
from kd3d.models.bev.frustum import DepthBins, pixel_frustum
from kd3d.models.bev.grid import BEVGrid
from kd3d.models.bev.pooling import bev_pool
from kd3d.models.bev.view_transform import LiftSplat
from tests.models.bev_cases import cameras_of, load

X, Y, Z = [-16.0, 16.0, 2.0], [-12.0, 12.0, 2.0], [-10.0, 10.0, 20.0]  # of the authors' cases
BINS = [1.0, 15.0, 1.0]
IMAGE = (64, 96)


def close(ours, theirs, rtol=1e-4, atol=1e-5):
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol)


def small(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    depth = torch.rand((2, 3, 4, 2, 5), generator=generator).to(dtype)
    context = torch.randn((2, 3, 6, 2, 5), generator=generator).to(dtype)
    cell = torch.randint(-3, 9, depth.shape, generator=generator)
    return depth, context, cell, 12


def naive(depth, context, cell, cells):
    sums = context.new_zeros(cells, context.shape[2])
    b, n, d, h, w = depth.shape
    for i, j, k, y, x in itertools.product(*map(range, (b, n, d, h, w))):
        at = int(cell[i, j, k, y, x])
        if at >= 0:
            sums[at] = sums[at] + depth[i, j, k, y, x] * context[i, j, :, y, x]
    return sums


def test_a_cell_is_the_sum_over_its_points_and_gradients_are_exact():
    depth, context, cell, cells = small()
    close(bev_pool(depth, context, cell, cells), naive(depth, context, cell, cells), atol=1e-12)
    leaves = depth.requires_grad_(), context.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: bev_pool(a, b, cell, cells), leaves)
    ours = torch.autograd.grad(bev_pool(*leaves, cell, cells).square().sum(), leaves)
    theirs = torch.autograd.grad(naive(*leaves, cell, cells).square().sum(), leaves)
    for a, b in zip(ours, theirs):
        close(a, b, atol=1e-12)


def test_no_point_in_any_cell_gives_zeros_with_a_graph():
    depth, context, cell, cells = small(torch.float32)
    context.requires_grad_()
    sums = bev_pool(depth, context, torch.full_like(cell, -1), cells)
    assert sums.shape == (cells, 6)
    assert not sums.any()
    sums.sum().backward()
    assert not context.grad.any()


def test_halves_are_summed_in_single_precision():
    depth = torch.full((1, 1, 1, 1, 4096), 1.0)
    context = torch.ones((1, 1, 2, 1, 4096), dtype=torch.bfloat16)
    sums = bev_pool(depth, context, torch.zeros(depth.shape, dtype=torch.long), 1)
    assert sums.dtype == torch.bfloat16
    assert sums.tolist() == [[4096, 4096]]


def test_the_grid_is_rows_along_y_and_floor_by_default():
    grid = BEVGrid.of([-4, 4, 2], [0, 6, 1], [-1, 3, 2])
    assert grid.shape == (6, 4)
    assert grid.extent_m == (-4, 0, 4, 6)
    points = torch.tensor([[[-3.9, 5.9, -0.5], [3.9, 0.1, 2.9], [-4.1, 0.5, 0.0], [0.0, 6.0, 0]]])
    points = torch.cat([points, points])
    one, two = grid.cells(points)
    assert one.tolist() == [5 * 4 + 0, 24 + 3, -1, -1]
    assert two.tolist() == [48 + 20, 48 + 27, -1, -1]
    assert grid.cells(points, official_parity=True)[0].tolist() == [20, 27, 0, -1]
    sums = torch.zeros(96, 2)
    sums[27] = torch.tensor([3.0, 5.0])  # layer 1, row 0, column 3
    maps = grid.maps(sums, 2)
    assert maps.shape == (2, 4, 6, 4)
    assert maps[0, :, 0, 3].tolist() == [0, 0, 3, 5]
    assert maps.abs().sum() == 8


def test_features_are_lifted_at_the_middle_of_what_they_cover():
    frustum = pixel_frustum(DepthBins([1, 5, 2]), (2, 3), (32, 48))
    assert frustum.shape == (2, 2, 3, 3)
    assert frustum[0, 0, :, 0].tolist() == [7.5, 23.5, 39.5]
    assert frustum[0, :, 0, 1].tolist() == [7.5, 23.5]
    assert frustum[:, 0, 0, 2].tolist() == [2, 4]
    ends = pixel_frustum(DepthBins([1, 5, 2]), (2, 3), (32, 48), official_parity=True)
    assert ends[0, 0, :, 0].tolist() == [0, 23.5, 47]
    assert ends[:, 0, 0, 2].tolist() == [1, 3]


def test_the_first_published_lift_splat_is_reproduced():
    data = load("bevdet_lss_v1_base")
    lift = LiftSplat(X, Y, Z, BINS, official_parity=True)
    cameras = cameras_of(data)
    frustum = pixel_frustum(lift.bins, (4, 6), IMAGE, official_parity=True)
    close(frustum, data["frustum"])
    close(cameras.lift(frustum), data["geom"], rtol=1e-4, atol=1e-3)
    features = data["img_feat"].requires_grad_()
    made = torch.nn.functional.conv2d(
        features.flatten(0, 1), data["depthnet_weight"], data["depthnet_bias"]
    )
    bev = lift(made[:, :14].softmax(1), made[:, 14:], cameras, IMAGE)
    close(bev, data["bev"])
    (bev * data["out_weight"]).sum().backward()
    close(features.grad, data["grad_img_feat"])


def test_the_second_published_lift_splat_is_reproduced():
    data = load("bevdet_lss_v2_base")
    lift = LiftSplat(X, Y, Z, BINS, official_parity=True)
    cameras = cameras_of(data)
    points = cameras.lift(pixel_frustum(lift.bins, (4, 6), IMAGE, official_parity=True))
    close(points, data["coor"], rtol=1e-4, atol=1e-3)
    cell = lift.cells(cameras, data["feat"], IMAGE).flatten()
    kept = (cell >= 0).nonzero().flatten()
    assert sorted(kept.tolist()) == sorted(data["ranks_depth"].tolist())
    assert torch.equal(cell[data["ranks_depth"].long()], data["ranks_bev"].long())
    depth, feat = data["depth"].flatten(0, 1), data["feat"].flatten(0, 1)
    close(lift(depth, feat, cameras, IMAGE), data["bev"])


def test_mean_of_a_cell_is_that_of_its_points_under_their_depth():
    data = load("bevdet_lss_v2_base")
    depth, feat = data["depth"].flatten(0, 1), data["feat"].flatten(0, 1)
    lift = LiftSplat(X, Y, [-10.0, 10.0, 10.0], BINS, mean_smoothing=0.3)
    cell = lift.cells(cameras_of(data), feat, IMAGE)
    maps = lift(depth, feat, cameras_of(data), IMAGE)
    columns, rows, layers = lift.grid.count
    known = torch.zeros(len(maps), layers, rows, columns, feat.shape[1])
    total = torch.full((*known.shape[:-1], 1), 0.3)
    for n, d, v, u in itertools.product(*map(range, depth.shape)):
        at = int(cell.flatten(0, 1)[n, d, v, u])
        if at >= 0:
            place = np.unravel_index(at, known.shape[:-1])
            known[place] += depth[n, d, v, u] * feat[n, :, v, u]
            total[place] += depth[n, d, v, u]
    assert (total > 1).any()
    close(maps, (known / total).permute(0, 1, 4, 2, 3).reshape(maps.shape))
    with pytest.raises(UserError, match="a number above 0"):
        LiftSplat(X, Y, Z, BINS, mean_smoothing=0.0)


@pytest.mark.parametrize("official", [True, False])
def test_truncation_differs_from_floor_on_the_lower_borders_only(official):
    data = load("bevdet_lss_v2_base")
    cameras = cameras_of(data)
    lift = LiftSplat(X, Y, Z, BINS, official_parity=official)
    points = cameras.lift(pixel_frustum(lift.bins, (4, 6), IMAGE, True))
    cell = lift.grid.cells(points, official)
    low, step, count = lift.grid.low, lift.grid.step, lift.grid.count
    round_ = math.trunc if official else math.floor
    for at, point in zip(cell.flatten().tolist(), points.reshape(-1, 3).tolist()):
        x, y, z = (round_((p - a) / b) for p, a, b in zip(point, low, step))
        inside = all(0 <= i < n for i, n in zip((x, y, z), count))
        assert (at >= 0) == inside
        if inside:
            assert at % (count[0] * count[1]) == y * count[0] + x
