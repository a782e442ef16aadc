"""`kd3d sweep` for real: processes that train, fail, are killed, and go on."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from kd3d.fileio import read_json
from kd3d.report.record import RunRecord
from tests.paths import ROOT
from tests.sweep.tiny import sweep_file


def command(file, *more):
    words = [sys.executable, "-m", "kd3d.cli.main", "sweep", str(file), *map(str, more)]
    return dict(args=words, cwd=ROOT, text=True)


def kd3d(file, *more):
    return subprocess.run(**command(file, *more), capture_output=True)


def heed_interrupts():
    """Undo what a background job hands down: that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def started(file, *more):
    """Start the command, as from a terminal; it is gone when the test is."""
    options = {**command(file, *more), "stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(**options, preexec_fn=heed_interrupts) as process:
        try:
            yield process
        finally:
            process.kill()


def weights(folder):
    return torch.load(folder / "student.pth", weights_only=True)["state_dict"]


def workers(out):
    """Return the ids of the processes that work in a sweep's folder."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True).stdout
    lines = [line for line in listed.splitlines() if "kd3d.sweep.worker" in line]
    return {line.split()[-1]: int(line.split()[0]) for line in lines if str(out) in line}


def wait_for(condition, what, seconds=240):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.1)


def test_sweep_trains_compares_and_outlives_a_broken_arm(root, tmp_path):
    out = tmp_path / "out"
    file = sweep_file(root, out, seeds=(5,), arms=("plain", "broken"))
    done = kd3d(file, "--jobs", "2")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "unexpected keyword argument 'rate'" in done.stderr
    assert str(out / "sweep.json") in done.stdout
    record = RunRecord.load(out / "plain/half/seed5")
    assert (record.name, record.seed, record.iterations) == ("plain/half/seed5", 5, 3)
    assert f"sweep {file} --jobs 2" in record.command
    assert record.extra["peak_memory_mb"] > 100
    numbers = read_json(out / "sweep.json")
    assert [run["state"] for run in numbers["runs"]] == ["done", "failed"]
    assert "Traceback" not in (out / "broken/half/seed5/log.txt").read_text()
    assert "<html" in (out / "report.html").read_text()
    assert not (out / "broken/half/seed5/student.pth").exists()


@pytest.mark.slow
def test_two_arms_and_two_seeds_end_as_single_trainings_do(root, tmp_path):
    out = tmp_path / "out"
    file = sweep_file(root, out, arms=("plain", "taught"), timed=True)
    done = kd3d(file, "--jobs", "2", "--threads", "1")
    assert done.returncode == 0, done.stderr
    numbers = read_json(out / "sweep.json")
    pairs = [
        (row["arm"], row["over"], row["scores"]["car_3d_moderate"]["n"]) for row in numbers["gains"]
    ]
    assert pairs == [("taught", "plain", 2), ("taught", "longer", 2), ("longer", "plain", 2)]
    assert all(row["unfair"] == [] for row in numbers["gains"])
    pages = json.loads((out / "report.json").read_text())
    assert [run["name"] for run in pages["runs"]] == [
        f"{arm}/half/seed0" for arm in ("plain", "longer", "taught")
    ]
    made = {run: (out / run / "student.pth").stat().st_mtime_ns for run in ("plain/half/seed0",)}
    again = kd3d(file)
    assert again.returncode == 0
    assert "started" not in again.stderr
    assert made == {run: (out / run / "student.pth").stat().st_mtime_ns for run in made}
    alone = sweep_file(root, tmp_path / "alone", arms=("taught",), seeds=(1,))
    assert kd3d(alone, "--threads", "1").returncode == 0
    ours, theirs = weights(out / "taught/half/seed1"), weights(tmp_path / "alone/taught/half/seed1")
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.fixture(scope="module")
def straight(root, tmp_path_factory):
    """The folder of a run that nobody stopped."""
    out = tmp_path_factory.mktemp("straight")
    file = sweep_file(root, out, seeds=(0,), arms=("taught",), epochs=6)
    assert kd3d(file, "--threads", "1").returncode == 0
    return out / "taught/half/seed0"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_stopped_sweep_leaves_no_process_and_goes_on_to_the_same_bits(
    root, straight, tmp_path, number
):
    out = tmp_path / "out"
    file = sweep_file(root, out, seeds=(0,), arms=("taught",), epochs=6)
    folder = out / "taught/half/seed0"
    with started(file, "--threads", "1") as sweep:
        wait_for(lambda: list(folder.glob("epoch_*.pth")), "no checkpoint")
        assert str(folder) in workers(out)
        os.kill(sweep.pid, number)
        _, said = sweep.communicate(timeout=60)
    wait_for(lambda: not workers(out), "the worker lives on", 60)
    assert not (folder / "student.pth").exists(), "it was stopped too late to say anything"
    if number != signal.SIGKILL:
        assert sweep.returncode == 130
        assert "run the same command again to continue" in said
        assert read_json(out / "sweep.json")["runs"][0]["state"] == "waiting"
    done = kd3d(file, "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert any("resumed" in path.read_text() for path in folder.glob("*/*.log"))
    ours, theirs = weights(folder), weights(straight)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.slow
def test_killed_run_is_named_and_the_others_end(root, tmp_path):
    out = tmp_path / "out"
    file = sweep_file(root, out, seeds=(0,), arms=("plain", "taught"))
    folder = str(out / "taught/half/seed0")
    with started(file, "--jobs", "2") as sweep:
        wait_for(lambda: folder in workers(out) or sweep.poll() is not None, "no worker")
        os.kill(workers(out)[folder], signal.SIGKILL)
        said, _ = sweep.communicate(timeout=240)
    assert sweep.returncode == 1
    assert "ended by SIGKILL (out of memory?)" in said
    states = {run["name"]: run["state"] for run in read_json(out / "sweep.json")["runs"]}
    assert states == {"plain/half/seed0": "done", "taught/half/seed0": "failed"}


@pytest.mark.slow
def test_ray_runs_the_same(root, tmp_path):
    pytest.importorskip("ray")
    file = sweep_file(root, tmp_path / "out", seeds=(0,), arms=("plain", "broken"))
    done = kd3d(file, "--executor", "ray", "--jobs", "2")
    assert done.returncode == 1, done.stderr
    states = [run["state"] for run in read_json(tmp_path / "out/sweep.json")["runs"]]
    assert states == ["done", "failed"]
