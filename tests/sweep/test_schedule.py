"""One failed run ends itself only; what is done is not done again; gains are paired."""

import math
import sys

import pytest

from kd3d.errors import UserError
from kd3d.fileio import read_json
from kd3d.report.benchmarks.kitti import KITTI
from kd3d.report.statistics import spread
from kd3d.sweep.board import Board
from kd3d.sweep.job import SweepJob, make_executor, seed_spread
from kd3d.sweep.summary import gain_rows, sweep_json, tables, verdict
from kd3d.sweep.worker import SPEC_FILE
from tests.sweep.tiny import record, sweep_file


class Pretender:
    """An executor that leaves made-up records at once, and fails the runs it is told to fail."""

    def __init__(self, capacity=2, fail=(), silent=()):
        self.capacity, self.fail, self.silent = capacity, fail, silent
        self.started, self.waiting, self.most = [], [], 0

    def start(self, name, folder):
        self.started.append(name)
        self.waiting.append((name, folder))
        self.most = max(self.most, len(self.waiting))

    def finished(self):
        if not self.waiting:
            return []
        name, folder = self.waiting.pop(0)
        if name in self.fail:
            return [(name, "a.py: it broke")]
        if name not in self.silent:
            spec = read_json(folder / SPEC_FILE)
            extra = {"sweep_key": spec["key"], "peak_memory_mb": 1.0}
            steps = {"plain": 0.2, "taught": 0.5}.get(name.split("/")[0], 0.2)
            record(name, 50, spec["role"], spec["seed"], step_time_s=steps, extra=extra).save(
                folder
            )
        return [(name, None)]

    def stop(self):
        pass


def work(file, **kinds):
    job, executor = SweepJob(file), Pretender(**kinds)
    with Board(list(job.runs.values()), executor.capacity) as board:
        job.schedule.work(executor, board)
    return job, executor


def states(job):
    return {name: run.state for name, run in job.runs.items()}


def test_failures_stay_alone_and_a_second_call_does_the_rest(root, tmp_path, capsys):
    file = sweep_file(root, tmp_path / "out", arms=("plain", "taught"), epochs=4, timed=True)
    job, executor = work(file, capacity=2, fail=["taught/half/seed0"], silent=["plain/half/seed1"])
    assert executor.most == 2
    assert states(job) == {
        "plain/half/seed0": "done",
        "taught/half/seed0": "failed",
        "longer/half/seed0": "blocked",
        "plain/half/seed1": "failed",
        "taught/half/seed1": "done",
        "longer/half/seed1": "blocked",
    }
    assert job.runs["taught/half/seed0"].note == "a.py: it broke"
    assert job.runs["longer/half/seed0"].note == "needs taught/half/seed0"
    assert job.runs["plain/half/seed1"].note == "left no record"
    assert "taught/half/seed0: failed: a.py: it broke" in capsys.readouterr().err

    job, executor = work(file, capacity=1)
    assert set(states(job).values()) == {"done"}
    assert executor.started == [
        "taught/half/seed0",
        "longer/half/seed0",
        "plain/half/seed1",
        "longer/half/seed1",
    ]
    longer = job.schedule.prepared["longer/half/seed0"]
    assert longer.config.train_cfg.max_epochs == longer.config.param_scheduler.total_steps == 10
    assert longer.spec["note"].startswith("10 epochs instead of 4: the training time of taught")

    assert work(file)[1].started == []
    changed = sweep_file(root, tmp_path / "out", arms=("plain", "taught"), epochs=4, lr=0.1)
    assert len(work(changed)[1].started) == 4


def test_numbers_of_a_sweep_with_failures(root, tmp_path):
    file = sweep_file(root, tmp_path / "out", arms=("plain", "taught"))
    job, _ = work(file, fail=["taught/half/seed0"])
    numbers = sweep_json(job.sweep, job.baseline, job.runs, job.schedule.records(), "kd3d sweep")
    assert [run["state"] for run in numbers["runs"]] == ["done", "failed", "done", "done"]
    failed = numbers["runs"][1]
    assert failed["error"] == "a.py: it broke"
    assert failed["log"] == str(tmp_path / "out/taught/half/seed0/log.txt")
    assert [gain["scores"]["car_3d_moderate"]["n"] for gain in numbers["gains"]] == [1]
    assert numbers["gains"][0]["verdict"]["car_3d_moderate"] == "no evidence"
    assert [part.title for part in tables(numbers).renderables][-1] == "Not done"


