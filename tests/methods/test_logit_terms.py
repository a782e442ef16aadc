"""Terms on head outputs and on peaks of a map: which rows count, other grids, refusals."""

import pytest
import torch

from kd3d.core.context import Context
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.losses.logit.soft_labels import sigmoid_kl, softmax_kl
from kd3d.losses.logit.target_class import decoupled_kl
from kd3d.methods.crd import at, peaks
from tests.losses.test_losses import rand

register_all()
EXTENT = (0.0, 0.0, 4.0, 3.0)
CAR = torch.tensor([[2.5, 1.5, 0.0, 0.8, 0.8, 1.0, 0.0]])  # in cell (row 1, column 2)


def spec(shape=(3, 4), layout="center_head", channels=3):
    return FeatureSpec(channels, layout, shape, EXTENT)


def make(method, teacher_shape=(3, 4), **options):
    config = METHODS.get(method)(**options)[0]
    term = TERMS.get(config.pop("type"))(**config)
    term.build(spec(), spec(teacher_shape))
    return term


def head(seed, shape=(3, 4), classes=3):
    sizes = {"heatmap": classes, "reg": 2, "height": 1, "dim": 3, "rot": 2}
    maps = {k: rand(2, c, *shape, seed=seed + i).float() for i, (k, c) in enumerate(sizes.items())}
    return [[maps]]


def context(weights=None):
    boxes, labels = [CAR, torch.zeros(0, 7)], [torch.tensor([1]), torch.zeros(0).long()]
    return Context(boxes, labels, {}, 0.0, {"teacher:head": weights} if weights is not None else {})


def test_rows_count_by_the_larger_score_over_the_teachers_sum():
    ours, theirs = head(0), head(9)
    s, t = (h[0][0]["heatmap"].flatten(2).transpose(1, 2) for h in (ours, theirs))
    weight = torch.maximum(s.sigmoid().amax(-1), t.sigmoid().amax(-1))
    value = sigmoid_kl(s, t, 2.0).sum(-1) * weight
    total = t.sigmoid().amax(-1).sum()
    torch.testing.assert_close(make("kd")(ours, theirs, context()), value.sum() / total)
    first_only = make("kd")(ours, theirs, context(torch.tensor([1.0, 0.0])))
    torch.testing.assert_close(first_only, value[0].sum() / total)
    alike = make("kd", positions="all", form="classes")(ours, theirs, context())
    torch.testing.assert_close(alike, softmax_kl(s, t, 2.0).mean())


def test_published_decoupling_reads_the_rows_of_objects():
    ours, theirs = head(0), head(9)
    value = make("dkd", official_parity=True)(ours, theirs, context())
    s, t = (h[0][0]["heatmap"].permute(0, 2, 3, 1) for h in (ours, theirs))
    # radius 2: the centre and its four neighbours have a value above 0.3
    cells = [(0, 1, 2), (0, 0, 2), (0, 2, 2), (0, 1, 1), (0, 1, 3)]
    want = [decoupled_kl(s[c], t[c], torch.tensor(1)) for c in cells]
    torch.testing.assert_close(value, torch.stack(want).mean())
    free = make("dkd", target="teacher")
    empty = Context([torch.zeros(0, 7)] * 2, [torch.zeros(0).long()] * 2, {}, 0.0)
    torch.testing.assert_close(free(ours, theirs, empty), free(ours, theirs, context()))


@pytest.mark.parametrize("method", ["kd", "dkd", "nkd", "wsld", "dist"])
def test_a_finer_teacher_is_read_at_the_students_cells(method):
    ours = head(0)
    coarse = head(9)[0][0]["heatmap"]
    fine = [[{"heatmap": coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)}]]
    fine_value = make(method, (6, 8))(ours, fine, context())
    plain = make(method)(ours, [[{"heatmap": coarse}]], context())
    torch.testing.assert_close(fine_value, plain, rtol=1e-4, atol=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="other grids"):
        make("ld", (6, 8))
    with pytest.raises(UserError, match="same classes"):
        make("kd")(head(0), head(0, classes=2), context())
    with pytest.raises(UserError, match="nothing to compete"):
        make("kd", official_parity=True)(head(0, classes=1), head(1, classes=1), context())
    for options in (dict(form="logistic"), dict(positions="some")):
        with pytest.raises(UserError, match="unknown"):
            make("kd", **options)
    with pytest.raises(UserError, match="target"):
        make("dkd", target="student")
    term = TERMS.get("SoftLabelTerm")("kd", "student:head", "teacher:head")
    with pytest.raises(UserError, match="two centre heads or two anchor heads"):
        term.build(spec(), spec(layout="anchor_head"))


def test_peaks_are_maxima_and_rows_are_their_features():
    feature = torch.zeros(1, 2, 4, 5)
    feature[0, :, 1, 1], feature[0, :, 1, 2], feature[0, :, 3, 4] = 3.0, 2.9, 1.0
    assert peaks(feature, 2)[0].tolist() == [6, 19]  # the neighbour of the first is no maximum
    assert peaks(feature, 99).shape == (1, 20)
    valid = torch.ones(1, 1, 4, 5)
    valid[..., 1, 1] = 0
    assert 6 not in peaks(feature, 19, valid)[0].tolist()
    assert at(feature, torch.tensor([[6, 19]])).tolist() == [[3.0, 3.0], [1.0, 1.0]]


@pytest.mark.parametrize("method", ["crd", "vid"])
@pytest.mark.parametrize("official", [False, True])
def test_feature_methods_take_other_channels_and_grids(method, official):
    config = METHODS.get(method)(official_parity=official)[0]
    term = TERMS.get(config.pop("type"))(**config)
    term.build(spec((3, 4), "map", 5), spec((6, 8), "map", 7))
    student = rand(2, 5, 3, 4).requires_grad_()
    value = term(student, rand(2, 7, 6, 8, seed=1), context())
    value.backward()
    assert torch.isfinite(value)
    assert student.grad.abs().sum() > 0
    assert all(p.grad is not None for p in term.parameters())
