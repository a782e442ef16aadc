"""Two clouds and an image of one scene stay one scene under every augmentation."""

import itertools
import random

import numpy as np
import pytest
import torch
from mmdet3d.models.layers.fusion_layers import apply_3d_transformation
from mmdet3d.models.layers.fusion_layers.point_fusion import point_sample
from mmdet3d.registry import DATASETS, TRANSFORMS
from mmdet3d.structures import LiDARInstance3DBoxes, LiDARPoints
from mmdet3d.utils import register_all_modules

from kd3d.data.augmentation import augmentation_matrix, transform_points
from kd3d.data.beams import beam_indices
from kd3d.data.kitti_geometry import points_in_boxes
from kd3d.engine.register import register_all
from kd3d.engine.runner import load_config
from kd3d.errors import UserError
from kd3d.simulation.lidar import beam_elevations
from tests.data.kitti_tiny import CAR
from tests.engine.tiny import prepared
from tests.paths import ROOT

register_all_modules(init_default_scope=False)
register_all()

SIZE = (360, 1200)  # height and width of the image in pixels
LIDAR2IMG = np.array(  # kitti_tiny's camera: x forward becomes depth
    [[600.0, -700, 0, 45 - 600 * 0.27], [180, 0, -700, -56], [1, 0, 0, -0.27], [0, 0, 0, 1]]
)
ROTATE = dict(type="GlobalRotScaleTrans", rot_range=[0.3, 0.9], scale_ratio_range=[0.8, 1.3])
SHIFT = dict(ROTATE, translation_std=[2.0, 2.0, 0.5])
FLIPS = {
    (h, v): dict(
        type="RandomFlip3D",
        sync_2d=False,
        flip_ratio_bev_horizontal=float(h),
        flip_ratio_bev_vertical=float(v),
    )
    for h, v in itertools.product((False, True), repeat=2)
}
ORDERS = [
    order
    for flip, move in itertools.product(FLIPS.values(), (ROTATE, SHIFT))
    for order in ([flip, move], [move, flip], [flip, move, flip])
]


def seed():
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)


def scene(boxes=2, count=400):
    """Points ahead of the camera; the fourth value is the point's number."""
    rng = np.random.default_rng(1)
    xyz = rng.uniform([6, -3, -1.5], [40, 3, 1], (count, 3))
    points = np.column_stack([xyz, np.arange(count)]).astype(np.float32)
    tensor = torch.tensor([[12.0, 2, -1, 4, 1.6, 1.5, 0.4], [20.0, -2, -1, 4, 1.6, 1.5, 2.0]])
    return xyz, {
        "points": LiDARPoints(points, points_dim=4),
        "gt_bboxes_3d": LiDARInstance3DBoxes(tensor[:boxes]),
        "gt_labels_3d": np.zeros(boxes, dtype=np.int64),
        "ann_info": {"gt_bboxes_3d": tensor[:boxes].numpy()},
        "box_type_3d": LiDARInstance3DBoxes,
        "lidar2img": LIDAR2IMG,
    }


def run(pipeline, results):
    seed()
    for config in pipeline:
        results = TRANSFORMS.build(config).transform(results)
    return results


@pytest.mark.parametrize("boxes", [0, 2])
@pytest.mark.parametrize("order", ORDERS)
def test_one_matrix_stands_for_the_recorded_augmentation(order, boxes):
    xyz, results = scene(boxes)
    before = results["gt_bboxes_3d"].clone()
    after = run(order, results)
    matrix = augmentation_matrix(after)
    moved = transform_points(matrix, xyz)
    assert not np.allclose(moved, xyz, atol=0.5)
    np.testing.assert_allclose(after["points"].coord.numpy(), moved, atol=1e-4)
    centres = transform_points(matrix, before.gravity_center.numpy())
    np.testing.assert_allclose(after["gt_bboxes_3d"].gravity_center.numpy(), centres, atol=1e-4)
    back = apply_3d_transformation(after["points"].coord, "LIDAR", after, reverse=True)
    np.testing.assert_allclose(back.numpy(), xyz, atol=1e-4)


def test_what_is_not_recorded_in_full_is_refused():
    _, results = scene()
    with pytest.raises(UserError, match="augmented twice"):
        augmentation_matrix(run([ROTATE, ROTATE], results))
    with pytest.raises(UserError, match="pcd_rotation"):
        augmentation_matrix({"transformation_3d_flow": ["R"]})
    with pytest.raises(UserError, match="unknown operation 'X'"):
        augmentation_matrix({"transformation_3d_flow": ["X"]})
    assert np.array_equal(augmentation_matrix({}), np.eye(4))


