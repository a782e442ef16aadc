"""LiDAR Distillation and RDD: the authors' numbers, naive loops, gradients, edges."""

import copy

import pytest
import torch

from kd3d.core.context import Context
from kd3d.core.distiller import Distiller
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.run import KEPT, OVERLAP, decode_boxes
from kd3d.core.spec import FeatureSpec
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.evaluation.rotated_iou import box_iou
from kd3d.losses.logit.disparity import head_disparity
from kd3d.losses.logit.soft_labels import sigmoid_kl
from kd3d.masks.regions import balanced_gaussians
from tests import toy
from tests.methods.test_parity import close, load

register_all()
EXTENT, SHAPE = (0.0, -3.0, 8.0, 3.0), (6, 8)  # cells of 1 m
FAR = torch.tensor([[90.0, 0, 0, 4, 2, 1.5, 0.3]])


def term_of(method, student, teacher, further=(), extent=EXTENT, **options):
    config = METHODS.get(method)(**options)[0]
    term = TERMS.get(config.pop("type"))(**config)
    term.further_specs = dict(further)
    term.build(student, teacher)
    return term


def maps(channels=5, samples=2, seed=0):
    torch.manual_seed(seed)
    return torch.randn(samples, channels, *SHAPE)


def detections(*samples):
    return [{"boxes": b, "scores": torch.ones(len(b)), "labels": b[:, 0].long()} for b in samples]


def context(taps, truth=None, samples=2):
    truth = truth or [torch.zeros(0, 7)] * samples
    return Context(truth, [torch.zeros(len(b)).long() for b in truth], {}, 0.0, taps=taps)


@pytest.mark.parametrize("mode", ["roi", "all"])
def test_lidar_distillation_equals_the_authors_code(mode):
    data = load(f"lidar_distillation_mimic_{mode}")
    student, teacher = data["student_feature"].requires_grad_(), data["teacher_feature"]
    spec = FeatureSpec(4, "map", (16, 20), (0.0, 0.0, 6.4, 5.12))
    term = term_of("lidar_distillation", spec, spec, regions=mode, official_parity=True)
    loss = term(student, teacher, context({"teacher:proposals": detections(*data["rois"])}))
    close(loss, data["loss"])
    loss.backward()
    close(student.grad, data["grad_student_feature"])


BOXES = [
    torch.tensor([[3.0, 0.2, 0, 4.0, 1.5, 1.5, 0.7], [5.0, -1.0, 0, 2.2, 1.1, 1.5, 0.1]]),
    torch.tensor([[4.1, 1.3, 0, 3.0, 2.0, 1.5, -1.0], [90.0, 0, 0, 4, 2, 1.5, 0.0]]),
]


@pytest.mark.parametrize("mode", ["roi", "gt"])
def test_lidar_distillation_equals_a_naive_loop(mode):
    spec = FeatureSpec(5, "map", SHAPE, EXTENT)
    term = term_of("lidar_distillation", spec, spec, regions=mode)
    student, teacher = maps().requires_grad_(), maps(seed=1)
    taps = {"teacher:proposals": detections(*BOXES)} if mode == "roi" else {}
    given = context(taps, BOXES if mode == "gt" else None)
    loss = term(student, teacher, given)
    per_box = []
    for b, sample in enumerate(BOXES):
        for x0, y0, _, dx, dy, _, yaw in sample.tolist():
            cells = []
            for row in range(SHAPE[0]):
                for column in range(SHAPE[1]):
                    point = torch.tensor([column + 0.5 - x0, row + 0.5 - 3.0 - y0])
                    c, s = torch.cos(torch.tensor(yaw)), torch.sin(torch.tensor(yaw))
                    along, across = point @ torch.stack([c, s]), point @ torch.stack([-s, c])
                    if abs(along) <= dx / 2 and abs(across) <= dy / 2:
                        difference = student[b, :, row, column] - teacher[b, :, row, column]
                        cells.append(difference.square().sum().sqrt())
            if cells:
                per_box.append(torch.stack(cells).mean())
    assert len(per_box) == 3
    torch.testing.assert_close(loss, torch.stack(per_box).mean())
    again = term(teacher.clone().requires_grad_(), teacher, given)
    assert again == 0
    again.backward()  # a length of 0 has a finite gradient


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("none", [torch.zeros(0, 7), FAR])
def test_lidar_distillation_without_regions_is_an_attached_zero(official, none):
    spec = FeatureSpec(5, "map", SHAPE, EXTENT)
    term = term_of("lidar_distillation", spec, spec, official_parity=official)
    student = maps().requires_grad_()
    loss = term(student, maps(seed=1), context({"teacher:proposals": detections(none, none)}))
    assert loss == 0
    loss.backward()
    assert not student.grad.any()


