"""Models that see other things than the student: images, both, another cloud."""

import copy

import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS
from mmdet3d.structures import Box3DMode
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate

from kd3d.core.distiller import Distiller
from kd3d.core.probe import bev_grid, inputs_of, made_up
from kd3d.core.run import run_heads
from kd3d.core.taps import TapSet
from kd3d.engine.register import register_all
from kd3d.engine.runner import load_config
from kd3d.errors import UserError
from kd3d.models.source import build_detector, resolve_detector
from tests import toy
from tests.engine.tiny import TEACHER, prepared

register_all()
PICTURE = (96, 320)  # height and width in pixels
IMAGE_BRANCH = dict(
    backbone=dict(
        type="mmdet.ResNet",
        depth=18,
        base_channels=8,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type="BN"),
        style="pytorch",
    ),
    neck=dict(type="mmdet.FPN", in_channels=[8, 16, 32, 64], out_channels=8, num_outs=4),
)
NORMALISE = dict(mean=[120.0, 115.0, 100.0], std=[58.0, 57.0, 57.0], pad_size_divisor=32)


def fusion():
    """MVXFasterRCNN on hard voxels, with image features at every point (PointFusion)."""
    pillars = toy.pointpillars()
    size = [0.4, 0.4, 4]
    head = pillars["bbox_head"]
    cut = {name: {"pts": copy.deepcopy(pillars[name])} for name in ("train_cfg", "test_cfg")}
    return dict(
        type="MVXFasterRCNN",
        data_preprocessor=pillars["data_preprocessor"] | NORMALISE,
        img_backbone=copy.deepcopy(IMAGE_BRANCH["backbone"]),
        img_neck=copy.deepcopy(IMAGE_BRANCH["neck"]),
        pts_voxel_encoder=dict(
            type="HardVFE",
            in_channels=4,
            feat_channels=[16, 16],
            with_cluster_center=True,
            with_voxel_center=True,
            voxel_size=size,
            point_cloud_range=toy.RANGE,
            fusion_layer=dict(
                type="PointFusion",
                img_channels=8,
                pts_channels=16,
                mid_channels=8,
                out_channels=pillars["middle_encoder"]["in_channels"],
                img_levels=[0, 1, 2, 3],
                align_corners=False,
            ),
        ),
        pts_middle_encoder=pillars["middle_encoder"],
        pts_backbone=pillars["backbone"],
        pts_neck=pillars["neck"],
        pts_bbox_head=head,
        **cut,
    )


def camera():
    """ImVoxelNet: image features lifted into a volume over the LiDAR detectors' range."""
    return resolve_detector(
        dict(
            config="mmdet3d::imvoxelnet/imvoxelnet_8xb4_kitti-3d-car.py",
            override=dict(
                backbone=dict(IMAGE_BRANCH["backbone"], _delete_=True),
                neck=dict(IMAGE_BRANCH["neck"], _delete_=True),
                neck_3d=dict(in_channels=8, out_channels=16),
                bbox_head=dict(
                    in_channels=16,
                    feat_channels=16,
                    num_classes=3,
                    anchor_generator=dict(ranges=[[0, -6.4, -1.78, 19.2, 6.4, -1.78]]),
                ),
                n_voxels=[48, 32, 12],
                prior_generator=dict(ranges=[[0, -6.4, -3.08, 19.2, 6.4, 0.76]]),
            ),
        )
    )


def monocular():
    """FCOS3D with a small backbone: an image detector without a bird's-eye view."""
    return resolve_detector(
        dict(
            config="mmdet3d::fcos3d/fcos3d_r101-caffe-dcn_fpn_head-gn_8xb2-1x_nus-mono3d.py",
            override=dict(
                backbone=dict(IMAGE_BRANCH["backbone"], _delete_=True),
                neck=dict(IMAGE_BRANCH["neck"], start_level=0, _delete_=True),
                bbox_head=dict(in_channels=8, feat_channels=32, strides=[4, 8, 16, 32]),
            ),
        )
    )


def scene(seed=0, **options):
    """toy.batch with an image and calibration a sample."""
    data = toy.batch(seed=seed, box_dim=7, **options)
    generator = torch.Generator().manual_seed(seed)
    meta = made_up(build_detector(camera()))["data_samples"][0].metainfo
    data["inputs"]["img"] = []
    for sample in data["data_samples"]:
        data["inputs"]["img"].append(255 * torch.rand((3, *PICTURE), generator=generator))
        sample.set_metainfo({**meta, "box_mode_3d": Box3DMode.LIDAR})
    return data


def frozen(model):
    return dict(teacher=dict(type="Frozen", checkpoint=None, model=model))


def term(student, teacher, **options):
    return [dict(name="t", student=f"student:{student}", teacher=f"teacher:{teacher}", **options)]


