"""A page about runs on nuScenes: the devkit's numbers, errors count downwards, frames."""

import json
import pickle
import re

import numpy as np
import pytest

pytest.importorskip("open3d")

from kd3d.data.nuscenes_tables import CATEGORIES
from kd3d.errors import UserError
from kd3d.evaluation.nuscenes_score import evaluate_nuscenes
from kd3d.report.page import write_report
from kd3d.report.record import RunRecord
from kd3d.report.scenes import scenes_of
from kd3d.report.summary_png import write_summary_png
from kd3d.report.verdict import compare
from tests import nuscenes_tiny as tiny

ROLES = {"teacher": 0.1, "baseline": 1.2, "distilled": 0.6}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return a folder with the data and the infos."""
    folder = tmp_path_factory.mktemp("nus") / "set"
    folder.mkdir()
    for path in [*tiny.simulated().iterdir(), *tiny.prepared().glob("*.pkl")]:
        (folder / path.name).symlink_to(path)
    return folder


def submission(root, noise_m):
    """Return the labels as a submission, moved sideways by `noise_m`, all of one score."""
    from pyquaternion import Quaternion

    results = {}
    for info in pickle.loads((root / "nuscenes_infos_val.pkl").read_bytes())["data_list"]:
        to_global = np.array(info["ego2global"]) @ np.array(info["lidar_points"]["lidar2ego"])
        rows = []
        for one in info["instances"]:
            if one["bbox_label_3d"] < 0:
                continue
            x, y, z, length, width, height, yaw = one["bbox_3d"]
            turn = np.eye(4)
            turn[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
            turn[:3, 3] = x + noise_m, y, z
            placed = to_global @ turn
            rows.append(
                {
                    "sample_token": info["token"],
                    "translation": placed[:3, 3].tolist(),
                    "size": [width, length, height],
                    "rotation": Quaternion(matrix=placed, atol=1e-4, rtol=1e-4).elements.tolist(),
                    "velocity": [0.0, 0.0],
                    "detection_name": CATEGORIES[one["bbox_label_3d"]],
                    "detection_score": 0.5,
                    "attribute_name": "",
                }
            )
        results[info["token"]] = rows
    return {"meta": {"use_camera": True}, "results": results}


def make_run(folder, root, role, **changes):
    """Write a run folder with predictions and the devkit's result."""
    (folder / "predictions").mkdir(parents=True)
    path = folder / "predictions" / "results_nusc.json"
    path.write_text(json.dumps(submission(root, ROLES[role])))
    values = {
        "name": role,
        "role": role,
        "result": evaluate_nuscenes(path, root, "v1.0-mini"),
        "data": {"root": str(root), "simulated": True, "split": "val"},
        "seed": 0,
        "iterations": 10,
        "batch_size": 2,
        "params": 1000,
        "supervision": "3D boxes of the training split, depth of LiDAR points",
    }
    RunRecord.from_dict(values | changes).save(folder)
    return folder


@pytest.fixture(scope="module")
def runs(root, tmp_path_factory):
    """Return three run folders."""
    out = tmp_path_factory.mktemp("runs")
    return [make_run(out / role, root, role) for role in ROLES]


def test_boxes_of_a_submission_return_to_the_lidars_frame(root, runs):
    run = RunRecord.load(runs[0])
    scenes = scenes_of(run)
    for frame in scenes.evaluated(run):
        truth, found = scenes.folder.truth(frame), scenes.found(run, frame)
        assert list(found.name) == list(truth.name)
        off = found.box - truth.box
        off[:, 0] -= ROLES["teacher"]
        off[:, 6] = np.remainder(off[:, 6] + np.pi, 2 * np.pi) - np.pi
        assert np.abs(off[:, :6]).max() < 1e-3
        assert np.abs(off[:, 6]).max() < 0.02  # the ego pose has pitch and roll


def test_page_shows_the_devkits_numbers_and_errors_count_downwards(runs, tmp_path):
    spread = {
        "nds": {"sd": 0.5, "n": 3, "source": "here"},
        "mate": {"sd": 0.01, "n": 3, "source": "h"},
    }
    numbers = json.loads(
        write_report(runs, tmp_path / "r.html", spread=spread, frames=2).read_text()
    )
    teacher, baseline, distilled = (RunRecord.load(run).result for run in runs)
    (comparison,) = numbers["comparisons"]
    nds, *_ = comparison["metrics"]
    assert nds["gain"] == pytest.approx(100 * (distilled["nd_score"] - baseline["nd_score"]))
    assert comparison["verdict"] == "gain"
    assert "NDS over the same-budget baseline" in comparison["headline"]
    mate = next(metric for metric in comparison["metrics"] if metric["key"] == "mate")
    assert mate["gain"] < 0
    assert mate["verdict"] == "gain"
    assert mate["retention_distilled"] is None
    text = (tmp_path / "r.html").read_text()
    assert f"{100 * teacher['mean_ap']:.2f}" in text
    assert f"{distilled['tp_errors']['trans_err']:.3f}" in text
    assert not re.search(r"url\(|@import|https?://", text)
    assert "KITTI" not in text
    assert text.count("<img") == len(numbers["frames"]["shown"]) * 3 * 2
    found = {
        role: sum(frame["runs"][role]["found"] for frame in numbers["frames"]["frames"].values())
        for role in ROLES
    }
    assert found["teacher"] == sum(f["labels"] for f in numbers["frames"]["frames"].values())
    write_summary_png(runs, tmp_path / "s.png")
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_a_larger_error_is_a_loss():
    def run(role, error):
        result = {"nd_score": 0.4, "mean_ap": 0.3, "mean_dist_aps": {"car": 0.3}}
        return RunRecord.from_dict(
            {
                "name": role, "role": role, "seed": 0, "iterations": 1, "batch_size": 1,
                "result": {**result, "tp_errors": {"trans_err": error}},
                "data": {"root": "d", "simulated": True, "split": "val"},
            }
        )  # fmt: skip

    spread = {"mate": {"sd": 0.01, "n": 3, "source": "here"}}
    (comparison,) = compare([run("baseline", 0.5), run("distilled", 0.6)], spread)
    by_key = {metric["key"]: metric for metric in comparison["metrics"]}
    assert by_key["mate"]["verdict"] == "loss"
    assert by_key["mave"]["verdict"] == "not comparable"
    assert by_key["nds"]["gain"] == 0
    kitti = run("distilled", 0.6)
    kitti.result = {"Car": {}}
    with pytest.raises(UserError, match="several benchmarks"):
        compare([run("baseline", 0.5), kitti])
    with pytest.raises(UserError, match="nd_score"):
        RunRecord.from_dict({**run("teacher", 0.1).to_dict(), "result": {"nd_score": 2.0}})
