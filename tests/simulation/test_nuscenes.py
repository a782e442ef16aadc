"""The simulated nuScenes set on disk: what the devkit makes of it, sameness, refusals."""

import json
import sys

import numpy as np
import pytest

pytest.importorskip("open3d")

from mmengine import load

from kd3d.data.nuscenes_prepare import prepare_nuscenes
from kd3d.data.nuscenes_tables import CAMERAS, LIDAR, check_links, open_tables
from kd3d.errors import UserError
from kd3d.evaluation.nuscenes_score import evaluate_nuscenes
from kd3d.simulation.nuscenes import MINI_SCENES, scene_names, simulate_nuscenes
from kd3d.simulation.surround.frames import DriveJob, make_drive
from tests import nuscenes_tiny as tiny
from tests.simulation.test_kitti import digests

VERSION = "v1.0-mini"


@pytest.fixture(scope="module")
def nusc():
    return open_tables(tiny.simulated(), VERSION)


def test_scenes_bear_the_official_names():
    from nuscenes.utils.splits import create_splits_scenes

    splits = create_splits_scenes()
    assert sorted(MINI_SCENES) == sorted(splits["mini_train"] + splits["mini_val"])
    for count in range(2, 11):
        assert set(MINI_SCENES[:count]) & set(splits["mini_val"])
    names = scene_names("v1.0-trainval")
    assert len(set(names)) == 600
    assert [name for name in names if name in splits["val"]] == list(names[1::4])
    assert set(names) - set(names[1::4]) <= set(splits["train"])


def test_the_tables_fit_together_and_to_the_files(nusc):
    root = tiny.simulated()
    check_links(root / VERSION)
    assert [scene["name"] for scene in nusc.scene] == list(MINI_SCENES[: tiny.SCENES])
    assert len(nusc.sample) == tiny.SCENES * tiny.SAMPLES
    turns = 1 + (tiny.SAMPLES - 1) * (1 + tiny.SWEEPS)
    assert len(nusc.sample_data) == tiny.SCENES * (6 * tiny.SAMPLES + turns)
    listed = {record["filename"] for record in nusc.sample_data}
    listed |= {record["filename"] for record in nusc.map}
    found = {str(p.relative_to(root)) for p in root.rglob("*.*") if p.is_file()}
    found = {name for name in found if name.startswith(("samples", "sweeps", "maps"))}
    assert found == listed
    for sample in nusc.sample:
        assert set(sample["data"]) == {LIDAR, *CAMERAS}
        first = nusc.get("sample_data", sample["data"][LIDAR])
        assert first["timestamp"] == sample["timestamp"]


def test_time_runs_as_in_the_real_data(nusc):
    for scene in nusc.scene:
        sample = nusc.get("sample", scene["first_sample_token"])
        record = nusc.get("sample_data", sample["data"][LIDAR])
        assert record["prev"] == ""
        times, keys = [], []
        while record:
            times.append(record["timestamp"])
            keys.append(record["is_key_frame"])
            pose = nusc.get("ego_pose", record["ego_pose_token"])
            assert pose["timestamp"] == record["timestamp"]
            record = nusc.get("sample_data", record["next"]) if record["next"] else None
        gaps = np.diff(times)
        assert set(gaps) == {50_000, 500_000 - tiny.SWEEPS * 50_000}
        assert set(np.diff(np.array(times)[keys])) == {500_000}
        shifts = {
            name: nusc.get("sample_data", sample["data"][name])["timestamp"] - sample["timestamp"]
            for name in CAMERAS
        }
        assert len(set(shifts.values())) == 6
        assert all(-50_000 < shift < 0 for shift in shifts.values())


def test_sensors_move_with_the_vehicle(nusc):
    """Each sensor's pose is of its own instant: at the vehicle's speed from that of the LiDAR's."""
    moved = []
    for sample in nusc.sample:
        lidar = nusc.get("sample_data", sample["data"][LIDAR])
        start = np.array(nusc.get("ego_pose", lidar["ego_pose_token"])["translation"])
        for name in CAMERAS:
            record = nusc.get("sample_data", sample["data"][name])
            place = np.array(nusc.get("ego_pose", record["ego_pose_token"])["translation"])
            seconds = (record["timestamp"] - lidar["timestamp"]) / 1e6
            moved.append(np.linalg.norm(place - start) / abs(seconds))
    assert 0.5 < np.median(moved) < 12


def test_annotated_point_counts_are_those_of_the_files(nusc):
    """The devkit's own count of the points inside each box, in the LiDAR's frame."""
    from nuscenes.utils.data_classes import LidarPointCloud
    from nuscenes.utils.geometry_utils import points_in_box

    counted = 0
    for sample in nusc.sample:
        path, boxes, _ = nusc.get_sample_data(sample["data"][LIDAR])
        cloud = LidarPointCloud.from_file(path).points[:3]
        assert cloud.shape[1] > 15_000
        for box in boxes:
            record = nusc.get("sample_annotation", box.token)
            found = int(points_in_box(box, cloud).sum())
            # the devkit's inside includes the faces, ours does not; files hold single precision
            assert abs(found - record["num_lidar_pts"]) <= max(1, 0.02 * found)
            counted += found
    assert counted > 1000


