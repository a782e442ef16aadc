"""The camera demo from nothing to its page, on sixteen frames."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("open3d")

from tests.paths import ROOT

SHORT = ("train_cfg.max_epochs=1", "param_scheduler.total_steps=1")


@pytest.mark.slow
def test_camera_demo_runs_to_its_page_and_goes_on(tmp_path):
    command = [sys.executable, "-m", "kd3d.cli.main", "demo", "--task", "camera"]
    command += ["--frames", "16", "--teacher-minimum", "0", "--out", str(tmp_path)]
    command += [word for option in SHORT for word in ("--cfg-options", option)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "report.html")
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["benchmark"] == "nuscenes"
    assert [run["role"] for run in numbers["runs"]] == ["teacher", "baseline", "distilled"]
    assert numbers["comparisons"][0]["unfair"] == []
    assert numbers["comparisons"][0]["metrics"][0]["spread"] is None  # of the whole demo
    assert numbers["runs"][2]["supervision"].endswith("depth of LiDAR points")
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.stderr.count("done before") == 10
    wrong = subprocess.run([*command, "--frames", "20"], cwd=ROOT, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "multiple of 16" in wrong.stderr
