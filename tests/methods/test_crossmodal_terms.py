"""Terms of itKD, CRKD and RadarDistill: other grids, weights per sample, objects, refusals."""

import pytest
import torch

from kd3d.core.context import Context
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.engine.register import register_all
from kd3d.errors import UserError

register_all()
FINE, COARSE = (0.0, 0.0, 8.0, 6.0), (0.0, 0.0, 6.0, 6.0)  # the teacher sees less
SPEC_S, SPEC_T = FeatureSpec(4, "map", (12, 16), FINE), FeatureSpec(6, "map", (6, 6), COARSE)
MAPS = (("heatmap", 3), ("reg", 2), ("height", 1), ("dim", 3), ("rot", 2), ("vel", 2))
HEAD_S = FeatureSpec(3, "center_head", (12, 16), FINE, (MAPS,))
HEAD_T = FeatureSpec(3, "center_head", (6, 6), COARSE, (MAPS,))
ON_MAPS = {
    "interchange": ("itkd", SPEC_T),
    "csrd": ("crkd", HEAD_T),
    "msfd": ("crkd", SPEC_T),
    "reld": ("crkd", SPEC_T),
    "afd": ("radardistill", SPEC_T),
    "pfd": ("radardistill", SPEC_T),
}


def term_of(name, student, teacher, head=HEAD_S, method=None, **options):
    torch.manual_seed(0)
    configs = METHODS.get(method or ON_MAPS[name][0])(**options)
    (config,) = [one for one in configs if one["name"] == name]
    term = TERMS.get(config.pop("type"))(**config)
    term.further_specs = {"student:head": head}
    term.build(student, teacher)
    return term.eval()  # batch statistics would see cells that are not covered


def head(spec, seed=0, tasks=None):
    generator = torch.Generator().manual_seed(seed)
    return [
        [{name: torch.randn(2, count, *spec.shape, generator=generator) for name, count in task}]
        for task in tasks or spec.maps
    ]


def value_for(spec, seed=0):
    if spec.layout == "center_head":
        return head(spec, seed)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, spec.channels, *spec.shape, generator=generator)


def context(term, weights=None, objects=True):
    boxes = torch.tensor([[x, 3.0, 0.0, 1.5, 1.0, 1.5, 0.3] for x in (1.0, 2.5, 4.0, 5.5)])
    boxes = boxes if objects else boxes[:0]
    weights = {} if weights is None else {f"teacher:{term.teacher_tap}": weights}
    labels = [torch.arange(len(boxes)) % 3] * 2
    seen = head(HEAD_S, 5)
    seen[0][0]["heatmap"] -= 3.0
    return Context([boxes, boxes], labels, {}, 0.0, weights, taps={"student:head": seen})


@pytest.mark.parametrize("name", ON_MAPS)
def test_other_grids_meet_in_metres_and_uncovered_cells_do_not_count(name):
    term = term_of(name, SPEC_S, ON_MAPS[name][1])
    values = []
    for far in (0.0, 50.0):  # the student beyond 6 m, which the teacher does not see
        student = value_for(SPEC_S, 1)
        student[..., 14:] += far
        student.requires_grad_()
        value = term(student, value_for(ON_MAPS[name][1], 2), context(term))
        value.backward()
        assert torch.isfinite(student.grad).all()
        values.append(value.detach())
    assert values[0] > 0
    if name not in ("csrd", "afd"):  # calibration looks 6 cells around, activity at the mean
        torch.testing.assert_close(values[0], values[1])


@pytest.mark.parametrize("name", ON_MAPS)
def test_weights_per_sample_scale_the_loss(name):
    teacher = HEAD_S if name == "csrd" else SPEC_S
    term = term_of(name, SPEC_S, teacher)
    student, theirs = value_for(SPEC_S, 1), value_for(teacher, 2)
    samples = (None, torch.ones(2), torch.full((2,), 0.5), torch.tensor([1.0, 0.0]))
    plain, ones, half, first = (term(student, theirs, context(term, w)) for w in samples)
    torch.testing.assert_close(plain, ones)
    torch.testing.assert_close(half, 0.5 * plain)
    assert first < plain


