"""The authors' own numbers: losses and gradients, rtol 1e-4."""

import numpy as np
import pytest
import torch
from torch import nn

from kd3d.core.context import Context
from kd3d.core.spec import FeatureSpec
from kd3d.losses import masked_mean, squared_error
from kd3d.losses.logit.head_response import anchor_response, center_boxes, center_scores
from kd3d.losses.logit.quality_focal import quality_focal
from kd3d.losses.similarity.local_graph import nearest_rows
from kd3d.methods.pointdistiller import LocalGraphTerm
from tests.paths import GOLDEN


def load(name):
    return {
        k: torch.from_numpy(np.array(v))
        for k, v in np.load(GOLDEN / "parity" / f"{name}.npz").items()
    }


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


POINTDISTILLER = {
    "pointdistiller_voxel_top_tiesatmax": dict(variant="voxel", queries=12, neighbours=6),
    "pointdistiller_voxel_top_sub": dict(
        variant="voxel", queries=12, neighbours=6, fuse="difference"
    ),
    "pointdistiller_voxel_noreweight": dict(
        variant="voxel", queries=12, neighbours=6, use_importance=False
    ),
    "pointdistiller_point_b2_maxpool": dict(variant="point", queries=16, neighbours=6),
    "pointdistiller_point_noreweight": dict(
        variant="point", queries=16, neighbours=6, use_importance=False
    ),
    "pointdistiller_bevbackbone_b2": dict(variant="bev", queries=16, neighbours=6),
}
LAYOUT = {"voxel": "rows", "bev": "map", "point": "points"}


@pytest.mark.parametrize("name", POINTDISTILLER)
def test_pointdistiller_equals_the_authors_code(name):
    data, options = load(name), dict(POINTDISTILLER[name])
    student = data["student_feature"].requires_grad_()
    channels = len(data["student_adapt.bn.weight"])
    layout = LAYOUT[options["variant"]]
    term = LocalGraphTerm(
        "graph",
        "student:x",
        "teacher:x",
        temperature=0.01,
        channels=channels,
        official_parity=True,
        **options,
    )
    shape = tuple(student.shape[2:]) if layout == "map" else None
    extent = (0.0, 0.0, 1.0, 1.0) if layout == "map" else None
    term.build(
        FeatureSpec(student.shape[1], layout, shape, extent),
        FeatureSpec(data["teacher_feature"].shape[1], layout, shape, extent),
    )
    for side in ("student", "teacher"):
        edges = getattr(term, f"{side}_edges")
        edges.weight.data = data[f"{side}_adapt.conv.weight"][:, :, 0, 0]
        edges.gamma.data = data[f"{side}_adapt.bn.weight"]
        edges.beta.data = data[f"{side}_adapt.bn.bias"]
    inputs = {}
    if options["variant"] == "voxel":
        rows = len(student)
        inputs = {
            "student": {"voxels": {"coors": torch.zeros(rows, 4), "num_points": data["num_points"]}}
        }
    loss = term(student, data["teacher_feature"], Context([], [], inputs, 0.0))
    close(loss, data["loss"])
    loss.backward()
    close(student.grad, data["grad_student_feature"])
    for side in ("student", "teacher"):
        key = f"grad_{side}_adapt.conv.weight"
        if key in data:
            close(getattr(term, f"{side}_edges").weight.grad, data[key][:, :, 0, 0])


def test_nearest_rows_equal_the_authors_helper():
    data = load("pointdistiller_knn_helpers")
    for i in range(2):
        rows = torch.cat([data["xyz"][i], data["query"][i]])
        found = nearest_rows(rows, torch.arange(10, 14), 14)
        ours = torch.stack([row[row < 10][:4] for row in found]).sort(-1).values
        assert torch.equal(ours, data["knn_idx_sorted"][i])


def test_cmkd_anchor_response_equals_the_authors_code():
    data = load("cmkd_response_anchor_base")
    parts = {k: data[f"{k}_student"].clone().requires_grad_() for k in ("cls", "box", "dir")}
    sizes = {"cls": 3, "box": 7, "dir": 2}
    ours = tuple(v.reshape(2, -1, sizes[k]) for k, v in parts.items())
    theirs = tuple(data[f"{k}_teacher"].reshape(2, -1, sizes[k]) for k in parts)
    loss = anchor_response(ours, theirs, official=True)
    close(2.0 * loss["scores"], data["loss_cls"])
    close(2.0 * loss["boxes"], data["loss_loc"])
    close(0.4 * loss["directions"], data["loss_dir"])
    (2.0 * loss["scores"] + 2.0 * loss["boxes"] + 0.4 * loss["directions"]).backward()
    for key, value in parts.items():
        close(value.grad, data[f"grad_{key}"])


def test_cmkd_center_response_equals_the_authors_code():
    data = load("cmkd_response_center_base")
    names = {"hm": "heatmap", "center": "reg", "center_z": "height", "dim": "dim", "rot": "rot"}
    ours = {n: data[f"s_{k}"].clone().requires_grad_() for k, n in names.items()}
    theirs = {n: data[f"t_{k}"] for k, n in names.items()}
    scores = center_scores(ours["heatmap"], theirs["heatmap"], confident=0.3, clamp=1e-4)
    boxes = 4.0 * center_boxes(ours, theirs, sum_classes=True)
    close(scores, data["hm_loss_soft_head_0"])
    close(boxes, data["soft_loss_reg_head_0"])
    (scores + boxes).backward()
    close(ours["heatmap"].grad, data["grad_hm"])
    close(ours["reg"].grad, data["grad_center"])


def test_quality_focal_equals_crosskd():
    data = load("crosskd_kd_qfl")
    student = data["preds_S"].requires_grad_()
    value = quality_focal(student, data["preds_T"].sigmoid(), beta=1.0)
    loss = (value * data["label_weights"][:, None]).sum() / 6.0
    close(loss, data["loss"])
    loss.backward()
    close(student.grad, data["grad_preds_S"])


def test_fitnets_hint_equals_mdistiller():
    data = load("mdistiller_fitnet_convreg")
    student = data["student"].requires_grad_()
    regressor = nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU())
    regressor[0].load_state_dict({k: data[f"param.conv.{k}"] for k in ("weight", "bias")})
    for k in ("weight", "bias"):
        getattr(regressor[1], k).data = data[f"param.bn.{k}"]
    loss = masked_mean(squared_error(regressor(student), data["teacher"]))
    close(loss, data["loss"])
    loss.backward()
    close(student.grad, data["grad_student"])
