"""Infos beside mmdet3d's own converter, loading by its data set, refusals, pictures."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("open3d")

from kd3d.data.nuscenes_pictures import info_boxes, lidar_to_image, load_points
from kd3d.data.nuscenes_prepare import prepare_nuscenes
from kd3d.errors import UserError
from kd3d.simulation.nuscenes import simulate_nuscenes
from tests import nuscenes_tiny as tiny

SPLITS = ("train", "val")
CONVERT = """
import sys, os
import mmdet3d
sys.path.insert(0, os.path.join(os.path.dirname(mmdet3d.__file__), ".mim"))
from tools.dataset_converters.nuscenes_converter import create_nuscenes_infos
from tools.dataset_converters.update_infos_to_v2 import update_pkl_infos
create_nuscenes_infos("data/nuscenes", "nuscenes", version="v1.0-mini", max_sweeps=3)
for split in ("train", "val"):
    update_pkl_infos("nuscenes", "out", f"data/nuscenes/nuscenes_infos_{split}.pkl")
"""


def read(folder, split):
    return pickle.loads((folder / f"nuscenes_infos_{split}.pkl").read_bytes())


def assert_same(ours, theirs, where=""):
    """Compare nested values: numbers to single precision, the rest exactly; None is left out."""
    if isinstance(theirs, dict):
        theirs = {key: value for key, value in theirs.items() if value is not None}
        assert set(ours) == set(theirs), where
        for key in theirs:
            if key == "lidar_path":
                assert Path(ours[key]).name == Path(theirs[key]).name
                continue
            assert_same(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs), where
        for number, (one, other) in enumerate(zip(ours, theirs)):
            assert_same(one, other, f"{where}[{number}]")
    elif isinstance(theirs, (float, np.floating)):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=2e-4, nan_ok=True), where
    else:
        assert ours == theirs, where


@pytest.mark.slow
def test_equals_mmdet3ds_converter(tmp_path):
    """On pictures of 1600 x 900, the only size it knows, in the one folder it reads."""
    root = tmp_path / "data" / "nuscenes"
    simulate_nuscenes(root, 2, 2, 3, 1, (1600, 900), workers=1)
    ours = prepare_nuscenes(root, sweeps=3, out=tmp_path / "ours", pictures=False).out
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CONVERT], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for split in SPLITS:
        one, other = read(ours, split), read(tmp_path / "out", split)
        assert one["metainfo"] == other["metainfo"]
        assert len(one["data_list"]) == 2
        assert sum(len(c) for i in one["data_list"] for c in i["cam_instances"].values()) > 10
        assert_same(one["data_list"], other["data_list"])


def test_splits_counts_and_metainfo():
    infos = {split: read(tiny.prepared(), split) for split in SPLITS}
    manifest = json.loads((tiny.prepared() / "nuscenes_prepare.json").read_text())["summary"]
    assert manifest["samples"] == {"train": tiny.SAMPLES, "val": tiny.SAMPLES}
    assert manifest["simulated"] is True
    assert manifest["differences"] == []
    for split in SPLITS:
        data = infos[split]["data_list"]
        assert infos[split]["metainfo"]["version"] == "v1.0-mini"
        assert [len(i.get("lidar_sweeps", [])) for i in data] == [0, 3, 3]
        boxes = sum(i["bbox_label_3d"] == 0 for info in data for i in info["instances"])
        assert manifest["boxes"][split]["car"]["boxes"] == boxes


def test_2d_boxes_lie_in_the_pictures():
    width, height = tiny.SIZE
    boxes = [
        entry["bbox"]
        for info in read(tiny.prepared(), "train")["data_list"]
        for entries in info["cam_instances"].values()
        for entry in entries
    ]
    boxes = np.array(boxes)
    assert len(boxes) > 20
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= width
    assert boxes[:, 3].max() <= height
    assert (boxes[:, 2] == width).any()


def test_mmdet3d_loads_points_sweeps_and_pictures():
    data = tiny.dataset(
        [
            dict(type="LoadMultiViewImageFromFiles", to_float32=True, num_views=6),
            dict(type="LoadPointsFromFile", coord_type="LIDAR", load_dim=5, use_dim=5),
            dict(type="LoadPointsFromMultiSweeps", sweeps_num=3, test_mode=True),
            dict(type="LoadAnnotations3D", with_bbox_3d=True, with_label_3d=True),
        ],
        test_mode=False,
        filter_empty_gt=False,
    )
    assert len(data) == tiny.SAMPLES
    sample = data[2]
    assert len(sample["img"]) == 6
    assert sample["img"][0].shape == (tiny.SIZE[1], tiny.SIZE[0], 3)
    assert np.shape(sample["lidar2cam"]) == (6, 4, 4)
    points = sample["points"].tensor.numpy()
    times_ms = np.round(1000 * points[:, 3]).astype(int)
    assert set(times_ms) == {0, 50, 100, 500}
    # standing ground seen by the turns before lies where the key frame sees it
    boxes = sample["gt_bboxes_3d"].tensor.numpy()
    assert boxes.shape[1] == 9
    assert (np.hypot(*boxes[:, 7:9].T) > 0.5).any()
    near = np.linalg.norm(points[:, :2], axis=1) < 8
    ground = [np.percentile(points[near & (times_ms == t), 2], 20) for t in (0, 100)]
    assert ground[0] == pytest.approx(ground[1], abs=0.03)
    assert ground[0] == pytest.approx(-1.84, abs=0.15)


def test_points_project_onto_what_the_pictures_show():
    """The points of each box fall into its 2D box in a picture, but for the time between them."""
    root = tiny.simulated()
    inside = total = 0
    for info in read(tiny.prepared(), "val")["data_list"]:
        points, boxes = load_points(root, info)[:, :3], info_boxes(info)
        for name, image in info["images"].items():
            matrix = lidar_to_image(image)
            entries = info["cam_instances"][name]
            cuts = np.array([entry["bbox"] for entry in entries]).reshape(-1, 4)
            for box in boxes[np.hypot(boxes[:, 0], boxes[:, 1]) < 40]:
                local = points - box[:3]
                cos, sin = np.cos(box[6]), np.sin(box[6])
                along, across = (
                    local[:, 0] * cos + local[:, 1] * sin,
                    local[:, 1] * cos - local[:, 0] * sin,
                )
                own = (np.abs(along) < box[3] / 2) & (np.abs(across) < box[4] / 2)
                own &= (local[:, 2] > 0) & (local[:, 2] < box[5])
                pixels = np.column_stack([points[own], np.ones(own.sum())]) @ matrix.T
                pixels = pixels[pixels[:, 2] > 0.5]
                uv = pixels[:, :2] / pixels[:, 2:3]
                uv = uv[((uv >= 0) & (uv < tiny.SIZE)).all(axis=1)]
                if len(uv) < 5 or not len(cuts):
                    continue
                fits = (
                    (uv[:, None] >= cuts[:, :2] - 1.5) & (uv[:, None] <= cuts[:, 2:] + 1.5)
                ).all(2)
                inside += fits.mean(axis=0).max() > 0.95
                total += 1
    assert total > 15
    assert inside >= 0.95 * total


def test_a_second_run_changes_nothing_and_pictures_are_drawn(tmp_path):
    done = prepare_nuscenes(tiny.simulated(), out=tmp_path)
    assert done.rebuilt
    assert len(done.pictures) == 6
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    again = prepare_nuscenes(tiny.simulated(), out=tmp_path)
    assert not again.rebuilt
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == stamps
    assert prepare_nuscenes(tiny.simulated(), sweeps=0, out=tmp_path, pictures=False).rebuilt
    assert all("lidar_sweeps" not in info for info in read(tmp_path, "train")["data_list"])
    from PIL import Image

    sizes = {Image.open(path).size for path in done.pictures if "images" in path.name}
    assert sizes == {(3 * 640, 2 * 360)}


@pytest.fixture
def copied(tmp_path):
    root = tmp_path / "set"
    shutil.copytree(tiny.simulated(), root)
    return root


def first(root, pattern):
    return sorted(root.glob(pattern))[0]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: first(r, "samples/CAM_BACK/*").unlink(), "1 problems: no file samples/CAM_BACK"),
        (
            lambda r: first(r, "sweeps/*/*.bin").unlink(),
            "no file sweeps/LIDAR_TOP/.* go without them: --sweeps 0",
        ),
        (lambda r: first(r, "samples/LIDAR_TOP/*").write_bytes(b"abc"), "has 3 bytes, not a"),
        (lambda r: first(r, "samples/CAM_FRONT/*").write_bytes(b"abc"), "is not an image"),
        (lambda r: shutil.rmtree(r / "samples" / "CAM_FRONT"), "6 problems: .*; and 2 more"),
        (lambda r: (r / "v1.0-mini" / "map.json").unlink(), "1 of 13 tables missing: map.json"),
        (lambda r: (r / "v1.0-mini" / "log.json").write_text("{"), "not valid JSON"),
        (lambda r: (r / "nuscenes_infos_val.pkl").write_bytes(b""), "was not made by kd3d"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(copied, spoil, message):
    spoil(copied)
    before = sorted(copied.rglob("*"))
    with pytest.raises(UserError, match=message):
        prepare_nuscenes(copied)
    assert sorted(copied.rglob("*")) == before


def test_broken_links_are_named(copied):
    path = copied / "v1.0-mini" / "sample_annotation.json"
    rows = json.loads(path.read_text())
    rows[0]["next"] = "f" * 32
    path.write_text(json.dumps(rows))
    with pytest.raises(UserError, match=r"next f+ is not in sample_annotation\.json"):
        prepare_nuscenes(copied)


def test_command_line(tmp_path, monkeypatch, capsys):
    from kd3d.cli.main import main

    words = ["kd3d", "prepare", "nuscenes", "--data-root", str(tiny.simulated())]
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(tmp_path), "--no-pictures"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "v1.0-mini, simulated samples: train 3 (3.0 sweeps), val 3 (3.0 sweeps)" in text
    assert any(line.startswith("car ") for line in text.splitlines())
    monkeypatch.setattr(sys, "argv", [*words, "--version", "v1.0-test"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
