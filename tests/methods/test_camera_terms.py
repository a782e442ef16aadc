"""Terms of the cross-modal methods: other grids, weights per sample, objects, refusals."""

import pytest
import torch

from kd3d.core.context import Context
from kd3d.core.detection_targets import paint, soft_labels
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.engine.contract import build, data_of, kd_losses
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.losses.box.set_prediction import box_code
from kd3d.masks.boxes import cell_centres, class_gaussians, gaussian_mask

register_all()
FINE, COARSE = (0.0, 0.0, 8.0, 6.0), (0.0, 0.0, 6.0, 6.0)  # the teacher sees less
SPEC_S, SPEC_T = FeatureSpec(4, "map", (12, 16), FINE), FeatureSpec(6, "map", (6, 6), COARSE)
MAPS = (("heatmap", 3), ("reg", 2), ("height", 1), ("dim", 3), ("rot", 2), ("vel", 2))
HEAD_S = FeatureSpec(3, "center_head", (12, 16), FINE, (MAPS,))
HEAD_T = FeatureSpec(3, "center_head", (6, 6), COARSE, (MAPS,))
BOXES = FeatureSpec(7, "boxes")
BOX = torch.tensor([[x, 3.0, 0.0, 1.5, 1.0, 1.5, 0.3] for x in (1.0, 2.5, 4.0, 5.5)])
TERM_OF = {  # term -> method; terms on two maps
    "feature": "unidistill",
    "relation": "unidistill",
    "dense": "bevdistill",
    "contrast": "bevdistill",
    "decomposed": "distillbev",
    "points": "tigbev",
    "channels": "tigbev",
    "lidar": "simdistill",
    "fused": "simdistill",
    "trajectory": "vcd",
    "near": "focaldistiller",
    "features": "x3kd",
    "adversarial": "x3kd",
    "lidar third": "labeldistill",
    "guided": "bev_lgkd",
}
AROUND = ("points", "channels")  # the border is read around an object, too
AT_OBJECTS = ("feature", "relation", "contrast", "points", "channels")  # no weights per sample
NEEDS_OBJECTS = (*AROUND, "feature", "relation", "dense", "lidar", "trajectory", "near")
CLOUD = torch.rand(2, 400, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor(
    [8.0, 6.0, 1.0, 1.0]
)


def term_of(name, student=SPEC_S, teacher=SPEC_T, method=None, **options):
    torch.manual_seed(0)
    configs = METHODS.get(method or TERM_OF[name])(**options)
    (config,) = [one for one in configs if one["name"] == name.split()[0]]
    term = TERMS.get(config.pop("type"))(**config)
    heads = HEAD_S, HEAD_T if teacher.same_grid(SPEC_T) else HEAD_S
    term.further_specs = {"student:head": heads[0], "teacher:head": heads[1]}
    term.further_specs["teacher:boxes"] = BOXES
    term.build(student, teacher)
    return term.eval()  # batch statistics would see cells that are not covered


def head(spec, seed=0, samples=2):
    generator = torch.Generator().manual_seed(seed)
    return [
        [
            {
                name: torch.randn(samples, count, *spec.shape, generator=generator)
                for name, count in task
            }
        ]
        for task in spec.maps
    ]


def value_for(spec, seed=0):
    if spec.layout == "center_head":
        return head(spec, seed)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, spec.channels, *spec.shape, generator=generator)


def found(boxes=BOX, score=0.5):
    labels = torch.arange(len(boxes)) % 3
    return {"boxes": boxes, "scores": torch.full((len(boxes),), score), "labels": labels}


def context(term=None, weights=None, boxes=BOX, seen=HEAD_T):
    key = {} if weights is None else {f"teacher:{term.teacher_tap}": weights}
    labels = [torch.arange(len(boxes)) % 3] * 2
    taps = {"student:head": head(HEAD_S, 5), "teacher:head": head(seen, 6)}
    taps["teacher:boxes"] = [found(boxes), found(boxes)]
    velocity = [torch.full((len(boxes), 2), 0.5)] * 2
    inputs = {"student": {"points": list(CLOUD)}}
    return Context([boxes, boxes], labels, inputs, 0.0, key, taps=taps, velocities=velocity)


@pytest.mark.parametrize("name", TERM_OF)
def test_other_grids_meet_in_metres_and_uncovered_cells_do_not_count(name):
    term = term_of(name)
    values = []
    for far in (0.0, 50.0):  # the student beyond 6 m, which the teacher does not see
        student = value_for(SPEC_S, 1)
        student[..., 14:] += far
        student.requires_grad_()
        value = term(student, value_for(SPEC_T, 2), context())
        value.backward()
        assert torch.isfinite(student.grad).all()
        values.append(value.detach())
    assert values[0] > 0
    if name not in AROUND:
        torch.testing.assert_close(values[0], values[1])


