"""Distances of the cross-modal methods against loops, and their gradients."""

import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from kd3d.losses.box.set_prediction import (
    box_code,
    centre_head_code,
    match_cost,
    scored_code_error,
)
from tests.losses.test_losses import rand


def test_match_cost_equals_loops():
    logits, codes, targets = rand(4, 3), rand(4, 8, seed=1), rand(2, 8, seed=2)
    scores = rand(2, 3, seed=3).sigmoid()
    found = match_cost(logits, codes, scores, targets)
    for i in range(4):
        for j in range(2):
            entropy = F.binary_cross_entropy(logits[i].sigmoid(), scores[j], reduction="sum")
            wanted = entropy + 0.25 * sum((codes[i] - targets[j]).abs())
            torch.testing.assert_close(found[i, j], wanted)


def test_codes_of_a_centre_head_are_those_of_its_boxes():
    """Cells of 0.5 x 1 m from (-1, 2); one cell holds a box that is known."""
    box = torch.tensor([[0.3, 4.4, 0.7, 4.0, 1.6, 1.5, 0.8]], dtype=torch.float64)
    maps = {k: rand(2, n, 3, 4) for k, n in dict(reg=2, height=1, dim=3, rot=2).items()}
    row, column = 2, 2
    maps["reg"][1, :, row, column] = torch.tensor([(0.3 + 1) / 0.5 - column, 4.4 - 2 - row])
    maps["height"][1, :, row, column] = 0.7
    maps["dim"][1, :, row, column] = box[0, 3:6].log()
    maps["rot"][1, :, row, column] = torch.stack([box[0, 6].sin(), box[0, 6].cos()])
    found = centre_head_code(maps, (-1.0, 2.0, 1.0, 5.0))
    torch.testing.assert_close(found[1, :, row, column], box_code(box)[0])


def test_scored_code_error_equals_a_loop():
    ours, theirs, scores = rand(3, 10), rand(3, 10, seed=1), rand(3, seed=2).sigmoid()
    for power in (1, 2):
        found = scored_code_error(ours, theirs, scores, power)
        for i in range(3):
            gap = (ours[i] - theirs[i]).abs()
            torch.testing.assert_close(
                found[i], scores[i] ** power * (gap[:8].sum() + 0.2 * gap[8:].sum())
            )
    assert gradcheck(lambda s: scored_code_error(s, theirs, scores), ours.requires_grad_())
