"""Progressive stages through the command line: stopped, resumed, skipped, refused."""

import sys

import pytest
import torch

from kd3d.cli import main as cli
from kd3d.engine.experiment import train_run
from kd3d.engine.hooks import ProgressHook
from kd3d.engine.runner import load_config
from kd3d.engine.stages import read_stages, stage_config, train_stages
from kd3d.errors import UserError
from kd3d.fileio import read_json
from tests.engine.tiny import failure, prepared, run
from tests.paths import ROOT

CONFIG = ROOT / "configs/lidar_distillation/centerpoint-pillar-16beams_centerpoint-pillar_demo.py"
NAMES = ["beams64", "beams16"]
OPTIONS = [  # two iterations, each an epoch
    "train_cfg.max_epochs=2",
    "param_scheduler.total_steps=2",
    "default_hooks.checkpoint.interval=1",
    "train_dataloader.batch_size=2",
    "train_dataloader.dataset.indices=2",
    "model.student.shrink.width=0.25",
]


def command(root, work, *more, options=()):
    listed = [word for option in [*OPTIONS, *options] for word in ("--cfg-options", option)]
    folders = ["--work-dir", root / work, "--data-root", root / "kitti"]
    return list(map(str, ["train", root / "two.py", *folders, *more, *listed]))


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Two stages of two iterations that nobody disturbed."""
    root = tmp_path_factory.mktemp("stages")
    prepared(root / "kitti")
    (root / "two.py").write_text(f"_base_ = {str(CONFIG)!r}\nstages = _base_.stages[::2]\n")
    assert run(command(root, "straight")).strip() == str(root / "straight/student.pth")
    return root


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_each_stage_leaves_a_student_and_the_last_one_is_exported(job):
    work = job / "straight"
    students = {name: weights(work / name / "student.pth") for name in NAMES}
    assert not same(students["beams64"], students["beams16"])
    assert same(students["beams16"], weights(work / "student.pth"))
    assert (work / "student_config.py").is_file()
    certificate = read_json(work / "beams64/student.pth.certificate.json")
    assert "Car_3D_AP40_moderate_loose" in certificate["metrics"]
    for name in NAMES:
        log = "\n".join(p.read_text() for p in (work / name).glob("*/*.log"))
        assert ("kd.beams.loss" in log) == (name != "beams64")


def program(arguments, monkeypatch):
    """Run the program and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["kd3d", *arguments])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return left.value.code


def test_a_stopped_stage_goes_on_and_finished_ones_are_skipped(job, monkeypatch, capsys):
    """It ends with the same bits; a stage starts from, and learns from, the student before."""
    arguments, work = command(job, "resumed"), job / "resumed"
    steps, seen = ProgressHook.before_train_iter, []

    def stop(self, runner, batch_idx, data_batch=None):
        if runner.work_dir.endswith("beams16") and runner.iter == 0:
            before = weights(work / "beams64/student.pth")
            assert same(runner.model.student.state_dict(), before)
            assert same(runner.model.teachers["teacher"].model.state_dict(), before)
            inputs = data_batch["inputs"]
            seen.extend(zip(inputs["points"], inputs["points_teacher"]))
        if runner.work_dir.endswith("beams16") and runner.iter == 1:
            raise KeyboardInterrupt
        steps(self, runner, batch_idx, data_batch)

    with monkeypatch.context() as patch:
        patch.setattr(ProgressHook, "before_train_iter", stop)
        assert program(arguments, patch) == 130
    assert len(seen) == 2
    for thin, dense in seen:  # every second beam of the same points
        assert 0.3 < len(thin) / len(dense) < 0.7
        assert {tuple(p) for p in thin.tolist()} <= {tuple(p) for p in dense.tolist()}
    assert (work / "beams16/epoch_1.pth").is_file()
    assert not (work / "beams16/student.pth").exists()
    assert "an earlier training is here" in failure(arguments)
    written = (work / "beams64/student.pth").stat().st_mtime_ns
    capsys.readouterr()
    assert program([*arguments, "--resume"], monkeypatch) == 0
    told = capsys.readouterr().err
    assert "stage beams64: done before" in told
    assert f"continuing from {work / 'beams16/epoch_1.pth'}" in told
    assert (work / "beams64/student.pth").stat().st_mtime_ns == written
    assert same(weights(work / "student.pth"), weights(job / "straight/student.pth"))


def test_a_finished_training_is_not_mixed_with_another(job):
    options = ["model.method.weight=2.0", "train_dataloader.num_workers=0"]
    line = failure(command(job, "straight", "--resume", options=options))
    assert "stage beams16 was trained with other settings, data or teacher" in line
    before = (job / "straight/student.pth").read_bytes()
    run(command(job, "straight", options=options[1:]))  # nothing to do
    assert (job / "straight/student.pth").read_bytes() == before


def config(**changes):
    made = load_config(CONFIG)
    made.update(changes)
    return made


def test_what_a_stage_teaches_is_the_student_before():
    stages = read_stages(config())
    first = stage_config(config(), stages[0], None)
    assert (first.model.teachers, first.get("load_from"), first.get("stages")) == (None, None, None)
    student = config(work_dir="w")
    student.stages[0].update(uncertified="a test", minimum=dict(AP=3.0))
    stages = read_stages(student)
    first = stage_config(student, stages[0], None)
    second = stage_config(student, stages[1], (stages[0], first))
    teacher = second.model.teachers.teacher
    assert teacher.checkpoint == second.load_from == "w/beams64/student.pth"
    assert teacher.config == first.model.student.config
    assert (teacher.allow_uncertified, teacher.minimum) == (True, dict(AP=3.0))
    assert student.model.teachers.teacher.checkpoint is None  # not changed


BAD = {
    "no list of stages": 3,
    "unknown key 'overide' -> did you mean 'override'": [dict(name="a", overide={})],
    "no name of a folder": [dict(name="../a")],
    "two stages have one name": [dict(name="a"), dict(name="a")],
    "the last stage has an override": [dict(name="a", override=dict(seeded_data=False))],
    "no teacher 'techer' -> did you mean 'teacher'": [dict(name="a", teacher="techer")],
    "a teacher of type EMA has no stages": [
        dict(name="a", override=dict(model=dict(teachers=dict(teacher=dict(type="EMA"))))),
        dict(name="b"),
    ],
    "not of the architecture of the stage before": [
        dict(name="a", override=dict(model=dict(student=dict(shrink=dict(width=0.5))))),
        dict(name="b"),
    ],
    "the config has no test_evaluator": [
        dict(name="a", override=dict(test_evaluator=None)),
        dict(name="b"),
    ],
}


@pytest.mark.parametrize("message", BAD)
def test_mistakes_in_stages_are_found_before_the_first(message, tmp_path):
    with pytest.raises(UserError, match=message):
        train_stages(config(stages=BAD[message], work_dir=str(tmp_path / "work")))
    assert not (tmp_path / "work").exists()


def test_a_recorded_run_is_one_training():
    with pytest.raises(UserError, match="this config has stages"):
        train_run(config())
