"""SparseKD's terms and labels against the authors' own numbers, rtol 1e-4."""

import pytest
import torch

from kd3d.core.context import Context
from kd3d.core.foreground_term import ForegroundTerm
from kd3d.core.labels import TeacherLabels
from kd3d.core.region_term import RegionTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.engine.register import register_all
from kd3d.losses.logit.pivotal import roi_response
from kd3d.masks.boxes import centre_cells, class_gaussians
from tests.methods.test_parity import close, load

register_all()
MAPS = {"hm": "heatmap", "center": "reg", "center_z": "height", "dim": "dim", "rot": "rot"}
LOGIT = {
    "sparsekd_logit_cpvoxel_s": {},
    "sparsekd_logit_no_gt": {},
    "sparsekd_logit_thresh_pp": dict(threshold=0.3, foreground=None, soft=False, boxes=0.0),
}


@pytest.mark.parametrize("official", [True, False])
@pytest.mark.parametrize("name", LOGIT)
def test_scores_and_boxes_equal_the_authors_code(name, official):
    """Where grids are equal and objects inside, the default has their numbers, too."""
    data = load(name)
    config = METHODS.get("sparsekd")(official_parity=official, labels=False, **LOGIT[name])[0]
    term = TERMS.get(config.pop("type"))(**config)
    spec = FeatureSpec(3, "center_head", (6, 8), (0.0, 0.0, 8.0, 6.0))
    term.build(spec, spec)
    sample, slot = data["target_masks"].nonzero().unbind(1)
    cell = data["target_inds"][sample, slot]
    row, column = cell // 8, cell % 8
    term._class_maps = lambda *_: data["target_heatmap"]
    term._objects = lambda *_: torch.stack([sample, slot, row, column, row, column], 1)
    ours = {new: data[f"student_{old}"].requires_grad_() for old, new in MAPS.items()}
    theirs = {new: data[f"teacher_{old}"] for old, new in MAPS.items()}
    loss = term.weight * term([[ours]], [[theirs]], Context([], [], {}, 0.0))
    close(loss, data["loss"])
    loss.backward()
    for old in MAPS:
        grad = data[f"student_{old}"].grad
        want = data[f"grad_student_{old}"]
        close(torch.zeros_like(want) if grad is None else grad, want)


def spec_of(feature, layout="map"):
    return FeatureSpec(feature.shape[1], layout, tuple(feature.shape[2:]), (0.0, 0.0, 3.84, 3.84))


def objects(data):
    boxes = [one[one[:, 3] > 0] for one in data["gt_boxes"]]
    return [one[:, :7] for one in boxes], [one[:, 7].long() - 1 for one in boxes]


FEATURE = {
    "sparsekd_feat_raw": (ForegroundTerm, dict(mode="raw")),
    "sparsekd_feat_raw_fgsoft": (ForegroundTerm, dict(mode="raw", foreground="soft")),
    "sparsekd_feat_raw_interp": (ForegroundTerm, dict(mode="raw")),
    "sparsekd_feat_spatial_score": (ForegroundTerm, dict(mode="spatial", score=0.3)),
    "sparsekd_feat_rois_gt": (RegionTerm, dict(mode="rois", points=3)),
    "sparsekd_feat_affinity": (RegionTerm, dict(mode="aff", points=3)),
}


@pytest.mark.parametrize("name", FEATURE)
def test_features_equal_the_authors_code(name):
    data = load(name)
    kind, options = FEATURE[name]
    term = kind("feature", "student:bev", "teacher:bev", official_parity=True, **options)
    student, teacher = data["student_feature"].requires_grad_(), data["teacher_feature"]
    head = [[{"heatmap": data["teacher_hm"]}]]
    term.further_specs = {a: spec_of(data["teacher_hm"], "center_head") for a in term.further()}
    term.build(spec_of(student), spec_of(teacher))
    if kind is ForegroundTerm:  # their map is made up, it is not that of the boxes
        term._gaussians = lambda *_: data["target_heatmap"].amax(1, keepdim=True)
    context = Context(*objects(data), {}, 0.0, taps={"teacher:head": head})
    loss = term.weight * term(student, teacher, context)
    close(loss, data["loss"])
    loss.backward()
    close(student.grad, data["grad_student_feature"])
    if kind is RegionTerm:
        pooled = term._pooled(teacher, context.boxes, term.specs[1])  # (N, 9, C)
        close(pooled.transpose(1, 2).unflatten(2, (3, 3)), data["roi_feat_teacher"])


def test_second_stages_equal_the_authors_code():
    data = load("sparsekd_roi_kd")
    ours = data["student_cls"].requires_grad_(), data["student_reg"].requires_grad_()
    theirs = data["teacher_cls"], data["teacher_reg"]
    foreground = data["reg_valid_mask"].flatten()
    loss = sum(roi_response(ours, theirs, foreground))
    close(loss, data["loss"])
    loss.backward()
    close(ours[0].grad, data["grad_student_cls"])
    close(ours[1].grad, data["grad_student_reg"])
    alone = roi_response(ours, theirs, torch.zeros_like(foreground))
    assert alone[0] > 0
    assert alone[1] == 0
    assert alone[1].requires_grad


@pytest.mark.parametrize("first", ["teacher", "truth"])
def test_joined_labels_equal_the_authors_code(first):
    data = load(f"sparsekd_label_fuse_{'teafirst' if first == 'teacher' else 'gtfirst'}")
    score, later = [0.6, 0.5, 0.5], {}  # theirs first is what is published
    if first == "truth":
        score, later = [0.6, 0.6, 0.6], dict(first="truth")
    (config,) = METHODS.get("sparsekd")(official_parity=True, labels=dict(score=score) | later)[1:]
    config.pop("type")
    source = TeacherLabels(**config)
    for i, (truth, classes) in enumerate(zip(*objects(data))):
        found = {key: data[f"pred_{key}_{i}"] for key in ("boxes", "scores", "labels")}
        found["labels"] = found["labels"] - 1
        boxes, labels, added = source.join(*source._chosen(found), truth, classes)
        want = data["fused_boxes"][i]
        want = want[want[:, 3] > 0]
        assert added == data["num_teacher"][i]
        assert torch.equal(torch.cat([boxes, labels[:, None] + 1.0], 1), want)


def test_targets_of_a_centre_head_equal_the_authors_code():
    """Objects outside the map move to its border in theirs, and share cells in both."""
    data = load("sparsekd_label_assign_centerhead")
    extent, shape, boxes = (0.0, 0.0, 12.8, 9.6), (30, 40), data["boxes"]
    labels = boxes[:, 7].long() - 1
    maps = class_gaussians([boxes], [labels], 3, extent, shape, border=True)
    close(maps[0], data["heatmap"])
    row, column, keep = centre_cells(boxes, extent, shape, border=True)
    assert torch.equal((row * 40 + column)[keep], data["inds"][data["mask"].bool()])
    assert centre_cells(boxes, extent, shape)[2].tolist() == [True] * 4 + [False] * 2