def test_without_objects_box_terms_are_zero_and_attached():
    student = value_for(SPEC_S, 1).requires_grad_()
    term = term_of("msfd", SPEC_S, SPEC_S)
    value = term(student, value_for(SPEC_S, 2), context(term, objects=False))
    value.backward()
    assert value == 0
    assert student.grad is not None
    ours = head(HEAD_S, 1)
    ours[0][0]["reg"].requires_grad_()
    term = term_of("interchange_attention", HEAD_S, HEAD_S, method="itkd")
    value = term(ours, head(HEAD_S, 2), context(term, objects=False))
    value.backward()
    assert value == 0
    assert ours[0][0]["reg"].grad is not None


@pytest.mark.parametrize("velocity", [False, True])
@pytest.mark.parametrize("classes", [(3,), (1, 2)])
def test_attention_of_any_classes_reads_each_tasks_own_objects(classes, velocity):
    maps = tuple((("heatmap", k), *MAPS[1:]) for k in classes)
    spec = FeatureSpec(classes[0], "center_head", (12, 16), FINE, maps)
    term = term_of("interchange_attention", spec, spec, method="itkd", velocity=velocity)
    assert term.splits == [[k, 2, 1, 3, 2, *([2] if velocity else [])] for k in classes]
    assert term.reads()["maps"][-1] == ("vel" if velocity else "rot")
    ours, theirs = head(spec, 1), head(spec, 2)
    seen = context(term)
    assert term(ours, theirs, seen) > 0
    assert term(ours, ours, seen) == 0
    for (one,), (other,) in zip(ours, theirs):  # equal in the objects' cells is equal at all
        for name in one:
            for x in (1.0, 2.5, 4.0, 5.5):
                other[name][..., 6, int(2 * x)] = one[name][..., 6, int(2 * x)]
    assert term(ours, theirs, seen) == 0
    seen.labels = [torch.full((4,), classes[0] - 1)] * 2  # objects of the first task alone
    ours[-1][0]["dim"] += 1.0
    assert (term(ours, theirs, seen) == 0) == (len(classes) > 1)


def test_attention_ignores_padding_of_a_sample_with_fewer_objects():
    term = term_of("interchange_attention", HEAD_S, HEAD_S, method="itkd")
    ours, theirs = head(HEAD_S, 1), head(HEAD_S, 2)
    seen = context(term)
    seen.boxes[1], seen.labels[1] = seen.boxes[1][:1], seen.labels[1][:1]
    both = term(ours, theirs, seen)
    single = []
    for i, count in ((0, 4), (1, 1)):
        one, other = (
            [[{k: v[i : i + 1] for k, v in task.items()} for task in group] for group in h]
            for h in (ours, theirs)
        )
        alone = Context([seen.boxes[i]], [seen.labels[i]], {}, 0.0)
        single.append(term(one, other, alone) * count)
    torch.testing.assert_close(both, sum(single) / 5)


def test_stop_gradient_leaves_the_student_as_it_is_drawn_to():
    grads = []
    for stop in (False, True):
        term = term_of("interchange", SPEC_S, SPEC_S, stop_gradient=stop)
        student = value_for(SPEC_S, 1).requires_grad_()
        term(student, value_for(SPEC_S, 2), context(term)).backward()
        grads.append(student.grad.abs().sum())
    assert grads[1] < grads[0]