def kd_gradient(model, data):
    """Train one step on the term alone; return its value and the names with a gradient."""
    model.init_weights()
    losses = toy.loss(model, data)
    assert all(torch.isfinite(v).all() for v in losses.values() if isinstance(v, torch.Tensor))
    losses["kd.t.loss"].backward()
    named = dict(model.named_parameters())
    return losses, {n for n, p in named.items() if p.grad is not None and p.grad.abs().sum() > 0}


@pytest.mark.parametrize(
    "make, reads",
    [
        (toy.centerpoint, ("points",)),
        (toy.pointpillars, ("points",)),
        (fusion, ("points", "img")),
        (camera, ("img",)),
        (monocular, ("img",)),
    ],
)
def test_each_detector_reads_its_own_inputs_and_runs_to_its_head(make, reads):
    model = build_detector(make()).eval()
    assert inputs_of(model) == reads
    batch = model.data_preprocessor(made_up(model), False)
    with torch.no_grad():
        head = run_heads(model, batch["inputs"], batch["data_samples"])
    assert len(head) >= 1
    state = torch.get_rng_state()
    made_up(model)
    assert torch.equal(state, torch.get_rng_state())


def test_camera_volume_lies_where_the_lidar_grid_lies():
    lidar, image = build_detector(toy.pointpillars()), build_detector(camera())
    assert bev_grid(lidar) == bev_grid(image) == ((0.0, -6.4, 19.2, 6.4), (32, 48))
    assert bev_grid(build_detector(monocular())) is None


def test_fusion_teacher_of_a_lidar_student():
    model = Distiller(toy.pointpillars(), frozen(fusion()), terms=term("bev", "bev"))
    spec = model.terms["t"].spec
    assert spec.is_bev
    data = scene()
    batch = model.data_preprocessor(copy.deepcopy(data), True)
    assert "imgs" not in batch["inputs"]["student"]
    assert {"imgs", "voxels"} <= set(batch["inputs"]["teacher"])
    losses, reached = kd_gradient(model, data)
    assert losses["kd.t.loss"] > 0
    assert any(name.startswith("student.voxel_encoder") for name in reached)
    changed = copy.deepcopy(data)
    changed["inputs"]["img"] = [255 - image for image in changed["inputs"]["img"]]
    assert toy.loss(model, changed)["kd.t.loss"] != toy.loss(model, data)["kd.t.loss"]


def test_fusion_teacher_sees_the_image_through_the_augmentation():
    """Points and boxes flipped and turned, image as it was: the same pixels reach each point."""
    model = build_detector(fusion()).eval()
    fused = TapSet(model, ["pts_voxel_encoder.fusion_layer.img_transform"])
    data = scene(samples=1)

    def image_part(points, record):
        moved = copy.deepcopy(data)
        moved["inputs"]["points"] = [points]
        moved["data_samples"][0].set_metainfo(record)
        batch = model.data_preprocessor(moved, False)
        fused.arm()
        with torch.no_grad():
            run_heads(model, batch["inputs"], batch["data_samples"])
        return fused.pop()["pts_voxel_encoder.fusion_layer.img_transform"]

    points = data["inputs"]["points"][0]
    points = points[(points[:, 0] > 9) & (points[:, 0] < 12) & (points[:, 1].abs() < 2)]
    cos, sin = np.cos(0.2), np.sin(0.2)
    turn = torch.tensor([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], dtype=torch.float32)
    turned = points.clone()
    turned[:, 1] *= -1
    turned[:, :3] = turned[:, :3] @ turn
    record = dict(
        transformation_3d_flow=["HF", "R", "S", "T"],
        pcd_horizontal_flip=True,
        pcd_vertical_flip=False,
        pcd_rotation=turn,
        pcd_scale_factor=1.0,
        pcd_trans=np.zeros(3),
    )
    first, second = image_part(points, {}), image_part(turned, record)
    assert len(first) == len(second) > 20  # rows come in another order of voxels
    keys = [(rows - rows.mean(0)).double().sum(1).sort().values for rows in (first, second)]
    torch.testing.assert_close(*keys, atol=1e-3, rtol=1e-3)
    blind = image_part(turned, {})
    assert not torch.allclose(
        (blind - blind.mean(0)).double().sum(1).sort().values, keys[0], atol=1e-2
    )


