"""Cross-modal methods against the authors' own numbers: values and gradients, rtol 1e-4."""

from types import SimpleNamespace

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from kd3d.adapters.objects import box_points
from kd3d.core.context import Context
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.engine.register import register_all
from kd3d.losses.box.set_prediction import box_code, match_cost, scored_code_error
from kd3d.losses.depth.bins import bin_entropy, one_hot_bins
from kd3d.losses.depth.inner_depth import expected_depth, inner_depth_error
from kd3d.masks.depth_cells import object_cells
from kd3d.masks.label_maps import box_cells
from kd3d.models.bev.frustum import DepthBins
from tests.methods.test_parity import close, load

register_all()


def make(method, name, student, teacher, further=(), **options):
    """Return the term of that name, published form, built for two specs."""
    configs = METHODS.get(method)(official_parity=True, **options)
    (config,) = [one for one in configs if one["name"] == name]
    term = TERMS.get(config.pop("type"))(**config)
    term.further_specs = dict(further)
    term.build(student, teacher)
    return term


def square(feature, half_m, layout="map", maps=()):
    """The spec of a map of 2 half_m metres a side around the origin."""
    extent = (-half_m, -half_m, half_m, half_m)
    return FeatureSpec(feature.shape[1], layout, tuple(feature.shape[2:]), extent, maps)


def given(boxes, **more):
    return Context(
        [b[:, :7] for b in boxes], [torch.zeros(len(b)).long() for b in boxes], {}, 0.0, **more
    )


def check(value, loss, leaf, grad, atol=1e-7):
    """Compare a value and its gradient."""
    close(value, loss)
    value.backward()
    torch.testing.assert_close(leaf.grad, grad, rtol=1e-4, atol=atol)


def real_rows(padded):
    """The boxes (N, 10) of each sample without rows of zeros."""
    return [sample[sample.abs().sum(1) > 0] for sample in padded]


@pytest.mark.parametrize("which", ["base", "none"])
@pytest.mark.parametrize("part", ["feature", "relation"])
def test_unidistill_points_equal_the_authors_code(part, which):
    data = load(f"unidistill_{part}_{which}")
    student, teacher = data["student"].requires_grad_(), data["teacher"]
    term = make("unidistill", part, square(student, 54.0), square(teacher, 54.0))
    assert term.weight == (100.0 if part == "feature" else 40.0)
    boxes = real_rows(data["gt_boxes"])
    check(term(student, teacher, given(boxes)), data["loss"], student, data["grad_student"])


def test_unidistill_points_are_corners_middles_and_centre():
    data = load("unidistill_feature_base")
    corners = (data["corners_bev"] * 6.0 - 54.0)[0]
    points = box_points(data["gt_boxes"][0], 3, rim=True)
    for found, four in zip(points, corners):
        middles = (four + four.roll(1, 0)) / 2
        for place in (*four, *middles, four.mean(0)):
            assert (found - place).norm(dim=1).min() < 1e-3


@pytest.mark.parametrize("which", ["base", "none"])
def test_unidistill_response_equals_the_authors_code(which):
    data = load(f"unidistill_response_{which}")
    names = ("hm", "reg", "height", "dim", "rot", "vel", "iou")
    leaves = {f"s{i}_{n}": data[f"s{i}_{n}"].requires_grad_() for i in range(2) for n in names}
    ours, theirs = (
        [[{n.replace("hm", "heatmap"): data[f"{side}{i}_{n}"] for n in names}] for i in range(2)]
        for side in "st"
    )
    for (task,) in ours:  # the authors' student is squashed already
        task["heatmap"] = task["heatmap"].logit()
    widths = tuple((n, m.shape[1]) for n, m in ours[0][0].items())
    spec = square(data["s0_hm"], 54.0, "center_head", (widths,))
    term = make("unidistill", "response", spec, spec)
    value = term(ours, theirs, given(real_rows(data["gt_boxes"])))
    close(value, data["loss_cls"] + data["loss_reg"])
    value.backward()
    for name, leaf in leaves.items():
        if f"grad_{name}" in data:
            torch.testing.assert_close(leaf.grad, data[f"grad_{name}"], rtol=1e-4, atol=1e-7)


