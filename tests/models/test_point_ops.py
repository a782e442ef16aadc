"""Operations on points: equal to loops over the CUDA kernels' definition, ties included."""

import math

import mmcv.ops
import pytest
import torch
from mmcv.ops import box_iou_rotated, points_in_boxes_cpu
from torch.autograd import gradcheck

from kd3d import compat
from kd3d.models import point_ops as ops
from tests.models import naive_points as naive


@pytest.fixture(autouse=True)
def installed():
    compat.install_point_ops()


def cloud(n, seed=0, grid=False, samples=2):
    """(B, N, 3) points; on a grid of 0.5 m many distances are equal, and exact."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand((samples, n, 3), generator=generator) * 4 - 2
    return torch.round(points * 2) / 2 if grid else points


@pytest.mark.parametrize("n, m", [(1, 3), (7, 4), (40, 12), (65, 65), (6, 20), (1100, 4)])
@pytest.mark.parametrize("grid", [False, True])
def test_furthest_points(n, m, grid):
    points = cloud(n, grid=grid)
    found = mmcv.ops.furthest_point_sample(points, m)
    distances = torch.stack([torch.cdist(p, p) for p in points]).contiguous()
    by_distance = mmcv.ops.furthest_point_sample_with_dist(distances, m)
    assert found.dtype == by_distance.dtype == torch.int32
    for sample, one, other, d in zip(points, found, by_distance, distances):
        wanted = naive.furthest(lambda i, k, s=sample: naive.squared(s[i], s[k]), n, m)
        assert one.tolist() == wanted
        rows = d.tolist()
        assert other.tolist() == naive.furthest(lambda i, k, r=rows: r[i][k], n, m)


@pytest.mark.parametrize("low, high", [(0.0, 0.5), (0.5, 1.0), (0.0, 100.0)])
@pytest.mark.parametrize("grid", [False, True])
def test_ball_query(low, high, grid):
    points = cloud(50, grid=grid)
    far = torch.full((2, 1, 3), 50.0)
    centres = torch.cat([cloud(12, seed=1), points[:, :4], far], 1)
    found = mmcv.ops.ball_query(low, high, 5, points, centres)
    assert found.dtype == torch.int32
    for b in range(2):
        wanted = [naive.ball(low, high, 5, points[b], c) for c in centres[b]]
        assert found[b].tolist() == wanted
    if high < 50:
        assert found[:, -1].eq(0).all()  # nothing in reach


def test_ball_query_far_from_the_origin():
    """Candidates are found by x; rounding there must not lose one."""
    points = cloud(200) + torch.tensor([7e4, 0.0, 0.0])
    found = mmcv.ops.ball_query(0, 1.0, 8, points, points[:, :20].contiguous())
    for b in range(2):
        d = (points[b, :20, None] - points[b, None]).square().sum(-1)
        for row, index in zip(d, found[b]):
            inside = (row < 1).nonzero()[:8, 0].tolist()
            assert index.tolist() == inside + inside[:1] * (8 - len(inside))


@pytest.mark.parametrize("m", [1, 2, 3, 30])
@pytest.mark.parametrize("grid", [False, True])
def test_three_nearest(m, grid):
    source, target = cloud(m, seed=1, grid=grid), cloud(20, grid=grid)
    distance, index = mmcv.ops.three_nn(target, source)
    for b in range(2):
        wanted = [naive.nearest_three(source[b], t) for t in target[b]]
        assert index[b].tolist() == [w[1] for w in wanted]
        torch.testing.assert_close(distance[b], torch.tensor([w[0] for w in wanted]))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("k, n", [(1, 30), (6, 30), (9, 4)])
def test_k_nearest(k, n, transposed):
    points, centres = cloud(n, grid=True), cloud(11, seed=1, grid=True)
    arguments = [p.transpose(1, 2).contiguous() if transposed else p for p in (points, centres)]
    found = mmcv.ops.knn(k, *arguments, transposed)
    assert found.shape == (2, k, 11)
    for b in range(2):
        assert found[b].t().tolist() == [naive.nearest_k(k, points[b], c) for c in centres[b]]
    with pytest.raises(AssertionError, match="range"):
        mmcv.ops.knn(100, points)


def test_gathered_features_and_their_gradients():
    generator = torch.Generator().manual_seed(0)
    features = torch.rand((2, 3, 7), generator=generator, dtype=torch.float64, requires_grad=True)
    pairs = torch.randint(0, 7, (2, 4, 5), generator=generator, dtype=torch.int32)
    single, triples = pairs[:, :, 0].contiguous(), pairs[:, :, :3].contiguous()
    weight = torch.rand((2, 4, 3), generator=generator, dtype=torch.float64, requires_grad=True)
    gathered = mmcv.ops.gather_points(features, single)
    grouped = mmcv.ops.grouping_operation(features, pairs)
    mixed = mmcv.ops.three_interpolate(features, triples, weight)
    for b in range(2):
        for c in range(3):
            row = features[b, c].tolist()
            for m in range(4):
                assert gathered[b, c, m] == row[single[b, m]]
                assert grouped[b, c, m].tolist() == [row[i] for i in pairs[b, m]]
                total = sum(float(w) * row[i] for w, i in zip(weight[b, m], triples[b, m]))
                assert math.isclose(mixed[b, c, m].item(), total)
    assert gradcheck(lambda f: mmcv.ops.gather_points(f, single), features)
    assert gradcheck(lambda f: mmcv.ops.grouping_operation(f, pairs), features)
    constant = weight.detach()
    assert gradcheck(lambda f: mmcv.ops.three_interpolate(f, triples, constant), features)
    (of_weight,) = torch.autograd.grad(mixed.sum(), weight, allow_unused=True)
    assert of_weight is None  # a constant, as in mmcv


def boxes(n, seed=2):
    generator = torch.Generator().manual_seed(seed)
    box = torch.rand((2, n, 7), generator=generator)
    box[..., :3] = box[..., :3] * 3 - 2
    box[..., 3:6] = box[..., 3:6] * 2 + 0.2
    box[..., 6] = box[..., 6] * 8 - 4
    box[:, -1, :3] = 90.0  # empty
    return box


def test_points_in_boxes():
    points, box = cloud(60), boxes(5)
    points[:, 0] = torch.tensor([[0.0, 0.0, 1.0]])  # on a top, which is inside
    points[:, 1] = torch.tensor([[1.0, 0.0, 0.5]])  # on a side, which is outside
    box[:, 0] = torch.tensor([0.0, 0.0, 0.0, 2.0, 2.0, 1.0, 0.0])
    every = mmcv.ops.points_in_boxes_all(points, box)
    first = mmcv.ops.points_in_boxes_part(points, box)
    assert torch.equal(every, points_in_boxes_cpu(points, box))
    assert every[:, 0, 0].eq(1).all()
    assert every[:, 1, 0].eq(0).all()
    for b in range(2):
        for p in range(60):
            inside = [t for t in range(5) if naive.in_box(points[b, p], box[b, t])]
            assert every[b, p].nonzero()[:, 0].tolist() == inside
            assert first[b, p] == (inside[0] if inside else -1)
    assert mmcv.ops.points_in_boxes_part(points, box[:, :0]).eq(-1).all()


def test_first_box_of_many(monkeypatch):
    """Boxes are tried in portions; the first one still wins."""
    monkeypatch.setattr("kd3d.models.point_ops.boxes._CHUNK", 120)
    points, box = cloud(60), boxes(9)
    every = mmcv.ops.points_in_boxes_all(points, box)
    first = torch.where(every.any(2), every.argmax(2), -1)
    assert torch.equal(mmcv.ops.points_in_boxes_part(points, box).long(), first)


@pytest.mark.parametrize("s", [1, 4, 40])
def test_pooled_points(s):
    points, box = cloud(60), boxes(5)
    features = torch.rand((2, 60, 2), generator=torch.Generator().manual_seed(0))
    rows, empty = mmcv.ops.RoIPointPool3d(s)(points, features, box)
    assert empty.dtype == torch.int32
    assert empty[:, -1].eq(1).all()
    for b in range(2):
        for t in range(5):
            wanted, flag = naive.pooled(points[b], features[b], box[b, t], s)
            assert empty[b, t] == flag
            assert torch.equal(rows[b, t], wanted)


def test_boxes_overlap():
    """Volumes by hand, areas against mmcv's kernel for rectangles."""
    a, b = (one.clone() for one in boxes(6)[:, :5])
    a[:, 3:6] += 1.0
    square = torch.tensor([[0.0, 0.0, 0.5, 2.0, 2.0, 1.0, 0.0]])
    turned = torch.tensor([[0.0, 0.0, 1.0, 2.0, 2.0, 1.0, math.pi / 4]])
    octagon = 8 * (math.sqrt(2) - 1)  # square metres
    area = mmcv.ops.iou3d.boxes_overlap_bev(square, turned)
    assert area.item() == pytest.approx(octagon, rel=1e-5)
    iou = mmcv.ops.boxes_iou3d(square, turned).item()
    assert iou == pytest.approx(octagon / 2 / (8 - octagon / 2), rel=1e-5)
    flat = [0, 1, 3, 4, 6]
    shared = mmcv.ops.iou3d.boxes_overlap_bev(a, b)
    total = (a[:, 3] * a[:, 4])[:, None] + b[:, 3] * b[:, 4] - shared
    torch.testing.assert_close(shared / total, box_iou_rotated(a[:, flat], b[:, flat]))


