import json
import subprocess
import sys

import pytest

from kd3d.evaluation.kitti_synthetic import write_simulated_set
from tests.evaluation.test_kitti_ap import assert_golden
from tests.paths import GOLDEN, ROOT

SET = GOLDEN / "kitti_eval" / "s05_empty_frames_30f"


def kd3d(*arguments):
    command = [sys.executable, "-m", "kd3d.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)


def test_eval_prints_a_table_and_writes_the_json(tmp_path):
    target = tmp_path / "ap.json"
    done = kd3d("eval", "kitti", "--gt", SET / "label_2", "--pred", SET / "pred", "--json", target)
    assert done.returncode == 0, done.stderr
    result = json.loads(target.read_text())
    assert_golden(result, SET)
    assert set(result) == {"Car", "Pedestrian", "Cyclist", "notes"}
    assert "24.00" in done.stdout  # Car 3D moderate
    assert "Cyclist: 4, 10, 12 counted labels" in done.stdout


def test_json_to_standard_output_with_curves_and_a_frame_list(tmp_path):
    frames = tmp_path / "val.txt"
    frames.write_text("".join(f"{i:06d}\n" for i in range(0, 30, 2)))
    where = ("--gt", SET / "label_2", "--pred", SET / "pred")
    done = kd3d("eval", "kitti", *where, "--json", "-", "--curves", "--frames", frames)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert len(result["curves"]["Car"]["3D"]["strict"][2]) == 41
    assert any("15 result files not evaluated: 000001" in note for note in result["notes"])


def test_a_missing_result_file_is_one_clear_line(tmp_path):
    pred = tmp_path / "pred"
    pred.mkdir()
    for path in sorted((SET / "pred").iterdir())[:28]:
        (pred / path.name).write_bytes(path.read_bytes())
    target = tmp_path / "ap.json"
    done = kd3d("eval", "kitti", "--gt", SET / "label_2", "--pred", pred, "--json", target)
    assert done.returncode == 2
    assert not target.exists()
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert "2 of 30 frames have no file: 000028, 000029" in lines[0]
    assert "an empty file says that a frame has no objects" in lines[0]
    for path in ("000028", "000029", "000099"):
        (pred / f"{path}.txt").write_text("")
    done = kd3d("eval", "kitti", "--gt", SET / "label_2", "--pred", pred)
    assert done.returncode == 0
    assert "1 result files not evaluated: 000099" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--gt", "nowhere", "--pred", SET / "pred"), "nowhere: no such folder"),
        (("--gt", SET / "label_2", "--pred", SET / "label_2"), "15 columns, a KITTI line has 16"),
        (("--gt", SET / "label_2", "--pred", SET / "pred", "--frames", "x"), "x: no such file"),
    ],
)
def test_bad_input(options, message):
    done = kd3d("eval", "kitti", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_benchmark_runs_and_checks_itself():
    done = kd3d(
        "bench", "kitti-eval", "--frames", 30, "--repeat", 1, "--peer-frames", 4, "--json", "-"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["simulated"] is True
    assert result["naive_loop"]["equal"] is True
    assert "times_faster" not in result["official_cpp"]  # only for its own number of frames
    assert result["frames_per_s"] > 0


def test_simulated_set_is_deterministic(tmp_path):
    counts = [write_simulated_set(tmp_path / str(i), 5, seed=3) for i in range(2)]
    assert counts[0] == counts[1]
    for path in sorted((tmp_path / "0").rglob("*.txt")):
        twin = tmp_path / "1" / path.relative_to(tmp_path / "0")
        assert path.read_bytes() == twin.read_bytes()
