"""Maps read from another frame: places in metres, and the authors' numbers."""

import math

import numpy as np
import torch

from kd3d.adapters.warp import warp_map
from tests.paths import GOLDEN

SOURCE, TARGET = (-20.0, -16.0, 28.0, 16.0), (-8.0, -6.0, 12.0, 10.0)


def rigid(yaw, x, y):
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:2, :2] = torch.tensor(
        [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]], dtype=torch.float64
    )
    matrix[0, 3], matrix[1, 3] = x, y
    return matrix


def centres(extent, shape):
    x0, y0, x1, y1 = extent
    x = x0 + (torch.arange(shape[1]) + 0.5) * (x1 - x0) / shape[1]
    y = y0 + (torch.arange(shape[0]) + 0.5) * (y1 - y0) / shape[0]
    return torch.stack([x.expand(shape), y[:, None].expand(shape)])


def test_each_sample_is_read_where_its_own_matrix_says():
    moves = torch.stack([rigid(-math.pi / 2, 0.9, 0.0), rigid(0.3, -2.0, 1.5)])
    field = centres(SOURCE, (64, 96))[None].expand(2, -1, -1, -1)
    read, inside = warp_map(field, moves, SOURCE, TARGET, (20, 31))
    for sample in range(2):
        for row in range(20):
            for column in range(31):
                x, y = centres(TARGET, (20, 31))[:, row, column].tolist()
                want = moves[sample] @ torch.tensor([x, y, 0, 1], dtype=torch.float64)
                within = -20 <= want[0] <= 28 and -16 <= want[1] <= 16
                assert inside[sample, 0, row, column] == float(within)
                if within:
                    assert (read[sample, :, row, column] - want[:2]).abs().max() < 0.26
    assert 0 < inside.mean() <= 1


def test_an_object_in_one_quadrant_turns_with_the_frame():
    feature = torch.zeros(1, 1, 64, 96)
    feature[0, 0, 40, 60] = 1.0  # x 10.25, y 4.25
    to_source = rigid(math.pi / 2, 0.0, 0.0)[None]  # target (4.25, -10.25) -> source (10.25, 4.25)
    read, _ = warp_map(feature, to_source, SOURCE, (-16.0, -20.0, 16.0, 28.0), (96, 64))
    row, column = divmod(int(read.argmax()), 64)
    x, y = centres((-16.0, -20.0, 16.0, 28.0), (96, 64))[:, row, column].tolist()
    assert abs(x - 4.25) <= 0.5
    assert abs(y + 10.25) <= 0.5


def test_the_published_warp_of_a_previous_map_is_reproduced():
    stored = np.load(GOLDEN / "parity" / "bevdet_shift_feature.npz")
    data = {key: torch.from_numpy(value) for key, value in stored.items()}

    def camera(when):  # the first camera's pose, augmented
        pose = torch.eye(4).repeat(2, 1, 1)
        pose[:, :3, :3], pose[:, :3, 3] = data[f"rots_{when}"][:, 0], data[f"trans_{when}"][:, 0]
        augmented = torch.eye(4).repeat(2, 1, 1)
        augmented[:, :3, :3] = data["bda"]
        return (augmented @ pose).double()

    to_previous = camera("cur") @ torch.linalg.inv(camera("adj"))
    extent = (-16.0, -12.0, 16.0, 12.0)
    feature = data["feat"].requires_grad_()
    out, _ = warp_map(feature, to_previous, extent, extent, (12, 16), official_parity=True)
    torch.testing.assert_close(out, data["out"], rtol=1e-4, atol=1e-4)
    out.sum().backward()
    torch.testing.assert_close(feature.grad, data["grad_feat"], rtol=1e-4, atol=1e-4)
