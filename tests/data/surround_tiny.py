"""A sample in nuScenes' format: three cameras, a cloud with one small bright object, files."""

import copy

import cv2
import numpy as np
from mmdet3d.registry import TRANSFORMS
from mmdet3d.structures import LiDARInstance3DBoxes, LiDARPoints

from kd3d.models.tiny_bev import rig

SHAPE = (180, 320)  # of the files, height and width
SPOT = (12.0, 7.0, -0.7)  # the object's middle, in the +x, +y quadrant
SIZE = (0.9, 0.7, 0.6)
NAMES = ("CAM_FRONT", "CAM_LEFT", "CAM_RIGHT")


def calibration():
    """The rig of `tiny_bev`, for images of `SHAPE`."""
    known = rig()
    scale = SHAPE[1] / 128
    for matrix in {id(m): m for m in known["cam2img"]}.values():
        matrix[:2, :2] *= scale
        matrix[:2, 2] = (SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2
    return [
        dict(cam2img=k[:3, :3].tolist(), lidar2cam=c.tolist())
        for k, c in zip(known["cam2img"], known["lidar2cam"])
    ]


def pixel(camera, point=SPOT):
    """u, v and depth of a point in the file of a camera."""
    seen = np.array(camera["lidar2cam"]) @ [*point, 1.0]
    u, v, depth = np.array(camera["cam2img"]) @ seen[:3]
    return u / depth, v / depth, depth


def write_images(folder):
    """Write dark images, with a white spot where the object's middle is seen."""
    cameras = {}
    for name, camera in zip(NAMES, calibration()):
        image = np.full((*SHAPE, 3), 20, np.uint8)
        u, v, depth = pixel(camera)
        if depth > 0 and 0 <= u < SHAPE[1] and 0 <= v < SHAPE[0]:
            cv2.circle(image, (round(16 * u), round(16 * v)), 16 * 3, (255,) * 3, -1, shift=4)
        path = folder / f"{name}.png"
        cv2.imwrite(str(path), image)
        cameras[name] = camera | dict(img_path=str(path))
    return cameras


def results_of(cameras, seed=0):
    """Return what a data set hands to a pipeline after loading points and boxes."""
    rng = np.random.default_rng(seed)
    points = np.zeros((60, 5), np.float32)
    points[:, :3] = np.array(SPOT) + (rng.random((60, 3)) - 0.5) * SIZE
    bottom = np.array([[*SPOT[:2], SPOT[2] - SIZE[2] / 2, *SIZE, 0.4, 1.0, 0.5]], np.float32)
    boxes = LiDARInstance3DBoxes(bottom, box_dim=9)
    return dict(
        images=copy.deepcopy(cameras),
        points=LiDARPoints(points, points_dim=5),
        gt_bboxes_3d=boxes,
        gt_labels_3d=np.array([0]),
        ann_info=dict(gt_bboxes_3d=boxes.clone()),
        box_type_3d=LiDARInstance3DBoxes,
        sample_idx=0,
        lidar_points=dict(lidar2ego=[[0, 1, 0, 0.9], [-1, 0, 0, 0], [0, 0, 1, 1.8], [0, 0, 0, 1]]),
    )


def run(results, *transforms):
    """Run a pipeline."""
    for transform in transforms:
        results = TRANSFORMS.build(transform).transform(results)
    return results


PACK = dict(type="PackBranches", keys=["points", "img", "gt_bboxes_3d", "gt_labels_3d"])