def detections(places, half_m):
    """Boxes of 1 m around places (N, 2) in -1..1, as the tap `boxes` holds them."""
    boxes = torch.cat([places * half_m, torch.ones(len(places), 5)], 1)
    return [{"boxes": boxes, "scores": torch.ones(len(boxes)), "labels": boxes[:, 0].long() * 0}]


@pytest.mark.parametrize("which", ["base", "none"])
def test_bevdistill_dense_equals_the_authors_code(which):
    data = load(f"bevdistill_dense_{which}")
    student, teacher = data["student"].requires_grad_(), data["teacher"]
    term = make("bevdistill", "dense", square(student, 51.2), square(teacher, 51.2))
    context = given([data["gt_boxes"]])
    close(term.region(context, student.device)[:, 0], data["fg_map"])
    value = term(student, teacher, context)
    if which == "base":
        check(value, data["loss"], student, data["grad_student"])
        return
    assert torch.isnan(data["loss"])  # the authors divide by 0
    value.backward()
    assert value == 0
    assert not student.grad.any()


def test_bevdistill_at_places_equals_the_authors_code():
    data = load("bevdistill_dense_point")
    student, raw = data["student"].requires_grad_(), data["teacher_raw"]
    term = make("bevdistill", "dense", square(student, 51.2), square(raw, 51.2), foreground="boxes")
    torch.testing.assert_close(term.maps(student, raw)[1], data["teacher"], rtol=1e-4, atol=1e-5)
    found = detections(data["sampling_points"].flatten(0, 2), 51.2)
    context = given([torch.zeros(0, 7)], taps={"teacher:boxes": found})
    check(term(student, raw, context), data["loss"], student, data["grad_student"])


def test_bevdistill_contrast_equals_the_authors_code():
    data = load("bevdistill_sparse_nce_base")
    student, teacher = data["student"].requires_grad_(), data["teacher"]
    specs = square(student, 51.2), square(teacher, 51.2)
    term = TERMS.get("BoxContrastTerm")(
        "c", "student:bev", "teacher:bev", 0.2, width=16, official_parity=True
    )
    term.build(*specs)
    parts = {"0": "projs.0.0", "1": "encoder.0", "2": "encoder.1", "4": "encoder.3"}
    for side, theirs in (("student", "img"), ("teacher", "pts")):
        for own, name in parts.items():
            kind, rest = name.split(".", 1)
            kind = f"{theirs}_projs" if kind == "projs" else f"encoder_{theirs}"
            start = f"p_{kind}_{rest.replace('.', '_')}_"
            state = {k[len(start) :]: v for k, v in data.items() if k.startswith(start)}
            term.project[side][int(own)].load_state_dict(state, strict=False)
    found = detections(data["sampling_points"].flatten(0, 2), 51.2)
    context = given([torch.zeros(0, 7)], taps={"teacher:boxes": found})
    value = term(student, teacher, context) * term.weight
    check(value, data["loss"], student, data["grad_student"])


def test_bevdistill_set_prediction_equals_the_authors_code():
    data = load("bevdistill_sparse_set_base")
    codes, boxes = data["bbox_preds"].requires_grad_(), data["teacher_boxes"]
    targets = torch.cat([box_code(boxes), boxes[:, 7:]], 1)
    cost = match_cost(data["cls_scores"][0], codes[0], data["teacher_scores"], targets)
    mine, which = map(torch.as_tensor, linear_sum_assignment(cost.detach().numpy()))
    assert torch.equal(mine, data["box_weights"][:, 0].nonzero()[:, 0])
    close(boxes[which], data["target_boxes"][mine])
    scores = data["teacher_scores"].amax(1)[which]
    error = scored_code_error(codes[0, mine], targets[which], scores, power=2)
    check(0.25 * error.sum() / scores.sum(), data["loss_bbox"], codes, data["grad_bbox"])


def old_boxes(*samples):
    """Boxes of mmdet3d 0.x, whose yaw is clockwise."""
    return [torch.cat([b[:, :6], -b[:, 6:7], b[:, 7:]], 1) for b in samples]


