"""A short training in a process of its own that is killed at a stated moment."""

import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from mmdet3d.utils import register_all_modules
from mmengine.config import Config
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from kd3d.engine import hooks as ours
from kd3d.engine import runner as runners
from kd3d.engine.register import register_all
from kd3d.engine.runner import set_data_root, train
from tests import toy
from tests.paths import ROOT

register_all_modules(init_default_scope=False)  # once, for all forks
register_all()
EPOCHS, STEPS = 3, 3


@dataclass
class Moment:
    """When the process dies.

    Attributes:
        kind: ``never``; ``time``: `value` seconds after the first step began; ``step``: before the
            step of this number; ``write``: with the share `value` of the next checkpoint written;
            ``named``: between a checkpoint's moving into place and `last_checkpoint`; ``export``:
            when ``student.pth`` is due.
        value: See `kind`.
    """

    kind: str = "never"
    value: float = 0.0


def config(kitti, work, workers=0, **changes):
    """A frozen teacher, an average as teacher, adapters, mmengine's EMA, pasting and dropout."""
    config = Config.fromfile(ROOT / "configs/_base_/datasets/kitti-3d-3class.py")
    config.merge_from_dict(Config.fromfile(ROOT / "configs/_base_/default_runtime.py").to_dict())
    set_data_root(config, kitti)
    pipeline = config.train_dataloader.dataset.dataset.pipeline
    for step in pipeline:
        if step["type"].endswith("RangeFilter"):
            step["point_cloud_range"] = toy.RANGE
    pipeline.insert(-1, dict(type="PadVelocity"))
    config.train_dataloader.update(
        batch_size=2, num_workers=workers, persistent_workers=workers > 0
    )
    for unused in ("val_dataloader", "val_evaluator", "test_dataloader", "test_evaluator"):
        config[unused] = None
    config.train_cfg = dict(by_epoch=True, max_epochs=EPOCHS)
    config.model = dict(
        type="Distiller",
        student=toy.centerpoint(),
        teachers=dict(
            teacher=dict(type="Frozen", checkpoint=None, model=toy.centerpoint(width=0.5)),
            average=dict(type="EMA"),
        ),
        method=[dict(type="response", scores=1.0), dict(type="fitnets")],
        terms=[dict(name="self", student="student:bev", teacher="average:bev",
                    weight=dict(type="linear", start=0.0, end=1.0))],
    )  # fmt: skip
    config.optim_wrapper = dict(
        type="OptimWrapper", optimizer=dict(type="AdamW", lr=1e-3), clip_grad=dict(max_norm=10)
    )
    config.param_scheduler = dict(
        type="OneCycleLR", eta_max=1e-3, total_steps=EPOCHS, by_epoch=True,
        convert_to_iter_based=True,
    )  # fmt: skip
    config.custom_hooks = [dict(type="EMAHook", momentum=0.1), dict(type="DropoutHook")]
    config.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=2)
    config.default_hooks.logger.interval = 1
    config.work_dir, config.quiet = str(work), "toy"
    config.merge_from_dict(changes)
    return config


@HOOKS.register_module()
class DropoutHook(Hook):
    """Give the student randomness of its own."""

    def before_run(self, runner):
        """Drop a tenth of the neck's output in training."""
        runner.model.student.pts_neck.register_forward_hook(
            lambda module, inputs, output: [
                torch.nn.functional.dropout(output[0], 0.1, module.training)
            ],
            prepend=True,
        )


def run(config, moment):
    """Train, or continue; the process may not survive it."""
    torch.set_num_threads(1)
    _prepare(moment)
    train(config, resume=True)


def _die():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def _prepare(moment):
    if moment.kind == "write":
        LocalBackend.put = lambda self, data, path: _die_writing(data, path, moment.value)
    elif moment.kind == "named":
        ours.write_text = lambda *_: _die()
    elif moment.kind == "export":
        runners.export_student = lambda *_: _die()
    elif moment.kind in ("time", "step"):
        steps = ours.ProgressHook.before_train_iter

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if moment.kind == "step" and runner.iter == moment.value:
                _die()
            if moment.kind == "time":
                threading.Timer(moment.value, _die).start()
                moment.kind = "under way"
            steps(self, runner, batch_idx, data_batch)

        ours.ProgressHook.before_train_iter = before_train_iter


def _die_writing(data, path, share):
    with open(path, "wb") as file:
        file.write(data[: int(len(data) * share)])
        file.flush()
        _die()


class Processes:
    """Forks from one clean process that has imported everything."""

    def __init__(self):
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["tests.engine.warm"])

    def train(self, config, moment=None):
        """Return the exit code: 0, or -9 when it was killed."""
        process = self.context.Process(target=run, args=(config, moment or Moment()))
        process.start()
        process.join(300)
        assert process.exitcode is not None, "still running"
        return process.exitcode


def result(work):
    """Return everything the training ended with, flat: name -> tensor or number."""
    found = {}
    for name in ("student.pth", f"epoch_{EPOCHS}.pth"):
        checkpoint = torch.load(Path(work) / name, weights_only=False)
        for part in ("state_dict", "ema_state_dict", "optimizer", "param_schedulers"):
            if part in checkpoint:
                _flatten(checkpoint[part], f"{name}:{part}", found)
    return found


def _flatten(value, name, found):
    if isinstance(value, dict):
        for key, item in value.items():
            _flatten(item, f"{name}.{key}", found)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            _flatten(item, f"{name}.{i}", found)
    elif isinstance(value, (torch.Tensor, int, float)):
        found[name] = torch.as_tensor(value)
