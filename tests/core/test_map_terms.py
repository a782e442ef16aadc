"""Terms on whole maps and on objects: other grids, weights per sample, refusals."""

import pytest
import torch

from kd3d.core.context import Context
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.engine.register import register_all
from kd3d.errors import UserError

register_all()
MAPS = ("ab", "at", "cwd", "fgd", "ft", "mgd", "nst", "ofd", "pkd", "reviewkd")
OBJECTS = ("irg", "pkt", "rkd", "sp")
FINE, COARSE = (0.0, 0.0, 8.0, 6.0), (0.0, 0.0, 6.0, 6.0)  # the teacher sees less


def term_of(method, student, teacher, **options):
    torch.manual_seed(0)
    config = METHODS.get(method)(**options)[0]
    term = TERMS.get(config.pop("type"))(**config)
    term.build(student, teacher)
    return term


def context(weights=None, tap="bev"):
    boxes = torch.tensor([[x, 3.0, 0.0, 1.5, 1.0, 1.5, 0.3] for x in (1.0, 2.5, 4.0, 5.5)])
    weights = {} if weights is None else {f"teacher:{tap}": weights}
    return Context([boxes, boxes + torch.tensor([0.2] + [0.0] * 6)], [], {}, 0.0, weights)


SPEC_S = FeatureSpec(4, "map", (12, 16), FINE)
SPEC_T = FeatureSpec(6, "map", (6, 6), COARSE)


@pytest.mark.parametrize("method", MAPS + OBJECTS)
def test_other_grids_and_widths_meet_in_metres_and_uncovered_cells_do_not_count(method):
    term = term_of(method, SPEC_S, SPEC_T)
    values = []
    for far in (0.0, 50.0):  # the student beyond 6 m, which the teacher does not see
        torch.manual_seed(1)
        student = torch.randn(2, 4, 12, 16)
        student[..., 14:] += far  # two cells further, for 3x3 convolutions
        student.requires_grad_()
        term.eval()  # batch statistics would see those cells
        torch.manual_seed(2)
        value = term(student, torch.randn(2, 6, 6, 6), context())
        value.backward()
        assert torch.isfinite(student.grad).all()
        values.append(value.detach())
    if method not in ("fgd", "ft", "reviewkd"):  # attention, and 3x3 convolutions in a row
        torch.testing.assert_close(values[0], values[1])


@pytest.mark.parametrize("method", MAPS)
def test_weights_per_sample_scale_the_loss(method):
    term = term_of(method, SPEC_S, SPEC_S).eval()
    student, teacher = torch.randn(2, 4, 12, 16), torch.randn(2, 4, 12, 16)
    values = []
    for weights in (None, torch.ones(2), torch.full((2,), 0.5), torch.tensor([1.0, 0.0])):
        torch.manual_seed(0)
        values.append(term(student, teacher, context(weights, term.teacher_tap)))
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(values[2], 0.5 * values[0])
    assert values[3] < values[0]


@pytest.mark.parametrize("method", OBJECTS)
def test_relations_refuse_weights_per_sample(method):
    term = term_of(method, SPEC_S, SPEC_S)
    student, teacher = torch.randn(2, 4, 12, 16), torch.randn(2, 4, 12, 16)
    with pytest.raises(UserError, match="no weights per sample"):
        term(student, teacher, context(torch.ones(2), term.teacher_tap))


@pytest.mark.parametrize("method", MAPS + OBJECTS)
def test_rows_without_a_grid_are_refused(method):
    with pytest.raises(UserError):
        term_of(method, FeatureSpec(4, "rows"), FeatureSpec(6, "rows"))


def test_many_objects_are_thinned_evenly():
    term = term_of("rkd", SPEC_S, SPEC_S, objects=3)
    student = torch.arange(16.0).expand(2, 4, 12, 16).contiguous()
    rows, _ = term.rows(student, student, context())
    torch.testing.assert_close(rows[:, 0], torch.tensor([1.5, 7.5, 4.9]), rtol=0, atol=1e-4)


def test_similarity_of_a_single_sample_is_zero_and_attached():
    term = term_of("sp", SPEC_S, SPEC_T, rows="samples")
    student = torch.randn(1, 4, 12, 16, requires_grad=True)
    value = term(student, torch.randn(1, 6, 6, 6), context())
    value.backward()
    assert value.item() == pytest.approx(0.0, abs=1e-12)
    assert student.grad is not None


def test_unknown_options_are_refused():
    for method, options in (("fgd", dict(parts=dict(head=1.0))), ("sp", dict(rows="pixels"))):
        with pytest.raises(UserError):
            METHODS.get(method)(**options)
    with pytest.raises(UserError):
        term_of("mgd", SPEC_S, SPEC_S, dropped=1.0)
