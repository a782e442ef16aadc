"""The numpy around the graphs, beside what mmdet3d, mmcv and kd3d's torch code do."""

import numpy as np
import pytest
import torch
from mmcv.ops import nms_rotated
from mmdet3d.models.data_preprocessors.voxelize import VoxelizationByGridShape
from mmdet3d.models.voxel_encoders import PillarFeatureNet

from kd3d.data.image_augmentation import centred
from kd3d.deploy.runtime import overlap
from kd3d.deploy.runtime.images import fit_image
from kd3d.deploy.runtime.lift import Lift, Rig
from kd3d.deploy.runtime.pillars import pillar_inputs, voxelise
from kd3d.models import tiny_bev
from kd3d.models.bev.cameras import Cameras
from kd3d.models.bev.view_transform import LiftSplat
from tests.paths import GOLDEN

RANGE, SIZE = [0.0, -6.4, -3.0, 19.2, 6.4, 1.0], [0.4, 0.4, 4.0]


def pillar_spec(**changed):
    spec = dict(
        point_values=4, range=RANGE, voxel_size=SIZE, grid=[48, 32], max_points=5, max_pillars=300,
        with_mean=True, with_middle=True, with_distance=False, legacy=False,
        middle_offset=[SIZE[i] / 2 + RANGE[i] for i in range(3)],
    )  # fmt: skip
    return spec | changed


def cloud(seed=0, count=4000):
    rng = np.random.default_rng(seed)
    low, high = [-2, -8, -4, 0], [21, 8, 2, 1]
    return rng.uniform(low, high, (count, 4)).astype(np.float32)


@pytest.mark.parametrize("points, pillars", [(5, 300), (32, 5000)])
def test_pillars_are_mmcvs_with_both_limits(points, pillars):
    spec = pillar_spec(max_points=points, max_pillars=pillars)
    layer = VoxelizationByGridShape(
        point_cloud_range=RANGE, voxel_size=SIZE, max_num_points=points, max_voxels=pillars
    ).eval()
    table, place, counts = layer(torch.from_numpy(cloud()))
    ours = voxelise(cloud(), spec)
    assert (len(ours[0]) == 300) == (pillars == 300)
    np.testing.assert_array_equal(ours[0], table.numpy())
    np.testing.assert_array_equal(ours[1], counts.numpy())
    np.testing.assert_array_equal(ours[2], place.numpy()[:, [2, 1]])  # (z, y, x) there


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"legacy": True},
        {"with_distance": True},
        {"with_mean": False},
        {"legacy": True, "with_distance": True},
    ],
)
def test_decoration_is_the_pillar_networks(options):
    spec = pillar_spec(**options)
    net = PillarFeatureNet(
        in_channels=4,
        feat_channels=(8,),
        voxel_size=SIZE,
        point_cloud_range=RANGE,
        legacy=spec["legacy"],
        with_distance=spec["with_distance"],
        with_cluster_center=spec["with_mean"],
    ).eval()
    seen = []
    net.pfn_layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    table, counts, place = (torch.from_numpy(value) for value in voxelise(cloud(), spec))
    coors = torch.nn.functional.pad(place.flip(1), (2, 0))  # batch, z, y, x
    with torch.no_grad():
        net(table.clone(), counts, coors)
    ours = pillar_inputs(cloud(), spec)
    np.testing.assert_allclose(ours["pillars"], seen[0].numpy(), rtol=0, atol=4e-6)
    np.testing.assert_array_equal(ours["cells"], (place[:, 1] * 48 + place[:, 0]).numpy())


def test_a_cloud_of_other_width_is_refused():
    with pytest.raises(ValueError, match=r"points \(3, 5\), wanted \(N, 4\)"):
        pillar_inputs(np.zeros((3, 5)), pillar_spec())