@pytest.mark.parametrize("which", ["base", "none", "fp_teacher_selected_student"])
def test_distillbev_equals_the_authors_code(which, monkeypatch):
    data = load(f"distillbev_{which}")
    student, teacher = data["student"].requires_grad_(), data["teacher"]
    alarms = "apart" if which.startswith("fp") else None
    head = square(student, 51.2, "center_head")
    further = {"student:head": head, "teacher:head": head}
    specs = square(student, 51.2), square(teacher, 51.2)
    term = make("distillbev", "decomposed", *specs, further, alarms=alarms)
    for layer, name in ((term.adapter.project, "adapt"), (term.smooth, "spatial")):
        layer.load_state_dict({k: data[f"{name}_{k}"] for k in ("weight", "bias")})
    context = given(old_boxes(data["gt_boxes0"], data["gt_boxes1"]))
    if alarms:
        pairs = [(data[f"student_hm{i}"].logit(), data[f"teacher_hm{i}"]) for i in range(2)]
        for side, one in enumerate(("student:head", "teacher:head")):
            context.taps[one] = [[{"heatmap": pair[side]}] for pair in pairs]
        truth = torch.cat([data["gt_heatmap0"], data["gt_heatmap1"]], 1).amax(1, keepdim=True)
        monkeypatch.setattr(term, "truth", lambda *_: truth)
    regions = term.regions(context, student.device)
    close(regions["foreground"], data["fg_scale"])
    if alarms:
        close(regions["alarms"], data["fp_mask"] * data["fp_scale"])
    value = term(student, teacher, context)
    check(value, data["loss_total"], student, data["grad_student"])


@pytest.mark.parametrize("part", ["points", "channels"])
def test_tigbev_inner_features_equal_the_authors_code(part):
    data = load("tigbev_inner_feature_base")
    student, teacher = data["student"].requires_grad_(), data["teacher"]
    specs = square(student, 51.2), square(teacher, 51.2)
    term = make("tigbev", part, *specs, points=4)
    boxes = old_boxes(data["boxes0"], data["boxes1"])
    if part == "channels":
        state = {k: data[f"embed_{k}"] for k in ("weight", "bias")}
        term.adapter.project.load_state_dict(state)
    ours = term.key_points(student, teacher, given(boxes))[0].transpose(1, 2)
    theirs = data["student_sampled"].flatten(2)  # their points are in another order
    torch.testing.assert_close(ours.sort(2).values, theirs.sort(2).values, rtol=1e-4, atol=1e-5)
    value = term(student, teacher, given(boxes)) * term.weight
    name = "keypoint" if part == "points" else "channel"
    grad = data[f"grad_{name}"]  # sums of large parts; places are rounded in another order
    check(value, data[f"loss_{name}"], student, grad, 1e-5 * grad.abs().max().item())


def test_tigbev_inner_depth_equals_the_authors_code():
    data = load("tigbev_inner_depth_base")
    logits = data["depth_logits"].requires_grad_()
    depth = expected_depth(logits, torch.arange(1.0, 13.0))
    error = inner_depth_error(depth, data["depth_gt"].flatten(0, 1), data["fg_index"].flatten(0, 1))
    check(error.mean(), data["loss"], logits, data["grad_logits"])
    term = TERMS.get("InnerDepthTerm")("depth", *["student:depth"] * 2, 1.0, official_parity=True)
    lift = SimpleNamespace(view_transform=SimpleNamespace(bins=DepthBins([1.0, 13.0, 1.0])))
    term.attach(lambda: lift, lambda: lift)
    spec = FeatureSpec(12, "image", tuple(logits.shape[2:]))
    term.build(spec, spec)
    maps = dict(gt_depth_maps=list(data["depth_gt"]), gt_object_maps=list(data["fg_index"]))
    logits.grad = None
    value = term(logits, logits.detach(), given([], cell_maps=maps))
    check(value, data["loss"], logits, data["grad_logits"])


def test_tigbev_depth_bins_equal_the_authors_code():
    data = load("tigbev_depth_bce")
    logits, depth = data["depth_logits"].requires_grad_(), data["depth_gt"].flatten(0, 1)
    index = torch.where(depth > 0, (depth - 1).floor().long(), -1)
    error = bin_entropy(logits, one_hot_bins(index, 12), competing=False)
    value = 100 * (error * (index >= 0)).mean() / 12
    check(value, data["loss"], logits, data["grad_logits"])


