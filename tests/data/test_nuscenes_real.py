"""Real key frames: points in boxes, projection into all six pictures, our pictures of them."""

import json

import numpy as np
import pytest

from kd3d.data.kitti_geometry import points_in_boxes
from kd3d.data.nuscenes_pictures import draw_pictures, info_boxes, lidar_to_image, load_points
from tests.paths import SHARED

FOLDER = SHARED / "real" / "nuscenes_sample"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the real key frames are not here")


@pytest.fixture(scope="module")
def infos():
    return json.loads((FOLDER / "infos" / "nuscenes_infos_2samples.json").read_text())["data_list"]


def test_boxes_hold_the_annotated_points(infos):
    for info, boxes_wanted, equal_wanted in zip(infos, (69, 37), (55, 28)):
        points = load_points(FOLDER, info)
        rows = np.array([entry["bbox_3d"] for entry in info["instances"]])
        assert len(rows) == boxes_wanted
        rows[:, 2] -= rows[:, 5] / 2
        found = [int(mask.sum()) for mask in points_in_boxes(points[:, :3], rows)]
        annotated = [entry["num_lidar_pts"] for entry in info["instances"]]
        assert sum(one == other for one, other in zip(found, annotated)) >= equal_wanted
        assert sum(found) == pytest.approx(sum(annotated), rel=0.02)


def test_points_fall_into_all_six_pictures(infos):
    for info in infos:
        points = load_points(FOLDER, info)
        homogeneous = np.column_stack([points[:, :3], np.ones(len(points))])
        for name, image in info["images"].items():
            pixels = homogeneous @ lidar_to_image(image).T
            front = pixels[:, 2] > 0.5
            u, v = (pixels[front, k] / pixels[front, 2] for k in (0, 1))
            inside = (u >= 0) & (u < 1600) & (v >= 0) & (v < 900)
            assert 2500 < inside.sum() < 5500, name


def test_boxes_of_a_picture_are_the_projected_ones(infos):
    """mmdet3d's 2D boxes of the first sample equal the projection of its LiDAR boxes."""
    info, compared = infos[0], 0
    boxes = info_boxes(info)
    for name, entries in info["cam_instances"].items():
        matrix = lidar_to_image(info["images"][name])
        middles = boxes[:, :3] + [[0, 0, 1]] * boxes[:, 5:6] / 2
        pixels = np.column_stack([middles, np.ones(len(middles))]) @ matrix.T
        centres = pixels[:, :2] / pixels[:, 2:3]
        for entry in entries:
            away = np.linalg.norm(centres - entry["center_2d"], axis=1)
            away[np.abs(pixels[:, 2] - entry["depth"]) > 0.5] = np.inf
            assert away.min() < 2.0
            compared += 1
    assert compared > 40


def test_pictures_of_real_samples(infos, tmp_path):
    from PIL import Image

    paths = draw_pictures(infos[:1], FOLDER, tmp_path, simulated=False, redraw=True)
    assert len(paths) == 2
    for path in paths:
        pixels = np.asarray(Image.open(path))
        assert (pixels.reshape(-1, 3) == 255).all(axis=1).mean() > 0.002  # white box lines
