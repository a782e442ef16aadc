"""Distances of itKD, CRKD and RadarDistill against loops, and their gradients."""

import torch
from torch.autograd import gradcheck

from kd3d.losses.feature.channel_softmax import softmax_difference
from kd3d.losses.logit.head_channels import anchor_split, class_anchors, head_channels
from kd3d.losses.logit.head_scores import class_scores, mean_logit_scores
from kd3d.losses.similarity.affinity import affinity_difference
from kd3d.losses.similarity.channel_attention import channel_mixture, head_attention
from tests.losses.test_losses import rand


def test_channel_mixture_equals_loops():
    rows = rand(2, 5, 3)
    found = channel_mixture(rows, 2.0)
    for b in range(2):
        scores = [[sum(rows[b, :, i] * rows[b, :, j]) / 2 for j in range(3)] for i in range(3)]
        for j in range(3):
            share = torch.stack([scores[i][j] for i in range(3)]).softmax(0)
            wanted = sum(share[i] * rows[b, :, i] for i in range(3))
            torch.testing.assert_close(found[b, :, j], wanted)
    assert gradcheck(lambda r: channel_mixture(r, 2.0), rows.requires_grad_())


def test_rows_of_zeros_change_nothing_and_groups_keep_to_themselves():
    rows = rand(1, 4, 5)
    padded = torch.cat([rows, torch.zeros(1, 3, 5, dtype=rows.dtype)], 1)
    split = [3, 2]
    found = head_attention(rows, split, 2.0)
    torch.testing.assert_close(head_attention(padded, split, 2.0)[:, :4], found)
    torch.testing.assert_close(found[..., 8:], channel_mixture(rows[..., 3:], 2.0))


def test_affinities_equal_loops():
    ours, theirs = rand(2, 3, 4), rand(2, 5, 4, seed=1)
    for cosine in (True, False):
        found = affinity_difference(ours, theirs, cosine)
        for b in range(2):
            for i in range(4):
                for j in range(4):
                    pair = []
                    for maps in (ours, theirs):
                        one, other = maps[b, :, i], maps[b, :, j]
                        norm = one.norm() * other.norm() if cosine else 1.0
                        pair.append(one @ other / norm)
                    torch.testing.assert_close(found[b, i, j], (pair[0] - pair[1]).abs())
    assert gradcheck(lambda s: affinity_difference(s, theirs), ours.requires_grad_())


def test_cells_of_zeros_have_no_affinity_and_a_finite_gradient():
    ours = torch.zeros(1, 3, 4, requires_grad=True)
    affinity_difference(ours, rand(1, 5, 4).float()).sum().backward()
    assert torch.isfinite(ours.grad).all()


def test_softmax_difference_equals_a_loop():
    ours, theirs = rand(2, 4, 2, 3), rand(2, 4, 2, 3, seed=1)
    found = softmax_difference(ours, theirs)
    wanted = sum(
        (ours.exp()[:, c] / ours.exp().sum(1) - theirs.exp()[:, c] / theirs.exp().sum(1)).abs()
        for c in range(4)
    )
    torch.testing.assert_close(found, wanted)
    assert gradcheck(lambda s: softmax_difference(s, theirs), ours.requires_grad_())


def test_mean_logits_have_less_contrast_than_the_highest_score():
    head = [[{"heatmap": rand(1, k, 2, 3, seed=k)}] for k in (1, 2)]
    mean = mean_logit_scores(head)
    wanted = (
        head[0][0]["heatmap"].sigmoid() + head[1][0]["heatmap"].mean(1).sigmoid()[:, None]
    ) / 2
    torch.testing.assert_close(mean, wanted)
    assert (mean <= class_scores(head, "center_head").amax(1, keepdim=True)).all()


def test_channels_of_an_anchor_are_those_of_the_raw_maps():
    """Three classes with two anchors each, on 2 x 3 cells."""
    head = ([rand(2, 18, 2, 3)], [rand(2, 42, 2, 3, seed=1)], [rand(2, 12, 2, 3, seed=2)])
    anchors, split = anchor_split({"scores": 18, "boxes": 42, "directions": 12})
    assert (anchors, split) == (6, [3, 2, 1, 3, 1, 2])
    (found,) = head_channels(head, "anchor_head", ())
    row, column, anchor = 1, 2, 4
    place = (row * 3 + column) * 6 + anchor
    raw = [
        part[0][:, anchor * size : (anchor + 1) * size, row, column]
        for part, size in zip(head, (3, 7, 2))
    ]
    torch.testing.assert_close(found[:, :, place], torch.cat(raw, 1))
    own = class_anchors(torch.tensor([5, 0]), torch.tensor([2, 0]), 3, 6)
    assert own.tolist() == [34, 35, 0, 1]
    assert class_anchors(torch.tensor([5]), torch.tensor([2]), 3, 2).tolist() == [10, 11]
    (soft,) = head_channels(head, "anchor_head", (), probabilities=True)
    torch.testing.assert_close(soft[:, :3], found[:, :3].sigmoid())
    torch.testing.assert_close(soft[:, 3:], found[:, 3:])
    assert anchor_split({"scores": 2, "boxes": 18, "directions": 4}) == (2, [1, 2, 1, 3, 1, 2, 2])
