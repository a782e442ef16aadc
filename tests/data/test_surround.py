"""One geometry: cloud, boxes, images, depth and lifted maps agree under every augmentation."""

import itertools
import math

import cv2
import numpy as np
import pytest
import torch
from mmdet3d.structures import LiDARInstance3DBoxes, LiDARPoints
from mmdet3d.utils import register_all_modules

from kd3d.data.augmentation import augmentation_matrix, transform_points
from kd3d.data.depth_maps import project
from kd3d.data.image_augmentation import ImageAugmentation
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.masks.solid import gaussian_solid
from kd3d.models import tiny_bev
from kd3d.models.bev.cameras import Cameras
from kd3d.models.bev.view_transform import LiftSplat
from kd3d.models.source import build_detector
from tests.data.surround_tiny import (
    NAMES,
    PACK,
    SIZE,
    SPOT,
    calibration,
    pixel,
    results_of,
    run,
    write_images,
)
from tests.models.bev_cases import load

register_all_modules(init_default_scope=False)
register_all()

KEEP = dict(type="KeepRawPoints", key="points_depth")
DEPTH = dict(type="DepthMaps", points="points_depth", stride=8, objects=True)
TURN = dict(
    type="GlobalRotScaleTrans",
    rot_range=[-0.3, 0.3],
    scale_ratio_range=[0.9, 1.15],
    translation_std=[0.4, 0.4, 0.2],
)


def flip(horizontal, vertical):
    return dict(
        type="RandomFlip3D",
        sync_2d=False,
        flip_ratio_bev_horizontal=float(horizontal),
        flip_ratio_bev_vertical=float(vertical),
    )


FLIPS = [flip(h, v) for h, v in itertools.product((0, 1), repeat=2)]
SCENES = [order for one in FLIPS for order in ([one], [one, TURN], [TURN, one])]
IMAGES = {
    "plain": dict(),
    "resized": dict(resize=(0.05, 0.1)),
    "flipped": dict(flip=1.0),
    "turned": dict(angle_deg=(8.0, 8.0)),
    "all": dict(resize=(-0.03, 0.08), angle_deg=(-7.0, -3.0), flip=1.0),
}


