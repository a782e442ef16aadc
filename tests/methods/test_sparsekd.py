"""SparseKD's terms against loops over cells and objects, other grids, and what is refused."""

import pytest
import torch

from kd3d.core.context import Context
from kd3d.core.distiller import Distiller
from kd3d.core.foreground_term import ForegroundTerm
from kd3d.core.region_term import RegionTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.losses.box.residual import residual_smooth_l1
from kd3d.masks.boxes import class_gaussians
from tests import toy
from tests.losses.test_losses import rand

register_all()
EXTENT = (0.0, -2.0, 8.0, 4.0)
BOXES = torch.tensor(  # in cells (row 3, column 2), (5, 7) of 1 m; the last is outside
    [[2.6, 1.3, 0, 2, 1, 1, 0.4], [7.5, 3.2, 0, 1, 1, 1, -1.0], [9.0, 1.0, 0, 1, 1, 1, 0]]
)
LABELS = torch.tensor([2, 0, 1])
FEW = torch.tensor(  # all inside
    [[3, 1, 0, 2, 1, 1, 0.7], [5, 0.5, 0, 1, 2, 1, -0.4], [4, -0.5, 0, 1, 1, 1, 0]]
)


def context(weights=None, boxes=BOXES):
    shared = [boxes, boxes[:0]], [LABELS[: len(boxes)], LABELS[:0]]
    named = {f"teacher:{tap}": weights for tap in ("head", "bev")} if weights is not None else {}
    return Context(*shared, {}, 0.0, named)


def pivotal(ours, theirs, layout="center_head", **options):
    config = METHODS.get("sparsekd")(labels=False, **options)[0]
    term = TERMS.get(config.pop("type"))(**config)
    term.build(*(FeatureSpec(3, layout, shape, EXTENT) for shape in (ours, theirs)))
    return term


def centre_head(shape, seed, tasks=((3,))):
    sizes = {"reg": 2, "height": 1, "dim": 3, "rot": 2}
    return [
        [
            {
                k: rand(2, c, *shape, seed=seed + 9 * i + j).float()
                for j, (k, c) in enumerate([("heatmap", classes), *sizes.items()])
            }
        ]
        for i, classes in enumerate(tasks)
    ]


@pytest.mark.parametrize("tasks", [(3,), (2, 1)])
def test_scores_and_boxes_equal_loops(tasks):
    """Two tasks count alike, each with the objects of its classes."""
    ours, theirs = centre_head((6, 8), 0, tasks), centre_head((6, 8), 50, tasks)
    weights = torch.tensor([0.5, 1.5])
    value = pivotal((6, 8), (6, 8), boxes=0.3)(ours, theirs, context(weights))
    maps = class_gaussians([BOXES, BOXES[:0]], [LABELS, LABELS[:0]], 3, EXTENT, (6, 8))
    want, first = 0.0, 0
    for ((s,), (t,)), classes in zip(zip(ours, theirs), tasks):
        p, q = s["heatmap"].sigmoid(), t["heatmap"].sigmoid()
        total = count = 0.0
        for b in range(2):
            for y in range(6):
                for x in range(8):
                    near = maps[b, first : first + classes, y, x].max()
                    weight = q[b, :, y, x].max() * near
                    error = sum((p[b, k, y, x] - q[b, k, y, x]) ** 2 for k in range(classes))
                    total, count = total + weights[b] * weight * error, count + weight
        apart, objects = 0.0, 0
        for (y, x), label in (((3, 2), 2), ((5, 7), 0)):
            if first <= label < first + classes:
                keys = ("reg", "height", "dim", "rot")
                apart += sum((s[k][0, :, y, x] - t[k][0, :, y, x]).abs().sum() for k in keys)
                objects += 1
        want, first = want + total / count + 0.3 * weights[0] * apart / objects, first + classes
    torch.testing.assert_close(value, want / len(tasks))


def test_options_choose_the_pivotal_cells():
    ours, theirs = centre_head((6, 8), 0), centre_head((6, 8), 50)
    error = (ours[0][0]["heatmap"].sigmoid() - theirs[0][0]["heatmap"].sigmoid()).square().sum(1)
    sure = theirs[0][0]["heatmap"].sigmoid().amax(1)
    near = class_gaussians([BOXES, BOXES[:0]], [LABELS, LABELS[:0]], 3, EXTENT, (6, 8)).amax(1)
    best = torch.zeros_like(sure).flatten(1)
    for b in range(2):
        best[b, sure[b].flatten().argsort(descending=True)[:5]] = 1.0
    cases = [
        (dict(foreground="hard"), (near > 0) * sure),
        (dict(foreground=None), sure),
        (dict(foreground=None, soft=False, threshold=0.7), (sure > 0.7).float()),
        (dict(foreground=None, rank=5), sure * best.view_as(sure)),
    ]
    for options, weight in cases:
        value = pivotal((6, 8), (6, 8), boxes=0, **options)(ours, theirs, context())
        torch.testing.assert_close(value, (error * weight).sum() / weight.sum())
    smooth = pivotal((6, 8), (6, 8), boxes=0, foreground=None, smooth=True)
    torch.testing.assert_close(
        smooth(ours, theirs, context()), (error / 2 * sure).sum() / sure.sum()
    )