def test_spread_against_a_hand_calculation():
    found = spread([1.0, 2.0, 6.0])
    assert found["mean"] == 3.0
    assert found["sd"] == pytest.approx(math.sqrt(7))
    assert found["se"] == pytest.approx(math.sqrt(7 / 3))
    half = 4.302652729696142 * math.sqrt(7 / 3)  # t of 2 degrees of freedom at 97.5 %
    assert found["ci95"] == pytest.approx([3 - half, 3 + half])
    one = spread([4.0])
    assert (one["n"], one["mean"], one["se"], one["ci95"]) == (1, 4.0, None, None)


def test_gains_are_paired_by_seed_and_judged_by_their_interval(root, tmp_path):
    file = sweep_file(root, tmp_path / "out", arms=("plain", "taught"), seeds=(0, 1, 2), timed=True)
    job = SweepJob(file)
    plain, gains, records = (40.0, 60.0, 50.0), (2.0, 2.2, 1.9), {}
    for seed, (ap, gain) in enumerate(zip(plain, gains)):
        for arm, role, value, steps in (
            ("plain", "baseline", ap, 100),
            ("taught", "distilled", ap + gain, 100),
            ("longer", "baseline", ap + gain - 1 + seed, 250),
        ):
            name = f"{arm}/half/seed{seed}"
            records[name] = record(name, value, role, seed, iterations=steps)
    rows = {(r["arm"], r["over"]): r for r in gain_rows(job.sweep, "plain", records)}
    assert set(rows) == {("taught", "plain"), ("taught", "longer"), ("longer", "plain")}
    over_plain, over_longer = rows["taught", "plain"], rows["taught", "longer"]
    assert over_plain["scores"]["car_3d_moderate"]["values"] == pytest.approx(gains)
    assert over_plain["equal"] == "iterations"
    assert verdict(over_plain["scores"]["car_3d_moderate"], over_plain["unfair"]) == "gain"
    assert over_longer["scores"]["car_3d_moderate"]["values"] == pytest.approx([1, 0, -1])
    assert (over_longer["equal"], over_longer["unfair"]) == ("training time", [])
    assert verdict(over_longer["scores"]["car_3d_moderate"], []) == "no evidence"
    del records["plain/half/seed1"]
    rows = gain_rows(job.sweep, "plain", records)
    assert rows[0]["scores"]["car_3d_moderate"]["values"] == pytest.approx([2.0, 1.9])
    records["taught/half/seed0"].iterations = 90
    row = gain_rows(job.sweep, "plain", records)[0]
    assert row["unfair"] == ["iterations: taught/half/seed0 90, plain/half/seed0 100"]
    assert verdict(row["scores"]["car_3d_moderate"], row["unfair"]) == "not comparable"


def test_pooled_spread_of_the_page():
    def row(arm, sd, n, over="plain", student="half"):
        gains = dict.fromkeys(metric.key for metric in KITTI.metrics) | {
            "car_3d_moderate": {"sd": sd, "n": n}
        }
        return {"arm": arm, "over": over, "student": student, "scores": gains}

    rows = [row("a", 3.0, 5), row("b", 4.0, 4)]
    rows += [row("a", 9.0, 5, over="longer"), row("a", 9.0, 5, student="other")]
    found = seed_spread({"benchmark": "kitti", "gains": rows}, "half", "plain")
    assert list(found) == ["car_3d_moderate"]
    assert found["car_3d_moderate"]["sd"] == pytest.approx(math.sqrt(12.5))
    assert found["car_3d_moderate"]["n"] == 4
    assert (
        seed_spread({"benchmark": "kitti", "gains": [row("a", None, 1)]}, "half", "plain") is None
    )


def test_executors_that_are_not_to_be_had(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"Ray is not installed -> pip install 'kd3d\[ray\]'"):
        make_executor("ray", None, None, None)
    with pytest.raises(UserError, match="did you mean 'local'"):
        make_executor("locl", None, None, None)
    with pytest.raises(UserError, match="an address is for Ray"):
        make_executor("local", None, None, "auto")
