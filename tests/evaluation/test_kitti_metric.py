import json
import struct

import numpy as np
import pytest
import torch

pytest.importorskip("mmdet3d")

from mmdet3d.structures import (
    Box3DMode,
    CameraInstance3DBoxes,
    Det3DDataSample,
    LiDARInstance3DBoxes,
    points_cam2img,
)
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData

from kd3d.data.kitti_files import Labels, read_calibration, read_label_dir, write_labels
from kd3d.data.kitti_geometry import lidar_boxes
from kd3d.errors import UserError
from kd3d.evaluation.kitti_ap import evaluate_kitti
from kd3d.evaluation.kitti_metric import KittiAP
from kd3d.evaluation.kitti_results import FrameGeometry, lidar_to_camera_boxes, result_rows
from kd3d.evaluation.kitti_selfcheck import labels_as_predictions, self_check
from tests.paths import SHARED, needs_shared

CLASSES = ("Pedestrian", "Cyclist", "Car")  # mmdet3d's order
P2 = np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.2], [0, 0, 1, 0.003]])
VELO = np.array([[0.01, -1, -0.02, -0.01], [0.02, 0.02, -1, -0.08], [1, 0.01, 0.02, -0.27]])
VELO[:, :3] = np.linalg.svd(VELO[:, :3])[0] @ np.linalg.svd(VELO[:, :3])[2]
WIDTH, HEIGHT = 1242, 375


def write_calibration(path):
    lines = {f"P{i}": P2 for i in range(4)} | {"R0_rect": np.eye(3), "Tr_velo_to_cam": VELO}
    path.parent.mkdir(parents=True, exist_ok=True)
    text = [f"{key}: " + " ".join(f"{v:.12e}" for v in m.ravel()) for key, m in lines.items()]
    path.write_text("\n".join(text) + "\n")


def random_labels(rng, count=9):
    """Objects before the camera whose image boxes are exactly their projections."""
    depth = rng.uniform(8, 40, count)
    location = [rng.uniform(-0.5, 0.5, count) * depth, rng.normal(1.6, 0.1, count), depth]
    boxes = np.column_stack(
        [*location, *rng.uniform(1.4, 3.9, (3, count)), rng.uniform(-3.1, 3.1, count)]
    )
    names = np.array(CLASSES, dtype=object)[rng.integers(0, 3, count)]
    geometry = FrameGeometry(np.eye(4), P2, WIDTH, HEIGHT)
    rows = result_rows(boxes.round(2), names, np.full(count, np.nan), geometry)
    rows.truncated, rows.occluded = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
    return rows


@pytest.fixture
def kitti(tmp_path):
    """A folder in KITTI's layout with 12 simulated frames."""
    rng = np.random.default_rng(0)
    for frame in range(12):
        write_labels(tmp_path / "label_2" / f"{frame:06d}.txt", random_labels(rng))
        write_calibration(tmp_path / "calib" / f"{frame:06d}.txt")
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", WIDTH, HEIGHT)
    (tmp_path / "image_2").mkdir()
    for frame in range(12):
        (tmp_path / "image_2" / f"{frame:06d}.png").write_bytes(header)
    return tmp_path


def sample(frame, boxes, names, scores=None, **metainfo):
    """A detector's output for one frame."""
    element = Det3DDataSample(
        metainfo={"sample_idx": 0, "lidar_path": f"velodyne/{int(frame):06d}.bin", **metainfo}
    )
    scores = torch.ones(len(names)) if scores is None else torch.as_tensor(scores)
    element.pred_instances_3d = InstanceData(
        bboxes_3d=boxes,
        scores_3d=scores,
        labels_3d=torch.tensor([CLASSES.index(n) for n in names], dtype=torch.long),
    )
    element.pred_instances = InstanceData()
    return element


def perfect_samples(root, columns=7):
    out = []
    for frame, labels in read_label_dir(root / "label_2").items():
        rows = labels_as_predictions(labels)
        boxes = lidar_boxes(rows, read_calibration(root / "calib" / f"{frame}.txt"))
        boxes = np.column_stack([boxes, np.full((len(boxes), columns - 7), 99.0)])
        tensor = torch.tensor(boxes, dtype=torch.float64)
        out.append(sample(frame, LiDARInstance3DBoxes(tensor, box_dim=columns), rows.name))
    return out


def run(samples, **options):
    evaluator = Evaluator(dict(type="mmdet3d.KittiAP", **options))
    evaluator.dataset_meta = {"classes": CLASSES}
    for start in range(0, len(samples), 5):
        evaluator.process(samples[start : start + 5])
    return evaluator.evaluate(len(samples)), evaluator.metrics[0]


