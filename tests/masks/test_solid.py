"""Gaussians in space against a formula, voxel by voxel."""

import math

import torch

from kd3d.masks.boxes import gaussian_mask
from kd3d.masks.solid import gaussian_solid

EXTENT, Z_M, SHAPE = (-8.0, -4.0, 8.0, 4.0), (-5.0, 3.0), (8, 16, 32)
BOXES = torch.tensor([[4.2, 1.1, -2.0, 3.0, 1.5, 3.4, 0.2], [-2.0, -1.0, -1.6, 1.0, 1.0, 0.7, 0.0]])


def test_above_it_is_the_mask_of_the_map_and_along_z_a_bump_of_the_height():
    found = gaussian_solid([BOXES, BOXES[:0]], EXTENT, Z_M, SHAPE)
    assert found.shape == (2, *SHAPE)
    torch.testing.assert_close(found[0].amax(0), gaussian_mask([BOXES], EXTENT, SHAPE[1:])[0, 0])
    assert not found[1].any()
    for i, (layer, radius) in enumerate([(4, 2), (3, 1)]):  # middles at -0.3 and -1.25 m
        alone = gaussian_solid([BOXES[i : i + 1]], EXTENT, Z_M, SHAPE)[0]
        sigma = (2 * radius + 1) / 6
        for z, value in enumerate(alone.amax((1, 2))):
            inside = abs(z - layer) <= radius
            wanted = math.exp(-((z - layer) ** 2) / (2 * sigma**2)) if inside else 0.0
            assert abs(value.item() - wanted) < 1e-6


def test_boxes_outside_have_no_voxels():
    high, far = BOXES[:1].clone(), BOXES[:1].clone()
    high[0, 2], far[0, 0] = 3.0, 9.0
    assert not gaussian_solid([high, far], EXTENT, Z_M, SHAPE).any()
