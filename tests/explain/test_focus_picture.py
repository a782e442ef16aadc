"""`kd3d explain --focus`: a panel a term, from the config's own data and weights."""

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from kd3d.cli.main import build_app
from kd3d.errors import UserError
from kd3d.models.source import build_detector
from kd3d.viz.focus import DPI, SIDE_IN, draw_focus
from tests.engine.tiny import prepared


def test_command_draws_a_panel_a_term(tmp_path):
    prepared(tmp_path / "kitti")
    weights = tmp_path / "teacher.pth"
    torch.save(
        {"state_dict": build_detector(dict(config="kd3d::demo/teacher.py")).state_dict()}, weights
    )
    options = [
        f"model.teachers.teacher.checkpoint={weights}",
        "model.teachers.teacher.allow_uncertified=True",
        "train_dataloader.batch_size=1",
    ]
    words = ["explain", "kd3d::demo/distilled.py", "--data-root", str(tmp_path / "kitti")]
    words += ["--focus", str(tmp_path / "focus.png")]
    words += [word for option in options for word in ("--cfg-options", option)]
    done = CliRunner().invoke(build_app(), words, catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout.strip() == str(tmp_path / "focus.png")
    picture = Image.open(tmp_path / "focus.png").convert("RGB")
    assert picture.width == round(2 * SIDE_IN * DPI)  # response and bev
    bright = [picture.crop((x, 40, x + 300, picture.height - 40)).getextrema() for x in (0, 312)]
    assert all(red[1] > 200 for red, _, _ in bright)


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(UserError, match="no term taps a map"):
        draw_focus([], tmp_path / "focus.png")
    assert not list(tmp_path.iterdir())
