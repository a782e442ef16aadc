"""What a person may name when they mean a trained model."""

import pytest

from kd3d.engine.run_folder import find_run
from kd3d.errors import UserError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "student.pth").write_bytes(b"x")
    return tmp_path


def add(folder, *names):
    for name in names:
        (folder / name).write_text("model = dict(type='X')")


def test_a_folders_config_is_found(folder):
    with pytest.raises(UserError, match="no config in it"):
        find_run(folder)
    add(folder, "student_config.py")
    assert find_run(folder)[0].name == "student_config.py"
    add(folder, "baseline.py", "peer_config.py")
    assert find_run(folder) == (folder / "baseline.py", folder / "student.pth")
    add(folder, "other.py")
    with pytest.raises(UserError, match=r"several configs \(baseline.py, other.py\)"):
        find_run(folder)
    add(folder, "config.py")
    assert find_run(folder)[0].name == "config.py"


def test_weights_are_the_folders_or_the_given_ones(folder):
    add(folder, "config.py")
    (folder / "epoch_2.pth").write_bytes(b"y")
    assert find_run(folder, folder / "epoch_2.pth")[1].name == "epoch_2.pth"
    assert find_run(folder / "config.py", folder / "epoch_2.pth")[0].name == "config.py"
    with pytest.raises(UserError, match="weights are missing"):
        find_run(folder / "config.py")
    with pytest.raises(UserError, match="no such config"):
        find_run(folder / "none.py", folder / "student.pth")
    (folder / "student.pth").unlink()
    with pytest.raises(UserError, match=r"student\.pth: file not found"):
        find_run(folder)
