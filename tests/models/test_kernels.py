"""Sparse kernels of spconv 1, mmcv and spconv 2, and the checkpoints that hold them."""

import pytest
import torch
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint

from kd3d.core.portable import student_state
from kd3d.engine.export import export_state
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.models.inherit.graph import Block, Layer
from kd3d.models.inherit.slicing import Slicer
from kd3d.models.kernels import AXES, arranged, canonical, converted, layout_of, sparse_layout
from kd3d.models.source import build_detector, load_weights
from tests.models.sparse import second

register_all()
KERNEL = (3, 2, 1)


def test_layouts_convert_both_ways_like_loops():
    rsck = torch.rand(*KERNEL, 4, 5)
    krsc = converted(rsck, "RSCK", "KRSC")
    assert krsc.shape == (5, *KERNEL, 4)
    for o in range(5):
        for i in range(4):
            assert torch.equal(krsc[o, ..., i], rsck[..., i, o])
    assert torch.equal(converted(krsc, "KRSC", "RSCK"), rsck)
    for layout in AXES:
        weight = torch.rand(2, 3) if layout == "linear" else torch.rand(2, 3, 4, 5, 6)
        assert torch.equal(arranged(canonical(weight, layout), layout), weight)


def test_layouts_are_told_from_shapes_or_said_to_be_ambiguous():
    assert sparse_layout((5, *KERNEL, 4), 4, 5, KERNEL) == "KRSC"
    assert sparse_layout((*KERNEL, 4, 5), 4, 5, KERNEL) == "RSCK"
    assert sparse_layout((4, 3, 3, 3, 4), 4, 4, (3, 3, 3)) == "KRSC"
    cube = (3,) * 5
    assert sparse_layout(cube, 3, 3, cube[:3], "spconv") == "KRSC"
    assert sparse_layout(cube, 3, 3, cube[:3], "mmcv") == "RSCK"
    with pytest.raises(UserError, match="may be KRSC or RSCK"):
        sparse_layout(cube, 3, 3, cube[:3])
    with pytest.raises(UserError, match="neither KRSC nor RSCK"):
        sparse_layout((4, *KERNEL, 5), 4, 5, KERNEL)
    with pytest.raises(UserError, match="grouped"):
        layout_of(torch.nn.Conv2d(4, 4, 3, groups=2))


@pytest.mark.parametrize("teacher", ["KRSC", "RSCK"])
@pytest.mark.parametrize("student", ["KRSC", "RSCK"])
@pytest.mark.parametrize("strategy", ["FNAV2", "OFA"])
def test_slices_are_the_same_in_both_layouts(teacher, student, strategy):
    def layers(layout, middle, width):
        first = Layer("m.0", "m.0", layout, middle, (Block(None, 4),))
        return {"m.0": first, "m.1": Layer("m.1", "m.1", layout, width, (Block("m.0", middle),))}

    torch.manual_seed(0)
    wide = {"m.0.weight": torch.rand(8, *KERNEL, 4), "m.1.weight": torch.rand(10, *KERNEL, 8)}
    narrow = {"m.0.weight": torch.zeros(4, *KERNEL, 4), "m.1.weight": torch.zeros(5, *KERNEL, 4)}

    def run(theirs, mine):
        state = {key: converted(value, "KRSC", theirs) for key, value in wide.items()}
        like = {key: converted(value, "KRSC", mine) for key, value in narrow.items()}
        return Slicer(layers(mine, 4, 5), layers(theirs, 8, 10), state, like, strategy).result

    expected = run("KRSC", "KRSC")
    for key, value in run(teacher, student).items():
        assert torch.equal(converted(value, student, "KRSC"), expected[key])


def test_sparse_checkpoints_load_in_either_layout(tmp_path):
    """Also without metadata, from which mmdet3d takes every kernel for one of spconv 1."""
    torch.manual_seed(0)
    stock = build_detector(second())
    state = stock.state_dict()
    kernels = [key for key, value in state.items() if value.ndim == 5]
    assert kernels
    old = {k: converted(v, "KRSC", "RSCK") if k in kernels else v for k, v in state.items()}
    for name, saved in (("new", state), ("plain", dict(state)), ("old", old)):
        torch.save(saved, tmp_path / f"{name}.pth")
        other = build_detector(second())
        load_weights(other, tmp_path / f"{name}.pth")
        loaded = other.state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in state.items()), name


def test_a_sparse_student_is_saved_resumed_and_exported(tmp_path):
    """The distiller's own state, the student's and an average's file; stock mmengine loads them."""
    torch.manual_seed(0)
    from mmengine.config import Config

    teachers = dict(mean=dict(type="EMA"))
    model = dict(type="Distiller", student=second(), teachers=teachers)
    trained, resumed = MODELS.build(model), MODELS.build(model)
    trained.teachers["mean"].after_step(trained.student, 0.0)
    state = trained.state_dict()
    torch.save(state, tmp_path / "epoch_1.pth")
    load_checkpoint(resumed, str(tmp_path / "epoch_1.pth"), strict=True)
    expected = trained.student.state_dict()
    for got in (resumed.student.state_dict(), student_state(resumed.state_dict())):
        assert all(torch.equal(got[key], value) for key, value in expected.items())
    mean = resumed.teachers["mean"].model.state_dict()
    average = trained.teachers["mean"].model.state_dict()
    assert all(torch.equal(mean[key], value) for key, value in average.items())
    export_state(state, Config(dict(model=model, work_dir=str(tmp_path))))
    for name, weights in (("student", expected), ("mean", average)):
        stock = build_detector(second())
        load_checkpoint(stock, str(tmp_path / f"{name}.pth"), strict=True)
        loaded = stock.state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in weights.items()), name
