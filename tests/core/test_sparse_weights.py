"""Weights of spconv's layers survive saving, export and loading, although metadata say how."""

import pytest
import torch
from mmengine.runner.checkpoint import load_checkpoint, save_checkpoint

from kd3d.core.distiller import Distiller
from kd3d.core.portable import TEACHER_PREFIX, state_under, student_state
from kd3d.models.shrink import shrink_model
from kd3d.models.source import build_detector, load_weights
from tests.models import families

SECOND = shrink_model(families.small("second"), width=0.25, depth=0.34)
KEY = "middle_encoder.conv_input.0.weight"


def distiller(seed):
    torch.manual_seed(seed)
    model = Distiller(SECOND, dict(teacher=dict(type="EMA")), dict(type="response"))
    model.init_weights()
    return model


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def stock(seed=5):
    torch.manual_seed(seed)
    return build_detector(SECOND)


def test_a_distiller_with_an_average_resumes(tmp_path):
    model, other = distiller(0), distiller(1)
    model.teachers["teacher"].updates = 3
    save_checkpoint({"state_dict": model.state_dict()}, str(tmp_path / "all.pth"))
    load_checkpoint(other, str(tmp_path / "all.pth"), strict=True)
    assert same(model.state_dict(), other.state_dict())
    assert other.teachers["teacher"].updates == 3


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_what_is_exported_loads_in_the_stock_detector(name, tmp_path):
    state = distiller(0).state_dict()
    weights = student_state(state)
    if name == "teacher":
        weights = state_under(state, f"{TEACHER_PREFIX}teacher.")
        weights.pop("updates")
    torch.save({"state_dict": weights}, tmp_path / "one.pth")
    for load in (load_weights, lambda m, path: load_checkpoint(m, str(path), strict=True)):
        model = stock()
        load(model, tmp_path / "one.pth")
        assert same(model.state_dict(), weights)


@pytest.mark.parametrize("layout", ["no metadata", "spconv 1"])
def test_weights_of_other_hands_are_recognised_by_shape(layout, tmp_path):
    whole = stock(0).state_dict()
    state = dict(whole)
    if layout == "spconv 1":
        state = {
            k: v.permute(1, 2, 3, 4, 0) if k.startswith("middle") and v.dim() == 5 else v
            for k, v in state.items()
        }
        assert state[KEY].shape != whole[KEY].shape
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    model = stock()
    load_weights(model, tmp_path / "other.pth")
    assert same(model.state_dict(), whole)