def test_lidar_distillation_refuses_what_it_cannot_read():
    spec = FeatureSpec(5, "map", SHAPE, EXTENT)
    with pytest.raises(UserError, match="unknown regions 'rois' -> did you mean 'roi'"):
        term_of("lidar_distillation", spec, spec, regions="rois")
    image = FeatureSpec(5, "image", SHAPE)
    with pytest.raises(UserError, match="regions need a BEV map"):
        term_of("lidar_distillation", image, image)


def center_head(seed=0, samples=2):
    torch.manual_seed(seed)
    sizes = dict(reg=2, height=1, dim=3, rot=2)
    tasks = []
    for classes in (2, 1):
        task = {k: torch.randn(samples, n, *SHAPE, dtype=torch.float64) for k, n in sizes.items()}
        task["heatmap"] = torch.randn(samples, classes, *SHAPE, dtype=torch.float64)
        tasks.append([task])
    return tasks


def anchor_head(seed=0, samples=2, anchors=2, classes=3):
    torch.manual_seed(seed)
    widths = (anchors * classes, anchors * 7, anchors * 2)
    return [[torch.randn(samples, n, *SHAPE, dtype=torch.float64)] for n in widths]


def l1(student, teacher):
    return (student - teacher).abs()


def test_disparity_of_centre_heads_equals_a_naive_loop():
    student, teacher = center_head(0), center_head(1)
    found = head_disparity(student, teacher, "center_head", l1)
    assert found.shape == (2, *SHAPE)
    for b, row, column in ((0, 0, 0), (1, 5, 2), (1, 3, 7)):
        expected = 0.0
        for (ours,), (theirs,) in zip(student, teacher):
            s, t = ours["heatmap"][b, :, row, column], theirs["heatmap"][b, :, row, column]
            expected += sigmoid_kl(s, t).sum()
            for key in ("reg", "height", "dim", "rot"):
                gap = (ours[key] - theirs[key])[b, :, row, column].abs().sum()
                expected += t.sigmoid().max() * gap
        torch.testing.assert_close(found[b, row, column], expected)


def test_disparity_of_anchor_heads_equals_a_naive_loop():
    student, teacher = anchor_head(0), anchor_head(1)
    found = head_disparity(student, teacher, "anchor_head", l1)
    for b, row, column in ((0, 0, 0), (1, 5, 2), (1, 3, 7)):
        expected = 0.0
        for a in range(2):
            s, t = (h[0][0][b, 3 * a : 3 * a + 3, row, column] for h in (student, teacher))
            p, q = (h[1][0][b, 7 * a : 7 * a + 7, row, column] for h in (student, teacher))
            turn = (torch.stack([(2 * v[6]).sin(), (2 * v[6]).cos()]) / 2 for v in (p, q))
            gap = (p - q)[:6].abs().sum() + (next(turn) - next(turn)).abs().sum()
            expected += sigmoid_kl(s, t).sum() + t.sigmoid().max() * gap
        torch.testing.assert_close(found[b, row, column], expected / 2)


def rdd_term(layout, **options):
    head = FeatureSpec(2, layout, SHAPE, EXTENT)
    bev = FeatureSpec(5, "map", SHAPE, EXTENT)
    further = {"student:bev": bev, "teacher:bev": bev}
    return term_of("rdd", head, head, further, **options)


def rdd_context(student, teacher, proposals, truth=None):
    taps = {"student:bev": student, "teacher:bev": teacher}
    taps |= {f"{name}:proposals": detections(*p) for name, p in proposals.items()}
    return context(taps, truth)


def test_rdd_selects_where_the_models_differ_most():
    """Proposals of both models count; the number of regions follows the ground truth."""
    student = center_head(0)
    teacher = copy.deepcopy(student)
    student[0][0]["heatmap"][0, :, 4, 6] += 3.0  # at x 6.5, y 1.5: a student's false alarm
    teacher[1][0]["heatmap"][0, :, 1, 2] += 1.0  # at x 2.5, y -1.5
    here = torch.tensor([[6.5, 1.5, 0, 2.0, 1.0, 1.5, 0.0], [4.5, -0.5, 0, 2.0, 1.0, 1.5, 0.0]])
    there = torch.tensor([[2.5, -1.5, 0, 2.0, 1.0, 1.5, 0.3], [6.4, 1.5, 0, 2.0, 1.0, 1.5, 0.0]])
    none = torch.zeros(0, 7)
    bev = maps()
    given = rdd_context(bev, bev, dict(student=(here, none), teacher=(there, none)))
    first, second = rdd_term("center_head", fewest=2).select(student, teacher, given)
    assert first[:, :2].round(decimals=1).tolist() == [[6.5, 1.5], [2.5, -1.5]]
    assert second.shape == (0, 7)
    given.boxes = [here[:1], none]
    (one, _) = rdd_term("center_head", fewest=1).select(student, teacher, given)
    assert one[:, :2].tolist() == [[6.5, 1.5]]


