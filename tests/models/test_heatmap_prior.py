"""The prior of CenterHead's heat maps."""

import pytest
import torch
from mmengine.config import Config
from torch import nn

from kd3d.engine.export import export_state
from kd3d.engine.runner import load_config
from kd3d.errors import UserError
from kd3d.models.heatmap_prior import HeatmapPrior
from kd3d.models.source import build_detector, init_weights


def scores(prior):
    """Return the mean score of a new detector's heat maps on noise."""
    config = load_config("kd3d::_base_/models/centerpoint_pillar04_nusdemo.py").model
    if not prior:
        config.pop("init_cfg")
    torch.manual_seed(0)
    detector = build_detector({"model": config})
    init_weights(detector)
    (output,) = detector.pts_bbox_head([torch.randn(1, 96, 8, 8)])
    return output[0]["heatmap"].sigmoid().mean()


def test_new_heat_maps_begin_at_the_prior_which_stock_mmdet3d_leaves_out():
    assert 0.3 < scores(prior=False) < 0.7
    assert 0.05 < scores(prior=True) < 0.2


def test_an_exported_config_does_not_name_it(tmp_path):
    model = load_config("kd3d::_base_/models/centerpoint_pillar04_nusdemo.py").model
    distiller = dict(type="Distiller", student=dict(model=model))
    export_state({}, Config(dict(work_dir=str(tmp_path), model=distiller)))
    exported = Config.fromfile(tmp_path / "student_config.py").model
    assert model.pop("init_cfg") == dict(type="HeatmapPrior")
    assert exported == model


def test_detectors_without_such_a_head_are_refused():
    with pytest.raises(UserError, match="no SeparateHead"):
        HeatmapPrior()(nn.Linear(1, 1))