def coordinate_image():
    """An image whose first two channels are each pixel's own column and row."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([columns, rows, np.zeros(SIZE)], -1).astype(np.float32)


IMAGE_CASES = {
    "points only": [FLIPS[True, True], SHIFT],
    "image and points flipped together": [
        dict(type="RandomFlip3D", sync_2d=True, flip_ratio_bev_horizontal=1.0),
        SHIFT,
    ],
    "image flipped after": [
        SHIFT,
        dict(type="RandomFlip3D", sync_2d=True, flip_ratio_bev_horizontal=1.0),
    ],
    "image flipped alone": [FLIPS[True, False], ROTATE],
}
RESIZES = {
    "as it is": [],
    "smaller": [dict(type="Resize", scale=(600, 180), keep_ratio=True)],
    "larger": [dict(type="Resize", scale=(1500, 450), keep_ratio=True)],
}


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("case", IMAGE_CASES)
def test_augmented_points_hit_the_pixels_of_the_original_ones(case, resize):
    """The image tells which of its own pixels was hit, whatever was done to it."""
    xyz, results = scene()
    results |= {"img": coordinate_image(), "img_shape": SIZE, "ori_shape": SIZE}
    if "alone" in case:
        results["pcd_horizontal_flip"] = False
    packed = run(
        [
            *RESIZES[resize],
            *IMAGE_CASES[case],
            dict(type="PackBranches", keys=["points", "img", "gt_bboxes_3d", "gt_labels_3d"]),
        ],
        results,
    )
    meta, points = packed["data_samples"].metainfo, packed["inputs"]["points"]
    image = packed["inputs"]["img"][None].float()
    if "flipped" in case:
        assert meta["flip"]
    hit = point_sample(
        meta,
        image,
        points[:, :3],
        torch.tensor(LIDAR2IMG, dtype=torch.float32),
        "LIDAR",
        points.new_tensor(meta.get("scale_factor", (1.0, 1.0))),
        points.new_tensor([0.0, 0.0]),
        meta["flip"],
        image.shape[-2:],
        meta["img_shape"][:2],
        align_corners=False,
    )[:, :2]
    pixels = transform_points(LIDAR2IMG, xyz[points[:, 3].long().numpy()])
    pixels = pixels[:, :2] / pixels[:, 2:]
    inside = ((pixels > 5) & (pixels < np.array(SIZE[::-1]) - 5)).all(1)
    assert inside.sum() > 100
    np.testing.assert_allclose(hit.numpy()[inside], pixels[inside], atol=2.0)
    homogeneous = np.linalg.inv(meta["lidar_aug_matrix"])
    back = transform_points(LIDAR2IMG @ homogeneous, points[:, :3].double().numpy())
    np.testing.assert_allclose((back[:, :2] / back[:, 2:])[inside], pixels[inside], atol=0.05)


def ringed(elevations, per_beam=200):
    rng = np.random.default_rng(0)
    beams = len(elevations)
    elevation = np.repeat(elevations, per_beam) + rng.normal(0, 3e-4, beams * per_beam)
    azimuth = rng.uniform(-0.7, 0.7, beams * per_beam)
    distance = rng.uniform(5, 50, beams * per_beam)
    flat = distance * np.cos(elevation)
    xyz = np.column_stack(
        [flat * np.cos(azimuth), flat * np.sin(azimuth), distance * np.sin(elevation)]
    )
    return xyz, np.repeat(np.arange(beams), per_beam)


def test_unevenly_spaced_beams_are_found():
    xyz, ring = ringed(np.sort(beam_elevations()))  # two blocks of 32, in steps of 1/3 and 1/2
    assert (beam_indices(xyz, 64) == ring).mean() > 0.999
    assert beam_indices(np.zeros((0, 3)), 16).shape == (0,)


def test_beams_are_found_and_thinned_alike_under_every_augmentation():
    xyz, ring = ringed(np.linspace(-0.4, 0.1, 16))
    np.testing.assert_array_equal(beam_indices(xyz, 16), ring)
    for order in ORDERS:
        _, results = scene()
        results["points"] = LiDARPoints(
            np.column_stack([xyz, ring]).astype(np.float32), points_dim=4
        )
        thin = [*order, dict(type="ThinBeams", beams=16, beam_ratio=4, first=1)]
        left = run(thin, results)["points"].tensor
        assert len(left) == 800
        assert set(left[:, 3].tolist()) == {1.0, 5.0, 9.0, 13.0}
    with pytest.raises(UserError, match="beam_ratio=0"):
        TRANSFORMS.build(dict(type="ThinBeams", beam_ratio=0))
    with pytest.raises(UserError, match="bin_ratio=0"):
        TRANSFORMS.build(dict(type="ThinBeams", bin_ratio=0))


def test_beams_are_thinned_by_the_ring_where_there_is_one():
    xyz, ring = ringed(np.linspace(-0.4, 0.1, 16))
    for order in ORDERS[:4]:
        left = {}
        for name, source in (("ring", dict(ring=3)), ("found", dict(beams=16))):
            _, results = scene()
            cloud = np.column_stack([xyz, ring]).astype(np.float32)
            results["points"] = LiDARPoints(cloud, points_dim=4)
            thin = dict(type="ThinBeams", beam_ratio=4, bin_ratio=2, first=2, **source)
            left[name] = run([*order, thin], results)["points"].tensor
        assert len(left["ring"]) == 400
        assert torch.equal(left["ring"], left["found"])
    _, results = scene()
    results["points"].tensor[:, 3] = 0.05  # the time that a loader of sweeps writes there
    with pytest.raises(UserError, match=r"no beam's number, such as 0\.05"):
        run([dict(type="ThinBeams", ring=3)], results)
    with pytest.raises(UserError, match="no channel 4"):
        run([dict(type="ThinBeams", ring=4)], scene()[1])


def test_split_cloud_keeps_the_scene_and_its_own_filters():
    near = dict(type="PointsRangeFilter", point_cloud_range=[0, -50, -9, 25, 50, 9])
    late = dict(type="SelectPoints", channel=3, low=100, high=199)
    pipeline = [
        SHIFT,
        dict(type="SplitPoints", key="points_dense", transforms=[near]),
        late,
        dict(type="PackBranches", keys=["points", "points_dense", "gt_bboxes_3d", "gt_labels_3d"]),
    ]
    inputs = run(pipeline, scene()[1])["inputs"]
    whole = run([SHIFT], scene()[1])["points"].tensor
    assert torch.equal(inputs["points"], whole[100:200])
    assert torch.equal(inputs["points_dense"], whole[whole[:, 0] < 25])
    assert 0 < len(inputs["points_dense"]) < 400


@TRANSFORMS.register_module()
class OtherSensor:
    """Loads what the scene's points were before any augmentation."""

    def __call__(self, results):
        assert "points" not in results
        results["points"] = scene()[1]["points"]
        return results


