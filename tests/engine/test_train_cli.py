"""The main job through the command line, on a tiny set: train, distil, test, stop and resume."""

import json

import pytest
import torch
from typer.testing import CliRunner

from kd3d.cli.main import build_app
from kd3d.engine.hooks import ProgressHook
from tests.engine.tiny import DEMO, prepared, words

EPOCHS = ["train_cfg.max_epochs=4", "param_scheduler.total_steps=4"]
QUICK = [
    *EPOCHS,
    "default_hooks.checkpoint.interval=1",
    "default_hooks.logger.interval=1",
    "train_dataloader.batch_size=1",
]


def kd3d(arguments):
    """Run a command in this process and return what it printed."""
    done = CliRunner().invoke(build_app(), arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A teacher and a distilled student, trained for four epochs of a few steps."""
    root = tmp_path_factory.mktemp("job")
    kitti = prepared(root / "kitti")
    kd3d(words("train", DEMO / "teacher.py", *folders(root / "teacher", kitti), options=QUICK))
    kd3d(
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
    out = kd3d(
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


def test_stopped_and_resumed_training_ends_with_the_same_bits(job, monkeypatch):
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
        assert CliRunner().invoke(build_app(), arguments).exit_code == 130
    assert (job / "resumed/epoch_2.pth").is_file()
    assert not (job / "resumed/student.pth").exists()
    kd3d([*arguments, "--resume"])
    straight, resumed = weights(job / "straight"), weights(job / "resumed")
    different = [key for key in straight if not torch.equal(straight[key], resumed[key])]
    assert not different