@pytest.mark.parametrize("name", [n for n in TERM_OF if n not in AT_OBJECTS])
def test_weights_per_sample_scale_the_loss(name):
    term = term_of(name, teacher=SPEC_S)
    student, theirs = value_for(SPEC_S, 1), value_for(SPEC_S, 2)
    samples = (None, torch.ones(2), torch.full((2,), 0.5), torch.tensor([1.0, 0.0]))
    plain, ones, half, first = (
        term(student, theirs, context(term, w, seen=HEAD_S)) for w in samples
    )
    torch.testing.assert_close(plain, ones)
    torch.testing.assert_close(half, 0.5 * plain)
    assert first < plain


@pytest.mark.parametrize("name", NEEDS_OBJECTS)
def test_without_objects_a_term_is_zero_and_attached(name):
    student = value_for(SPEC_S, 1).requires_grad_()
    value = term_of(name)(student, value_for(SPEC_T, 2), context(boxes=BOX[:0]))
    value.backward()
    assert value == 0
    assert not student.grad.any()


def test_contrast_needs_two_places_and_finds_its_own():
    term = term_of("contrast")
    student, teacher = (value_for(spec).requires_grad_() for spec in (SPEC_S, SPEC_T))
    one = context()
    one.taps["teacher:boxes"] = [found(BOX[:1]), found(BOX[:0])]
    value = term(student, teacher, one)
    value.backward()
    assert value == 0
    assert all(p.grad is not None for p in term.parameters())
    same = term_of("contrast", teacher=SPEC_S)
    same.project["teacher"].load_state_dict(same.project["student"].state_dict())
    equal, other = (same(student, m, context()) for m in (student, value_for(SPEC_S, 3)))
    assert equal < other


def near_response(**options):
    term = term_of("response", HEAD_S, HEAD_S, "unidistill", **options)
    return term, head(HEAD_S, 1), head(HEAD_S, 2)


def test_response_near_objects_equals_a_loop():
    term, ours, theirs = near_response(velocity=True)
    given = context()
    near = gaussian_mask(given.boxes, FINE, (12, 16), 0.7, 0)
    total = 0.0
    for b in range(2):
        for row in range(12):
            for column in range(16):
                s, t = (
                    {k: m[b, :, row, column] for k, m in h[0][0].items()} for h in (ours, theirs)
                )
                value = (s["heatmap"].max().sigmoid() - t["heatmap"].max().sigmoid()).abs()
                names = ("reg", "height", "dim", "rot", "vel")
                gaps = torch.cat([(s[n] - t[n]).abs() for n in names])
                total += near[b, 0, row, column] * (value + gaps.mean())
    torch.testing.assert_close(term(ours, theirs, given), total / near.sum())


def predictions(layout):
    """Two heads, and the term on them; an anchor head has one anchor a class."""
    if layout == "center_head":
        spec, ours, theirs = HEAD_S, head(HEAD_S, 1), head(HEAD_S, 2)
    else:
        maps = (("scores", 9), ("boxes", 21), ("directions", 6))
        spec = FeatureSpec(9, "anchor_head", (12, 16), FINE, (maps,))
        ours, theirs = (
            [
                [torch.randn(2, n, 12, 16, generator=torch.Generator().manual_seed(i + n))]
                for _, n in maps
            ]
            for i in (1, 2)
        )
    return term_of("prediction", spec, spec, "simdistill"), ours, theirs


@pytest.mark.parametrize("layout", ["center_head", "anchor_head"])
def test_predictions_read_the_boxes_of_objects_alone(layout):
    term, ours, theirs = predictions(layout)
    value = term(ours, theirs, context())
    without = term_of("prediction", HEAD_S, HEAD_S, "simdistill", boxes=0.0)
    without.layout = layout
    gap = value - without(ours, theirs, context())  # 0.25 times the mean over objects
    wanted = []
    for b in range(2):
        for i, x in enumerate(BOX[:, 0].tolist()):
            label, row, column = i % 3, 6, int(2 * x)
            if layout == "center_head":
                names = ("reg", "height", "dim", "rot")
                s, t = (
                    torch.cat([h[0][0][n][b, :, row, column] for n in names])
                    for h in (ours, theirs)
                )
                d = s - t
            else:
                s, t = (h[1][0][b, 7 * label : 7 * label + 7, row, column] for h in (ours, theirs))
                d = torch.cat([(s - t)[:6], (s - t)[6:].sin()])
            d = d.abs()
            wanted.append(torch.where(d < 1 / 9, 4.5 * d**2, d - 1 / 18).sum())
    torch.testing.assert_close(gap, 0.25 * torch.stack(wanted).mean())


