"""Small stock mmdet3d detectors and batches for tests."""

import copy

import torch
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.structures import InstanceData

from kd3d.models.source import resolve_detector

RANGE = [0.0, -6.4, -3.0, 19.2, 6.4, 1.0]  # 48 x 32 pillars of 0.4 m: not square on purpose
POINTPILLARS = "mmdet3d::pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py"
POINTRCNN = "mmdet3d::point_rcnn/point-rcnn_8xb2_kitti-3d-3class.py"


def centerpoint(width=0.25, depth=0.34, voxel_m=0.4):
    columns, rows = round(19.2 / voxel_m), round(12.8 / voxel_m)
    size = [voxel_m, voxel_m, 4]
    override = dict(
        data_preprocessor=dict(voxel_layer=dict(point_cloud_range=RANGE, voxel_size=size)),
        pts_voxel_encoder=dict(voxel_size=size, point_cloud_range=RANGE),
        pts_middle_encoder=dict(output_shape=(rows, columns)),
        pts_bbox_head=dict(bbox_coder=dict(pc_range=RANGE[:2], voxel_size=size[:2])),
        train_cfg=dict(
            pts=dict(point_cloud_range=RANGE, grid_size=[columns, rows, 1], voxel_size=size)
        ),
        test_cfg=dict(pts=dict(pc_range=RANGE[:2], voxel_size=size[:2])),
    )
    config = "kd3d::_base_/models/centerpoint_pillar04_demo.py"
    return resolve_detector(
        dict(config=config, override=override, shrink=dict(width=width, depth=depth))
    )


def pointpillars(width=0.25, depth=0.34):
    size = [0.4, 0.4, 4]
    ranges = [[RANGE[0], RANGE[1], z, RANGE[3], RANGE[4], z] for z in (-0.6, -0.6, -1.78)]
    override = dict(
        data_preprocessor=dict(voxel_layer=dict(point_cloud_range=RANGE, voxel_size=size)),
        voxel_encoder=dict(voxel_size=size, point_cloud_range=RANGE),
        middle_encoder=dict(output_shape=[32, 48]),
        bbox_head=dict(anchor_generator=dict(ranges=ranges)),
    )
    return resolve_detector(
        dict(config=POINTPILLARS, override=override, shrink=dict(width=width, depth=depth))
    )


def pointrcnn(width=0.125, points=(64, 32, 16, 8), rois=8):
    override = dict(
        backbone=dict(num_points=points, num_samples=((4, 8),) * 4),
        roi_head=dict(
            bbox_roi_extractor=dict(roi_layer=dict(num_sampled_points=32)),
            bbox_head=dict(num_points=(16, 8, -1), num_samples=(4, 4, 4)),
        ),
        train_cfg=dict(rcnn=dict(sampler=dict(num=rois))),
        test_cfg=dict(rpn=dict(nms_cfg=dict(nms_pre=64, nms_post=rois))),
    )
    return resolve_detector(dict(config=POINTRCNN, override=override, shrink=dict(width=width)))


FAMILIES = {"centerpoint": centerpoint, "pointpillars": pointpillars}  # with a bird's-eye view
ALL_FAMILIES = FAMILIES | {"pointrcnn": pointrcnn}


def batch(samples=2, seed=0, box_dim=9, boxes=3):
    """A raw collated batch: clouds with dense boxes inside RANGE."""
    generator = torch.Generator().manual_seed(seed)
    clouds, annotated = [], []
    low, high = torch.tensor(RANGE[:3] + [0.0]), torch.tensor(RANGE[3:] + [1.0])
    for _ in range(samples):
        cloud = low + torch.rand((600, 4), generator=generator) * (high - low)
        centre = (
            low[:3] + (0.2 + 0.6 * torch.rand((boxes, 3), generator=generator)) * (high - low)[:3]
        )
        size = torch.tensor([3.9, 1.6, 1.5]).expand(boxes, 3)
        yaw = torch.rand((boxes, 1), generator=generator) * 3
        tensor = torch.cat([centre, size, yaw, torch.zeros(boxes, 2)], 1)[:, :box_dim]
        for box in tensor:
            cloud = torch.cat(
                [
                    cloud,
                    torch.cat(
                        [
                            box[:3] + 0.8 * torch.randn((40, 3), generator=generator),
                            torch.rand((40, 1), generator=generator),
                        ],
                        1,
                    ),
                ]
            )
        truth = InstanceData(
            bboxes_3d=LiDARInstance3DBoxes(tensor, box_dim=box_dim),
            labels_3d=torch.arange(boxes) % 3,
        )
        sample = Det3DDataSample(
            metainfo=dict(box_type_3d=LiDARInstance3DBoxes, sample_idx=len(clouds))
        )
        sample.gt_instances_3d = truth
        clouds.append(cloud)
        annotated.append(sample)
    return {"inputs": {"points": clouds}, "data_samples": annotated}


def loss(model, data, train=True):
    """Preprocess as in training and return the dict of losses."""
    model.train(train)
    data = model.data_preprocessor(copy.deepcopy(data), True)
    return model(**data, mode="loss")


def total(losses):
    """Sum what mmengine's parse_losses would sum."""
    value = 0.0
    for key, item in losses.items():
        if "loss" in key:
            value = value + (sum(i.mean() for i in item) if isinstance(item, list) else item.mean())
    return value
