"""The mask of past places against one Gaussian a frame."""

import torch

from kd3d.masks.boxes import gaussian_mask
from kd3d.masks.trajectory import trajectory_mask

EXTENT, SHAPE = (-8.0, -4.0, 8.0, 4.0), (16, 32)
BOXES = torch.tensor([[4.0, 1.0, 0.0, 3.0, 1.5, 1.5, 0.2], [-2.0, -1.0, 0.0, 1.0, 1.0, 1.5, 0.0]])


def test_places_are_those_of_each_frame_at_the_present_velocity():
    velocity = torch.tensor([[2.0, -0.5], [0.0, 0.0]])
    found = trajectory_mask([BOXES, BOXES[:0]], [velocity, velocity[:0]], EXTENT, SHAPE, 4, 0.5)
    frames = []
    for frame in range(4):
        moved = BOXES.clone()
        for i in range(2):
            moved[i, :2] -= frame * 0.5 * velocity[i]
        frames.append(gaussian_mask([moved, BOXES[:0]], EXTENT, SHAPE))
    torch.testing.assert_close(found, torch.stack(frames).amax(0))
    assert (found[0] > gaussian_mask([BOXES], EXTENT, SHAPE)[0]).any()
    assert not found[1].any()


def test_without_velocities_objects_stand():
    found = trajectory_mask([BOXES], [], EXTENT, SHAPE)
    assert torch.equal(found, gaussian_mask([BOXES], EXTENT, SHAPE))
