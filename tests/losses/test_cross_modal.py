"""Distances of the cross-modal methods against loops, and their gradients."""

import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from kd3d.losses.adversarial.reversal import domain_entropy, reversed_gradient
from kd3d.losses.box.set_prediction import (
    box_code,
    centre_head_code,
    match_cost,
    scored_code_error,
)
from kd3d.losses.logit.gaussian_focal import gaussian_focal
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


def test_a_reversed_gradient_leaves_the_value():
    feature = rand(2, 3).requires_grad_()
    same = reversed_gradient(feature, 0.5)
    assert torch.equal(same, feature)
    (same**2).sum().backward()
    torch.testing.assert_close(feature.grad, -0.5 * 2 * feature.detach())


def test_domain_entropy_equals_a_loop():
    ours, theirs = rand(2, 3, 2), rand(2, 3, 2, seed=1)
    found = domain_entropy(ours, theirs)
    wanted = -(theirs.sigmoid().log() + (1 - ours.sigmoid()).log()) / 2
    torch.testing.assert_close(found, wanted)
    zero = torch.zeros(1, 1, 1)
    torch.testing.assert_close(domain_entropy(zero, zero), torch.full((1, 1, 1), 2.0).log())
    assert gradcheck(lambda s: domain_entropy(s, theirs), ours.requires_grad_())


def test_gaussian_focal_equals_a_loop():
    p, t = rand(3, 4).sigmoid(), rand(3, 4, seed=1).sigmoid()
    t[0] = 1.0
    found = gaussian_focal(p, t)
    for a, b, value in zip(p.flatten(), t.flatten(), found.flatten()):
        wanted = -((1 - a) ** 2) * a.log() if b == 1 else -((1 - b) ** 4) * a**2 * (1 - a).log()
        torch.testing.assert_close(value, wanted)
    assert gradcheck(lambda x: gaussian_focal(x, t), p.requires_grad_())
