"""Labels from a cached teacher are those of the live one."""

import json

import pytest
import torch

from kd3d.cache.fill import fill
from kd3d.engine.runner import train
from tests.cache.tiny import cached_config, live_config, make_teacher
from tests.engine.tiny import prepared

torch.set_num_threads(1)


def labelled(config):
    """The teacher's boxes are labels, and the foreground of the feature term."""
    config.model.method = dict(type="fitnets")
    config.model.labels = dict(score=0.2, limit=5, terms=["bev"])
    config.train_cfg.max_epochs = 1
    return config


def scalars(work):
    (path,) = work.glob("*/vis_data/scalars.json")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [row for row in rows if "loss" in row]


@pytest.mark.slow
def test_losses_equal_those_of_live_labels(tmp_path):
    kitti = prepared(tmp_path / "kitti")
    teacher, store = make_teacher(tmp_path / "teacher.pth"), tmp_path / "store.zarr"
    config = labelled(cached_config(kitti, teacher, store, tmp_path / "fill"))
    (done,) = fill(config)
    assert done.records == 3
    train(labelled(cached_config(kitti, teacher, store, tmp_path / "cached")))
    train(labelled(live_config(kitti, teacher, tmp_path / "live")))
    cached, live = scalars(tmp_path / "cached"), scalars(tmp_path / "live")
    assert len(live) == len(cached) == 2
    for one, other in zip(live, cached):
        assert one["kd.labels.boxes"] == other["kd.labels.boxes"] > 0
        for key in ("task.task0.loss_heatmap", "task.task0.loss_bbox", "kd.bev.loss"):
            assert other[key] == pytest.approx(one[key], rel=1e-5, abs=1e-5), key