@pytest.mark.parametrize("columns", [7, 9])
def test_labels_through_the_detector_interface_get_full_marks(kitti, columns):
    values, metric = run(perfect_samples(kitti, columns), label_dir=str(kitti / "label_2"))
    expected = self_check(list(read_label_dir(kitti / "label_2").values()))["expected"]
    assert expected["Car"]["AP40"][1] > 60
    for name in CLASSES:
        for key in ("3D", "BEV", "2D"):
            got = [values[f"{name}_{key}_AP40_{d}_strict"] for d in ("easy", "moderate", "hard")]
            np.testing.assert_allclose(got, expected[name]["AP40"], atol=1e-9)
        # alpha and rotation_y are rounded to 2 decimals in the label file
        got = values[f"{name}_AOS_AP40_moderate_strict"]
        assert got == pytest.approx(expected[name]["AP40"][1], abs=0.01)
    mean = np.mean([expected[name]["AP40"][1] for name in CLASSES])
    assert values["mAP_3D_moderate"] == pytest.approx(mean)
    assert set(metric.last_result) == {"Car", "Pedestrian", "Cyclist", "notes", "curves"}


def test_files_written_give_the_same_result_as_the_metric(kitti, tmp_path):
    options = {"prediction_dir": str(tmp_path / "out"), "json_file": str(tmp_path / "ap.json")}
    _, metric = run(perfect_samples(kitti), label_dir=str(kitti / "label_2"), **options)
    written = json.loads((tmp_path / "ap.json").read_text())
    assert written == metric.last_result
    labels = read_label_dir(kitti / "label_2")
    found = read_label_dir(tmp_path / "out", list(labels), scores=True)
    again = evaluate_kitti(list(labels.values()), list(found.values()))
    assert again["Car"]["3D"] == written["Car"]["3D"]
    assert again["Car"]["2D"] == written["Car"]["2D"]


def test_geometry_from_the_sample_and_camera_boxes(kitti):
    samples = perfect_samples(kitti)
    expected, _ = run(samples, label_dir=str(kitti / "label_2"))
    for path in (kitti / "calib").iterdir():
        path.unlink()
    (kitti / "calib").rmdir()
    to_camera = np.vstack([VELO, [0, 0, 0, 1]])
    meta = {"lidar2cam": to_camera.tolist(), "cam2img": P2, "ori_shape": (HEIGHT, WIDTH)}
    for element in samples:
        element.set_metainfo(meta)
    values, _ = run(samples, label_dir=str(kitti / "label_2"))
    assert values == pytest.approx(expected, abs=1e-6)
    for element in samples:
        boxes = element.pred_instances_3d.bboxes_3d.convert_to(
            Box3DMode.CAM, torch.tensor(to_camera).float()
        )
        assert isinstance(boxes, CameraInstance3DBoxes)
        element.pred_instances_3d = InstanceData(
            bboxes_3d=boxes,
            scores_3d=element.pred_instances_3d.scores_3d,
            labels_3d=element.pred_instances_3d.labels_3d,
        )
    values, _ = run(samples, label_dir=str(kitti / "label_2"))
    assert values["Car_3D_AP40_moderate_strict"] == pytest.approx(
        expected["Car_3D_AP40_moderate_strict"]
    )


def test_conversion_and_projection_equal_mmdet3d():
    rng = np.random.default_rng(1)
    boxes = np.column_stack(
        [rng.uniform(9, 60, 50), rng.uniform(-8, 8, 50), rng.normal(-1.7, 0.2, 50),
         rng.uniform(0.5, 5, (3, 50)).T, rng.uniform(-9, 9, 50)]
    )  # fmt: skip
    geometry = FrameGeometry(np.vstack([VELO, [0, 0, 0, 1]]), P2, WIDTH, HEIGHT)
    rows = result_rows(
        lidar_to_camera_boxes(boxes, geometry.lidar_to_camera), ["Car"] * 50, np.ones(50), geometry
    )
    assert len(rows) == 50
    to_camera = torch.tensor(geometry.lidar_to_camera).float()
    peer = LiDARInstance3DBoxes(torch.tensor(boxes)).convert_to(Box3DMode.CAM, to_camera)
    pixels = points_cam2img(peer.corners, torch.tensor(P2).float()).numpy()
    limit = [WIDTH, HEIGHT]
    rectangle = [pixels.min(1).clip(0, limit), pixels.max(1).clip(0, limit)]
    np.testing.assert_allclose(rows.bbox, np.concatenate(rectangle, axis=1), atol=1e-3)
    np.testing.assert_allclose(rows.location, peer.tensor[:, :3].numpy(), atol=1e-5)
    np.testing.assert_allclose(rows.dimensions, boxes[:, [5, 4, 3]])
    turn = rows.rotation_y - peer.yaw.numpy()
    assert np.abs(np.arctan2(np.sin(turn), np.cos(turn))).max() < 1e-5
    view = np.arctan2(rows.location[:, 0], rows.location[:, 2])
    np.testing.assert_allclose(np.cos(rows.alpha), np.cos(rows.rotation_y - view), atol=1e-9)


