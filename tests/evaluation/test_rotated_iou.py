import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kd3d.evaluation import box_iof, box_iou
from tests.paths import GOLDEN

PAIRS = np.load(GOLDEN / "iou" / "rotated_iou.npz")
A, B = PAIRS["boxes_a_lidar"], PAIRS["boxes_b_lidar"]
KINDS = sorted(set(PAIRS["category"]))


def test_golden_file_has_the_degenerate_kinds():
    assert len(A) == 163
    assert {"identical", "tiny", "sliver", "touching_edge", "far_origin"} <= set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_pair(kind):
    rows = PAIRS["category"] == kind
    a, b = A[rows], B[rows]
    cases = [
        (box_iou, a, b, "bev", "bev_iou"), (box_iou, a, b, "3d", "iou_3d"),
        (box_iof, a, b, "bev", "bev_iof_a"), (box_iof, b, a, "bev", "bev_iof_b"),
        (box_iof, a, b, "3d", "iof_a_3d"), (box_iof, b, a, "3d", "iof_b_3d"),
    ]  # fmt: skip
    for function, first, second, mode, key in cases:
        got = function(first, second, mode, aligned=True)
        np.testing.assert_allclose(got, PAIRS[key][rows], rtol=0, atol=1e-6, err_msg=key)
        assert got.max() <= 1.0
        np.testing.assert_array_equal(np.diag(function(first, second, mode)), got)


COORDINATE = st.floats(-5, 5) | st.integers(-2, 2).map(float)
SIZE = st.floats(1e-3, 8) | st.sampled_from([1.0, 2.0, 4.0])
YAW = st.floats(-7, 7) | st.sampled_from([0.0, np.pi / 2, np.pi, -np.pi / 4])
BOX = st.tuples(COORDINATE, COORDINATE, COORDINATE, SIZE, SIZE, SIZE, YAW)


@settings(max_examples=300, deadline=None)
@given(BOX, BOX)
def test_against_shapely_and_symmetry(a, b):
    geometry = pytest.importorskip("shapely.geometry")
    p, q = (geometry.Polygon(corners(box)) for box in (a, b))
    shared = p.intersection(q).area
    high = max(0.0, min(a[2] + a[5], b[2] + b[5]) - max(a[2], b[2]))
    volumes = a[3] * a[4] * a[5] + b[3] * b[4] * b[5]
    first, second = np.array([a]), np.array([b])
    bev, solid = box_iou(first, second)[0, 0], box_iou(first, second, "3d")[0, 0]
    assert bev == pytest.approx(shared / (p.area + q.area - shared), abs=1e-6)
    assert solid == pytest.approx(shared * high / (volumes - shared * high), abs=1e-6)
    assert box_iou(second, first)[0, 0] == pytest.approx(bev, abs=1e-9)


def corners(box):
    x, y, _, dx, dy, _, yaw = box
    cos, sin = np.cos(yaw), np.sin(yaw)
    local = [(dx / 2, dy / 2), (-dx / 2, dy / 2), (-dx / 2, -dy / 2), (dx / 2, -dy / 2)]
    return [(x + cos * u - sin * v, y + sin * u + cos * v) for u, v in local]


def test_moving_both_boxes_together_changes_nothing():
    turn, shift = 0.7, np.array([1e4, -2e4, 300.0])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = []
    for boxes in (A[:70].copy(), B[:70].copy()):
        boxes[:, :2] = boxes[:, :2] @ rotation.T
        boxes[:, :3] += shift
        boxes[:, 6] += turn
        moved.append(boxes)
    np.testing.assert_allclose(box_iou(*moved, "3d"), box_iou(A[:70], B[:70], "3d"), atol=1e-7)


def test_kind_dtype_and_shape_follow_the_input():
    a, b = torch.tensor(A[:3], dtype=torch.float32), torch.tensor(B[:5], dtype=torch.float32)
    got = box_iou(a.requires_grad_(), b)
    assert isinstance(got, torch.Tensor)
    assert (got.shape, got.dtype, got.requires_grad) == ((3, 5), torch.float32, False)
    assert box_iou(A[:0], B[:5]).shape == (0, 5)
    assert box_iou(A[:0], B[:0], aligned=True).shape == (0,)
    whole = np.array([[0, 0, 0, 2, 2, 2, 0]])
    assert box_iou(whole, whole).dtype == np.float64
    assert box_iou(whole, whole)[0, 0] == 1.0
    assert box_iou(whole, np.zeros((1, 7)))[0, 0] == 0.0


@pytest.mark.parametrize(
    ("a", "b", "options", "error"),
    [
        (A[:2, :6], B[:2], {}, ValueError),
        (A[:2], B[:3], {"aligned": True}, ValueError),
        (A[:2], B[:2], {"mode": "2d"}, ValueError),
        (A[:2] * np.nan, B[:2], {}, ValueError),
        (-A[:2], B[:2], {}, ValueError),
        (A[:2], torch.tensor(B[:2]), {}, TypeError),
    ],
)
def test_bad_arguments(a, b, options, error):
    with pytest.raises(error):
        box_iou(a, b, **options)