@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.3, 0.8])
def test_suppression(threshold):
    generator = torch.Generator().manual_seed(3)
    box = torch.rand((150, 7), generator=generator) * 6
    box[:, 3:6] = box[:, 3:6] * 0.5 + 0.3
    box[20:40] = box[:20]
    scores = torch.rand(150, generator=generator)
    for function, yaw in ((mmcv.ops.nms3d, 1), (mmcv.ops.nms3d_normal, 0)):
        flat = torch.cat([box[:, [0, 1, 3, 4]], box[:, 6:] * yaw], 1)
        iou, kept = box_iou_rotated(flat, flat), []
        for i in scores.argsort(descending=True).tolist():
            if all(iou[k, i] <= threshold for k in kept):
                kept.append(i)
        assert function(box, scores, threshold).tolist() == kept
    assert mmcv.ops.nms3d(box[:0], scores[:0], threshold).tolist() == []


@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.3, 0.8])
def test_rotated_suppression_equals_mmcv_s_kernel(threshold):
    generator = torch.Generator().manual_seed(4)
    dets = torch.rand((300, 5), generator=generator) * 8
    dets[:, 2:4] = dets[:, 2:4] * 0.4 + 0.1
    dets[20:40], dets[40] = dets[:20], 0.0
    scores = torch.rand(300, generator=generator)
    rows, kept = mmcv.ops.nms_rotated(dets, scores, threshold)
    compat.remove_point_ops()
    stock_rows, stock_kept = mmcv.ops.nms_rotated(dets, scores, threshold)
    assert torch.equal(kept, stock_kept)
    assert torch.equal(rows, stock_rows)
    assert ops.nms_rotated(dets[:0], scores[:0], threshold)[1] is None


