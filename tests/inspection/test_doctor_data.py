"""`kd3d doctor --data`: sound data pass, and each mismatch is found and named."""

import json

import pytest
import torch
from mmengine.config import Config
from typer.testing import CliRunner

from kd3d.cli.main import build_app
from kd3d.doctor import FAIL, OK, WARN
from kd3d.engine.runner import load_config
from kd3d.inspection.box_checks import (
    check_anchors,
    check_points,
    check_range,
    inside,
    size_overlap,
)
from kd3d.inspection.data import examine_data
from kd3d.inspection.perfect import check_perfect
from kd3d.inspection.raw_data import RawFrame
from kd3d.models.source import build_detector
from kd3d.models.tiny import FAMILIES
from tests.configs.tiny_detectors import make_tiny
from tests.engine.tiny import DISTILLED, failure, prepared

CLASSES = ["Pedestrian", "Cyclist", "Car"]
CAR = [10.0, 0.0, -1.78, 3.9, 1.6, 1.56, 0.4]


@pytest.fixture(scope="module")
def kitti(tmp_path_factory):
    """Twelve cars in the frame for validation: with one, KITTI's AP40 is 0."""
    places = [(-6 + 4 * (i % 4), 10 + 5 * (i // 4)) for i in range(12)]
    line = "Car 0.00 0 -1.50 550 160 640 220 1.50 1.60 4.00 {:.2f} 1.60 {:.2f} -1.40\n"
    cars = "".join(line.format(x, z) for x, z in places)
    return prepared(tmp_path_factory.mktemp("doctor") / "kitti", {"000031": cars})


@pytest.fixture
def pair(kitti, tmp_path):
    config = load_config(DISTILLED, ["train_dataloader.batch_size=2"], None, kitti)
    make_tiny(config.model, tmp_path)
    return config


def frame(*boxes, points=None):
    return RawFrame(torch.tensor(boxes), torch.full((len(boxes),), 2), points)


def moved(**changes):
    box = dict(zip(("x", "y", "z", "dx", "dy", "dz", "yaw"), CAR)) | changes
    return list(box.values())


def test_range_points_and_sizes():
    model = build_detector(FAMILIES["pointpillars"]())  # x 0..19.2, y -6.4..6.4, z -3..1
    three = torch.tensor([CAR, moved(x=19.3), moved(z=0.5)])
    assert inside(three, [0, -6, -3, 19, 6, 1]).tolist() == [True, False, False]
    assert check_range([frame(CAR)], model, CLASSES).status == OK
    far = check_range([frame(CAR, moved(x=30.0), moved(x=31.0))], model, CLASSES)
    assert far.status == FAIL
    assert far.detail.startswith("Car 33% of 3 in x 0..19.2, y -6.4..6.4, z -3..1 m")
    assert "x 10.0..31.0" in far.fix
    lidar = torch.tensor([[10.0, 0.0, -1.0], [10.5, 0.2, -1.2], [0.0, 0.0, 0.0]])
    full = check_points([frame(CAR, points=lidar)], CLASSES)
    assert (full.status, full.detail) == (OK, "Car median 2, none in 0%")
    empty = check_points([frame(CAR, points=lidar - 5)], CLASSES)
    assert empty.status == FAIL
    overlap = size_overlap(torch.tensor([CAR, moved(dx=1.95)]), torch.tensor([3.9, 1.6, 1.56]))
    assert overlap.tolist() == pytest.approx([1.0, 0.5])


def test_anchors():
    config = FAMILIES["pointpillars"]()
    model = build_detector(config)
    good = check_anchors([frame(CAR)], model, config, CLASSES)
    assert good.status == OK
    assert "Car 3.90 x 1.60 x 1.56 m against a median of 3.90 x 1.60 x 1.56 m, 100%" in good.detail
    assert check_anchors([frame(moved(dx=9.0))], model, config, CLASSES).status == FAIL
    high = check_anchors([frame(moved(z=1.5))], model, config, CLASSES)
    assert high.status == WARN
    assert "bottoms +3.3 m" in high.detail
    centre = build_detector(FAMILIES["centerpoint"]())
    assert check_anchors([frame(CAR)], centre, {}, CLASSES).detail == "the head has no anchors"


def test_a_config_whose_data_fit(pair):
    found = {verdict.layer: verdict for verdict in examine_data(pair)}
    assert [v for v in found.values() if v.status == FAIL] == []
    assert found["labels as predictions"].status == OK
    assert "all that labels can give" in found["labels as predictions"].detail
    assert found["points a box"].status == WARN
    assert found["points a box"].detail.startswith("Cyclist median 0, none in 100%")
    assert found["student: boxes in range"].detail.startswith("Cyclist 100%")
    assert "in two batches of" in found["cells of bev"].detail
    assert found["cells of response"].detail.startswith("no mask of labels")


def test_labels_in_another_convention_are_found(pair, monkeypatch):
    from mmdet3d.structures import LiDARInstance3DBoxes

    from kd3d.inspection import perfect

    built = perfect.raw_dataset

    def turned(*arguments):
        dataset = built(*arguments)
        plain = dataset.get_data_info

        def info(index):
            found = plain(index)
            boxes = found["ann_info"]["gt_bboxes_3d"].tensor.clone()
            boxes[:, 6] += 1.5708
            found["ann_info"]["gt_bboxes_3d"] = LiDARInstance3DBoxes(boxes)
            return found

        dataset.get_data_info = info
        return dataset

    monkeypatch.setattr(perfect, "raw_dataset", turned)
    verdict = perfect.check_perfect(pair)
    assert verdict.status == FAIL
    assert "Car_3D_AP40" in verdict.detail
    monkeypatch.setattr(perfect, "_kitti_wanted", lambda *_: {})
    assert perfect.check_perfect(pair).detail == "too few labels in 1 frames for KITTI's AP"


def test_the_command(pair, kitti, tmp_path):
    path = tmp_path / "pair.py"
    pair.dump(path)
    done = CliRunner().invoke(build_app(), ["doctor", "--data", str(path), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["healthy"] is True
    far = ["model.student.model.data_preprocessor.voxel_layer.point_cloud_range="
           "[100,-12.8,-3,151.2,12.8,1]"]  # fmt: skip
    done = CliRunner().invoke(
        build_app(), ["doctor", "--data", str(path), "--frames", "1", "--cfg-options", *far]
    )
    assert done.exit_code == 1
    assert "fail  student: boxes in range" in done.stdout
    assert "fail  cells of the masks" in done.stdout
    assert "no config is given" in failure(["doctor", "--data-root", kitti])


def test_labels_of_drives_score_in_full():
    """By the devkit, on simulated nuScenes, in any order of the classes."""
    pytest.importorskip("open3d")
    from tests import nuscenes_tiny as tiny

    root = str(tiny.simulated())
    infos = str(tiny.prepared() / "nuscenes_infos_val.pkl")
    dataset = dict(
        type="NuScenesDataset", data_root=root, ann_file=infos, box_type_3d="LiDAR",
        data_prefix=dict(pts="samples/LIDAR_TOP", sweeps="sweeps/LIDAR_TOP"),
        pipeline=[dict(type="LoadPointsFromFile", coord_type="LIDAR", load_dim=5, use_dim=5)],
    )  # fmt: skip
    evaluator = dict(type="NuScenesAP", data_root=root, ann_file=infos)
    config = Config(dict(test_dataloader=dict(dataset=dataset), test_evaluator=evaluator))
    verdict = check_perfect(config)
    assert verdict.status == OK, verdict
    assert "car_AP 1 of 1" in verdict.detail
    names = ("truck", "car", "trailer", "bus", "construction_vehicle")
    config.test_dataloader.dataset.metainfo = dict(classes=names)
    assert check_perfect(config).status == OK  # classes are matched by name
