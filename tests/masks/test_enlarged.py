"""CRKD's enlarged boxes and rectangles, and where maps are active."""

import math

import pytest
import torch

from kd3d.masks.activity import active_cells
from kd3d.masks.boxes import box_mask
from kd3d.masks.enlarged import diagonal_rectangles, enlarged_boxes, rectangle_mask

EXTENT, SHAPE = (0.0, -4.0, 12.0, 4.0), (16, 24)  # cells of 0.5 m


def boxes(*rows):
    return torch.tensor([[x, y, 0.0, dx, dy, 1.5, yaw] for x, y, dx, dy, yaw in rows])


@pytest.mark.parametrize("x, share", [(19.9, 0.0), (20.0, 0.25), (29.9, 0.25), (30.0, 0.5)])
@pytest.mark.parametrize("v, more", [(0.2, 0.0), (-0.4, 0.25), (0.9, 0.5)])
def test_a_side_grows_with_range_and_its_own_speed(x, share, v, more):
    for yaw in (0.0, math.pi / 2, math.pi):
        box = boxes((x, 0, 5.0, 4.0, yaw))
        moves = torch.tensor([[v * math.cos(yaw), v * math.sin(yaw)]])
        grown = enlarged_boxes(box, moves)
        assert grown[0, 3].item() == pytest.approx(5 + min(max(5 * (share + more), 0.5), 4))
        assert grown[0, 4].item() == pytest.approx(4 + max(4 * share, 0.5))
        assert torch.equal(grown[:, [0, 1, 2, 5, 6]], box[:, [0, 1, 2, 5, 6]])


def test_without_velocities_all_stand_and_none_is_fine():
    box = boxes((25, 3, 4, 2, 0.3), (5, 3, 4, 2, 0.3))
    assert torch.equal(enlarged_boxes(box), enlarged_boxes(box, torch.zeros(2, 2)))
    assert enlarged_boxes(box[:0], torch.zeros(0, 2)).shape == (0, 7)


def test_rectangles_cover_upright_boxes_and_miss_turned_ones():
    upright = boxes((6, 0, 4, 2, 0.0))
    corners = diagonal_rectangles(upright, EXTENT, SHAPE)
    assert corners.tolist() == [[16, 6, 8, 10]]
    assert torch.equal(rectangle_mask([corners], SHAPE), box_mask([upright], EXTENT, SHAPE))
    diagonal = boxes((6, 0, 4, 2, math.atan(0.5)))  # the corners then lie on one row
    assert rectangle_mask([diagonal_rectangles(diagonal, EXTENT, SHAPE)], SHAPE).sum() <= 8


def test_inner_rectangles_never_reach_the_last_cells():
    whole = torch.tensor([[99, -5, -7, 99]])
    inner, full = (rectangle_mask([whole, whole[:0]], SHAPE, inner) for inner in (True, False))
    assert full[0].all()
    assert inner[0, 0, :-1, :-1].all()
    assert not inner[0, 0, -1].any()
    assert not inner[0, 0, :, -1].any()
    assert not inner[1].any()


def test_activity_by_magnitude_sees_negative_features():
    feature = torch.zeros(1, 2, 2, 3)
    feature[0, :, 0, 0] = torch.tensor([1.0, -1.0])
    feature[0, :, 1, 2] = torch.tensor([9.0, 9.0])
    assert active_cells(feature).sum() == 2
    assert active_cells(feature, "sum").nonzero().tolist() == [[0, 0, 1, 2]]
    assert active_cells(feature, threshold=1.0).nonzero().tolist() == [[0, 0, 1, 2]]
    assert not active_cells(torch.zeros(1, 2, 2, 3), threshold=1.0).any()