def test_velocities_point_along_the_headings(nusc):
    checked = 0
    for record in nusc.sample_annotation:
        velocity = nusc.box_velocity(record["token"])[:2]
        names = [nusc.get("attribute", t)["name"] for t in record["attribute_tokens"]]
        if np.isnan(velocity).any():
            assert nusc.get("instance", record["instance_token"])["nbr_annotations"] == 1
            continue
        speed = np.hypot(*velocity)
        still = {"vehicle.parked", "vehicle.stopped", "pedestrian.standing", "cycle.without_rider"}
        if not names or names[0] in still or names[0] == "pedestrian.sitting_lying_down":
            assert speed < 1e-6
            continue
        assert 0.5 < speed < 14
        heading = nusc.get_box(record["token"]).orientation.yaw_pitch_roll[0]
        away = np.angle(np.exp(1j * (np.arctan2(velocity[1], velocity[0]) - heading)))
        assert abs(away) < 0.05
        checked += 1
    assert checked > 10


def test_attributes_suit_their_classes(nusc):
    from nuscenes.eval.detection.utils import (
        category_to_detection_name,
        detection_name_to_rel_attributes,
    )

    seen = set()
    for record in nusc.sample_annotation:
        name = category_to_detection_name(record["category_name"])
        names = [nusc.get("attribute", t)["name"] for t in record["attribute_tokens"]]
        allowed = detection_name_to_rel_attributes(name)
        assert (len(names) == 1 and names[0] in allowed) or (not names and not allowed)
        seen.add(name)
    assert len(seen) >= 6


def test_all_ten_classes_are_drawn():
    from nuscenes.eval.detection.utils import category_to_detection_name

    from kd3d.simulation.surround.compose import compose_drive

    seen = set()
    for seed in range(5):
        world = compose_drive(np.random.default_rng(seed), 2.0)
        seen |= {category_to_detection_name(track.category) for track in world.tracks}
    assert len(seen) == 10


def test_the_map_shows_road_below_the_vehicle(nusc):
    for sample in nusc.sample:
        record = nusc.get("sample_data", sample["data"][LIDAR])
        place = nusc.get("ego_pose", record["ego_pose_token"])["translation"]
        scene = nusc.get("scene", sample["scene_token"])
        log = nusc.get("log", scene["log_token"])
        mask = nusc.get("map", log["map_token"])["mask"]
        assert mask.is_on_mask(place[0], place[1])
        assert not mask.is_on_mask(3.0, 3.0) or not mask.is_on_mask(297.0, 3.0)


def test_a_scene_alone_has_the_same_bytes(tmp_path):
    name = MINI_SCENES[1]
    job = DriveJob(str(tmp_path), name, 1, tiny.SEED, tiny.SAMPLES, tiny.SWEEPS, tiny.SIZE)
    make_drive(job)
    ours, alone = digests(tiny.simulated()), digests(tmp_path)
    assert alone == {file: value for file, value in ours.items() if name in file}


@pytest.mark.slow
def test_same_bytes_for_more_scenes_and_workers(tmp_path):
    again = simulate_nuscenes(
        tmp_path / "b", 3, tiny.SAMPLES, tiny.SEED, tiny.SWEEPS, tiny.SIZE, workers=2
    )
    ours, theirs = digests(tiny.simulated()), digests(again)
    files = [name for name in ours if name.startswith(("samples", "sweeps", "maps", ".scenes"))]
    assert {name: theirs[name] for name in files} == {name: ours[name] for name in files}
    assert ours["v1.0-mini/category.json"] == theirs["v1.0-mini/category.json"]


def test_another_kind_is_refused_before_anything_changes():
    before = digests(tiny.simulated())
    with pytest.raises(UserError, match=f"seed {tiny.SEED}, asked 8"):
        simulate_nuscenes(tiny.simulated(), 2, tiny.SAMPLES, 8, tiny.SWEEPS, tiny.SIZE, workers=1)
    assert digests(tiny.simulated()) == before


def test_a_set_of_version_trainval_is_prepared_and_scored(tmp_path):
    root = simulate_nuscenes(
        tmp_path / "set", 3, 2, 4, 0, (64, 36), workers=1, version="v1.0-trainval"
    )
    prepared = prepare_nuscenes(root, "v1.0-trainval", sweeps=0, pictures=False)
    infos = {
        split: load(prepared.out / f"nuscenes_infos_{split}.pkl")["data_list"]
        for split in ("train", "val")
    }
    assert {split: len(data) for split, data in infos.items()} == {"train": 4, "val": 2}
    tokens = [info["token"] for info in infos["val"]]
    meta = dict.fromkeys(("use_camera", "use_lidar", "use_radar", "use_map", "use_external"), False)
    result = tmp_path / "nothing.json"
    result.write_text(json.dumps({"meta": meta, "results": {token: [] for token in tokens}}))
    assert evaluate_nuscenes(result, root, "v1.0-trainval")["mean_ap"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--scenes", "1"), "--scenes: 1 scenes"),
        (("--scenes", "11"), "v1.0-mini has that many"),
        (("--scenes", "601", "--version", "v1.0-trainval"), "v1.0-trainval has that many"),
        (("--version", "v1.0-test"), "v1.0-test has no public annotations"),
        (("--samples", "1"), "--samples: 1 samples"),
        (("--sweeps", "10"), "--sweeps: 10 sweeps"),
        (("--seed", "-1"), "--seed: seed -1"),
        (("--image-size", "big"), "'big' is not a size"),
        (("--image-size", "8x8"), "8x8 pixels"),
        (("--workers", "0"), "--workers: 0 workers"),
    ],
)
def test_bad_arguments_are_one_line_and_leave_nothing(
    options, message, tmp_path, monkeypatch, capsys
):
    from kd3d.cli.main import main

    words = ["kd3d", "simulate", "nuscenes", "--out", str(tmp_path / "out"), *options]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
