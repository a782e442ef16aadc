"""Configs, keys and budgets of runs, on a tiny data set; nothing is trained."""

import os
import shutil

import pytest
from mmengine.config import Config

from kd3d.errors import UserError
from kd3d.sweep.budget import equal_time_epochs, stretch
from kd3d.sweep.job import SweepJob
from kd3d.sweep.process import failure_line, lock, progress_line
from kd3d.sweep.runs import Prepared, begin
from tests.engine.tiny import failure
from tests.engine.tiny import run as kd3d
from tests.sweep.tiny import record, sweep_file

IN_CYCLE = dict(type="CosineAnnealingLR", T_max=5, begin=3, end=8, by_epoch=True)
WARM_UP = dict(type="LinearLR", begin=0, end=500, by_epoch=False)


def prepared(file):
    return SweepJob(file).schedule.prepared


def specs(file):
    return {name: one.spec for name, one in prepared(file).items()}


def test_arms_differ_in_what_the_file_says_only(root):
    runs = prepared(sweep_file(root))
    found = {name: one.spec for name, one in runs.items()}
    assert list(found) == [
        f"{arm}/half/seed{seed}" for seed in (0, 1) for arm in ("plain", "taught", "broken")
    ]
    plain, taught = (runs[f"{arm}/half/seed1"].config.to_dict() for arm in ("plain", "taught"))
    assert plain["randomness"] == taught["randomness"] == {"seed": 1}
    assert plain["train_dataloader"] == taught["train_dataloader"]
    assert plain["model"]["student"] == taught["model"]["student"]
    assert taught["model"]["method"] == {"type": "fitnets", "weight": 0.5}
    assert found["plain/half/seed0"]["role"] == "baseline"
    assert found["taught/half/seed0"]["role"] == "distilled"
    assert found["taught/half/seed0"]["method"] == "fitnets"
    assert found["plain/half/seed0"]["data"] == found["taught/half/seed1"]["data"]
    assert len({spec["key"] for spec in found.values()}) == 6


def test_only_some_arms_and_what_their_time_needs(root):
    file = sweep_file(root, timed=True)
    runs = SweepJob(file, only=["longer"]).runs
    assert {run.arm for run in runs.values()} == {"longer", "taught", "plain"}
    assert {run.arm for run in SweepJob(file, only=["broken"]).runs.values()} == {"broken"}
    with pytest.raises(UserError, match=r"--only: no arm 'brokn' -> did you mean 'broken'"):
        SweepJob(file, only=["brokn"])


def test_key_follows_config_data_and_teacher_but_not_the_folder(root):
    def keys(**changes):
        return [spec["key"] for spec in specs(sweep_file(root, **changes)).values()]

    before = keys()
    assert keys() == before
    assert keys(out=root / "elsewhere") == before
    assert all(a != b for a, b in zip(keys(lr=0.1), before))
    infos = root / "kitti" / "kitti_infos_train.pkl"
    whole = infos.read_bytes()
    infos.write_bytes(whole + b"\0")
    assert all(a != b for a, b in zip(keys(), before))
    infos.write_bytes(whole)
    weights = root / "teacher.pth"
    weights.write_bytes(b"other")
    changed = [name for name, a, b in zip(specs(sweep_file(root)), keys(), before) if a != b]
    assert changed == ["taught/half/seed0", "taught/half/seed1"]


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(config="none.py"), "arms.plain: none.py: no such config"),
        (dict(teacher_file="none.pth"), "none.pth: file not found"),
        (dict(student={"shrink": {"width": 7}}), "width = 7"),
        (dict(data="nowhere"), "nowhere/kitti_infos_train.pkl: file not found"),
        (dict(option="model.method.7.type"), "cannot set model.method.7.type"),
    ],
)
def test_mistakes_stop_the_sweep_before_it_writes(root, tmp_path, changes, message):
    with pytest.raises(UserError) as caught:
        SweepJob(sweep_file(root, out=tmp_path / "out", **changes))
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_folders_are_continued_replaced_or_refused(root, tmp_path):
    job = SweepJob(sweep_file(root, out=tmp_path / "out"))
    run = job.runs["plain/half/seed0"]
    one = job.schedule.prepared[run.name]
    begin(run, one, "kd3d sweep")
    (run.folder / "epoch_1.pth").touch()
    begin(run, one, "kd3d sweep")
    assert (run.folder / "epoch_1.pth").is_file()
    assert dict(job.plan())[run.name] == "go on from its last checkpoint"
    changed = SweepJob(sweep_file(root, out=tmp_path / "out", lr=0.1))
    assert dict(changed.plan())[run.name].startswith("anew")
    begin(run, Prepared(one.config, {**one.spec, "key": "other"}), "kd3d sweep")
    assert [path.name for path in run.folder.iterdir()] == ["run.json"]
    shutil.rmtree(run.folder)
    run.folder.mkdir()
    (run.folder / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"seed0: not empty, and no run of a sweep"):
        SweepJob(sweep_file(root, out=tmp_path / "out"))
    assert (run.folder / "thesis.tex").is_file()


