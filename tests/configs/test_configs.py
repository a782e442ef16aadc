"""Every config in configs/ builds, trains and predicts on a made-up batch in its own range."""

import copy

import pytest
import torch
from mmdet3d.registry import DATASETS
from mmdet3d.utils import register_all_modules
from mmengine.registry import MODELS

from kd3d.engine.register import register_all
from kd3d.engine.runner import load_config, train
from kd3d.models.source import build_detector
from tests import toy
from tests.engine.tiny import prepared
from tests.paths import ROOT

register_all_modules(init_default_scope=False)
register_all()
FOLDER = ROOT / "configs"
NAMES = sorted(
    str(path.relative_to(FOLDER))
    for path in FOLDER.rglob("*.py")
    if not any(part.startswith("_") for part in path.relative_to(FOLDER).parts)
)
KITTI = ("pointpillars", "centerpoint-pillar")
LIGHT = [name for name in NAMES if not name.startswith("teachers/")]


def build(name):
    """The config's distiller; the teacher has random weights and graphs are small."""
    torch.manual_seed(0)
    model = load_config(FOLDER / name).model
    for teacher in (model.get("teachers") or {}).values():
        teacher.checkpoint = None
    if name.startswith("pointdistiller/"):
        model.method.update(queries=50, neighbours=8)
    return MODELS.build(model)


def batch_for(model, monkeypatch, seed):
    voxels = model.student.data_preprocessor.voxel_layer
    monkeypatch.setattr(toy, "RANGE", list(voxels.point_cloud_range))
    return toy.batch(samples=1, seed=seed, box_dim=9 if "Center" in type(model.student).__name__ else 7)


def parameters(name):
    return sum(p.numel() for p in build_detector(load_config(FOLDER / name).model.student).parameters())


@pytest.mark.parametrize("name", NAMES)
def test_config_trains_and_predicts(name, monkeypatch):
    model = build(name)
    if name.startswith("teachers/"):
        model.student.backbone_frozen = None  # placeholder
    model.init_weights()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
    before = copy.deepcopy(model.state_dict())
    for step in range(2):
        losses = toy.loss(model, batch_for(model, monkeypatch, step))
        assert all(torch.isfinite(v).all() for v in _flat(losses)), losses
        optimizer.zero_grad()
        toy.total(losses).backward()
        optimizer.step()
    assert any(key.startswith("kd.") for key in losses) == bool(model.terms)
    weights = [k for k, _ in model.student.named_parameters() if "vel" not in k]
    assert all(not torch.equal(before[k], model.state_dict()[k]) for k in weights if "bias" not in k)
    model.eval()
    data = model.data_preprocessor(batch_for(model, monkeypatch, 3), False)
    with torch.no_grad():
        found = model(**data, mode="predict")[0].pred_instances_3d
    assert len(found.bboxes_3d) == len(found.scores_3d)