def test_overlaps_of_every_kind_of_pair():
    pairs = np.load(GOLDEN / "iou" / "rotated_iou.npz")
    first, second = (pairs[f"boxes_{side}_lidar"][:, [0, 1, 3, 4, 6]] for side in "ab")
    found = overlap.rotated_overlap(first, second)
    np.testing.assert_allclose(found, pairs["bev_iou"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("threshold", [0.01, 0.2, 0.6])
def test_suppression_is_mmcvs(threshold, monkeypatch):
    monkeypatch.setattr(overlap, "PAIRS", 100)
    rng = np.random.default_rng(3)
    boxes = rng.uniform([0, 0, 1, 1, -3], [25, 25, 5, 3, 3], (200, 5)).astype(np.float32)
    scores = rng.random(200).astype(np.float32)
    kept = nms_rotated(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)[1]
    found = overlap.suppress_rotated(boxes, scores, threshold)
    np.testing.assert_array_equal(found, kept.numpy())
    assert 0 < len(found) < 200


def test_near_middles_are_suppressed():
    middles, scores = np.array([[0.0, 0], [1, 0], [3, 0], [3, 1.9]]), np.array([0.5, 0.9, 0.1, 0.2])
    assert overlap.suppress_near(middles, scores, 4.0, 9).tolist() == [1, 3]
    assert overlap.suppress_near(middles, scores, 0.5, 2).tolist() == [1, 0]


@pytest.mark.parametrize("shape, size", [((90, 160), (32, 64)), ((90, 160), (64, 96)),
                                         ((40, 60), (80, 96))])  # fmt: skip
def test_images_are_fitted_as_in_training(shape, size):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    known = centred(shape, size)
    fitted, matrix = fit_image(image, size)
    np.testing.assert_array_equal(fitted, known(image))
    np.testing.assert_allclose(matrix, known.matrix(shape), atol=1e-12)


def camera_case(parity):
    """A view transform with layers, its spec, and a rig with an image augmentation."""
    view = LiftSplat(
        x=[-25.6, 38.4, 1.6], y=[-19.2, 25.6, 1.6], z=[-5, 3, 4], depth=[1, 41, 1],
        official_parity=parity,
    )  # fmt: skip
    known = tiny_bev.rig()
    augmented = np.eye(4)
    augmented[:2, 3], augmented[0, 0] = [-3, 2], 0.9
    meta = known | dict(img_aug_matrix=[augmented] * 3, lidar_aug_matrix=np.eye(4))
    cameras = Cameras.of([meta])
    rig = Rig.of(known["lidar2cam"], known["cam2img"], meta["img_aug_matrix"])
    return view, cameras, rig


@pytest.mark.parametrize(("parity", "mean"), [(False, None), (True, None), (False, 0.01)])
def test_lift_is_the_view_transforms(parity, mean):
    from kd3d.models.bev.frustum import pixel_frustum

    view, cameras, rig = camera_case(parity)
    view.mean_smoothing = mean
    generator = torch.Generator().manual_seed(0)
    depth = torch.rand((3, 40, 8, 16), generator=generator).softmax(1)
    context = torch.randn((3, 5, 8, 16), generator=generator)
    frustum = pixel_frustum(view.bins, (8, 16), (64, 128), parity)
    spec = dict(
        u=frustum[0, 0, :, 0].tolist(), v=frustum[0, :, 0, 1].tolist(),
        depths=frustum[:, 0, 0, 2].tolist(), depth_bins=40, low=list(view.grid.low),
        step=list(view.grid.step), cells=list(view.grid.count), towards_zero=parity,
        mean_smoothing=mean,
    )  # fmt: skip
    known = view(depth, context, cameras, (64, 128)).numpy()
    found = Lift.of(rig, spec).pool(depth.numpy(), context.numpy())
    assert found.shape == (1, 10, 28, 40)
    assert np.abs(known).max() > 0.1
    np.testing.assert_allclose(found, known, rtol=0, atol=2e-5)
    np.testing.assert_allclose(rig.numbers(), cameras.numbers().numpy(), rtol=0, atol=1e-6)


def test_a_rig_that_sees_nothing_of_the_map_gives_an_empty_one():
    _, _, rig = camera_case(False)
    spec = dict(u=[3.0], v=[3.0], depths=[500.0], depth_bins=1, low=[0, 0, 0], step=[1, 1, 1],
                cells=[4, 3, 1], towards_zero=False, mean_smoothing=None)  # fmt: skip
    made = Lift.of(rig, spec).pool(np.ones((3, 1, 1, 1)), np.ones((3, 2, 1, 1)))
    assert made.shape == (1, 2, 3, 4)
    assert not made.any()