@pytest.mark.parametrize("foreground", ["soft", None])
def test_no_objects_give_a_zero_with_a_graph(foreground):
    ours, theirs = centre_head((6, 8), 0), centre_head((6, 8), 50)
    ours[0][0] = {key: value.requires_grad_() for key, value in ours[0][0].items()}
    value = pivotal((6, 8), (6, 8), foreground=foreground)(ours, theirs, context(boxes=BOXES[:0]))
    assert (value == 0) == (foreground == "soft")
    value.backward()
    assert all(torch.isfinite(v.grad).all() for v in ours[0][0].values())


def test_a_coarser_student_is_compared_on_the_teachers_cells_and_by_metres():
    """0.32 against 0.64 m in the paper: the box of an object has one place in both grids."""
    ours, theirs = centre_head((3, 4), 0), centre_head((6, 8), 50)
    for head, cell in ((ours, 2.0), (theirs, 1.0)):
        for box in BOXES[:2]:
            x, y = (box[0] / cell).item(), ((box[1] + 2) / cell).item()
            head[0][0]["reg"][0, :, int(y), int(x)] = torch.tensor([x % 1, y % 1])
            for key, value in (("height", 0.5), ("dim", 1.0), ("rot", 0.1)):
                head[0][0][key][0, :, int(y), int(x)] = value
    term = pivotal((3, 4), (6, 8), boxes=1.0)
    scores = pivotal((3, 4), (6, 8), boxes=0.0)(ours, theirs, context())
    torch.testing.assert_close(term(ours, theirs, context()), scores)
    ours[0][0]["reg"][0, 0, 1, 1] += 0.25  # 0.5 m, half a cell of the teacher's, of one object
    torch.testing.assert_close(term(ours, theirs, context()), scores + 0.25)
    published = pivotal((3, 4), (6, 8), boxes=1.0, official_parity=True)
    inside = context(boxes=BOXES[:2])
    torch.testing.assert_close(published(ours, theirs, inside), scores)
    logits = ours[0][0]["heatmap"]
    grown = torch.nn.functional.interpolate(logits.sigmoid(), scale_factor=2, mode="bilinear")
    fine = [[{"heatmap": grown.logit()}]]
    equal = pivotal((6, 8), (6, 8), boxes=0.0)(fine, theirs, context())
    torch.testing.assert_close(scores, equal)


def test_anchors_of_the_objects_class_are_compared():
    def head(seed):
        sizes = (6 * 3, 6 * 7, 6 * 2)  # three classes x two rotations
        return tuple([rand(2, n, 6, 8, seed=seed + n).float()] for n in sizes)

    ours, theirs = head(0), head(50)
    value = pivotal((6, 8), (6, 8), "anchor_head", boxes=0.3)(ours, theirs, context())
    p, q = (h[0][0].reshape(2, 6, 3, 6, 8).sigmoid() for h in (ours, theirs))
    near = class_gaussians([BOXES, BOXES[:0]], [LABELS, LABELS[:0]], 3, EXTENT, (6, 8)).amax(1)
    weight = q.amax(2) * near[:, None]
    scores = ((p - q).square().sum(2) * weight).sum() / weight.sum()
    code_s, code_t = (h[1][0].reshape(2, 6, 7, 6, 8) for h in (ours, theirs))
    at = [(0, a, slice(None), 3, 2) for a in (4, 5)] + [(0, a, slice(None), 5, 7) for a in (0, 1)]
    boxes = torch.stack([residual_smooth_l1(code_s[i], code_t[i], beta=0.0) for i in at]).mean()
    torch.testing.assert_close(value, scores + 0.3 * boxes)


def region(mode, ours, theirs, channels=(5, 5), **options):
    term = RegionTerm("roi", "student:bev", "teacher:bev", mode=mode, points=3, **options)
    term.build(*(FeatureSpec(c, "map", s, EXTENT) for c, s in zip(channels, (ours, theirs))))
    return term


def plane(shape, channels=5):
    """A map that is linear in metres: what is read there is the same in every grid."""
    height, width = shape
    x = (torch.arange(width) + 0.5) * 8 / width
    y = (torch.arange(height) + 0.5) * 6 / height - 2
    slopes = rand(channels, 2).float()
    maps = slopes[:, :1, None] * x[None, None] + slopes[:, 1:, None] * y[None, :, None]
    return maps[None].repeat(2, 1, 1, 1)