def test_equal_time_is_counted_in_the_baselines_epochs():
    plain, taught = record("plain", step_time_s=0.2), record("taught", step_time_s=0.5)
    teacher = record("teacher", iterations=50, step_time_s=0.6)
    assert equal_time_epochs(8, plain, taught, None)[0] == 20
    epochs, note = equal_time_epochs(8, plain, taught, teacher)
    assert epochs == 32  # (50 + 30 s) / (20 s / 8)
    assert "taught and of the teacher (80 s; 8 epochs of the baseline take 20 s)" in note
    assert equal_time_epochs(8, taught, plain, None)[0] == 8
    with pytest.raises(UserError, match="states no step time"):
        equal_time_epochs(8, plain, record("taught", step_time_s=None), None)


def test_schedule_is_stretched_as_a_whole():
    config = Config(
        dict(
            train_cfg=dict(max_epochs=8),
            param_scheduler=[
                dict(IN_CYCLE),
                dict(WARM_UP),
                dict(type="MultiStepLR", milestones=[6]),
            ],
        )
    )
    stretch(config, 12)
    cycle, warm_up, steps = config.param_scheduler
    assert config.train_cfg.max_epochs == 12
    assert (cycle["begin"], cycle["end"], cycle["T_max"]) == (4, 12, 8)
    assert warm_up == WARM_UP
    assert steps["milestones"] == [9]


def test_reasons_come_from_the_signal_or_the_log(tmp_path):
    assert failure_line(-9, tmp_path) == "ended by SIGKILL (out of memory?)"
    assert failure_line(-11, tmp_path) == "ended by SIGSEGV (a crash in compiled code)"
    assert failure_line(3, tmp_path) == "exit code 3"
    lines = ["    training seed0: 7/90, about 12 s left", "a.py:80: FutureWarning: x", "  if y:"]
    (tmp_path / "log.txt").write_text("\n".join(lines))
    assert progress_line(tmp_path) == "training seed0: 7/90, about 12 s left"
    (tmp_path / "log.txt").write_text("kd3d: error: a.py: lr is not there\n\n")
    assert failure_line(2, tmp_path) == "a.py: lr is not there"
    assert failure_line(0, tmp_path) is None


def test_second_sweep_in_a_folder_is_refused(root, tmp_path):
    refused = pytest.raises(UserError, match=r"another sweep works here \(process \d+\)")
    with lock(tmp_path), refused, lock(tmp_path):
        pytest.fail("both hold it")
    with lock(tmp_path):
        line = failure(["sweep", sweep_file(root, out=tmp_path, arms=("plain",))])
    assert line.startswith(f"{tmp_path}: another sweep works here (process {os.getpid()})")
    with lock(tmp_path):
        pass


def test_plan_is_printed(root, tmp_path):

    lines = kd3d(["sweep", sweep_file(root, out=tmp_path / "out", timed=True), "--dry-run"])
    assert "plain/half/seed0: new\n" in lines
    assert "longer/half/seed1: after taught/half/seed1 and plain/half/seed1\n" in lines
    assert not (tmp_path / "out").exists()