def test_boxes_outside_the_image_or_behind_are_dropped():
    geometry = FrameGeometry(np.eye(4), P2, WIDTH, HEIGHT)
    boxes = np.array(
        [  # x, y_bottom, z, length, height, width, rotation_y
            [0, 1.6, 20, 4, 1.5, 1.7, 0.3],
            [0, 1.6, -20, 4, 1.5, 1.7, 0.3],  # behind
            [60, 1.6, 20, 4, 1.5, 1.7, 0.3],  # right of the image
            [0, 40, 20, 4, 1.5, 1.7, 0.3],  # below it
            [1.5, 1.6, 1.0, 4, 1.5, 1.7, np.pi / 2],  # reaches behind the camera
        ],
        dtype=np.float64,
    )
    rows = result_rows(boxes, list("abcde"), np.arange(5.0), geometry)
    assert rows.name.tolist() == ["a", "e"]
    assert rows.score.tolist() == [0.0, 4.0]
    left, top, right, bottom = rows.bbox[1]
    assert right == WIDTH
    assert bottom == HEIGHT
    assert left > 600  # the box lies right of the optical axis
    assert (rows.bbox >= 0).all()
    assert top < 200
    assert len(result_rows(boxes[:0], [], np.zeros(0), geometry)) == 0


def test_empty_detections_and_a_subset_of_frames(kitti):
    samples = [sample(f, LiDARInstance3DBoxes(torch.zeros(0, 7)), []) for f in (2, 7)]
    values, metric = run(samples, label_dir=str(kitti / "label_2"))
    assert set(values.values()) == {0.0}
    assert any("no detections" in note for note in metric.last_result["notes"])


def test_bad_input_is_named(kitti):
    good = perfect_samples(kitti)[:1]
    label_dir = str(kitti / "label_2")
    with pytest.raises(UserError, match="no such folder"):
        KittiAP(label_dir=str(kitti / "labels"))
    metric = KittiAP(label_dir=label_dir)
    metric.dataset_meta = {"classes": ("Dog",)}
    with pytest.raises(UserError, match="none is evaluated"):
        metric.process({}, [good[0].to_dict()])
    metric.dataset_meta = {"classes": ("Car", "Cyclst")}
    with pytest.raises(UserError, match="did you mean 'Cyclist'"):
        metric.process({}, [good[0].to_dict()])
    broken = LiDARInstance3DBoxes(torch.full((1, 7), torch.nan))
    with pytest.raises(UserError, match="not finite"):
        run([sample(0, broken, ["Car"])], label_dir=label_dir)
    (kitti / "image_2" / "000000.png").unlink()
    with pytest.raises(UserError, match="image_size"):
        run(good, label_dir=label_dir)
    assert run(good, label_dir=label_dir, image_size=(WIDTH, HEIGHT))[0]["mAP_3D_hard"] > 0
    (kitti / "calib" / "000000.txt").unlink()
    with pytest.raises(UserError, match="file not found"):
        run(good, label_dir=label_dir)


def test_rows_survive_the_trip_between_processes(kitti):
    import pickle

    metric = KittiAP(label_dir=str(kitti / "label_2"))
    metric.dataset_meta = {"classes": CLASSES}
    metric.process({}, [element.to_dict() for element in perfect_samples(kitti)])
    results = pickle.loads(pickle.dumps(metric.results))
    assert isinstance(results[0][1], Labels)
    assert metric.compute_metrics(results) == metric.compute_metrics(metric.results)


@needs_shared
def test_real_frames_round_trip_through_lidar_boxes():
    root = SHARED / "real" / "kitti_frames" / "training"
    values, _ = run(perfect_samples(root), label_dir=str(root / "label_2"))
    expected = self_check(list(read_label_dir(root / "label_2").values()))["expected"]
    for name in CLASSES:
        for metric in ("3D", "BEV"):
            got = values[f"{name}_{metric}_AP40_hard_strict"]
            assert got == pytest.approx(expected[name]["AP40"][2], abs=1e-6)