def test_lidar_teacher_of_a_camera_student():
    model = Distiller(
        camera(),
        frozen(toy.pointpillars()),
        terms=term("neck_3d.0", "bev", mask=dict(type="box")),
    )
    data = scene()
    batch = model.data_preprocessor(copy.deepcopy(data), True)
    assert set(batch["inputs"]["student"]) == {"imgs"}
    assert "imgs" not in batch["inputs"]["teacher"]
    losses, reached = kd_gradient(model, data)
    assert losses["kd.t.loss"] > 0
    assert any(name.startswith("student.backbone") for name in reached)
    model.eval()
    with torch.no_grad():
        found = model(**model.data_preprocessor(data, False), mode="predict")
    assert torch.isfinite(found[0].pred_instances_3d.bboxes_3d.tensor).all()


def test_image_features_have_no_metric_extent():
    model = Distiller(camera(), frozen(fusion()), terms=term("neck.0", "image"))
    assert not model.terms["t"].spec.is_bev
    losses, reached = kd_gradient(model, scene())
    assert losses["kd.t.loss"] > 0
    assert any(name.startswith("student.backbone") for name in reached)
    with pytest.raises(UserError, match="box mask needs a BEV map"):
        Distiller(camera(), frozen(fusion()), terms=term("neck.0", "image", mask=dict(type="box")))


def test_teacher_of_another_cloud():
    branches = dict(teacher=dict(points="points_dense"))
    model = Distiller(
        toy.pointpillars(), frozen(fusion()), terms=term("bev", "bev"), branches=branches
    )
    data = scene()
    data["inputs"]["points_dense"] = data["inputs"]["points"]
    data["inputs"]["points"] = [cloud[::3] for cloud in data["inputs"]["points"]]
    batch = model.data_preprocessor(copy.deepcopy(data), True)["inputs"]
    assert set(batch["student"]) == {"points", "voxels"}
    assert set(batch["teacher"]) == {"points", "voxels", "imgs"}
    for i, cloud in enumerate(data["inputs"]["points_dense"]):
        assert torch.equal(batch["teacher"]["points"][i], cloud)
        assert len(batch["student"]["points"][i]) < len(cloud)
    assert kd_gradient(model, data)[0]["kd.t.loss"] > 0
    with pytest.raises(UserError, match=r"branch teacher: .* no input 'points_dense'.*Pack"):
        model.data_preprocessor(scene(), True)


@pytest.mark.parametrize(
    "branches, message",
    [
        (dict(teacer=dict(points="points_dense")), "did you mean 'teacher'"),
        (dict(teacher=dict(image="img_large")), "reads no input 'image'"),
        (dict(student=dict(img="img")), "reads no input 'img'"),
    ],
)
def test_mistakes_in_branches_are_named(branches, message):
    with pytest.raises(UserError, match=message):
        Distiller(
            toy.pointpillars(),
            frozen(toy.centerpoint()),
            terms=term("bev", "bev"),
            branches=ConfigDict(branches),
        )


def test_from_files_to_the_losses_of_three_kinds_of_models(tmp_path):
    """KITTI's image and cloud, resized, flipped, turned; a dense cloud for the teachers."""
    kitti = prepared(tmp_path / "kitti")
    config = load_config(TEACHER, data_root=kitti)
    data = config.train_dataloader.dataset
    data.data_prefix = dict(pts="training/velodyne_reduced", img="training/image_2")
    data.modality = dict(use_lidar=True, use_camera=True)
    data.indices = [0, 2]  # with cars
    within = dict(type="PointsRangeFilter", point_cloud_range=toy.RANGE)
    data.pipeline = [
        dict(type="LoadKittiPoints"),
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations3D", with_bbox_3d=True, with_label_3d=True),
        dict(type="Resize", scale=(400, 120), keep_ratio=True),
        dict(type="RandomFlip3D", flip_ratio_bev_horizontal=1.0),
        dict(type="GlobalRotScaleTrans", rot_range=[0.1, 0.2], scale_ratio_range=[1.02, 1.05]),
        dict(type="ObjectRangeFilter", point_cloud_range=toy.RANGE),
        dict(type="SplitPoints", key="points_dense", transforms=[within]),
        dict(type="ThinBeams", beams=32, beam_ratio=2),
        within,
        dict(
            type="PackBranches",
            keys=["points", "points_dense", "img", "gt_bboxes_3d", "gt_labels_3d"],
        ),
    ]
    with DATASETS.switch_scope_and_registry("mmdet3d") as registry:
        dataset = registry.build(data)
    batch = pseudo_collate([dataset[i] for i in range(2)])
    dense = dict(teacher=dict(points="points_dense"))
    for student, teacher, tap in (
        (toy.pointpillars(), fusion(), "bev"),
        (camera(), toy.pointpillars(), "neck_3d.0"),
        (fusion(), toy.pointpillars(), "bev"),
    ):
        model = Distiller(student, frozen(teacher), terms=term(tap, "bev"), branches=dense)
        losses, reached = kd_gradient(model, batch)
        assert losses["kd.t.loss"] > 0
        assert reached