def transfer(**options):
    return term_of("boxes", HEAD_S, BOXES, "bevdistill", **options)


@pytest.mark.parametrize("assignment", ["cell", "match"])
def test_boxes_of_the_teacher_that_the_student_already_gives_cost_nothing(assignment):
    """The student's head is written so that it decodes to the teacher's boxes."""
    student = head(HEAD_S, 3)
    for maps in student[0][0].values():
        maps.zero_()
    code = box_code(BOX)
    student[0][0]["heatmap"] -= 5.0
    for i, x in enumerate(BOX[:, 0].tolist()):
        row, column = 6, int(2 * x)
        student[0][0]["heatmap"][:, i % 3, row, column] = 5.0
        student[0][0]["reg"][:, :, row, column] = torch.tensor([2 * x - column, 0.0])
        student[0][0]["height"][:, 0, row, column] = BOX[i, 2] + BOX[i, 5] / 2
        student[0][0]["dim"][:, :, row, column] = BOX[i, 3:6].log()
        student[0][0]["rot"][:, :, row, column] = code[i, 6:8]
    term = transfer(assignment=assignment)
    assert term(student, [found(), found()], context()) < 1e-6
    student[0][0]["height"][0, 0, 6, 2] += 0.4  # one of eight equally sure boxes
    torch.testing.assert_close(term(student, [found(), found()], context()), torch.tensor(0.4 / 8))
    student[0][0]["dim"].requires_grad_()
    empty = term(student, [found(BOX[:0]), found(BOX[:0])], context())
    empty.backward()
    assert empty == 0
    assert not student[0][0]["dim"].grad.any()


def test_what_does_not_fit_is_refused_in_words():
    with pytest.raises(UserError, match="unknown foreground 'truths' -> did you mean 'truth'"):
        term_of("dense", foreground="truths")
    with pytest.raises(UserError, match="unknown assignment 'cells' -> did you mean 'cell'"):
        transfer(assignment="cells")
    with pytest.raises(UserError, match="unknown part"):
        METHODS.get("bevdistill")(weights=dict(sparse=1.0))
    with pytest.raises(UserError, match="unknown route 'radar_to_camera'"):
        METHODS.get("unidistill")(route="radar_to_camera")


def test_soft_labels_are_the_confident_detections_of_each_class():
    term = term_of("output", HEAD_S, BOXES, "x3kd", threshold=0.3)
    sure, unsure = found(BOX[:2], 0.8), found(BOX[2:], 0.2)
    both = {key: torch.cat([sure[key], unsure[key]]) for key in sure}
    student = head(HEAD_S, 3)
    target = soft_labels([sure, found(BOX[:0])], student[0][0]["heatmap"], HEAD_S)
    assert target[0, 0, 6, 2] == target[0, 1, 6, 5] == 0.8  # at 1 m and 2.5 m
    assert target[0, 2].sum() == target[1].sum() == 0
    given = context()
    torch.testing.assert_close(
        term(student, [both, both], given), term(student, [sure, sure], given)
    )
    student[0][0]["heatmap"].requires_grad_()
    none = term(student, [unsure, unsure], given)
    none.backward()
    assert torch.isfinite(student[0][0]["heatmap"].grad).all()


def test_the_student_deceives_what_the_discriminator_learns():
    term = term_of("adversarial", teacher=SPEC_S)
    student, teacher = value_for(SPEC_S, 1).requires_grad_(), value_for(SPEC_S, 2) + 1.0
    before = term(student, teacher, context())
    before.backward()
    with torch.no_grad():
        ascended = student - 50.0 * student.grad  # an optimiser descends the reversed gradient
        assert term(ascended, teacher, context()) > before
        for parameter in term.discriminator.parameters():
            parameter -= 0.1 * parameter.grad
        assert term(student, teacher, context()) < before


def test_depths_of_two_camera_models_are_compared_cell_by_cell():
    spec = FeatureSpec(5, "image", (3, 4))
    term = term_of("depth", spec, spec, "vcd", depth=1.0)
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(6, 5, 3, 4, generator=generator) for _ in range(2))
    p, q = (logits.div(1.5).softmax(1) for logits in (student, teacher))
    wanted = 1.5**2 * (q * (q.log() - p.log())).sum(1).mean()
    torch.testing.assert_close(term(student, teacher, context()), wanted)
    with pytest.raises(UserError, match="5 against 6 channels"):
        term_of("depth", spec, FeatureSpec(6, "image", (3, 4)), "vcd", depth=1.0)
    with pytest.raises(UserError, match="tap depth"):
        term_of("depth", SPEC_S, SPEC_S, "vcd", depth=1.0)


