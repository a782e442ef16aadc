"""Depth within objects and depth bins against loops, and their gradients."""

import torch
from torch.autograd import gradcheck

from kd3d.losses.depth.bins import bin_entropy, one_hot_bins
from kd3d.losses.depth.inner_depth import expected_depth, inner_depth_error
from kd3d.losses.depth.occupancy import occupancy_error
from kd3d.masks.depth_cells import object_cells
from tests.losses.test_losses import rand


def test_inner_depth_equals_a_loop():
    """The same index in two images is two objects; a cell without depth does not count."""
    depth, measured = rand(2, 3, 4) + 9, rand(2, 3, 4, seed=1) + 9
    objects = torch.randint(0, 3, (2, 3, 4), generator=torch.Generator().manual_seed(2))
    measured[0, 0] = 0.0
    wanted = []
    for b in range(2):
        for i in (1, 2):
            cells = [c for c in (objects[b] == i).nonzero().tolist() if measured[b][tuple(c)] > 0]
            pairs = [(depth[b][tuple(c)], measured[b][tuple(c)]) for c in cells]
            best = min(pairs, key=lambda p: abs(p[0] - p[1]), default=None)
            wanted += [((p - best[0]) - (z - best[1])) ** 2 for p, z in pairs]
    found = inner_depth_error(depth, measured, objects)
    assert len(found) == len(wanted) > 4
    torch.testing.assert_close(found.sort().values, torch.stack(wanted).sort().values)
    assert not len(inner_depth_error(depth, measured, objects * 0))


def test_gradient_of_inner_depth_leaves_the_reference_out():
    depth = torch.tensor([[[5.0, 7.0, 9.5]]], requires_grad=True)
    measured = torch.tensor([[[5.1, 6.0, 9.0]]])
    inner_depth_error(depth, measured, torch.ones(1, 1, 3).long()).sum().backward()
    torch.testing.assert_close(depth.grad, torch.tensor([[[0.0, 2.2, 1.2]]]))


def test_bins_equal_loops():
    logits, index = rand(2, 4, 2, 3), torch.tensor([[[0, 3, -1], [4, 1, 2]]] * 2)
    target = one_hot_bins(index, 4)
    for competing in (True, False):
        p = logits.softmax(1) if competing else logits.sigmoid()
        found = bin_entropy(logits, target, competing)
        for row in range(2):
            for column in range(3):
                wanted = 0.0
                for k in range(4):
                    q = p[1, k, row, column]
                    wanted -= q.log() if index[1, row, column] == k else (1 - q).log()
                torch.testing.assert_close(found[1, row, column], wanted)
    assert gradcheck(lambda x: bin_entropy(x, target), logits.requires_grad_())


def test_expected_depth_is_that_of_the_distribution():
    logits, bins = rand(1, 3, 1, 2), torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    p = logits[0, :, 0, 1].exp() / logits[0, :, 0, 1].exp().sum()
    torch.testing.assert_close(expected_depth(logits, bins)[0, 0, 1], (p * bins).sum())


def test_cells_have_the_object_of_their_nearest_point():
    """Two cells of 4 pixels; the last box wins; a point on the edge is the next cell's."""
    seen = torch.tensor([[1.0, 1.0, 9.0], [2.0, 0.0, 5.0], [3.6, 1.0, 7.0], [9.0, 1.0, 1.0]])
    inside = torch.tensor([[1, 0, 1, 1], [0, 0, 1, 0]])
    depth, objects = object_cells(seen, inside, (4, 8), 4)
    assert depth.tolist() == [[5.0, 7.0]]
    assert objects.tolist() == [[0, 2]]
    depth, objects = object_cells(seen, inside[:0], (4, 8), 4, (6.0, 8.0))
    assert depth.tolist() == [[0.0, 7.0]]
    assert objects.tolist() == [[0, 0]]


def test_occupancy_error_equals_a_loop():
    ours, theirs = rand(1, 2, 3, 2).abs(), rand(1, 2, 3, 2, seed=1).abs()
    found = occupancy_error(ours, theirs)
    wanted = [
        abs(1 / (1 + 2.718281828459045**-a) - 1 / (1 + 2.718281828459045**-b))
        for a, b in zip(ours.flatten().tolist(), theirs.flatten().tolist())
    ]
    torch.testing.assert_close(found.flatten(), torch.tensor(wanted, dtype=torch.float64))
    assert gradcheck(lambda o: occupancy_error(o, theirs), ours.requires_grad_())
