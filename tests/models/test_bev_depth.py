"""Depth maps and their loss: naive loops and the authors' numbers."""

import numpy as np
import pytest
import torch

from kd3d.data.depth_maps import depth_map
from kd3d.errors import UserError
from kd3d.models.bev.depth_loss import depth_loss
from kd3d.models.bev.frustum import DepthBins
from tests.models.bev_cases import load


def test_the_published_depth_map_is_reproduced():
    data = load("bevdet_points2depthmap")
    found = depth_map(data["points_uvd"].numpy(), (64, 96), 16, official_parity=True)
    np.testing.assert_allclose(found, data["depth_map"].numpy(), rtol=1e-6)


def test_a_cell_holds_the_nearest_point_that_lies_in_it():
    generator = np.random.default_rng(0)
    seen = generator.uniform([-20, -20, -5], [110, 80, 70], (500, 3))
    found = depth_map(seen, (64, 96), 16)
    want = np.zeros((4, 6))
    for u, v, depth in seen:
        for row in range(4):
            for column in range(6):
                left, top = 16 * column - 0.5, 16 * row - 0.5
                if depth >= 1 and left <= u < left + 16 and top <= v < top + 16:
                    now = want[row, column]
                    want[row, column] = min(now, depth) if now else depth
    np.testing.assert_allclose(found, want, rtol=1e-6)
    assert not depth_map(seen[:0], (64, 96), 16).any()


def test_bevdepth_loss_is_reproduced():
    data = load("bevdepth_depth_loss")
    bins = DepthBins([2.0, 12.0, 0.5])
    full = data["depth_gt"][0]  # (N, H, W): the least of each 4 x 4 pixels
    depth = torch.where(full == 0, torch.inf, full).unflatten(1, (4, 4)).unflatten(3, (6, 4))
    depth = depth.amin((2, 4))
    depth = torch.where(depth.isinf(), 0.0, depth)
    one_hot = torch.nn.functional.one_hot(bins.index(depth) + 1, 21)[..., 1:]
    assert torch.equal(one_hot.reshape(-1, 20).float(), data["onehot"])
    logits = data["depth_logits"].requires_grad_()
    loss = 3 * depth_loss(logits, depth, bins)
    torch.testing.assert_close(loss, data["loss"].squeeze(), rtol=1e-4, atol=1e-6)
    loss.backward()
    torch.testing.assert_close(logits.grad, data["grad_logits"], rtol=1e-4, atol=1e-6)


def test_cells_without_a_depth_do_not_count():
    bins = DepthBins([2.0, 10.0, 2.0])
    logits = torch.randn(1, 4, 2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    depth = torch.tensor([[[0.0, 3.0, 1.0], [10.0, 9.9, 50.0]]])
    wanted = {(0, 1): 0, (1, 1): 3}
    logs = logits.log_softmax(1)
    mean = -sum(logs[0, k, row, column] for (row, column), k in wanted.items()) / 2
    torch.testing.assert_close(depth_loss(logits, depth, bins, "categorical"), mean)
    nothing = depth_loss(logits, torch.zeros_like(depth), bins)
    nothing.backward()
    assert nothing == 0
    assert not logits.grad.any()
    with pytest.raises(UserError, match="depth maps of"):
        depth_loss(logits, depth[..., :2], bins)
