"""Two real nuScenes key frames, where they are at hand: calibration, augmentation, training."""

import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS
from mmdet3d.utils import register_all_modules
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from kd3d.data.augmentation import transform_points
from kd3d.data.kitti_geometry import points_in_boxes
from kd3d.engine.register import register_all
from kd3d.models.bev.cameras import Cameras
from kd3d.models.source import build_detector
from tests.paths import ROOT

SAMPLE = ROOT.parent / "shared" / "real" / "nuscenes_sample"
pytestmark = pytest.mark.skipif(not SAMPLE.is_dir(), reason="no real nuScenes frames")
register_all_modules(init_default_scope=False)
register_all()
SIDES = ("FRONT", "FRONT_LEFT", "FRONT_RIGHT", "BACK", "BACK_LEFT", "BACK_RIGHT")
CLASSES = [
    "car", "truck", "construction_vehicle", "bus", "trailer", "barrier", "motorcycle", "bicycle",
    "pedestrian", "traffic_cone",
]  # fmt: skip
PIPELINE = [
    dict(type="LoadPointsFromFile", coord_type="LIDAR", load_dim=5, use_dim=5),
    dict(type="KeepRawPoints"),
    dict(type="LoadSweeps", sweeps_num=2, use_dim=[0, 1, 2, 3, 4]),
    dict(type="LoadAnnotations3D", with_bbox_3d=True, with_label_3d=True),
    dict(
        type="GlobalRotScaleTrans",
        rot_range=[-0.4, 0.4],
        scale_ratio_range=[0.95, 1.05],
        translation_std=[0.5, 0.5, 0.1],
    ),
    dict(
        type="RandomFlip3D",
        sync_2d=False,
        flip_ratio_bev_horizontal=0.5,
        flip_ratio_bev_vertical=0.5,
    ),
    dict(
        type="LoadSurroundImages",
        size=(96, 256),
        train=True,
        resize=(-0.01, 0.02),
        angle_deg=(-5, 5),
        flip=0.5,
    ),
    dict(type="DepthMaps", stride=8),
    dict(type="PackBranches", keys=["points", "img", "gt_bboxes_3d", "gt_labels_3d"]),
]


@pytest.fixture(scope="module")
def frames():
    np.random.seed(1)
    torch.manual_seed(1)
    with DefaultScope.overwrite_default_scope("mmdet3d"):
        data = DATASETS.build(
            dict(
                type="mmdet3d.NuScenesDataset",
                data_root=str(SAMPLE),
                ann_file="infos/nuscenes_infos_2samples.pkl",
                data_prefix=dict(
                    pts="samples/LIDAR_TOP", **{f"CAM_{s}": f"samples/CAM_{s}" for s in SIDES}
                ),
                metainfo=dict(classes=CLASSES),
                modality=dict(use_lidar=True, use_camera=True),
                pipeline=PIPELINE,
            )
        )
    return [data[i] for i in range(2)]


def test_points_seen_in_the_images_are_lifted_back_to_where_they_were_measured(frames):
    for frame in frames:
        meta, points = frame["data_samples"].metainfo, frame["inputs"]["points"][:, :3].double()
        matrix = meta["lidar_aug_matrix"]
        assert abs(np.linalg.det(matrix[:3, :3])) == pytest.approx(1, abs=0.2)
        raw = transform_points(np.linalg.inv(matrix), points.numpy())
        cameras, filled = Cameras.of([meta]), 0
        for i, lidar2img in enumerate(meta["lidar2img"]):
            seen = transform_points(np.asarray(lidar2img), raw)
            ahead = seen[:, 2] > 2
            depth = seen[ahead, 2:]
            pixels = np.hstack([seen[ahead, :2] / depth, depth])
            pixels = transform_points(meta["img_aug_matrix"][i], pixels)
            frustum = torch.from_numpy(pixels)[None, None]
            lifted = cameras.lift(frustum)[0, i, 0, 0]
            assert (lifted - points[ahead]).abs().max() < 1e-3

            maps = frame["data_samples"].gt_depth_maps[i]
            cells = np.floor((pixels[:, :2] + 0.5) / 8).astype(int)
            inside = ((cells >= 0) & (cells < [32, 12])).all(1)
            nearest = maps[cells[inside, 1], cells[inside, 0]].numpy()
            # But for points within rounding of a cell's border.
            assert (nearest > pixels[inside, 2] + 1e-3).mean() < 0.002
            filled += int((maps > 0).sum())
        assert 0.3 < filled / (6 * 12 * 32) < 0.99


def test_objects_hold_points_after_the_augmentation(frames):
    for frame in frames:
        boxes = frame["data_samples"].gt_instances_3d.bboxes_3d.tensor[:, :7].numpy()
        held = [mask.any() for mask in points_in_boxes(frame["inputs"]["points"].numpy(), boxes)]
        assert np.mean(held) > 0.9


@pytest.mark.parametrize("name", ["bevdet_small_demo", "bevfusion_small_demo"])
def test_a_few_steps_on_them_lower_the_losses(frames, name):
    torch.manual_seed(0)
    detector = build_detector(dict(config=f"kd3d::_base_/models/{name}.py"))
    detector.init_weights()
    detector.train()
    optimizer = torch.optim.AdamW(detector.parameters(), lr=2e-3)
    totals = []
    for _ in range(5):
        batch = detector.data_preprocessor(pseudo_collate(frames), True)
        losses = detector(**batch, mode="loss")
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.7 * totals[0]
    detector.eval()
    with torch.no_grad():
        found = detector.test_step(pseudo_collate(frames))
    assert len(found) == 2
