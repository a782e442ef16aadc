"""A tiny distillation whose teacher can be cached: random weights, three frames, pasted cars."""

import json
from pathlib import Path

import torch

from kd3d.engine.runner import load_config
from kd3d.models.source import build_detector
from tests.engine.tiny import DISTILLED, QUICK

OPTIONS = [
    *QUICK,
    "seeded_data=True",
    "train_dataloader.batch_size=2",
    "train_dataloader.drop_last=False",
    "train_dataloader.num_workers=0",
]


def make_teacher(path: Path, seed: int = 0) -> Path:
    """Write weights of the demo's teacher, random but with confident cells."""
    torch.manual_seed(seed)
    model = build_detector(dict(config="kd3d::demo/teacher.py"))
    model.init_weights()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = 0.3 * parameter.abs().mean() + 0.02
            parameter.add_(noise * torch.randn_like(parameter))
            if name.endswith("heatmap.1.bias"):
                parameter.add_(1.5)
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def cached_config(kitti: Path, teacher: Path, store: object, work: Path, *options: str, **cached):
    """Return the config of a run with response and fitnets from a cached teacher, and pasting."""
    config = live_config(kitti, teacher, work, *options)
    config.model.teachers.teacher.update(dict(type="Cached", store=str(store), **cached))
    return config


def live_config(kitti: Path, teacher: Path, work: Path, *options: str):
    """Return the same with the live teacher."""
    weights = f"model.teachers.teacher.checkpoint={teacher}"
    own = [*OPTIONS, weights, "model.teachers.teacher.allow_uncertified=True", *options]
    config = load_config(DISTILLED, own, str(work), kitti)
    config.model.teachers.teacher.allow_uncertified = True
    sampler = dict(
        type="ObjectDatabase",
        data_root=config.data_root,
        info_path=f"{config.data_root}kitti_dbinfos_train.pkl",
        rate=1.0,
        prepare=dict(filter_by_min_points=dict(Car=1)),
        classes=list(config.class_names),
        sample_groups=dict(Car=4, Cyclist=2),
        points_loader=dict(
            type="LoadPointsFromFile", coord_type="LIDAR", load_dim=4, use_dim=[0, 1, 2, 3]
        ),
    )
    pipeline = config.train_dataloader.dataset.pipeline
    pipeline.insert(2, dict(type="ObjectSample", db_sampler=sampler))
    pipeline.insert(-2, dict(type="PointShuffle"))
    return config


def without_pasting(config):
    """Remove pasting, for canonical stores."""
    dataset = config.train_dataloader.dataset
    dataset.pipeline = [s for s in dataset.pipeline if s["type"] != "ObjectSample"]
    return config


def losses(work: Path) -> list[dict[str, float]]:
    """Return what a run logged, step by step."""
    (path,) = work.glob("*/vis_data/scalars.json")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in row.items() if "loss" in k} for row in rows if "loss" in row]
