"""Bad data end in one clear line, with nothing half-written."""

import numpy as np
import pytest

from tests.data.kitti_tiny import CAR, make_kitti
from tests.engine.tiny import TEACHER, failure, prepared, run, train, words


@pytest.fixture
def kitti(tmp_path):
    return prepared(tmp_path / "kitti")


def cloud(kitti, frame="000003"):
    return kitti / f"training/velodyne_reduced/{frame}.bin"


BROKEN_CLOUDS = {
    "file not found": lambda path: path.unlink(),
    "the file is empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "NaN": lambda path: np.full(40, np.nan, "<f4").tofile(path),
    "no point of this frame": lambda path: np.full(40, -500, "<f4").tofile(path),
}


@pytest.mark.parametrize("message", BROKEN_CLOUDS)
def test_broken_clouds_stop_the_training(kitti, tmp_path, message):
    for frame in ("000003", "000025"):
        BROKEN_CLOUDS[message](cloud(kitti, frame))
    line = failure(train(kitti, tmp_path / "work"))
    assert message in line
    assert "velodyne_reduced/0000" in line
    assert not list((tmp_path / "work").glob("*.pth"))


def test_error_in_a_worker_process_is_one_line_too(kitti, tmp_path):
    for frame in ("000003", "000025"):
        cloud(kitti, frame).write_bytes(b"12345")
    line = failure(train(kitti, tmp_path / "work", "train_dataloader.num_workers=1"))
    assert line.startswith(str(kitti))
    assert line.endswith("5 bytes is not a multiple of 16 (truncated?) -> copy it again")


BROKEN_FILES = {
    "14 columns": ("label_2", lambda text: CAR.rsplit(" ", 1)[0] + "\n"),
    "unknown type 'Carr' -> did you mean 'Car'": (
        "label_2",
        lambda text: CAR.replace("Car", "Carr"),
    ),
    "no P2": ("calib", lambda text: text.replace("P2:", "P9:")),
    "copy it again": ("velodyne", lambda text: text[:-3]),
}


@pytest.mark.parametrize("message", BROKEN_FILES)
def test_broken_source_files_stop_the_preparation(tmp_path, message):
    root = make_kitti(tmp_path / "kitti")
    folder, change = BROKEN_FILES[message]
    path = next(root.glob(f"training/{folder}/000003.*"))
    path.write_bytes(change(path.read_bytes().decode("latin-1")).encode("latin-1"))
    line = failure(["prepare", "kitti", "--root", root])
    assert message in line
    assert path.name in line
    assert not list(root.glob("*.pkl"))


def test_data_that_were_never_prepared_are_named(tmp_path):
    root = make_kitti(tmp_path / "kitti")
    line = failure(train(root, tmp_path / "work"))
    assert "kitti_infos_train.pkl" in line
    assert "kd3d prepare kitti" in line


def test_frames_without_objects_work(tmp_path):
    """In training, and throughout the test."""
    kitti = prepared(tmp_path / "kitti", {"000031": ""})
    only_empty = ["train_dataloader.dataset.filter_empty_gt=False"]
    only_empty += ["train_dataloader.dataset.indices=[1]"]
    assert run(train(kitti, tmp_path / "work", *only_empty)).strip().endswith("student.pth")
    weights = tmp_path / "work/student.pth"
    folders = ("--data-root", kitti, "--work-dir", tmp_path / "work")
    assert "Car_3D_AP40_moderate_strict: 0.00" in run(
        words("test", TEACHER, weights, *folders, options=[])
    )
