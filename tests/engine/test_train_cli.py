"""The main job through the command line, on a tiny set: train, distil, test, stop and resume."""

import json
import runpy
import sys

import pytest
import torch

from kd3d.cli import main as cli
from kd3d.engine.hooks import ProgressHook
from tests.engine.tiny import DEMO, prepared, run, words
from tests.paths import ROOT

EPOCHS = ["train_cfg.max_epochs=4", "param_scheduler.total_steps=4"]
QUICK = [
    "seeded_data=True",
    *EPOCHS,
    "default_hooks.checkpoint.interval=1",
    "default_hooks.logger.interval=1",
    "train_dataloader.batch_size=1",
]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A teacher and a distilled student, trained for four epochs of a few steps."""
    root = tmp_path_factory.mktemp("job")
    kitti = prepared(root / "kitti")
    run(words("train", DEMO / "teacher.py", *folders(root / "teacher", kitti), options=QUICK))
    run(
        words(
            "train", DEMO / "distilled.py", *folders(root / "straight", kitti), options=distil(root)
        )
    )
    return root


def folders(work, kitti):
    return "--work-dir", work, "--data-root", kitti


def distil(root):
    return [*QUICK, f"model.teachers.teacher.checkpoint={root / 'teacher' / 'student.pth'}"]


def weights(folder):
    return torch.load(folder / "student.pth", weights_only=True)["state_dict"]


def test_distilled_student_is_tested_and_leaves_curves(job):
    out = run(
        words(
            "test",
            DEMO / "distilled.py",
            job / "straight/student.pth",
            *folders(job / "tested", job / "kitti"),
            options=[],
        )
    )
    assert "Car_3D_AP40_moderate_strict: " in out
    (events,) = job.glob("straight/*/vis_data/events.out.tfevents*")
    assert events.stat().st_size > 0
    (log,) = job.glob("straight/*/vis_data/scalars.json")
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert rows[-1]["step"] == len(rows)
    assert {"kd.response.loss", "kd.bev.loss", "task.task0.loss_heatmap"} <= set(rows[-1])
    assert not torch.equal(
        *(next(iter(weights(job / n).values())) for n in ("teacher", "straight"))
    )


def test_stopped_and_resumed_training_ends_with_the_same_bits(job, monkeypatch, capsys):
    arguments = words(
        "train",
        DEMO / "distilled.py",
        *folders(job / "resumed", job / "kitti"),
        options=distil(job),
    )
    steps = ProgressHook.before_train_iter

    def stop(self, runner, batch_idx, data_batch=None):
        if (runner.epoch, batch_idx) == (2, 1):
            raise KeyboardInterrupt
        steps(self, runner, batch_idx, data_batch)

    with monkeypatch.context() as patch:
        patch.setattr(ProgressHook, "before_train_iter", stop)
        patch.setattr(sys, "argv", ["kd3d", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
    assert left.value.code == 130
    assert "interrupted; run the same command again" in capsys.readouterr().err
    assert (job / "resumed/epoch_2.pth").is_file()
    assert not (job / "resumed/student.pth").exists()
    run([*arguments, "--resume"])
    straight, resumed = weights(job / "straight"), weights(job / "resumed")
    different = [key for key in straight if not torch.equal(straight[key], resumed[key])]
    assert not different


@pytest.mark.parametrize("script, positional", [("train", ["a.py"]), ("test", ["a.py", "b.pth"])])
def test_scripts_speak_openmmlabs_dialect(script, positional, monkeypatch):
    """Several key=value after one --cfg-options; the launcher becomes an option of the config."""
    called = []
    monkeypatch.setattr(cli, "main", lambda: called.append(sys.argv[1:]))
    monkeypatch.syspath_prepend(ROOT / "tools")
    path, work = str(ROOT / f"tools/{script}.py"), ["--work-dir", "w"]
    monkeypatch.setattr(
        sys, "argv", [path, *positional, *work, "--cfg-options", "a=1", "b.c=[2,3]"]
    )
    runpy.run_path(path, run_name="__main__")
    options = ["--cfg-options", "a=1", "--cfg-options", "b.c=[2,3]"]
    assert called == [[script, *positional, *options, *work]]
    monkeypatch.setattr(sys, "argv", [path, *positional, "--launcher", "pytorch"])
    runpy.run_path(path, run_name="__main__")
    assert called[1:] == [[script, *positional, "--cfg-options", "launcher=pytorch"]]
