"""`kd3d certify`: a teacher is measured before anybody learns from it."""

import math

import numpy as np
import pytest
import torch
from mmdet3d.models.detectors import Base3DDetector
from mmdet3d.registry import MODELS
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.structures import InstanceData

from kd3d.data.kitti_files import read_calibration, read_labels
from kd3d.data.kitti_geometry import lidar_boxes
from kd3d.evaluation.old_convention import from_old_convention
from kd3d.fileio import read_json
from kd3d.models.source import build_detector
from kd3d.teachers.certificate import certificate_path, file_sha256
from kd3d.teachers.frozen import Frozen
from tests.engine.tiny import DISTILLED, TEACHER, failure, prepared, run, train, words
from tests.paths import ROOT

CAR = "Car_3D_AP40_moderate_loose"


def many_cars() -> str:
    """One frame with enough cars, turned every way, for an average precision that tells."""
    rows = []
    for i in range(48):
        x, z = -8 + 5 * (i % 4), 8 + 1.0 * (i // 4) * 3
        turn = -math.pi + 0.1 + 2 * math.pi * i / 48
        rows.append(
            f"Car 0.00 0 0.00 500 150 600 210 1.50 1.60 4.00 {x:.2f} 1.60 {z:.2f} {turn:.2f}\n"
        )
    return "".join(rows)


@MODELS.register_module()
class Oracle(Base3DDetector):
    """Predicts a frame's labels, if need be in the convention of mmdet3d before 1.0.

    Args:
        kitti: The data set.
        old: ``"sizes"``: yaw and sizes are old (a head without anchors); ``"yaw"``: only the yaw.
        missed: Cars left out.
    """

    def __init__(self, kitti, old=None, missed=0, data_preprocessor=None):
        super().__init__(data_preprocessor=dict(type="Det3DDataPreprocessor"))
        self.weight = torch.nn.Parameter(torch.zeros(1))
        labels = read_labels(f"{kitti}/training/label_2/000031.txt")
        boxes = lidar_boxes(labels, read_calibration(f"{kitti}/training/calib/000031.txt"))
        boxes = torch.tensor(boxes[: len(boxes) - missed], dtype=torch.float32)
        if old:  # the conversion is its own inverse
            boxes = from_old_convention(LiDARInstance3DBoxes(boxes), old == "sizes").tensor
        self.boxes = boxes

    def extract_feat(self, batch_inputs_dict):
        raise NotImplementedError

    def loss(self, batch_inputs_dict, batch_data_samples):
        raise NotImplementedError

    def _forward(self, batch_inputs_dict, batch_data_samples):
        raise NotImplementedError

    def predict(self, batch_inputs_dict, batch_data_samples):
        for sample in batch_data_samples:
            sample.pred_instances_3d = InstanceData(
                bboxes_3d=LiDARInstance3DBoxes(self.boxes),
                scores_3d=torch.linspace(0.9, 0.5, len(self.boxes)),
                labels_3d=torch.full((len(self.boxes),), 2),
            )
        return batch_data_samples


@pytest.fixture(scope="module")
def kitti(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("certify") / "kitti", {"000031": many_cars()})


@pytest.fixture
def oracle(kitti, tmp_path):
    """Write the oracle's config and weights; return the words of its certification."""

    def make(*options, body="", **arguments):
        config, weights = tmp_path / "oracle.py", tmp_path / "oracle.pth"
        model = dict(_delete_=True, type="Oracle", kitti=str(kitti), **arguments)
        config.write_text(f"_base_ = {str(TEACHER)!r}\nmodel = dict(**{model!r})\n{body}")
        torch.save({"state_dict": {"weight": torch.zeros(1)}}, weights)
        folders = ["--data-root", kitti, "--work-dir", tmp_path / "work"]
        return words("certify", config, weights, *folders, *options, options=[])

    return make


def test_certificate_says_what_was_measured_on_what(oracle, kitti, tmp_path):
    out = run(oracle("--minimum", f"{CAR}=90"))
    assert out.splitlines()[-1] == f"{CAR}: 100.0"
    card = read_json(certificate_path(tmp_path / "oracle.pth"))
    assert card["metrics"][CAR] == pytest.approx(100)
    assert card["sha256"] == file_sha256(tmp_path / "oracle.pth")
    assert card["data"]["ann_sha256"] == file_sha256(kitti / "kitti_infos_val.pkl")
    assert card["data"] | {"frames": 1, "simulated": False, "root": str(kitti)} == card["data"]
    assert card["minimum"] == {CAR: 90}
    assert {"versions", "machine", "command", "seconds", "config", "config_text_sha256"} <= set(
        card
    )
    assert not [name for name in card["metrics"] if "old" in name]


@pytest.mark.parametrize("old, change", [("sizes", "length <-> width"), ("yaw", "yaw -> -yaw")])
def test_boxes_from_before_1_0_are_recognised_by_measurement(oracle, tmp_path, old, change):
    line = failure(oracle(old=old))
    assert "these weights are from before 1.0" in line
    assert change in line
    assert not certificate_path(tmp_path / "oracle.pth").exists()


def test_teacher_below_its_minimum_gets_no_certificate(oracle, tmp_path):
    line = failure(oracle("--minimum", f"{CAR}=90", missed=30))
    assert f"{CAR} = " in line
    assert "below the stated minimum 90" in line
    assert not certificate_path(tmp_path / "oracle.pth").exists()
    assert "did you mean" in failure(oracle("--minimum", "Car_3D_AP40_moderate_lose=1"))
    assert "'x' is not metric=number" in failure(oracle("--minimum", "x"))
    run(oracle(missed=30))


@pytest.mark.parametrize(
    "body, message",
    [
        (
            "test_evaluator = dict(_delete_=True, type='KittiMetric', ann_file='a')",
            "type='KittiAP'",
        ),
        ("test_evaluator = None", "no test_evaluator"),
        ("test_dataloader = None", "no test_dataloader"),
    ],
)
def test_config_that_cannot_measure_says_what_is_missing(oracle, body, message):
    assert message in failure(oracle(body=body))


def test_training_refuses_a_teacher_that_nobody_measured(kitti, tmp_path):
    weights = tmp_path / "teacher.pth"
    model = build_detector(dict(config="kd3d::demo/teacher.py"))
    torch.save({"state_dict": model.state_dict()}, weights)
    listed = train(kitti, tmp_path / "distilled", config=DISTILLED)
    distil = [*listed, "--cfg-options", f"model.teachers.teacher.checkpoint={weights}"]
    command = f"kd3d certify kd3d::demo/teacher.py {weights}"
    line = failure(distil)
    assert "no certificate" in line
    assert command in line
    assert not list((tmp_path / "distilled").rglob("*.pth"))
    folders = ["--data-root", str(kitti), "--work-dir", str(tmp_path / "certify")]
    run([*command.split()[1:], *folders])
    assert Frozen(str(weights), config="kd3d::demo/teacher.py").model
    model.init_weights()
    torch.save({"state_dict": model.state_dict()}, weights)
    line = failure(distil)
    assert "other weights" in line
    assert command in line


def test_old_boxes_in_new_terms():
    """A car 4 m long that heads along +x: before 1.0 sizes (w, l, h) and yaw -pi/2."""
    old = LiDARInstance3DBoxes(torch.tensor([[1.0, 2, 3, 1.6, 4.0, 1.5, -math.pi / 2]]))
    new = from_old_convention(old, swap_sizes=True).tensor.numpy()
    np.testing.assert_allclose(new, [[1, 2, 3, 4.0, 1.6, 1.5, 0]], atol=1e-6)
    assert from_old_convention(old, swap_sizes=False).tensor[0, 3] == pytest.approx(1.6)
    assert old.tensor[0, 6] == pytest.approx(-math.pi / 2)


def test_every_teacher_config_can_be_certified():
    """The command that a refusal names leads to a config with an evaluator of ours."""
    from kd3d.engine.certify import device_evaluators
    from kd3d.engine.register import register_all
    from kd3d.engine.runner import load_config

    register_all()
    for path in [*(ROOT / "configs/teachers").glob("*.py"), TEACHER]:
        ours = "NuScenesAP" if "_nus" in path.stem else "KittiAP"
        assert device_evaluators(load_config(path))[0]["type"] == ours