def test_installing_is_idempotent_and_reversible():
    from mmcv.ops import group_points, points_in_boxes_part
    from mmdet3d.structures.bbox_3d import base_box3d

    ours = base_box3d.points_in_boxes_part
    assert ours is points_in_boxes_part
    compat.install_point_ops()
    assert base_box3d.points_in_boxes_part is ours
    compat.remove_point_ops()
    stock = base_box3d.points_in_boxes_part
    assert stock is ours.__wrapped__ is mmcv.ops.points_in_boxes_part
    with pytest.raises((RuntimeError, NotImplementedError), match="device"):
        mmcv.ops.grouping_operation(torch.zeros(1, 2, 3), torch.zeros(1, 1, 1, dtype=torch.int32))
    compat.remove_point_ops()
    compat.install_point_ops()
    assert base_box3d.points_in_boxes_part.__wrapped__ is stock
    assert group_points.GroupingOperation.forward.__wrapped__.__module__ == "mmcv.ops.group_points"


def test_other_devices_and_stacked_clouds_go_to_mmcv():
    calls = []
    call = compat._by_device(
        lambda *args: calls.append("stock"), lambda *args: calls.append("ours"), 2
    )
    call(1.0, torch.zeros(1))
    call(1.0, torch.zeros(1, device="meta"))
    call(1.0, torch.zeros(1), torch.zeros(1))
    assert calls == ["ours", "stock", "stock"]
