"""An encoder of labels in front of a fixed neck and head; the student that follows it."""

import copy

import pytest
import torch

from kd3d.core.distiller import Distiller
from kd3d.engine.contract import kd_losses
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.models import tiny_bev
from kd3d.models.source import build_detector

register_all()


def labels_alone(boxes=4, seed=0):
    data = tiny_bev.batch(boxes=boxes, seed=seed)
    return {"inputs": {}, "data_samples": data["data_samples"]}


def test_the_encoder_learns_what_the_fixed_head_reads_as_the_labels():
    torch.manual_seed(0)
    model = build_detector(tiny_bev.labels()).train()
    fixed = {k: v.clone() for k, v in model.state_dict().items() if "backbone" not in k}
    data = model.data_preprocessor(labels_alone(), True)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    values = []
    for _ in range(40):
        total = sum(model(**data, mode="loss").values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(total.item())
    assert values[-1] < 0.5 * values[0], values
    assert all(torch.equal(model.state_dict()[key], value) for key, value in fixed.items())
    assert all(p.grad.any() for k, p in model.named_parameters() if k.startswith("pts_backbone"))


def test_its_maps_lie_in_metres_and_say_where_the_boxes_are():
    torch.manual_seed(0)
    model = build_detector(tiny_bev.labels()).eval()
    first, data = model.pts_backbone, labels_alone(boxes=1)
    box = data["data_samples"][0].gt_instances_3d.bboxes_3d.tensor
    box[0, :7] = torch.tensor([20.0, -6.0, -1.0, 4.0, 2.0, 1.5, 0.0])
    painted = []
    for parts in (slice(None), slice(0)):  # with the box and without
        sample = copy.deepcopy(data["data_samples"][0])
        sample.gt_instances_3d = sample.gt_instances_3d[parts]
        painted.append(first.encoder.box(_numbers(model, sample)).detach())
    row, column = (painted[0] - painted[1]).abs().sum((0, 1)).nonzero().unbind(1)
    x = tiny_bev.RANGE[0] + (column + 0.5) * tiny_bev.CELL_M
    y = tiny_bev.RANGE[1] + (row + 0.5) * tiny_bev.CELL_M
    assert len(x) >= 4
    assert ((x - 20.0).abs() < 2.9).all()
    assert ((y + 6.0).abs() < 1.9).all()


def _numbers(model, sample):
    from kd3d.core.detection_targets import paint

    grid = model.pts_backbone.grid
    return paint([model._labels(sample)], 3, grid.extent_m, grid.shape)[0]


def test_a_sample_without_labels_is_refused():
    model, data = build_detector(tiny_bev.labels()), labels_alone()
    del data["data_samples"][0].gt_instances_3d
    with pytest.raises(UserError, match="no ground truth to encode"):
        model.encode_labels(data["data_samples"])


@pytest.mark.parametrize("official_parity", [False, True])
def test_a_student_follows_a_frozen_encoder(official_parity):
    """Nothing of the encoder is trained with the student, so nothing counts in its gradients."""
    torch.manual_seed(0)
    teachers = {
        name: dict(type="Frozen", model=model, checkpoint=None)
        for name, model in dict(teacher=tiny_bev.centerpoint(), labels=tiny_bev.labels()).items()
    }
    method = dict(type="labeldistill", labels="labels", official_parity=official_parity)
    model = Distiller(student=tiny_bev.bevdet(), teachers=teachers, method=method)
    losses = kd_losses(model, tiny_bev.batch())
    assert set(losses) == {f"kd.{part}.loss" for part in ("label", "lidar", "response")}
    losses["kd.label.loss"].backward()
    assert losses["kd.label.loss"] > 0
    trained = {k.split(".")[0] for k, p in model.terms.named_parameters() if p.grad is not None}
    assert trained == {"label"}
    assert all("encoder" not in key for key, _ in model.terms.named_parameters())
    assert all(p.grad is None for t in model.teachers.values() for p in t.model.parameters())
    head = model.student.pts_neck.deblocks[0]
    assert any(p.grad is not None and p.grad.any() for p in head.parameters())