@pytest.mark.parametrize("layout", ["center_head", "anchor_head"])
@pytest.mark.parametrize("official", [False, True])
def test_rdd_equals_a_naive_sum_and_has_its_gradient(layout, official):
    make = center_head if layout == "center_head" else anchor_head
    student, teacher = make(0), make(1)
    bev, their_bev = maps().double().requires_grad_(), maps(seed=1).double() * 3
    proposals = dict(student=(BOXES[0], BOXES[1]), teacher=(BOXES[1], FAR))
    term = rdd_term(layout, official_parity=official, features=0.7).double()
    given = rdd_context(bev, their_bev, proposals)
    loss = term.distance(student, teacher, given)
    chosen = term.select(student, teacher, given)
    assert [len(c) for c in chosen] == [3, 1]  # the same box from both models counts once
    smooth = torch.nn.functional.smooth_l1_loss
    value = head_disparity(student, teacher, layout, lambda s, t: smooth(s, t, reduction="none"))
    scale = 1.0
    if not official:
        scale = (their_bev.var((0, 2, 3), unbiased=False) + 1e-5).rsqrt().view(1, -1, 1, 1)
    features = ((bev - their_bev) * scale).square().mean(1)
    expected = 0.0
    for b, regions in enumerate(chosen):
        for mask in balanced_gaussians(regions, EXTENT, SHAPE):
            expected += (mask * (value[b] + 0.7 * features[b])).sum() / 4
    torch.testing.assert_close(loss, expected)

    def of(feature, heat):
        if layout == "center_head":
            heads = [[dict(student[0][0], heatmap=heat)], student[1]]
        else:
            heads = [[heat], *student[1:]]
        given.taps["student:bev"] = feature
        return term.distance(heads, teacher, given)

    heat = student[0][0]["heatmap"] if layout == "center_head" else student[0][0]
    assert torch.autograd.gradcheck(of, (bev, heat.clone().requires_grad_()), fast_mode=True)


def test_rdd_without_proposals_is_an_attached_zero():
    student, bev = anchor_head(0), maps().requires_grad_()
    student[0][0].requires_grad_()
    none = (torch.zeros(0, 7), FAR)
    given = rdd_context(bev, maps(seed=1), dict(student=none, teacher=none))
    loss = rdd_term("anchor_head")(student, anchor_head(1), given)
    assert loss == 0
    loss.backward()
    assert not bev.grad.any()
    assert not student[0][0].grad.any()


@pytest.mark.parametrize("family", toy.FAMILIES)
def test_proposals_are_the_best_boxes_of_any_score(family):
    torch.manual_seed(0)
    model = Distiller(toy.FAMILIES[family](), {}).student
    model.init_weights()
    model.eval()
    data = model.data_preprocessor(toy.batch(), False)
    head = model.pts_bbox_head if family == "centerpoint" else model.bbox_head
    config = copy.deepcopy(head.test_cfg)
    coder = {k: v for k, v in vars(head.bbox_coder).items() if k in ("max_num", "score_threshold")}
    with torch.no_grad():
        features = model.extract_feat(data["inputs"], *([[]] if family == "centerpoint" else []))
        out = head(features[1] if family == "centerpoint" else features)
    few = decode_boxes(model, copy.deepcopy(out), data["data_samples"])
    many = decode_boxes(model, copy.deepcopy(out), data["data_samples"], generous=True)
    assert head.test_cfg == config  # as it was
    assert {k: getattr(head.bbox_coder, k) for k in coder} == coder
    for usual, wanted in zip(few, many):
        boxes, labels = wanted["boxes"][:, :7], wanted["labels"]
        assert len(usual["boxes"]) < len(boxes) <= KEPT
        overlap = torch.as_tensor(box_iou(boxes.numpy(), boxes.numpy())).fill_diagonal_(0)
        same = labels[:, None] == labels[None]
        assert (overlap[same] <= OVERLAP + 1e-3).all()


def test_proposals_of_an_ensemble_are_a_members():
    torch.manual_seed(0)
    members = {n: dict(checkpoint=None, model=toy.centerpoint(width=0.5)) for n in "ab"}
    teachers = dict(teacher=dict(type="Ensemble", members=members))
    method = dict(type="lidar_distillation", teacher_tap="b/bev")
    model = Distiller(toy.centerpoint(), teachers, method)
    assert model.terms["beams"].further() == ("teacher:b/proposals",)
    model.init_weights()
    losses = toy.loss(model, toy.batch())
    assert losses["kd.beams.loss"] > 0
    with pytest.raises(UserError, match="proposals has no mean"):
        Distiller(toy.centerpoint(), teachers, dict(type="lidar_distillation"))
