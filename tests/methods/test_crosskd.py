"""Cross-head distillation: through a teacher's head, in metres, finite at the edges."""

import pytest
import torch
from torch import nn

from kd3d.core.context import Context
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec, LevelsSpec
from kd3d.engine.contract import build
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.losses.box.residual import residual_smooth_l1
from kd3d.losses.logit.quality_focal import quality_focal

register_all()
FINE, COARSE = (0.0, 0.0, 8.0, 6.0), (0.0, 0.0, 4.0, 6.0)
EMPTY = Context([torch.zeros(0, 7)] * 2, [torch.zeros(0).long()] * 2, {}, 0.0)


class Detector(nn.Module):
    """A neck's map and two predictors on it, one anchor of two classes."""

    def __init__(self, channels=5):
        super().__init__()
        torch.manual_seed(3)
        self.bbox_head, self.neck = nn.Module(), nn.Identity()
        self.bbox_head.conv_cls = nn.Conv2d(channels, 2, 1)
        self.bbox_head.conv_reg = nn.Conv2d(channels, 7, 1)

    def crossed(self, feature):
        head = self.bbox_head
        return [head.conv_cls(feature)], [head.conv_reg(feature)], [None]

    @torch.no_grad()
    def heads(self, feature):
        return self.crossed(feature)


def sides(shape, extent, channels):
    feature = FeatureSpec(channels, "map", shape, extent)
    return LevelsSpec.of([feature, FeatureSpec(2, "anchor_head", shape, extent)])


def make(student, teacher, detector, **options):
    torch.manual_seed(0)
    config = METHODS.get("crosskd")(**options)[0]
    term = TERMS.get(config.pop("type"))(**config)
    term.attach(lambda: detector, lambda: None)
    term.build(student, teacher)
    return term


def rows(maps, size):
    return maps.permute(0, 2, 3, 1).reshape(-1, size)


@pytest.mark.parametrize("official", [False, True])
def test_loss_is_that_of_the_crossed_prediction(official):
    detector = Detector()
    term = make(sides((3, 4), FINE, 4), sides((3, 4), FINE, 5), detector, official_parity=official)
    student, teacher = torch.randn(2, 4, 3, 4, requires_grad=True), torch.randn(2, 5, 3, 4)
    head = detector.heads(teacher)
    value = term([student, None], [teacher, head], EMPTY)
    value.backward()
    grad, student.grad = student.grad, None

    wide = term.adapters[0](student)
    pick = (0, 2, 3)
    aligned = (wide - wide.mean(pick, True)) / (wide.std(pick, keepdim=True) + 1e-6)
    aligned = aligned * (teacher.std(pick, keepdim=True) + 1e-6) + teacher.mean(pick, True)
    ours, theirs = detector.crossed(aligned), head
    s, t = rows(ours[0][0], 2), rows(theirs[0][0], 2)
    scores = quality_focal(s, t.sigmoid(), 1.0).sum(-1)
    sure, seen = t.sigmoid().amax(-1), s.detach().sigmoid().amax(-1)
    scores = scores.sum() if official else (scores * torch.maximum(sure, seen)).sum() / sure.sum()
    boxes = residual_smooth_l1(rows(ours[1][0], 7), rows(theirs[1][0], 7))
    want = scores + 0.25 * (boxes * sure).sum() / sure.sum()
    torch.testing.assert_close(value, want)
    want.backward()
    torch.testing.assert_close(grad, student.grad)


def test_an_equal_student_has_no_loss_and_the_head_stays_as_it_is():
    detector = Detector()
    term = make(sides((3, 4), FINE, 5), sides((3, 4), FINE, 5), detector)
    feature = torch.randn(2, 5, 3, 4, requires_grad=True)
    value = term([feature, None], [feature.detach(), detector.heads(feature.detach())], EMPTY)
    assert value < 1e-6
    value.backward()
    assert all(p.grad is None for p in detector.parameters())
    assert not list(term.parameters())
    assert all(key.startswith("adapters") for key in term.state_dict())


def test_student_is_read_at_the_teachers_cells_and_counts_where_it_sees():
    detector = Detector()
    coarse, fine = sides((3, 4), COARSE, 5), sides((6, 16), FINE, 5)
    term = make(coarse, fine, detector)
    student = torch.randn(2, 5, 3, 4, requires_grad=True)
    values = []
    for far in (0.0, 9.0):  # beyond 4 m, which the student does not see
        torch.manual_seed(1)
        teacher = torch.randn(2, 5, 6, 16)
        teacher[..., 8:] += far
        values.append(term([student, None], [teacher, detector.heads(teacher)], EMPTY))
    torch.testing.assert_close(values[0], values[1])
    values[0].backward()
    assert torch.isfinite(student.grad).all()
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize("official", [False, True])
def test_a_single_cell_and_a_constant_map_are_finite(official):
    detector = Detector()
    for shape, samples in (((1, 1), 1), ((3, 4), 2)):
        spec = sides(shape, FINE, 5)
        term = make(spec, spec, detector, official_parity=official)
        student = torch.ones(samples, 5, *shape, requires_grad=True)
        teacher = torch.randn(samples, 5, *shape)
        value = term([student, None], [teacher, detector.heads(teacher)], EMPTY)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(student.grad).all()


def test_what_cannot_be_crossed_is_refused():
    spec = sides((3, 4), FINE, 5)
    with pytest.raises(UserError, match="unknown cross"):
        METHODS.get("crosskd")(cross="everywhere")
    with pytest.raises(UserError, match="has none"):
        make(spec, spec, None)
    two = LevelsSpec.of([spec.each[0], *spec.each])
    with pytest.raises(UserError, match="2 branches, the teacher's 1"):
        make(two, spec, Detector())


def test_a_member_of_an_ensemble_lends_its_head_and_the_ensemble_has_none():
    from kd3d.core.distiller import Distiller
    from kd3d.models.tiny import centerpoint

    members = {name: dict(checkpoint=None, model=centerpoint()) for name in ("first", "second")}
    teachers = dict(both=dict(type="Ensemble", members=members))
    with pytest.raises(UserError, match="has none"):
        Distiller(centerpoint(), teachers, dict(type="crosskd", teacher="both"))
    config = METHODS.get("crosskd")(teacher="both")[0]
    config["teacher"] = config["teacher"].replace("both:", "both:second/")
    model = Distiller(centerpoint(), teachers, terms=[config])
    assert model.terms["crosskd"].detector() is model.teachers["both"].members["second"].model


def test_copies_share_the_teacher_and_no_state_holds_it():
    import copy

    model = build(dict(type="crosskd"), "centerpoint")
    other = copy.deepcopy(model)
    assert other.terms["crosskd"].detector() is model.teachers["teacher"].model
    own = [key for key in model.state_dict() if key.startswith("kd.")]
    assert own == ["kd.terms.crosskd.adapters.0.weight", "kd.terms.crosskd.adapters.0.bias"]