@pytest.mark.parametrize("mode", RegionTerm.MODES)
def test_features_in_objects_do_not_depend_on_the_grid(mode):
    near = context(boxes=FEW)
    term = region(mode, (12, 16), (24, 32))
    assert term(plane((12, 16)), plane((24, 32)), near) < 1e-8
    other = rand(2, 5, 24, 32).float()
    assert term(plane((12, 16)), other, near) > 1e-3
    pooled = term._pooled(plane((12, 16)), [FEW], term.specs[0])
    along, across = (torch.tensor([2 / 3, 0.0]), torch.tensor([0.0, 1 / 3]))
    c, s = torch.tensor(0.7).cos(), torch.tensor(0.7).sin()
    for i, (u, v) in enumerate((u, v) for v in (-1, 0, 1) for u in (-1, 0, 1)):
        a, b = (u * along + v * across).tolist()
        place = torch.tensor([3.0, 1.0]) + torch.stack([a * c - b * s, a * s + b * c])
        torch.testing.assert_close(pooled[0, i], rand(5, 2).float() @ place)


@pytest.mark.parametrize("mode", RegionTerm.MODES)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_features_in_objects_with_few_objects_and_other_widths(mode, count):
    term = region(mode, (6, 8), (6, 8), (4, 5))
    student = rand(2, 4, 6, 8).float().requires_grad_()
    value = term(student, rand(2, 5, 6, 8, seed=1).float(), context(boxes=FEW[:count]))
    assert torch.isfinite(value)
    assert (value > 0) == (count > (mode == "gid"))
    value.backward()
    assert torch.isfinite(student.grad).all()
    assert all(p.grad is not None for p in term.parameters())


@pytest.mark.parametrize("mode", ForegroundTerm.MODES)
def test_whole_maps_of_other_grids_and_widths(mode):
    term = ForegroundTerm("map", "student:bev", "teacher:bev", mode=mode, foreground="hard")
    term.build(FeatureSpec(4, "map", (3, 4), EXTENT), FeatureSpec(5, "map", (6, 8), EXTENT))
    student, teacher = rand(2, 4, 3, 4).float().requires_grad_(), rand(2, 5, 6, 8, seed=1).float()
    value = term(student, teacher, context())
    fine = torch.nn.functional.interpolate(term.adapter(student), scale_factor=2, mode="bilinear")
    if mode == "raw":
        error = (fine - teacher).square().mean(1)
    else:  # each model's own channels
        error = (fine.abs().mean(1) - teacher.abs().mean(1)).square()
    near = (
        class_gaussians([BOXES, BOXES[:0]], [LABELS * 0, LABELS[:0]], 1, EXTENT, (6, 8))[:, 0] > 0
    )
    torch.testing.assert_close(value, error[near].mean())
    value.backward()
    assert student.grad.abs().sum() > 0
    assert term(student, teacher, context(boxes=BOXES[:0])) == 0


@pytest.mark.parametrize("family", toy.FAMILIES)
def test_all_parts_train_together(family):
    """A teacher of half the pillar size, where the head allows it, and its score as a mask."""
    make = toy.FAMILIES[family]
    options = dict(width=0.5) if family == "pointpillars" else dict(width=0.5, voxel_m=0.2)
    teacher, score = toy.unsure(make(**options), family)
    method = dict(type="sparsekd", features=["raw", "spatial", "rois", "gid", "aff"])
    own = dict(type="ForegroundTerm", name="sure", student="student:bev", teacher="teacher:bev")
    torch.manual_seed(0)
    model = Distiller(
        make(),
        dict(teacher=dict(type="Frozen", checkpoint=None, model=teacher)),
        dict(method, labels=dict(score=score)),
        [dict(own, score=score)],
    )
    model.init_weights()
    losses = toy.loss(model, toy.batch(box_dim=9 if family == "centerpoint" else 7))
    names = ["pivotal", "sure", *(f"bev_{mode}" for mode in method["features"])]
    assert all(losses[f"kd.{name}.loss"] > 0 for name in names)
    assert losses["kd.labels.boxes"] > 0
    toy.total(losses).backward()
    assert all(p.grad is not None for p in model.terms.parameters())


def test_mistakes_are_named():
    with pytest.raises(UserError, match="did you mean 'rois'"):
        METHODS.get("sparsekd")(features=["roi"])
    with pytest.raises(UserError, match="unknown foreground 'gt'"):
        pivotal((6, 8), (6, 8), foreground="gt")
    with pytest.raises(UserError, match="unknown mode"):
        region("roi", (6, 8), (6, 8))
    with pytest.raises(UserError, match="other grids"):
        pivotal((3, 4), (6, 8), "anchor_head", boxes=0)
    with pytest.raises(UserError, match="same classes"):
        pivotal((6, 8), (6, 8))(centre_head((6, 8), 0, [2]), centre_head((6, 8), 1), context())
    with pytest.raises(UserError, match="2 tasks against 1"):
        pivotal((6, 8), (6, 8))(centre_head((6, 8), 0, [2, 1]), centre_head((6, 8), 1), context())
