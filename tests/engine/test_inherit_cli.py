"""A student that inherits, through the command line: trained, stopped, resumed and recorded."""

import json
import sys

import pytest
import torch

from kd3d.cli import main as cli
from kd3d.engine import experiment
from kd3d.engine.hooks import ProgressHook
from tests.engine.tiny import DEMO, TEACHER, failure, prepared, run, train, words

STEPS = [
    "train_cfg.max_epochs=2",
    "param_scheduler.total_steps=2",
    "default_hooks.checkpoint.interval=1",
    "train_dataloader.batch_size=1",
    "seeded_data=True",
]
STILL = ["optim_wrapper.optimizer.lr=1e-12", "param_scheduler.eta_max=1e-11"]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    root = tmp_path_factory.mktemp("job")
    run(train(prepared(root / "kitti"), root / "teacher"))
    return root


def config(root, name, inherit):
    path = root / f"{name}.py"
    base = str(DEMO / "baseline.py")
    path.write_text(f"_base_ = {base!r}\nmodel = dict(inherit={inherit})\n")
    return path


def weights(folder):
    return torch.load(folder / "student.pth", weights_only=True)["state_dict"]


def test_inherits_once_and_resumes_without_the_teacher(job, monkeypatch):
    """The narrow student begins as its teacher's slices; a resumed training never reads them."""
    theirs = job / "teacher/student.pth"
    source = f"dict(config={str(TEACHER)!r}, checkpoint={str(theirs)!r}, allow_uncertified=True)"
    made = config(job, "inherit", f"dict(type='OFA', teacher={source})")
    data = ("--data-root", job / "kitti", "--work-dir")
    straight = experiment.run_config(
        str(made), job / "straight", job / "kitti", 0, [*STEPS, *STILL]
    )
    experiment.train_run(straight)
    teacher, ended = weights(job / "teacher"), weights(job / "straight")
    wide = teacher["pts_backbone.blocks.0.0.weight"].flatten(2)
    for filters in ended["pts_backbone.blocks.0.0.weight"].flatten(2):
        near = [(filters[:, None] - one[None]).abs().sum(-1).min(1).values.max() for one in wide]
        assert min(near) < 1e-6
    (note,) = json.loads((job / "straight/inherited.json").read_text())
    assert (note["type"], note["from"], note["checkpoint"]) == ("OFA", str(TEACHER), str(theirs))
    assert note["parameters"] == note["of"]
    experiment.test_run(straight)
    record = experiment.record_run(
        straight, "distilled", None, dict(root="kitti", simulated=True, split="val")
    )
    assert record.extra["inherited"] == {k: v for k, v in note.items() if k != "channels"}

    options = [*STEPS, *STILL, "randomness.seed=0"]
    arguments = words("train", made, *data, job / "resumed", options=options)
    steps = ProgressHook.before_train_iter

    def stop(self, runner, batch_idx, data_batch=None):
        if (runner.epoch, batch_idx) == (1, 1):
            raise KeyboardInterrupt
        steps(self, runner, batch_idx, data_batch)

    with monkeypatch.context() as patch:
        patch.setattr(ProgressHook, "before_train_iter", stop)
        patch.setattr(sys, "argv", ["kd3d", *map(str, arguments)])
        with pytest.raises(SystemExit):
            cli.main()
    written = (job / "resumed/inherited.json").read_bytes()
    theirs.rename(job / "moved.pth")
    run([*arguments, "--resume"])
    (job / "moved.pth").rename(theirs)
    resumed = weights(job / "resumed")
    assert not [key for key, value in ended.items() if not torch.equal(value, resumed[key])]
    assert (job / "resumed/inherited.json").read_bytes() == written


def test_two_origins_of_the_weights_are_refused(job):
    made = config(job, "twice", "dict(type='FNAV2', teacher=dict(checkpoint=None))")
    data = ("--data-root", job / "kitti", "--work-dir", job / "twice")
    line = failure(words("train", made, *data, options=[*STEPS, "load_from=some.pth"]))
    assert "load_from=some.pth would overwrite what the student inherits" in line