def test_tigbev_object_cells_equal_the_authors_code():
    data = load("tigbev_points2map")
    found = object_cells(
        data["points_uvd"], data["labels"], (64, 96), 8, (1.0, 13.0), official_parity=True
    )
    close(found[0], data["depth_map"])
    assert torch.equal(found[1], data["fg_map"])


def test_simdistill_cross_modal_equals_the_authors_code(monkeypatch):
    data = load("simdistill_cmd_base")
    student, teacher = data["student"].requires_grad_(), data["teacher"]
    term = make("simdistill", "lidar", square(student, 51.2), square(teacher, 51.2))
    monkeypatch.setattr(term, "region", lambda *_: data["mask"])
    value = term(student, teacher, given([torch.zeros(0, 7)] * 2)) * term.weight
    check(value, data["loss"], student, data["grad_student"])


def test_simdistill_prediction_equals_the_authors_code():
    """Six objects in the first cells of the map, where the golden's box codes are put."""
    data = load("simdistill_prediction_c1")
    logits = data["student_logits"].requires_grad_()
    student, teacher = data["box_student"].requires_grad_(), data["box_teacher"]
    split = dict(reg=2, height=1, dim=3, rot=2, vel=2)
    heads = []
    for heat, codes in ((logits, student), (data["teacher_logits"], teacher)):
        maps = torch.nn.functional.pad(codes, (0, 0, 0, 114)).transpose(1, 2).reshape(2, 10, 10, 12)
        heads.append([[{"heatmap": heat, **dict(zip(split, maps.split(list(split.values()), 1)))}]])
    spec = FeatureSpec(1, "center_head", (10, 12), (0.0, 0.0, 12.0, 10.0))
    term = make("simdistill", "prediction", spec, spec, slots=6)
    boxes = torch.ones(6, 7)
    boxes[:, 0], boxes[:, 1] = torch.arange(6) + 0.5, 0.5
    value = term(*heads, given([boxes, boxes]))
    check(value, data["loss_cls"] + data["loss_box"], student, data["grad_box"])
    torch.testing.assert_close(logits.grad, data["grad_student_logits"], rtol=1e-4, atol=1e-7)


def test_vcd_map_equals_the_authors_code(monkeypatch):
    data = load("vcd_bev_l2")
    student, teacher = data["student"].requires_grad_(), data["teacher"]
    term = make("vcd", "trajectory", square(student, 51.2), square(teacher, 51.2))
    close(term.maps(student, teacher)[1], data["teacher_norm"])
    monkeypatch.setattr(term, "region", lambda *_: data["mask"])
    value = term(student, teacher, given([torch.zeros(0, 7)] * 2)) * term.weight
    check(value, data["loss"], student, data["grad_student"])


def test_vcd_depths_equal_the_authors_code():
    data = load("vcd_depth_kl")
    student, teacher = data["student"].requires_grad_(), data["teacher"]
    spec = FeatureSpec(12, "image", (4, 5))
    term = make("vcd", "depth", spec, spec, depth=0.01)
    value = term(student, teacher, given([])) * term.weight
    check(value, data["loss"], student, data["grad_student"])


def test_vcd_depth_bins_equal_the_authors_code():
    data = load("vcd_masked_bce")
    logits, mask = data["depth_logits"].requires_grad_(), data["mask"]
    error = bin_entropy(logits, one_hot_bins(data["labels"] - 1, 118))
    check(2 * (error * mask).sum() / mask.sum(), data["loss"], logits, data["grad_logits"])


def test_vcd_occupancy_equals_the_authors_code():
    data = load("vcd_occupancy_l1")
    student, mask = data["student"].requires_grad_(), data["mask"]
    options = dict(teacher="teacher:depth", weight=4.0, official_parity=True)
    term = TERMS.get("OccupancyTerm")("occupancy", "student:depth", **options)
    value = term.compared(student, data["teacher"], mask) * term.weight
    check(value, data["loss"], student, data["grad_student"])


