"""The replay of augmentation on stored values, against mmdet3d's own transforms."""

import math

import numpy as np
import pytest
import torch
from mmdet3d.datasets.transforms import GlobalRotScaleTrans, RandomFlip3D
from mmdet3d.structures import LiDARInstance3DBoxes, LiDARPoints

from kd3d.cache.geometry import Motion, move_boxes, moved
from kd3d.cache.pipeline import canonical, check_replay
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError
from kd3d.masks.boxes import gaussian_mask

EXTENT, SHAPE = (-9.6, -6.4, 9.6, 6.4), (32, 48)
MAP = FeatureSpec(3, "map", SHAPE, EXTENT)
HEAD = FeatureSpec(1, "center_head", SHAPE, EXTENT)
BOXES = torch.tensor(
    [
        [3.1, 1.3, -1.0, 3.9, 1.6, 1.5, 0.4, 1.0, -2.0],
        [-5.3, -2.2, -1.2, 0.8, 0.6, 1.7, -2.1, 0.3, 0.1],
        [0.9, 4.0, -0.7, 1.8, 0.6, 1.6, 3.0, -0.5, 0.6],
    ]
)
AUGMENTATIONS = {
    "y": [RandomFlip3D(flip_ratio_bev_horizontal=1.0)],
    "x and y": [RandomFlip3D(flip_ratio_bev_horizontal=1.0, flip_ratio_bev_vertical=1.0)],
    "turn": [GlobalRotScaleTrans([0.3, 0.3], [1.0, 1.0])],
    "all": [
        RandomFlip3D(flip_ratio_bev_horizontal=0.0, flip_ratio_bev_vertical=1.0),
        GlobalRotScaleTrans([-0.4, -0.4], [1.05, 1.05], [0.2, 0.2, 0.2]),
    ],
}


def augmented(name):
    """Return boxes moved by mmdet3d, and the metainfo it leaves."""
    np.random.seed(0)
    results = dict(
        gt_bboxes_3d=LiDARInstance3DBoxes(BOXES.clone(), box_dim=9),
        points=LiDARPoints(torch.rand(5, 4), points_dim=4),
    )
    for transform in AUGMENTATIONS[name]:
        results = transform(results)
    return results["gt_bboxes_3d"].tensor, results


def head_of(boxes):
    """Return a perfect centre head for boxes: each box's values around its centre cell."""
    task = {
        key: torch.zeros(1, n, *SHAPE)
        for key, n in dict(reg=2, height=1, dim=3, rot=2, vel=2).items()
    }
    task["heatmap"] = gaussian_mask([boxes], EXTENT, SHAPE).clamp(1e-4, 1 - 1e-4).logit()
    for box in boxes:
        place = (box[:2] - torch.tensor(EXTENT[:2])) / 0.4
        column, row = (int(v) for v in place)
        for i in range(row - 2, row + 3):
            for j in range(column - 2, column + 3):
                if 0 <= i < SHAPE[0] and 0 <= j < SHAPE[1]:
                    task["reg"][0, :, i, j] = place - torch.tensor([j, i])
                    task["height"][0, :, i, j] = box[2]
                    task["dim"][0, :, i, j] = box[3:6].log()
                    task["rot"][0, :, i, j] = torch.stack([box[6].sin(), box[6].cos()])
                    task["vel"][0, :, i, j] = box[7:9]
    return [[task]]


def decoded(head, near):
    """Return the box that a centre head gives at the cell of each centre in `near`."""
    task, found = head[0][0], []
    for box in near:
        j, i = (int(v) for v in (box[:2] - torch.tensor(EXTENT[:2])) / 0.4)
        place = (task["reg"][0, :, i, j] + torch.tensor([j, i])) * 0.4 + torch.tensor(EXTENT[:2])
        sine, cosine = task["rot"][0, :, i, j]
        parts = [place, task["height"][0, :, i, j], task["dim"][0, :, i, j].exp()]
        found.append(torch.cat([*parts, torch.atan2(sine, cosine)[None], task["vel"][0, :, i, j]]))
    return torch.stack(found)