@pytest.fixture(scope="module")
def cameras(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def detectors():
    return {
        "student": build_detector(tiny_bev.bevdet()).eval(),
        "teacher": build_detector(tiny_bev.centerpoint()).eval(),
        "finer": build_detector(tiny_bev.centerpoint(0.4, 4)).eval(),
    }


def images_of(options):
    return dict(type="LoadSurroundImages", size=tiny_bev.IMAGE, train=True, **options)


def place(spec_shape, flat):
    """Metres of the middle of a cell of a map over the tiny range."""
    rows, columns = spec_shape
    low, high = tiny_bev.RANGE[:2], tiny_bev.RANGE[3:5]
    row, column = divmod(int(flat), columns)
    return (
        low[0] + (column + 0.5) * (high[0] - low[0]) / columns,
        low[1] + (row + 0.5) * (high[1] - low[1]) / rows,
    )


def occupancy(detector, points):
    """Where a LiDAR model's own voxelisation and scatter put the cloud."""
    voxels = detector.data_preprocessor.voxelize([points], [])
    ones = voxels["num_points"].float()[:, None].expand(-1, 32)
    return detector.pts_middle_encoder(ones, voxels["coors"], 1)[0, 0]


def spot(image):
    """The middle of the white spot, in pixels."""
    weight = np.clip(image[..., 0].astype(float) - 60, 0, None)
    v, u = np.mgrid[: image.shape[0], : image.shape[1]]
    return (weight * u).sum() / weight.sum(), (weight * v).sum() / weight.sum()


def objects_of_cells(cameras, meta):
    """Whether the nearest point of each cell lies in the box, told before the scene is moved."""
    cloud = results_of(cameras)["points"].tensor[:, :3].numpy().astype(float)
    dx, dy, dz = (cloud - SPOT).T
    along, across = dx * math.cos(0.4) + dy * math.sin(0.4), dy * math.cos(0.4) - dx * math.sin(0.4)
    inside = (abs(along) < SIZE[0] / 2) & (abs(across) < SIZE[1] / 2) & (abs(dz) < SIZE[2] / 2)
    assert 10 < inside.sum() < 60
    maps = torch.zeros(3, 8, 16, dtype=torch.long)
    for i in range(3):
        seen = project(cloud, meta["lidar2img"][i], meta["img_aug_matrix"][i])
        for (u, v, depth), own in sorted(zip(seen.tolist(), inside), key=lambda s: -s[0][2]):
            row, column = math.floor((v + 0.5) / 8), math.floor((u + 0.5) / 8)
            if depth >= 1 and 0 <= row < 8 and 0 <= column < 16:
                maps[i, row, column] = int(own)  # the nearest one comes last
    return maps


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("scene", range(len(SCENES)))
def test_occupancy_lifted_cell_and_peak_coincide(cameras, detectors, scene, image):
    np.random.seed(7 * scene + len(image))
    torch.manual_seed(scene)
    results = run(
        results_of(cameras), KEEP, *SCENES[scene], images_of(IMAGES[image]), DEPTH, dict(PACK)
    )
    sample, inputs = results["data_samples"], results["inputs"]
    matrix = sample.metainfo["lidar_aug_matrix"]
    want = transform_points(matrix, np.array([SPOT]))[0]
    assert abs(want[0]) > 4
    assert abs(want[1]) > 2  # a wrong flip or swapped axes are more than a cell off

    centre = sample.gt_instances_3d.bboxes_3d.gravity_center[0].numpy()
    np.testing.assert_allclose(centre, want, atol=1e-3)
    np.testing.assert_allclose(inputs["points"][:, :3].mean(0), want, atol=0.2)

    for name in ("teacher", "finer"):
        cells = occupancy(detectors[name], inputs["points"])
        x, y = place(cells.shape, cells.argmax())
        assert max(abs(x - want[0]), abs(y - want[1])) <= 1.6, name
    for name in ("teacher", "finer", "student"):
        heat = detectors[name].pts_bbox_head.get_targets([sample.gt_instances_3d])[0][0][0, 0]
        assert heat.shape == (28, 40)
        x, y = place(heat.shape, heat.argmax())
        assert max(abs(x - want[0]), abs(y - want[1])) <= 0.81, name

    seen = inputs["img"][0].permute(1, 2, 0).numpy()
    u, v = spot(seen)
    row, column = int((v + 0.5) // 8), int((u + 0.5) // 8)
    depth = sample.gt_depth_maps[0, row, column]
    assert torch.equal(sample.gt_object_maps, objects_of_cells(cameras, sample.metainfo))
    lift = detectors["student"].view_transform
    context = torch.zeros(3, 1, 8, 16)
    context[0, 0, row, column] = 1
    bins = torch.zeros(3, lift.bins.count, 8, 16)
    bins[0, lift.bins.index(depth)] = 1
    metas = [sample.metainfo]
    bev = lift(bins, context, Cameras.of(metas), tiny_bev.IMAGE)[0, 0]
    assert bev.sum() == 1
    x, y = place(bev.shape, bev.argmax())
    assert max(abs(x - want[0]), abs(y - want[1])) <= 1.6
    bounds = [(*tiny_bev.RANGE[i::3], edge) for i, edge in enumerate((0.8, 0.8, 1.0))]
    filled = lift.occupancy(bins * context, metas, tiny_bev.IMAGE, bounds)
    assert filled.shape == (1, 8, 56, 80)
    assert filled.sum() == 1
    boxes = [sample.gt_instances_3d.bboxes_3d.tensor[:, :7]]
    extent = (*tiny_bev.RANGE[:2], *tiny_bev.RANGE[3:5])
    solid = gaussian_solid(boxes, extent, (-5.0, 3.0), (8, 56, 80), min_radius=3)
    assert solid[0, int(want[2] + 5)].max() == 1
    assert (filled * solid).sum() > 0


@pytest.mark.parametrize("image", IMAGES)
def test_the_recorded_matrix_is_what_happened_to_the_pixels(cameras, image):
    np.random.seed(len(image))
    results = run(results_of(cameras), images_of(IMAGES[image]))
    u, v, depth = pixel(calibration()[0])
    moved = results["img_aug_matrix"][0] @ [u, v, depth, 1]
    np.testing.assert_allclose(spot(results["img"][0]), moved[:2], atol=0.3)
    assert moved[2] == pytest.approx(depth)
    assert results["img"][0].shape == (*tiny_bev.IMAGE, 3)


def test_images_are_moved_exactly_where_no_pixel_is_mixed():
    image = np.random.default_rng(0).integers(0, 255, (12, 20, 3)).astype(np.uint8)
    mirrored = ImageAugmentation((12, 20), (3, 2), (8, 10), flip=True)
    assert (mirrored(image) == image[2:10, 3:13][:, ::-1]).all()
    assert mirrored.matrix((12, 20))[0].tolist() == [-1, 0, 0, 12]
    upside = ImageAugmentation((12, 20), (3, 2), (8, 10), angle_deg=180.0)
    assert (upside(image) == image[2:10, 3:13][::-1, ::-1]).all()
    outside = ImageAugmentation((12, 20), (-4, 0), (12, 20))(image)
    assert not outside[:, :4].any()
    assert (outside[:, 4:] == image[:, :16]).all()
    half = ImageAugmentation((6, 10), (0, 0), (6, 10))
    assert half.matrix((12, 20))[0].tolist() == [0.5, 0, 0, -0.25]
    assert (half(image) == cv2.resize(image, (10, 6), interpolation=cv2.INTER_AREA)).all()


def test_augmented_points_are_seen_where_the_raw_ones_are(cameras):
    np.random.seed(3)
    torch.manual_seed(3)
    raw = results_of(cameras)["points"].tensor[:, :3].numpy().astype(np.float64)
    results = run(results_of(cameras), flip(1, 0), TURN, images_of(IMAGES["all"]))
    matrix = augmentation_matrix(results)
    back = transform_points(np.linalg.inv(matrix), results["points"].tensor[:, :3].double().numpy())
    for lidar2img, augmentation in zip(results["lidar2img"], results["img_aug_matrix"]):
        first, second = (project(p, lidar2img, augmentation) for p in (raw, back))
        ahead = first[:, 2] > 1
        np.testing.assert_allclose(second[ahead], first[ahead], atol=0.02)


MOVES = {
    "flip y": (np.diag([1.0, -1, 1, 1]), lambda m: m.flip(-2)),
    "flip x": (np.diag([-1.0, 1, 1, 1]), lambda m: m.flip(-1)),
    "half a turn": (np.diag([-1.0, -1, 1, 1]), lambda m: m.flip(-1, -2)),
}


@pytest.mark.parametrize("move", [*MOVES, "quarter turn", "three cells on", "twice as large"])
def test_moving_the_inputs_is_moving_the_map(move):
    """Exactly: the moves map cells to cells."""
    generator = torch.Generator().manual_seed(0)
    context = torch.randn((3, 4, 8, 16), generator=generator)
    depth = torch.randn((3, 40, 8, 16), generator=generator).softmax(1)
    known = tiny_bev.rig() | dict(img_aug_matrix=[np.eye(4)] * 3)

    def lifted(matrix, x, y):
        bins = [1.03, 41.03, 1]  # so that no point lies between two cells
        lift = LiftSplat([*x, 1.6], [*y, 1.6], [-50, 50, 100], bins)
        if move == "twice as large" and not np.allclose(matrix, np.eye(4)):
            lift = LiftSplat([*x, 3.2], [*y, 3.2], [-50, 50, 100], bins)
        return lift(depth, context, Cameras.of([known | dict(lidar_aug_matrix=matrix)]), (64, 128))

    x, y = (-32.0, 32.0), (-19.2, 19.2)
    before = lifted(np.eye(4), x, y)
    matrix = np.eye(4)
    if move in MOVES:
        matrix, change = MOVES[move]
        after, want = lifted(matrix, x, y), change(before)
    elif move == "quarter turn":
        matrix[:2, :2] = [[0, -1], [1, 0]]  # (x, y) -> (-y, x)
        after = lifted(matrix, y, x)
        want = before.transpose(-1, -2).flip(-1)
    elif move == "three cells on":
        matrix[0, 3] = 4.8
        after = lifted(matrix, x, y)[..., 3:]
        want = before[..., :-3]
    else:
        matrix[:3, :3] *= 2
        after, want = lifted(matrix, (-64.0, 64.0), (-38.4, 38.4)), before
    assert want.abs().sum() > 10
    torch.testing.assert_close(after, want, rtol=1e-3, atol=1e-3)


def test_ego_motion_between_the_shots_moves_the_lifted_object(cameras):
    results = run(results_of(cameras), images_of({}), dict(PACK))
    meta = dict(results["data_samples"].metainfo)
    still = Cameras.of([meta])
    drove = np.eye(4)
    drove[0, 3] = -2.0  # the camera shot 2 m further on: what it sees is 2 m nearer to it
    meta["lidar2cam"] = [matrix @ drove for matrix in meta["lidar2cam"]]
    moved = Cameras.of([meta])
    frustum = torch.tensor([[[[30.0, 20.0, 9.0]]]])
    shift = moved.lift(frustum) - still.lift(frustum)
    torch.testing.assert_close(shift[0, 0, 0, 0, 0], torch.tensor([2.0, 0, 0]), rtol=0, atol=1e-4)


def test_bevdets_own_augmentations_are_reproduced():
    data = load("bevdet_v1_aug_update")
    record = dict(
        transformation_3d_flow=["R", "S", "T", "HF"],
        pcd_rotation=data["pcd_rotation"],
        pcd_scale_factor=float(data["scale"]),
        pcd_trans=data["pcd_trans"],
    )
    matrix = augmentation_matrix(record)
    moved = transform_points(matrix, data["points"].double().numpy())
    np.testing.assert_allclose(moved, data["points_aug"], rtol=1e-4, atol=1e-4)
    pose = np.tile(np.eye(4), (3, 1, 1))
    pose[:, :3, :3], pose[:, :3, 3] = data["rots"], data["trans"]
    folded = matrix @ pose
    np.testing.assert_allclose(folded[:, :3, :3], data["rots_out"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(folded[:, :3, 3], data["trans_out"], rtol=1e-4, atol=1e-5)

    data = load("bevdet_bda_0")
    boxes = LiDARInstance3DBoxes(data["boxes"].clone(), box_dim=9, origin=(0.5, 0.5, 0.5))
    angle = torch.tensor(math.radians(17.0))
    rotation = boxes.rotate(angle, LiDARPoints(torch.zeros(1, 3)))[1]
    boxes.scale(1.04)
    boxes.flip("vertical")  # x -> -x
    record = dict(
        transformation_3d_flow=["R", "S", "VF"], pcd_rotation=rotation, pcd_scale_factor=1.04
    )
    matrix = augmentation_matrix(record)[:3, :3]
    np.testing.assert_allclose(matrix, data["bda"], rtol=1e-4, atol=1e-5)
    ours = torch.cat([boxes.gravity_center, boxes.tensor[:, 3:]], 1)
    turn = torch.remainder(ours[:, 6] - data["boxes_aug"][:, 6] + math.pi, 2 * math.pi) - math.pi
    assert turn.abs().max() < 1e-4
    same = [i for i in range(9) if i != 6]
    torch.testing.assert_close(ours[:, same], data["boxes_aug"][:, same], rtol=1e-4, atol=1e-4)


def test_sweeps_join_where_they_were_measured(tmp_path):
    """The car turned between the sweeps: mmdet3d's own joining puts the points elsewhere."""
    angle, trans = 0.3, np.array([-4.0, 1.5, 0.1])
    sensor2lidar = np.eye(4)
    sensor2lidar[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    sensor2lidar[:3, 3] = trans
    lidar2sensor = np.linalg.inv(sensor2lidar)
    truth = np.array([[10.0, 4.0, -1.0], [30.0, -8.0, 0.5]])
    measured = transform_points(lidar2sensor, truth)
    path = tmp_path / "sweep.bin"
    np.hstack([measured, np.zeros((2, 2))]).astype(np.float32).tofile(path)
    info = dict(lidar_path=str(path), lidar2sensor=lidar2sensor.tolist())

    def join(**options):
        results = dict(
            points=LiDARPoints(np.zeros((1, 5), np.float32), points_dim=5),
            timestamp=1.0,
            lidar_sweeps=[dict(lidar_points=dict(info), timestamp=0.9)],
        )
        load_sweeps = dict(type="LoadSweeps", sweeps_num=1, use_dim=[0, 1, 2, 3, 4], **options)
        results = run(results, load_sweeps)
        assert results["lidar_sweeps"][0]["lidar_points"]["lidar2sensor"] == lidar2sensor.tolist()
        return results["points"].tensor[1:]

    np.testing.assert_allclose(join()[:, :3], truth, atol=1e-4)
    assert join()[0, 4] == pytest.approx(0.1)
    assert np.abs(join(official_parity=True)[:, :3] - truth).max() > 1


def test_a_branch_may_live_in_the_cars_frame(cameras):
    split = dict(type="SplitPoints", key="points_ego", transforms=[dict(type="PointsToEgo")])
    pack = dict(PACK, keys=["points", "points_ego", "img", "gt_bboxes_3d", "gt_labels_3d"])
    results = run(results_of(cameras), flip(0, 1), split, images_of({}), pack)
    matrix = results["data_samples"].metainfo["lidar2ego"]
    moved = transform_points(matrix, results["inputs"]["points"][:, :3].double().numpy())
    np.testing.assert_allclose(results["inputs"]["points_ego"][:, :3], moved, atol=1e-4)
    assert results["inputs"]["points_ego"][:, 4].eq(0).all()


def test_bad_input_is_one_clear_line(cameras, tmp_path):
    def fails(match, results, *transforms):
        with pytest.raises(UserError, match=match):
            run(results, *transforms)

    absent = cameras[NAMES[0]] | dict(img_path=str(tmp_path / "absent.png"))
    fails("no such image", results_of(cameras | {NAMES[0]: absent}), images_of({}))
    (tmp_path / "broken.png").write_bytes(b"no image")
    broken = cameras[NAMES[0]] | dict(img_path=str(tmp_path / "broken.png"))
    fails("not an image", results_of(cameras | {NAMES[0]: broken}), images_of({}))
    fails("no camera 'CAM_REAR'", results_of(cameras), images_of(dict(cameras=["CAM_REAR"])))
    fails("has no cameras", results_of({}), images_of({}))
    fails("augmented already", results_of(cameras), FLIPS[1], KEEP)
    fails("KeepRawPoints comes before", results_of(cameras), images_of({}), DEPTH)
    pasted = results_of(cameras)
    pasted["gt_bboxes_3d"] = LiDARInstance3DBoxes.cat([pasted["gt_bboxes_3d"]] * 2)
    fails("no image shows them", pasted, images_of({}))
