"""Overlap of rotated boxes against the evaluation's, and suppression against a loop."""

import math

import torch

from kd3d.evaluation.rotated_iou import box_iou
from kd3d.masks.overlap import bev_overlap, suppressed


def random_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([9.0, 6.0, 1.0, 5.0, 3.0, 2.0, 6.0])
    low = torch.tensor([30.0, -3.0, 0.0, 0.1, 0.1, 0.1, -3.0])
    return low + scale * torch.rand((count, 7), generator=generator)


def test_overlap_equals_the_evaluations():
    first, second = random_boxes(70, 0), random_boxes(50, 1)
    second[:5] = first[:5]
    want = box_iou(first, second)
    assert 0.1 < (want > 0).float().mean() < 0.9
    torch.testing.assert_close(bev_overlap(first, second), want, rtol=1e-5, atol=1e-6)
    assert bev_overlap(first[:0], second).shape == (0, 50)


def test_edges_that_lie_on_each_other_count_once():
    box = torch.tensor([[0.0, 0, 0, 4, 2, 1, 0]])
    others = box.repeat(7, 1)
    others[1, 6] = math.pi  # the same rectangle
    others[2, 0] = 2.0  # half of it, two edges in line
    others[3, 0] = 4.0  # touches
    others[4, 3:5], others[4, 6] = torch.tensor([2.0, 4.0]), math.pi / 2  # the same rectangle
    others[5, 3] = 0.0  # has no size
    others[6, 3:5] = torch.tensor([2.0, 2.0])  # inside, on two edges
    want = torch.tensor([[1.0, 1.0, 1 / 3, 0.0, 1.0, 0.0, 0.5]])
    torch.testing.assert_close(bev_overlap(box, others), want, rtol=0, atol=1e-6)
    torch.testing.assert_close(bev_overlap(others, box).t(), want, rtol=0, atol=1e-6)


def test_suppression_equals_a_loop():
    boxes, labels = random_boxes(60, 2), torch.arange(60) % 3
    scores = torch.rand(60, generator=torch.Generator().manual_seed(3))
    overlap, kept = box_iou(boxes, boxes), []
    for i in scores.argsort(descending=True).tolist():
        if not any(labels[i] == labels[j] and overlap[i, j] > 0.2 for j in kept):
            kept.append(i)
    found = suppressed(boxes, scores, labels, 0.2).nonzero().squeeze(1).tolist()
    assert found == sorted(kept)
    assert 10 < len(kept) < 60
    assert suppressed(boxes[:0], scores[:0], labels[:0], 0.2).shape == (0,)
