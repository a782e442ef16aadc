"""Points above the ground, and the boxes of cells, against loops."""

import math

import torch

from kd3d.masks.label_maps import box_cells
from kd3d.masks.raised import raised_cells

EXTENT, SHAPE = (-4.0, -3.0, 4.0, 3.0), (6, 10)  # cells of 0.8 x 1 m


def test_raised_cells_equal_a_loop():
    generator = torch.Generator().manual_seed(0)
    cloud = torch.rand(25, 4, generator=generator) * torch.tensor([9, 7, 0.5, 1]) - torch.tensor(
        [4.5, 3.5, 1, 0]
    )
    found = raised_cells([cloud, cloud[:0]], EXTENT, SHAPE, above_m=0.3, reach=1, grow=0)
    heights = {}
    for x, y, z, _ in cloud.tolist():
        key = math.floor((y + 3) / 1.0), math.floor((x + 4) / 0.8)
        heights.setdefault(key, []).append(z)
    for row in range(6):
        for column in range(10):
            near = [
                z
                for (r, c), several in heights.items()
                for z in several
                if abs(r - row) <= 1 and abs(c - column) <= 1 and 0 <= r < 6 and 0 <= c < 10
            ]
            own = heights.get((row, column))
            wanted = bool(own) and max(own) - min(near) > 0.3
            assert found[0, 0, row, column].item() == wanted
    assert found[0].any()
    assert not found[1].any()
    grown = raised_cells([cloud], EXTENT, SHAPE, reach=1, grow=1)
    for row, column in found[0, 0].nonzero().tolist():
        assert grown[0, 0, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].all()


def test_cells_have_the_smallest_box_that_holds_their_centre():
    boxes = torch.tensor(
        [[0.3, 0.2, 0.0, 2.0, 1.5, 1.5, -0.4], [0.5, 0.2, 0.0, 6.0, 4.0, 1.5, 0.6]]
    )
    found = box_cells([boxes, boxes[:0]], EXTENT, SHAPE)
    for row in range(6):
        for column in range(10):
            x, y = -4 + (column + 0.5) * 0.8, -3 + row + 0.5
            wanted = -1
            for i in (1, 0):
                bx, by, _, dx, dy, _, yaw = boxes[i].tolist()
                along = (x - bx) * math.cos(yaw) + (y - by) * math.sin(yaw)
                across = (y - by) * math.cos(yaw) - (x - bx) * math.sin(yaw)
                wanted = i if abs(along) <= dx / 2 and abs(across) <= dy / 2 else wanted
            assert found[0, row, column] == wanted
    assert set(found[0].unique().tolist()) == {-1, 0, 1}
    assert (found[1] == -1).all()
