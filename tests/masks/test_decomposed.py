"""Objects and false alarms of DistillBEV against loops over cells."""

import math

import pytest
import torch

from kd3d.masks.decomposed import ALARMS, false_alarms, scaled_objects

EXTENT, SHAPE = (-4.0, -3.0, 4.0, 3.0), (6, 10)  # cells of 0.8 x 1 m
BOXES = torch.tensor(
    [
        [0.3, 0.2, 0.0, 4.0, 3.0, 1.5, 0.6],
        [0.9, 0.4, 0.0, 2.0, 1.5, 1.5, -0.4],
        [9, 9, 0, 2, 2, 1, 0],
    ]
)


@pytest.mark.parametrize("corners", [False, True])
def test_scaled_objects_equal_a_loop(corners):
    objects, scaled = scaled_objects([BOXES, BOXES[:0]], EXTENT, SHAPE, corners)
    for row in range(SHAPE[0]):
        for column in range(SHAPE[1]):
            shift = 0.0 if corners else 0.5
            x, y = -4 + (column + shift) * 0.8, -3 + row + shift
            weights = []
            for bx, by, _, dx, dy, _, yaw in BOXES.tolist():
                along = (x - bx) * math.cos(yaw) + (y - by) * math.sin(yaw)
                across = (y - by) * math.cos(yaw) - (x - bx) * math.sin(yaw)
                if abs(along) <= dx / 2 and abs(across) <= dy / 2:
                    weights.append(math.sqrt(0.8 / (dx * dy)))
            wanted = (weights[0] if corners else max(weights)) if weights else 0.0
            assert scaled[0, 0, row, column].item() == pytest.approx(wanted, rel=1e-5)
            assert objects[0, 0, row, column].item() == bool(weights)
    assert not scaled[1].any()
    both = scaled.unique().tolist()
    assert len(both) == (2 if corners else 3)  # the small box is within the large one


@pytest.mark.parametrize("whose", ALARMS)
def test_false_alarms_equal_a_loop(whose):
    generator = torch.Generator().manual_seed(0)
    truth, ours, theirs = (0.3 * torch.rand(2, 1, 5, 4, generator=generator) for _ in range(3))
    objects = (torch.rand(2, 1, 5, 4, generator=generator) > 0.8).float()
    found = false_alarms(truth, ours, theirs, objects, 0.15, whose)
    wanted = {
        "apart": lambda s, t: s > 0.15 > t,
        "student": lambda s, t: s > 0.15,
        "teacher": lambda s, t: t > 0.15,
        "either": lambda s, t: s > 0.15 or t > 0.15,
    }[whose]
    everything = zip(*(m.flatten().tolist() for m in (truth, ours, theirs, objects)))
    assert found.flatten().tolist() == [
        float(g < 0.15 and not o and wanted(s, t)) for g, s, t, o in everything
    ]
    assert found.any()
