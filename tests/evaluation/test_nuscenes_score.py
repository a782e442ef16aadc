"""The devkit's score of the golden sets, and what is refused."""

import json
import shutil

import numpy as np
import pytest

from kd3d.errors import UserError
from kd3d.evaluation.nuscenes_score import evaluate_nuscenes
from tests.evaluation.test_kitti_cli import kd3d
from tests.paths import GOLDEN

ROOT = GOLDEN / "nus_eval"
DB, VERSION = ROOT / "db", "v1.0-mini"
GOOD = ROOT / "n01_good" / "results_nusc.json"


def assert_golden(values, folder):
    golden = json.loads((folder / "golden.json").read_text())
    assert values["boxes"]["ground_truth"] == golden["gt_boxes_after_filter"]
    assert values["boxes"]["predictions"] == golden["pred_boxes_after_filter"]
    compared = 0
    for key, want in golden["metrics"].items():
        if key in ("eval_time", "cfg"):
            continue
        stack = [(want, values[key])]
        while stack:
            left, right = stack.pop()
            if isinstance(left, dict):
                assert set(left) == set(right)
                stack += [(left[k], right[k]) for k in left]
            elif np.isnan(left):
                assert right is None
            else:
                assert right == pytest.approx(left, rel=0, abs=1e-12)
                compared += 1
    assert compared > 100


@pytest.mark.parametrize("name", ["n01_good", "n03_perfect", "n05_empty_samples"])
def test_equals_the_devkits_numbers(name):
    values = evaluate_nuscenes(ROOT / name / "results_nusc.json", DB, VERSION)
    assert_golden(values, ROOT / name)
    assert values["eval_set"] == "mini_val"


def test_command_line_prints_and_writes(tmp_path):
    target = tmp_path / "score.json"
    where = ("--data-root", DB, "--version", VERSION)
    done = kd3d("eval", "nuscenes", GOOD, *where, "--json", target)
    assert done.returncode == 0, done.stderr
    assert_golden(json.loads(target.read_text()), GOOD.parent)
    assert "NDS 0.7738   mAP 0.7903" in done.stdout
    row = next(line for line in done.stdout.splitlines() if "traffic_cone" in line).split()
    assert row[1:3] == ["29", "81.2"]
    assert row[-3:] == ["-", "-", "-"]
    assert done.stderr == ""


def test_nothing_found_scores_zero(tmp_path):
    data = json.loads(GOOD.read_text())
    data["results"] = {token: [] for token in data["results"]}
    path = tmp_path / "empty.json"
    path.write_text(json.dumps(data))
    values = evaluate_nuscenes(path, DB, VERSION)
    assert values["nd_score"] == 0
    assert values["mean_ap"] == 0
    assert values["boxes"]["predictions"] == 0
    assert values["tp_errors"]["trans_err"] == 1


def edited(tmp_path, change):
    data = json.loads(GOOD.read_text())
    token = next(token for token, boxes in data["results"].items() if boxes)
    change(data, data["results"][token])
    path = tmp_path / "results.json"
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, b: d["results"].popitem(), "1 of 40 samples of the evaluated set have no entry"),
        (lambda d, b: d["results"].update(x=[]), "1 samples are not in the evaluated set: x"),
        (lambda d, b: b.extend([b[0]] * 500), "boxes, at most 500 a sample are allowed"),
        (lambda d, b: b[0].update(detection_name="cars"), "unknown class 'cars' -> did you mean"),
        (lambda d, b: b[0].update(attribute_name="parked"), "unknown attribute 'parked'"),
        (lambda d, b: b[0].update(sample_token="y"), "box 0: belongs to sample y"),
        (lambda d, b: b[0].pop("velocity"), "has no velocity"),
        (lambda d, b: b[0].update(size=[1, 2]), "size is not a list of 3 numbers"),
        (lambda d, b: b[0].update(rotation=[float("nan"), 0, 0, 1]), "rotation is not finite"),
        (lambda d, b: b[0].update(detection_score="1"), "detection_score is not a finite"),
        (lambda d, b: d.pop("meta"), 'needs "meta" and "results"'),
    ],
)
def test_bad_results_are_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        evaluate_nuscenes(edited(tmp_path, change), DB, VERSION)


def broken_tables(tmp_path, table, change):
    root = tmp_path / "db"
    shutil.copytree(DB, root)
    path = root / VERSION / f"{table}.json"
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))
    return root


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("sample_annotation", lambda r: r[3].update(instance_token="q"), "instance_token q is not"),
        ("sample_data", lambda r: r[0].pop("sample_token"), "has no sample_token"),
        ("sample_data", lambda r: r[0].update(is_key_frame=False), "has no LIDAR_TOP key frame"),
        ("scene", lambda r: [s.update(name="scene-0061") for s in r], "no scene of the split"),
        ("map", lambda r: r[0].update(filename="maps/none.png"), "no map file maps/none.png"),
    ],
)
def test_broken_tables_are_refused(tmp_path, table, change, message):
    with pytest.raises(UserError, match=message):
        evaluate_nuscenes(GOOD, broken_tables(tmp_path, table, change), VERSION)


def test_missing_tables_are_named(tmp_path):
    root = tmp_path / "db"
    shutil.copytree(DB, root)
    (root / VERSION / "log.json").unlink()
    with pytest.raises(UserError, match=r"1 of 13 tables missing: log\.json"):
        evaluate_nuscenes(GOOD, root, VERSION)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.json", "--data-root", DB, "--version", VERSION), "nowhere.json: file not found"),
        ((GOOD, "--data-root", "nowhere", "--version", VERSION), "nowhere: no such folder"),
        ((GOOD, "--data-root", DB, "--version", "v1.0-test"), "no public annotations"),
        ((GOOD, "--data-root", DB, "--version", "v1.0-trainval"), "--version v1.0-mini is there"),
        ((GOOD, "--data-root", DB, "--version", "mini"), "did you mean 'v1.0-mini'?"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, monkeypatch, capsys):
    import sys

    from kd3d.cli.main import main

    monkeypatch.setattr(sys, "argv", ["kd3d", "eval", "nuscenes", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