OTHER = dict(type="OtherSensor")


@pytest.mark.parametrize("order", ORDERS[:6])
def test_cloud_loaded_later_gets_the_same_augmentation(order):
    load = dict(type="LoadBranchPoints", key="points_other", load=[OTHER])
    results = run([*order, load], scene()[1])
    np.testing.assert_allclose(
        results["points_other"].tensor.numpy(), results["points"].tensor.numpy(), atol=1e-4
    )


def test_mistakes_in_a_pipeline_of_branches_are_named():
    _, results = scene()
    with pytest.raises(UserError, match="GlobalRotScaleTrans on one branch's points"):
        run([dict(type="SplitPoints", key="points_b", transforms=[ROTATE])], results)
    results = scene()[1]
    results["ann_info"] = {"gt_bboxes_3d": results["ann_info"]["gt_bboxes_3d"][:1]}
    with pytest.raises(UserError, match="objects were pasted"):
        run([dict(type="LoadBranchPoints", key="points_b", load=[OTHER])], results)
    with pytest.raises(UserError, match="no transform made the cloud 'points_b'"):
        run([dict(type="PackBranches", keys=["points", "points_b"])], scene()[1])
    with pytest.raises(UserError, match="does not start with 'points_'"):
        TRANSFORMS.build(dict(type="SplitPoints", key="dense"))
    with pytest.raises(UserError, match="no channel 7"):
        run([dict(type="SelectPoints", channel=7, low=0, high=1)], scene()[1])


def test_pasted_objects_reach_both_clouds(tmp_path):
    """KITTI's whole training pipeline: the teacher's dense cloud and the student's thin one."""
    beside = CAR.replace(" 1.00 1.60 14.00", " 3.20 1.60 14.00")  # can be pasted next to CAR
    kitti = prepared(tmp_path / "kitti", {"000025": beside})
    config = load_config(ROOT / "configs/teachers/pointpillars_kitti.py", data_root=kitti)
    data = config.train_dataloader.dataset.dataset
    keys = ["points", "points_dense", "gt_labels_3d", "gt_bboxes_3d"]
    data.pipeline = [
        *data.pipeline[:-1],
        dict(type="SplitPoints", key="points_dense"),
        dict(type="ThinBeams", beams=32, beam_ratio=2),
        dict(type="PackBranches", keys=keys),
    ]
    with DATASETS.switch_scope_and_registry("mmdet3d") as registry:
        dataset = registry.build(data)
    seed()
    samples = [dataset[i] for i in range(len(dataset))]
    pasted = [s for s in samples if len(s["data_samples"].gt_instances_3d.labels_3d) == 3]
    assert pasted
    for sample in pasted:
        boxes = sample["data_samples"].gt_instances_3d.bboxes_3d.tensor.numpy()
        thin, dense = (
            np.array([i.sum() for i in points_in_boxes(sample["inputs"][key].numpy(), boxes)])
            for key in ("points", "points_dense")
        )
        hit = dense > 0  # the cyclist has no points of its own
        assert hit.sum() == 2
        assert ((thin > 0) & (thin < dense))[hit].all()