def test_guidance_without_points_is_refused():
    given = context()
    given.inputs = {"student": {"imgs": torch.zeros(1)}}
    with pytest.raises(UserError, match="no points to be guided by"):
        term_of("guided")(value_for(SPEC_S), value_for(SPEC_T), given)


def test_guidance_counts_raised_cells_that_the_teacher_sees():
    term = term_of("guided", teacher=SPEC_S)
    given, teacher = context(), value_for(SPEC_S, 2)
    low = CLOUD.clone()
    low[..., 2] *= 0.1  # nothing stands 0.3 m above the ground
    low[0, 0] = torch.tensor([3.9, 2.2, 1.0, 0.0])  # but one point, in row 4 and column 7
    given.inputs["student"]["points"] = list(low)
    teacher[:, :, 3] = 0.0  # no camera looks there
    student = value_for(SPEC_S, 1).requires_grad_()
    term(student, teacher, given).backward()
    seen = student.grad.abs().sum(1) > 0
    wanted = torch.zeros_like(seen)
    wanted[0, 4:6, 6:9] = True
    assert torch.equal(seen, wanted)


def test_an_encoder_of_labels_learns_before_it_teaches():
    """At the start only the encoder is trained, later the student too, the teacher never."""
    register = dict(type="labeldistill", weights=dict(lidar=None, response=None))
    model = build(register, "centerpoint")
    data, trained = data_of("centerpoint"), []
    for progress in (0.0, 1.0):
        model.set_progress(progress)
        model.zero_grad()
        (loss,) = kd_losses(model, data).values()
        loss.backward()
        moved = [
            any(p.grad is not None and p.grad.any() for p in part.parameters())
            for part in (model.student, model.terms["label"].encoder)
        ]
        trained.append(moved)
        assert all(p.grad is None for p in model.teachers["teacher"].model.parameters())
    assert trained == [[False, True], [True, True]]
    term = model.terms["label"]
    given = context()
    given.boxes = [BOX, BOX[:0]]
    given.labels = [torch.tensor([0, 1, 2, 0]), torch.zeros(0).long()]
    truth = term._truth(given, BOX.device)
    numbers, kinds = paint(truth, 3, *term.head_spec.grid)
    assert kinds[0].sum(0).max() == 1
    assert kinds[0].sum() > 0
    assert not kinds[1].any()
    assert not numbers[1].any()
    extent, shape = term.head_spec.grid
    x, y = cell_centres(extent, shape, BOX.device)
    for row, column in kinds[0].sum(0).nonzero().tolist():
        centre = numbers[0, :2, row, column] + torch.stack([x[column], y[row]])
        assert (centre - BOX[:, :2]).norm(dim=1).min() < 1e-5


def test_response_of_labels_is_a_mean_near_objects():
    """Scores of each class count under its own Gaussians, boxes in the cells of its objects."""
    term = term_of("response", HEAD_S, HEAD_S, "labeldistill")
    ours, theirs, given = head(HEAD_S, 1), head(HEAD_S, 2), context()
    near = class_gaussians(given.boxes, given.labels, 3, FINE, (12, 16))
    p, q = (h[0][0]["heatmap"].sigmoid() for h in (ours, theirs))
    entropy = -(q * p.log() + (1 - q) * (1 - p).log())
    wanted = (near * entropy * (p - q).square()).sum() / near.sum()
    gaps = [
        (ours[0][0][name] - theirs[0][0][name])[:, :, 6, [2, 5, 8, 11]].abs().sum(1)
        for name in ("reg", "height", "dim", "rot")
    ]
    wanted = wanted + 0.25 * sum(gaps).mean()
    torch.testing.assert_close(term(ours, theirs, given), wanted)
    assert term(ours, theirs, context(boxes=BOX[:0])) == 0


def test_published_focal_maps_meet_on_the_teachers_cells():
    fine = FeatureSpec(4, "map", (24, 32), FINE)
    term = term_of("near", teacher=fine, official_parity=True)
    assert term(value_for(SPEC_S, 1), value_for(fine, 2), context()) > 0
    with pytest.raises(UserError, match="leave official_parity out"):
        term_of("near", teacher=SPEC_T, official_parity=True)
