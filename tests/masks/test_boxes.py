"""BEV masks on a grid that is not square, against loops over cells."""

import math

import pytest
import torch

from kd3d.masks.boxes import box_mask, gaussian_mask

EXTENT, SHAPE = (0.0, -4.0, 12.0, 4.0), (16, 20)  # cells of 0.6 x 0.5 m


def test_box_mask_equals_a_loop_over_cells():
    boxes = torch.tensor([[3.0, 1.0, 0, 4.0, 1.6, 1.5, 0.6], [9.0, -2.0, 0, 3.0, 2.0, 1.5, -1.2]])
    mask = box_mask([boxes, boxes[:0]], EXTENT, SHAPE)
    assert mask.shape == (2, 1, *SHAPE)
    assert mask[1].sum() == 0
    for row in range(SHAPE[0]):
        for column in range(SHAPE[1]):
            x, y = 0.6 * (column + 0.5), -4 + 0.5 * (row + 0.5)
            inside = False
            for bx, by, _, dx, dy, _, yaw in boxes.tolist():
                along = (x - bx) * math.cos(yaw) + (y - by) * math.sin(yaw)
                across = (y - by) * math.cos(yaw) - (x - bx) * math.sin(yaw)
                inside |= abs(along) <= dx / 2 and abs(across) <= dy / 2
            assert mask[0, 0, row, column] == inside


def test_masks_are_asymmetric_in_x_and_y():
    """A box in the +x +y quadrant only: swapped axes would show."""
    box = torch.tensor([[10.0, 3.0, 0, 1.5, 1.5, 1.5, 0.0]])
    for mask in (box_mask([box], EXTENT, SHAPE), gaussian_mask([box], EXTENT, SHAPE)):
        assert mask[0, 0, 8:, 10:].sum() == mask.sum() > 0


def test_gaussian_peaks_at_the_centre_cell_and_skips_centres_outside():
    boxes = torch.tensor([[7.0, 1.3, 0, 4.0, 1.6, 1.5, 0.0], [40.0, 0.0, 0, 4.0, 1.6, 1.5, 0.0]])
    mask = gaussian_mask([boxes], EXTENT, SHAPE)[0, 0]
    assert (mask == 1).nonzero().tolist() == [[10, 11]]
    torch.testing.assert_close(mask, gaussian_mask([boxes[:1]], EXTENT, SHAPE)[0, 0])


@pytest.mark.parametrize("shape", [(248, 216), (64, 64)])
def test_gaussian_equals_the_heat_map_of_mmdet3d(shape):
    from mmdet3d.models.utils import draw_heatmap_gaussian, gaussian_radius

    extent = (0.0, -39.68, 69.12, 39.68)
    generator = torch.Generator().manual_seed(0)
    low, high = (
        torch.tensor([0.0, -39.0, -1, 0.5, 0.5, 1, -3]),
        torch.tensor([69.0, 39.0, 0, 9, 3, 3, 3]),
    )
    boxes = low + torch.rand((40, 7), generator=generator) * (high - low)
    heat = torch.zeros(shape)
    cell = ((extent[2] - extent[0]) / shape[1], (extent[3] - extent[1]) / shape[0])
    for box in boxes:
        radius = max(2, int(gaussian_radius((box[4] / cell[1], box[3] / cell[0]), 0.1)))
        centre = torch.tensor(
            [int((box[0] - extent[0]) / cell[0]), int((box[1] - extent[1]) / cell[1])]
        )
        draw_heatmap_gaussian(heat, centre, radius)
    torch.testing.assert_close(gaussian_mask([boxes], extent, shape, 0.1, 2)[0, 0], heat)