def test_false_alarms_come_from_the_students_own_head():
    term = term_of("pfd", SPEC_S, SPEC_S)
    student, teacher = value_for(SPEC_S, 1), value_for(SPEC_S, 2)
    seen = context(term, objects=False)
    seen.taps["student:head"][0][0]["heatmap"][:] = -9.0
    assert term(student, teacher, seen) == 0
    seen.taps["student:head"][0][0]["heatmap"][:, 1, 4, 7] = 9.0
    assert term(student, teacher, seen) > 0
    changed = teacher.clone()
    changed[:, :, 4, 7] = term.adapter(student)[:, :, 4, 7]
    term.normalise_teacher = False
    assert term(student, changed, seen) < 1e-6


NO_HEAD = FeatureSpec(4, "map", (12, 16), FINE)
ANCHORS = (("scores", 18), ("boxes", 42), ("directions", 12))
LEVELS = FeatureSpec(18, "anchor_head", (12, 16), FINE, (ANCHORS, ANCHORS))
FLAT = FeatureSpec(4, "rows")


@pytest.mark.parametrize(
    "name, student, teacher, options, message",
    [
        ("csrd", SPEC_S, SPEC_T, {}, "centre head or an anchor head"),
        ("csrd", SPEC_S, LEVELS, dict(official_parity=True), "tap a centre head"),
        ("pfd", SPEC_S, SPEC_S, dict(head=NO_HEAD), "student's head gives"),
        ("afd", SPEC_S, SPEC_S, dict(activation="max"), "unknown activation"),
        (
            "msfd",
            SPEC_S,
            SPEC_S,
            dict(weights=dict(mfsd=1.0)),
            "did you mean 'msfd'",
        ),
        ("reld", FLAT, FLAT, {}, "tap a map"),
        ("interchange_attention", HEAD_S, SPEC_S, {}, "two centre heads"),
        ("interchange_attention", HEAD_S, HEAD_T, {}, "other grids"),
        ("interchange_attention", LEVELS, LEVELS, {}, "2 levels"),
        ("interchange_attention", HEAD_S, HEAD_S, dict(scores="probs"), "unknown 'probs'"),
    ],
)
def test_what_does_not_fit_is_named(name, student, teacher, options, message):
    method = ON_MAPS.get(name, ("itkd",))[0]
    with pytest.raises(UserError, match=message):
        term_of(name, student, teacher, method=method, **options)


def test_heads_of_other_channels_or_without_velocity_are_named():
    other = FeatureSpec(2, "center_head", (12, 16), FINE, ((("heatmap", 2), *MAPS[1:]),))
    still = FeatureSpec(3, "center_head", (12, 16), FINE, (MAPS[:-1],))
    with pytest.raises(UserError, match="same tasks, classes"):
        term_of("interchange_attention", HEAD_S, other, method="itkd")
    with pytest.raises(UserError, match="lacks the maps"):
        term_of("interchange_attention", still, still, method="itkd", velocity=True)


def test_response_compares_velocity_only_on_demand():
    ours, theirs = head(HEAD_S, 1), head(HEAD_S, 2)
    ours[0][0]["vel"].requires_grad_()
    ours[0][0]["reg"].requires_grad_()
    for velocity in (False, True):
        term = term_of("respd", HEAD_S, HEAD_S, method="crkd", velocity=velocity)
        assert ("vel" in term.reads()["maps"]) == velocity
        term(ours, theirs, context(term)).backward()
        assert (ours[0][0]["vel"].grad is not None) == velocity
    twice = term_of("respd", HEAD_S, HEAD_S, method="crkd", task_weights=[2.0])
    once = term_of("respd", HEAD_S, HEAD_S, method="crkd")
    torch.testing.assert_close(
        twice(ours, theirs, context(twice)), 2 * once(ours, theirs, context(once))
    )


def test_published_response_of_an_unsure_teacher_finds_a_cell():
    theirs = head(HEAD_S, 2)
    theirs[0][0]["heatmap"][:] = -6.0
    term = term_of("respd", HEAD_S, HEAD_S, method="crkd", official_parity=True)
    assert term(head(HEAD_S, 1), theirs, context(term)) > 0