def test_focaldistiller_equals_the_authors_code():
    data = load("focal_heatmap_l2_base")
    student, teacher = data["student"].requires_grad_(), data["teacher"]
    small = square(student[..., ::2, ::2], 51.2)
    term = make("focaldistiller", "near", small, square(teacher, 51.2))
    term.restore = torch.nn.Identity()  # the golden's student is on the teacher's cells already
    context = given([data["boxes0"], data["boxes1"]])
    close(term.region(context, student.device), data["mask"])
    value = term(student, teacher, context) * term.weight
    check(value, data["loss"], student, data["grad_student"])
    empty = term(student, teacher, given([torch.zeros(0, 7)] * 2))
    assert empty == 0  # the authors' code divides by 0


@pytest.mark.parametrize("which", ["lidar", "none"])
def test_labeldistill_features_equal_the_authors_code(which, monkeypatch):
    """Both levels' masks come from the heat maps on the cells of the first."""
    data = load(f"labeldistill_feature_{which}")
    truth = torch.cat([data["hm0"], data["hm1"]], 1)
    head = square(truth, 51.2, "center_head", ((("heatmap", 3),),))
    total, students = 0.0, []
    for level in range(2):
        student, teacher = data[f"s{level}"].requires_grad_(), data[f"t{level}"]
        options = dict(share="all", binary=which == "none", official_parity=True)
        term = TERMS.get("ThirdTerm")("third", "student:bev", "teacher:bev", **options)
        term.further_specs = {"student:head": head}
        term.build(square(student, 51.2), square(teacher, 51.2))
        monkeypatch.setattr(term, "truth", lambda *_: truth)
        total = total + term(student, teacher, given([torch.zeros(0, 7)] * 2))
        students.append(student)
    close(total, data["loss"])
    total.backward()
    for level, student in enumerate(students):
        torch.testing.assert_close(student.grad, data[f"grad_s{level}"], rtol=1e-4, atol=1e-7)


def test_labeldistill_cells_of_a_label_equal_the_authors_code():
    data = load("labeldistill_labelmap_base")
    number = data["box"]
    box = torch.cat([data["center"], torch.zeros(1), number[3:7]])
    cells = box_cells([box[None]], (0.0, 0.0, 32.0, 32.0), (32, 32), official_parity=True)
    assert torch.equal(cells[0] == 0, data["mask"] > 0)
    painted = (cells[0] == 0)[..., None] * number
    close(painted, data["box_map"])


def test_labeldistill_response_equals_the_authors_code(monkeypatch):
    data = load("labeldistill_response_base")
    names = ("heatmap", "reg", "height", "dim", "rot", "vel")
    leaves = {f"s{i}_{n}": data[f"s{i}_{n}"].requires_grad_() for i in range(2) for n in names}
    ours, theirs = (
        [[{n: data[f"{side}{i}_{n}"] for n in names}] for i in range(2)] for side in "st"
    )
    boxes, labels, velocities = [], [], []
    for b in range(2):
        index, label, speed = [], [], []
        for task in range(2):
            kept = data[f"mask{task}"][b] > 0
            index.append(data[f"ind{task}"][b][kept])
            label.append(torch.full((int(kept.sum()),), task))
            speed.append(data[f"anno{task}"][b][kept][:, 8:])
        place = torch.cat(index)
        box = torch.ones(len(place), 7)
        box[:, 0], box[:, 1] = place % 12 + 0.5, place // 12 + 0.5
        boxes.append(box)
        labels.append(torch.cat(label))
        velocities.append(torch.cat(speed))
    assert any(v.isnan().any() for v in velocities)
    spec = FeatureSpec(1, "center_head", (12, 12), (0.0, 0.0, 12.0, 12.0))
    term = make("labeldistill", "response", spec, spec)
    truth = torch.cat([data["hm0"], data["hm1"]], 1)
    monkeypatch.setattr(term, "truth", lambda *_: truth)
    value = term(ours, theirs, Context(boxes, labels, {}, 0.0, velocities=velocities))
    close(value, data["loss"])
    value.backward()
    for name in ("s0_heatmap", "s0_reg"):
        torch.testing.assert_close(leaves[name].grad, data[f"grad_{name}"], rtol=1e-4, atol=1e-7)
