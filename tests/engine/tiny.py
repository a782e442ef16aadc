"""A tiny prepared KITTI set and the options that make the demo's models run on it in seconds."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from kd3d.cli.main import build_app
from kd3d.data.kitti_prepare import prepare_kitti
from kd3d.errors import user_line
from tests.data.kitti_tiny import make_kitti
from tests.paths import ROOT

DEMO = ROOT / "configs" / "demo"
TEACHER, DISTILLED = DEMO / "teacher.py", DEMO / "distilled.py"
QUICK = [
    "train_cfg.max_epochs=2",
    "param_scheduler.total_steps=2",
    "default_hooks.checkpoint.interval=1",
    "default_hooks.logger.interval=1",
    "train_dataloader.batch_size=3",
]


ONE_STEP = [
    *QUICK,
    "train_cfg.max_epochs=1",
    "param_scheduler.total_steps=1",
    "train_dataloader.batch_size=1",
]


def prepared(root: Path, labels: dict[str, str] | None = None) -> Path:
    """Make the folder: train 3 frames, one of them without objects; val 1 frame.

    Args:
        root: The folder.
        labels: Frame -> label text, instead of the usual one.
    """
    make_kitti(root)
    for frame, text in (labels or {}).items():
        (root / f"training/label_2/{frame}.txt").write_text(text)
    prepare_kitti(root, pictures=False)
    return root


def words(command: str, config: str | Path, *more: object, options: list[str] = QUICK) -> list[str]:
    """Return the arguments of ``kd3d train`` or ``kd3d test``; the tests' teachers know nothing."""
    if any(option.startswith("model.teachers.teacher.checkpoint=") for option in options):
        options = [*options, "model.teachers.teacher.allow_uncertified=True"]
    listed = [word for option in options for word in ("--cfg-options", option)]
    return [command, str(config), *map(str, more), *listed]


def run(arguments):
    """Run a command in this process and return what it printed."""
    done = CliRunner().invoke(build_app(), list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def failure(arguments):
    """Run a command in this process and return the line that the program would print."""
    try:
        run(arguments)
    except Exception as error:
        line = user_line(error)
        if line is None:
            raise
        return line
    pytest.fail("no error")


def train(kitti, work, *options, config=TEACHER):
    return words(
        "train", config, "--work-dir", work, "--data-root", kitti, options=[*ONE_STEP, *options]
    )
