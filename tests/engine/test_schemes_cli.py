"""Mutual learning and self-distillation through the command line."""

import pytest
import torch

from kd3d.models.source import build_detector, load_weights
from tests.engine.tiny import DISTILLED, ONE_STEP, failure, prepared, run, words


@pytest.fixture(scope="module")
def kitti(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("kitti"))


def trained(kitti, folder, teacher):
    """Train the demo's student with another teacher and return the config's path."""
    config = folder / "config.py"
    model = f"model = dict(teachers=dict(teacher=dict(_delete_=True, {teacher})))"
    config.write_text(f"_base_ = {str(DISTILLED)!r}\n{model}\n")
    folders = ("--work-dir", folder, "--data-root", kitti)
    run(words("train", config, *folders, options=ONE_STEP))
    return config


def test_each_peer_is_a_student_with_its_own_checkpoint(kitti, tmp_path):
    config = trained(kitti, tmp_path, "type='Online', config='kd3d::demo/teacher.py'")
    for name in ("student", "teacher"):
        stock = str(tmp_path / f"{name}_config.py")
        load_weights(build_detector(dict(config=stock)), tmp_path / f"{name}.pth")
    test = ("--work-dir", tmp_path / "t", "--data-root", kitti, "--model")
    peer = tmp_path / "teacher.pth"
    assert "Car_3D" in run(words("test", config, peer, *test, "teacher", options=[]))
    line = failure(words("test", config, peer, *test, "student", options=[]))
    assert "another architecture" in line
    line = failure(words("test", config, peer, *test, "teecher", options=[]))
    assert "no trained model 'teecher'" in line
    assert "'teacher'" in line


def test_the_moving_average_is_exported(kitti, tmp_path):
    trained(kitti, tmp_path, "type='EMA'")
    mean, student = (
        torch.load(tmp_path / f"{name}.pth", weights_only=True)["state_dict"]
        for name in ("teacher", "student")
    )
    assert set(mean) == set(student)
    assert any(not torch.equal(mean[k], v) for k, v in student.items())
