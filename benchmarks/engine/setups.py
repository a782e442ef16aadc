"""The models, methods and frames that the benchmarks run on."""

from __future__ import annotations

import contextlib
import copy
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd3d.errors import UserError, did_you_mean

# Stock KITTI detectors of mmdet3d.
DETECTORS: dict[str, dict[str, Any]] = {
    "pointpillars": dict(
        config="mmdet3d::pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py"
    ),
    "second": dict(config="mmdet3d::second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py"),
}
STUDENT_WIDTH = 0.5
# PointDistiller at the paper's sizes: 6000 pillars, or 256 cells a sample, with 128 neighbours.
METHODS: dict[str, dict[str, dict[str, Any]]] = {
    "fitnets": {name: dict(type="fitnets") for name in DETECTORS},
    "response": {name: dict(type="response") for name in DETECTORS},
    "pointdistiller": {
        "pointpillars": dict(type="pointdistiller", variant="voxel", queries=6000, neighbours=128),
        "second": dict(type="pointdistiller", variant="bev", queries=256, neighbours=128),
    },
}
BOUNDS = {"fitnets": 1.05, "response": 1.05, "pointdistiller": 1.10}
# Samples a step. PointDistiller's 6000 pillars are those of a batch, so its size is the stock one.
BATCH = {"fitnets": 2, "response": 2, "pointdistiller": 6}


def check_names(kind: str, names: list[str], known: Any) -> None:
    """Refuse a name that is not among `known`."""
    for name in names:
        if name not in known:
            raise UserError(f"unknown {kind} {name!r}", f"--{kind}", did_you_mean(name, known))


def register() -> None:
    """Fill the registries and quieten mmengine's log."""
    from mmdet3d.utils import register_all_modules
    from mmengine.logging import MMLogger

    from kd3d.engine.register import register_all

    register_all_modules(init_default_scope=False)
    register_all()
    MMLogger.get_instance("mmengine", log_level="ERROR").setLevel(logging.ERROR)


@contextlib.contextmanager
def prepared_data(folder: str | None, frames: int, seed: int) -> Iterator[Path]:
    """Yield a prepared KITTI folder: the given one, or simulated frames in a temporary folder."""
    from kd3d.data.kitti_prepare import prepare_kitti
    from kd3d.simulation.kitti import simulate_kitti

    if folder is not None:
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="kd3d-bench-") as made:
        simulate_kitti(made, frames, seed=seed, val_share=0.0)
        prepare_kitti(made, pictures=False)
        yield Path(made)


def batches(data_root: Path, size: int, count: int, seed: int) -> list[dict[str, Any]]:
    """Load collated, augmented training batches, as in training on KITTI.

    Args:
        data_root: A prepared KITTI folder.
        size: Samples a batch.
        count: Batches; frames are used again where there are too few.
        seed: Of augmentation and order.
    """
    import numpy as np
    from mmengine.config import Config
    from mmengine.dataset import pseudo_collate
    from mmengine.registry import DATASETS

    from kd3d.engine.runner import set_data_root
    from kd3d.models.source import config_path

    config = Config.fromfile(config_path("kd3d::_base_/datasets/kitti-3d-3class.py"))
    set_data_root(config, data_root)
    part = config.train_dataloader.dataset
    with DATASETS.switch_scope_and_registry("mmdet3d") as registry:
        dataset = registry.build(part.dataset if "dataset" in part else part)
    np.random.seed(seed)
    order = np.random.default_rng(seed).permutation(len(dataset))
    chosen = [int(order[i % len(dataset)]) for i in range(size * count)]
    samples = [dataset[i] for i in chosen]
    return [pseudo_collate(samples[i * size : (i + 1) * size]) for i in range(count)]


def distiller(detector: str, method: str | None, seed: int) -> Any:
    """Build the student, half as wide as stock, alone or with the stock detector as its teacher.

    The teacher's weights are random, which cost the same as trained ones. One of its anchors a cell
    is confident everywhere, so that the work on confident anchors counts, more than for a trained
    teacher.

    Args:
        detector: A name of `DETECTORS`.
        method: A name of `METHODS`, or None for the student alone.
        seed: Of the student's weights, the same with and without teacher.
    """
    from kd3d.core.distiller import Distiller

    torch.manual_seed(seed)
    student = dict(DETECTORS[detector], shrink=dict(width=STUDENT_WIDTH))
    if method is None:
        return ready(Distiller(student), seed)
    teachers = dict(teacher=dict(type="Frozen", checkpoint=None, **DETECTORS[detector]))
    model = Distiller(student, teachers, copy.deepcopy(METHODS[method][detector]))
    model.teachers["teacher"].model.bbox_head.conv_cls.bias.data[0] = 0.0
    return ready(model, seed)


def stock(detector: str, seed: int) -> Any:
    """Build the same student as a plain mmdet3d detector."""
    from kd3d.models.source import build_detector

    torch.manual_seed(seed)
    student = dict(DETECTORS[detector], shrink=dict(width=STUDENT_WIDTH))
    return ready(build_detector(student), seed)


def ready(model: Any, seed: int) -> Any:
    """Initialise a model, move it to the GPU where there is one, and set it to training."""
    torch.manual_seed(seed)
    model.init_weights()
    if torch.cuda.is_available():
        model = model.to("cuda")
    return model.train()


class Trainer:
    """A model with its optimizer, stepping as mmengine's loop does."""

    def __init__(self, model: nn.Module) -> None:
        from mmengine.optim import OptimWrapper

        weights = [p for p in model.parameters() if p.requires_grad]
        self.model: Any = model
        self.optimizer = OptimWrapper(
            torch.optim.AdamW(weights, lr=1e-5), clip_grad=dict(max_norm=35.0)
        )

    def step(self, batch: dict[str, Any]) -> None:
        """Preprocess, forward, losses, backward, optimizer step."""
        self.model.train_step(batch, self.optimizer)
