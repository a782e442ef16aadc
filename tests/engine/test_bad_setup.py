"""Bad configs, options and weights, and a full disk, end in one clear line."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.fileio import LocalBackend

from tests.engine.tiny import DISTILLED, TEACHER, failure, prepared, run, train, words


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Data and a trained teacher."""
    root = tmp_path_factory.mktemp("job")
    prepared(root / "kitti")
    run(train(root / "kitti", root / "teacher"))
    return root


WEIGHTS = "model.teachers.teacher.checkpoint="


def distil(job, work, *options):
    weights = WEIGHTS + str(job / "teacher/student.pth")
    return train(job / "kitti", work, weights, *options, config=DISTILLED)


@pytest.mark.parametrize(
    "option, message",
    [
        (WEIGHTS + "/nowhere.pth", "/nowhere.pth: file not found"),
        ("model.teachers.teacher.config=mmdet3d::no.py", "mmdet3d::no.py: no such config"),
        ("model.teachers.teacher.shrink.width=0.5", "another architecture"),
        ("model.student.shrink.width=7", "width = 7"),
        ("model.student.colour=red", "colour"),
        ("model.method.0.type=respons", "did you mean 'response'"),
        ("model.method.1.tap=nek", "did you mean 'pts_neck'"),
        ("model.method.1.wight=2", "wight"),
        ("model.methods=1", "methods"),
        ("model.type=Distller", "Distller"),
        ("optim_wrapper.optimizer.rate=1", "rate"),
        ("train_dataloader.dataset.type=KitiDataset", "KitiDataset"),
        ("train_dataloader.dataset.pipeline.0.type=Load", "Load"),
        ("model.method.7.type=fitnets", "cannot set model.method.7.type"),
        ("lr", "'lr' is not key=value"),
        ("=1", "key=value"),
    ],
)
def test_mistakes_in_a_config_are_named(job, tmp_path, option, message):
    line = failure(distil(job, tmp_path / "work", option))
    assert message in line
    assert not list(tmp_path.rglob("*.pth"))


def test_broken_and_missing_configs_are_named(tmp_path):
    assert "no such config" in failure(words("train", tmp_path / "none.py", options=[]))
    for text, message in (
        ("model = dict(", "cannot be read"),
        ("_base_ = './none.py'", "none.py"),
        ("x = 1", "model"),
        ("model = dict(type='Distiller', student=undefined)", "undefined"),
        ("1 / 0", "division"),
    ):
        (tmp_path / "bad.py").write_text(text)
        assert message in failure(words("train", tmp_path / "bad.py", options=[]))


def test_weights_of_mmdet3d_before_1_0_are_refused(job, tmp_path):
    checkpoint = torch.load(job / "teacher/student.pth", weights_only=True)
    checkpoint["meta"]["mmdet3d_version"] = "0.17.3"
    torch.save(checkpoint, tmp_path / "old.pth")
    for line in (
        failure(distil(job, tmp_path / "work", WEIGHTS + str(tmp_path / "old.pth"))),
        failure(
            words(
                "test",
                TEACHER,
                tmp_path / "old.pth",
                "--data-root",
                job / "kitti",
                "--work-dir",
                tmp_path / "work",
                options=[],
            )
        ),
    ):
        assert "old.pth" in line
        assert "mmdet3d 0.17.3; before 1.0" in line


def full_disk(monkeypatch, name):
    """Let every write through mmengine to a file called like `name` fail half-way."""
    put = LocalBackend.put

    def half(self, data, path):
        if name not in str(path):
            return put(self, data, path)
        put(self, data[: len(data) // 2], path)
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(LocalBackend, "put", half)


def test_full_disk_keeps_the_last_checkpoint_and_training_goes_on(job, tmp_path, monkeypatch):
    work = tmp_path / "work"
    arguments = distil(job, work, "train_cfg.max_epochs=2", "param_scheduler.total_steps=2")
    with monkeypatch.context() as patch:
        full_disk(patch, "epoch_2")
        assert "the disk is full" in failure(arguments)
    assert [path.name for path in work.glob("*.pth")] == ["epoch_1.pth"]
    assert not list(work.glob(".*"))
    assert (work / "last_checkpoint").read_text() == str(work / "epoch_1.pth")
    run([*arguments, "--resume"])
    (log,) = [text for text in (p.read_text() for p in work.glob("*/*.log")) if "resumed" in text]
    assert "epoch: 1" in log
    assert (work / "student.pth").is_file()


def test_full_disk_at_the_export_leaves_no_student(job, tmp_path, monkeypatch):
    write = Path.write_bytes

    def half(path, data):
        write(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", half)
    assert "the disk is full" in failure(train(job / "kitti", tmp_path / "work"))
    assert not [path for path in (tmp_path / "work").iterdir() if "student" in path.name]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["train", "none.py"], "none.py: no such config"),
        (["train", TEACHER, "--cfg-options", "lr"], "--cfg-options: 'lr' is not key=value"),
        (["test", TEACHER, "none.pth", "--data-root", "nowhere"], "nowhere/kitti_infos_val.pkl"),
    ],
)
def test_program_prints_one_line_and_exits_with_2(arguments, message, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "kd3d.cli.main", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("kd3d: error: ")]
    assert message in line
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