def assert_boxes(found, wanted):
    turn = (found[:, 6] - wanted[:, 6]) / (2 * math.pi)
    assert torch.allclose(turn, turn.round(), atol=1e-5)
    keep = [0, 1, 2, 3, 4, 5, 7, 8]
    assert torch.allclose(found[:, keep], wanted[:, keep], atol=1e-4)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_boxes_move_as_mmdet3d_moves_them(name):
    wanted, meta = augmented(name)
    assert_boxes(move_boxes(BOXES, Motion.of(meta)), wanted)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_centre_head_decodes_to_moved_boxes(name):
    wanted, meta = augmented(name)
    found = moved(head_of(BOXES), HEAD, [Motion.of(meta)], log_dims=True)
    assert_boxes(decoded(found, wanted), wanted)
    score = found[0][0]["heatmap"].sigmoid()[0, 0]
    for box in wanted:
        j, i = (int(v) for v in (box[:2] - torch.tensor(EXTENT[:2])) / 0.4)
        assert score[i - 1 : i + 2, j - 1 : j + 2].max() > 0.6


def test_flips_of_maps_are_exact():
    value = torch.randn(2, 3, *SHAPE)
    flips, turns = Motion.of(augmented("x and y")[1]), Motion.of(augmented("turn")[1])
    found = moved(value, MAP, [flips, turns], True)
    assert torch.equal(found[0], value[0].flip(1, 2))
    assert not torch.equal(found[1], value[1])


def field(x, y):
    """A smooth map of metres."""
    return torch.stack([torch.sin(x / 3) * torch.cos(y / 2), x / 10, (x * y) / 50])


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_smooth_maps_move_in_metres(name):
    """Bilinear reading of a map with 0.4 m cells: error below h^2/8 times its curvature."""
    motion = Motion.of(augmented(name)[1])
    y, x = torch.meshgrid(
        EXTENT[1] + (torch.arange(32) + 0.5) * 0.4,
        EXTENT[0] + (torch.arange(48) + 0.5) * 0.4,
        indexing="ij",
    )
    found = moved(field(x, y)[None], MAP, [motion], True)[0]
    back = torch.linalg.inv(motion.linear).float()
    place = torch.stack([x, y], -1) - motion.shift.float()
    source = (place @ back.t()).unbind(-1)
    inside = (source[0].abs() < 9.4) & (source[1].abs() < 6.2)
    assert inside.float().mean() > 0.7
    assert (found - field(*source))[:, inside].abs().max() < 0.16 / 8 * (1 / 9 + 1 / 4 + 0.1)


def test_flip_about_no_axis_of_the_map_is_resampled():
    spec = FeatureSpec(1, "map", (4, 6), (0.0, -1.0, 6.0, 3.0))
    meta = dict(transformation_3d_flow=["HF"])
    value = torch.arange(4.0)[None, None, :, None].expand(1, 1, 4, 6)  # row r: y = r - 0.5
    found = moved(value, spec, [Motion.of(meta)], True)[0, 0, :, 0]
    assert found.tolist() == pytest.approx([1.0, 0.0, 0.0, 0.0])  # y = -0.5 reads 0.5; border


PLAIN = [dict(type=name) for name in ("LoadKittiPoints", "RandomFlip3D", "Pack3DDetInputs")]


def test_pipelines_that_cannot_be_replayed_are_refused_by_name():
    assert [s["type"] for s in canonical(PLAIN)] == ["LoadKittiPoints", "Pack3DDetInputs"]
    for kind in ("ObjectSample", "ObjectNoise", "PhotoMetricDistortion3D"):
        with pytest.raises(UserError, match=kind):
            canonical([*PLAIN, dict(type=kind)])
    nested = dict(type="SplitPoints", key="points_b", transforms=[dict(type="PointSample")])
    with pytest.raises(UserError, match="PointSample"):
        canonical([*PLAIN, nested])
    check_replay([*PLAIN, dict(type="ObjectSample", db_sampler=dict(type="ObjectDatabase"))])
    with pytest.raises(UserError, match="DataBaseSampler"):
        check_replay([*PLAIN, dict(type="ObjectSample", db_sampler=dict())])


def test_anchor_heads_and_rows_are_not_moved():
    motion = Motion.of(augmented("turn")[1])
    for layout in ("anchor_head", "rows", "points"):
        with pytest.raises(UserError, match="cannot be moved"):
            moved(None, FeatureSpec(3, layout, SHAPE, EXTENT), [motion], True)
