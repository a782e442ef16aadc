"""Regions of proposals against naive loops, on a grid that is not square."""

import math

import pytest
import torch

from kd3d.masks.regions import balanced_gaussians, distinct, equal_boxes

EXTENT, SHAPE = (-4.0, 0.0, 8.0, 10.0), (20, 30)  # cells of 0.4 m along x and 0.5 m along y


def boxes(*rows):
    made = [[x, y, 0.0, dx, dy, 1.5, yaw] for x, y, dx, dy, yaw in rows]
    return torch.tensor(made).reshape(-1, 7)


def centres():
    for row in range(SHAPE[0]):
        for column in range(SHAPE[1]):
            yield row, column, -4.0 + 0.4 * (column + 0.5), 0.5 * (row + 0.5)


def in_frame(box, x, y):
    dx, dy, yaw = x - float(box[0]), y - float(box[1]), float(box[6])
    return dx * math.cos(yaw) + dy * math.sin(yaw), dy * math.cos(yaw) - dx * math.sin(yaw)


FIRST = boxes((1.0, 4.0, 4.1, 1.7, 0.6), (2.0, 4.5, 3.0, 2.0, -1.2), (7.9, 9.9, 2.0, 1.0, 0.0))
NOWHERE = boxes((30.0, 4.0, 4.0, 2.0, 0.3), (1.0, 2.0, 0.05, 0.05, 0.0))


@pytest.mark.parametrize("upright", [False, True])
def test_equal_boxes_equal_a_naive_loop(upright):
    many = FIRST.repeat(7, 1)  # more than are in memory together
    masks = equal_boxes([many, NOWHERE, FIRST[:0]], EXTENT, SHAPE, upright)
    assert masks.shape == (3, 1, *SHAPE)
    expected = torch.zeros(SHAPE)
    for box in many:
        cells = []
        for row, column, x, y in centres():
            if upright:  # a cell's lower corner, no yaw
                along, across = x - 0.2 - float(box[0]), y - 0.25 - float(box[1])
            else:
                along, across = in_frame(box, x, y)
            if abs(along) <= float(box[3]) / 2 and abs(across) <= float(box[4]) / 2:
                cells.append((row, column))
        for cell in cells:
            expected[cell] += 1 / len(cells)
    torch.testing.assert_close(masks[0, 0], expected)
    assert masks[0].sum() == pytest.approx(len(many))
    assert not masks[1:].any()


def test_balanced_gaussians_equal_a_naive_loop():
    small = boxes((0.0, 2.0, 0.3, 0.2, 0.4))
    given = torch.cat([FIRST, small, NOWHERE[:1]])
    masks = balanced_gaussians(given, EXTENT, SHAPE, spread=0.3)
    for box, mask in zip(given[:4], masks):
        sigma = [max(0.3 * float(box[i]), 0.25) for i in (3, 4)]
        expected = torch.zeros(SHAPE)
        for row, column, x, y in centres():
            along, across = in_frame(box, x, y)
            expected[row, column] = math.exp(
                -0.5 * ((along / sigma[0]) ** 2 + (across / sigma[1]) ** 2)
            )
        torch.testing.assert_close(mask, expected / expected.sum(), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(masks.sum((1, 2)), torch.tensor([1.0, 1, 1, 1, 0]))


def test_the_best_of_overlapping_regions_is_kept():
    near = boxes((1.0, 4.0, 4.0, 2.0, 0.0), (1.2, 4.1, 4.0, 2.0, 0.05), (6.0, 8.0, 2.0, 1.0, 1.0))
    masks = balanced_gaussians(torch.cat([near, NOWHERE[:1]]), EXTENT, SHAPE)
    score = torch.tensor([0.4, 0.9, 0.1, 5.0])  # the last one lies outside
    assert distinct(masks, score, 3, 0.5).tolist() == [1, 2]
    assert distinct(masks, score, 1, 0.5).tolist() == [1]
    assert distinct(masks, score, 9, 1.0).tolist() == [1, 0, 2]
    assert distinct(masks[:0], score[:0], 9, 0.5).shape == (0,)
