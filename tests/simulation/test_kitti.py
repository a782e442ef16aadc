"""The data set on disk: layout, sameness, refusals."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

from kd3d.data.kitti_files import read_calibration, read_labels, read_points
from kd3d.data.kitti_geometry import lidar_boxes, png_size, points_in_boxes, points_in_image
from kd3d.data.simulated import MANIFEST
from kd3d.errors import UserError
from kd3d.simulation.calibration import HEIGHT, WIDTH
from kd3d.simulation.kitti import simulate_kitti, simulated_points
from kd3d.simulation.statistics import kitti_statistics, markdown
from tests.simulation.conftest import FRAMES, SEED, TEST_FRAMES


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def test_layout_is_kittis(simulated):
    want = {MANIFEST, *(f"ImageSets/{name}.txt" for name in ("train", "val", "trainval", "test"))}
    for part, count, folders in (
        (
            "training",
            FRAMES,
            {"velodyne": "bin", "image_2": "png", "calib": "txt", "label_2": "txt"},
        ),
        ("testing", TEST_FRAMES, {"velodyne": "bin", "image_2": "png", "calib": "txt"}),
    ):
        for folder, suffix in folders.items():
            want |= {f"{part}/{folder}/{n:06d}.{suffix}" for n in range(count)}
    assert set(digests(simulated)) == want
    assert (simulated / "ImageSets/train.txt").read_text() == "000000\n000001\n000002\n"
    assert (simulated / "ImageSets/val.txt").read_text() == "000003\n000004\n"
    assert png_size(simulated / "training/image_2/000000.png") == (WIDTH, HEIGHT)


def test_same_seed_same_bytes_with_more_workers_and_frames(simulated, tmp_path):
    again = simulate_kitti(tmp_path / "b", FRAMES + 1, SEED, test_frames=TEST_FRAMES, workers=2)
    ours, theirs = digests(simulated), digests(again)
    frames = [name for name in ours if not name.startswith("ImageSets")]
    assert {name: theirs[name] for name in frames} == {name: ours[name] for name in frames}


def test_frames_differ_from_each_other(simulated):
    clouds = {name: value for name, value in digests(simulated).items() if "velodyne" in name}
    assert len(set(clouds.values())) == FRAMES + TEST_FRAMES


def test_clouds_are_like_an_hdl64(simulated):
    for path in (simulated / "training" / "velodyne").glob("*.bin"):
        points = read_points(path)
        assert 95_000 < len(points) < 133_312
        azimuth = np.arctan2(points[:, 1], points[:, 0])
        assert np.histogram(azimuth, 8, (-np.pi, np.pi))[0].min() > 5_000
        assert points[:, 3].min() >= 0
        assert points[:, 3].max() <= 1
        near = points[np.linalg.norm(points[:, :2], axis=1) < 6]
        assert abs(np.percentile(near[:, 2], 10) + 1.73) < 0.15
        calibration = read_calibration(simulated / "training" / "calib" / f"{path.stem}.txt")
        assert 12_000 < points_in_image(points, calibration, WIDTH, HEIGHT).sum() < 24_000


def test_boxes_on_disk_hold_points(simulated):
    near_cars = 0
    for n in range(FRAMES):
        labels = read_labels(simulated / f"training/label_2/{n:06d}.txt")
        calibration = read_calibration(simulated / f"training/calib/{n:06d}.txt")
        points = read_points(simulated / f"training/velodyne/{n:06d}.bin")
        labels = labels[labels.name != "DontCare"]
        for i, box in enumerate(lidar_boxes(labels, calibration)):
            grown = box + np.array([0, 0, -0.06, 0.12, 0.12, 0.12, 0])
            inside = points_in_boxes(points, grown[None])[0].sum()
            assert inside >= 3, (n, i)
            clear = labels.occluded[i] == 0 and labels.truncated[i] < 0.1
            if labels.name[i] == "Car" and clear and np.hypot(box[0], box[1]) < 30:
                near_cars += 1
                assert inside > 40, (n, i)
    assert near_cars >= 3


def test_missing_file_is_made_again_and_the_rest_kept(simulated):
    before = digests(simulated)
    lost, kept = (simulated / f"training/label_2/00000{n}.txt" for n in (1, 2))
    lost.unlink()
    (lost.parent / ".000001-killed.txt").write_text("half")
    stamp = kept.stat().st_mtime_ns
    simulate_kitti(simulated, FRAMES, SEED, test_frames=TEST_FRAMES, workers=1)
    assert digests(simulated) == before
    assert kept.stat().st_mtime_ns == stamp


def test_another_kind_is_refused_before_anything_changes(simulated):
    before = digests(simulated)
    with pytest.raises(UserError, match=f"seed {SEED}, asked 8"):
        simulate_kitti(simulated, FRAMES, 8, workers=1)
    with pytest.raises(UserError, match="spec_sha256"):
        simulate_kitti(simulated, FRAMES, SEED, spec="kitti_like", workers=1)
    assert digests(simulated) == before


def test_overwrite_replaces_only_simulated_data(tmp_path):
    root = tmp_path / "set"
    simulate_kitti(root, 2, 0, workers=1)
    simulate_kitti(root, 1, 1, workers=1, overwrite=True)
    assert [path.name for path in (root / "training/velodyne").iterdir()] == ["000000.bin"]
    real = tmp_path / "real"
    (real / "training").mkdir(parents=True)
    with pytest.raises(UserError, match="not empty"):
        simulate_kitti(real, 1, 0, workers=1, overwrite=True)
    assert list(real.iterdir()) == [real / "training"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"frames": 0}, "--frames"),
        ({"frames": 1, "seed": -1}, "--seed"),
        ({"frames": 1, "test_frames": -1}, "--test-frames"),
        ({"frames": 1, "val_share": 1.0}, "--val-share"),
        ({"frames": 1, "workers": 0}, "--workers"),
        ({"frames": 1, "spec": "streat"}, "did you mean 'street'"),
    ],
)
def test_bad_arguments_leave_nothing(arguments, message, tmp_path):
    with pytest.raises(UserError, match=message):
        simulate_kitti(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_command_line_refuses_with_exit_code_2(monkeypatch, capsys, tmp_path):
    from kd3d.cli.main import main

    words = ["kd3d", "simulate", "kitti", "--out", str(tmp_path / "out"), "--frames", "0"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_statistics_count_what_is_there(simulated):
    table = kitti_statistics(simulated)
    labels = [read_labels(path) for path in (simulated / "training/label_2").glob("*.txt")]
    cars = sum(int((one.name == "Car").sum()) for one in labels)
    assert table["frames"] == str(FRAMES)
    assert table["Car a frame"] == f"{cars / FRAMES:.2f}"
    text = markdown({"a": table, "b": table})
    assert all(line.count("|") == 4 for line in text.splitlines())
    with pytest.raises(UserError, match="no frame"):
        kitti_statistics(simulated / "ImageSets")


def test_simulated_points_are_those_of_the_first_frame(simulated):
    written = read_points(simulated / "training/velodyne/000000.bin")
    assert np.array_equal(simulated_points(SEED), written)
