"""Frames without labels: out of the detection loss, in the forward pass and the terms."""

import copy

import pytest
import torch
from mmengine.registry import MODELS

from kd3d.core.labelled import FLAG, only_labelled
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from tests import toy

register_all()


def student(family, **changes):
    torch.manual_seed(0)
    return MODELS.build(
        dict(type="Distiller", student=toy.FAMILIES[family](), guard=False) | changes
    )


def partly(family, labelled, samples=3):
    data = toy.batch(samples=samples, box_dim=9 if family == "centerpoint" else 7)
    for i, sample in enumerate(data["data_samples"]):
        sample.set_metainfo({FLAG: i in labelled})
        if i not in labelled:
            sample.gt_instances_3d = sample.gt_instances_3d[:0]
    return data


def some(data, keep):
    return {
        "inputs": {"points": [data["inputs"]["points"][i] for i in keep]},
        "data_samples": [data["data_samples"][i] for i in keep],
    }


@pytest.mark.parametrize("family", toy.FAMILIES)
@pytest.mark.parametrize("keep", [[0, 2], [1]])
def test_the_loss_is_that_of_the_labelled_samples_alone(family, keep):
    model = student(family)
    data = partly(family, keep)
    whole = toy.loss(model, data, train=False)  # BatchNorm parts the samples
    alone = toy.loss(model, some(data, keep), train=False)
    assert set(whole) == set(alone)
    for key, value in alone.items():
        torch.testing.assert_close(whole[key], value, rtol=1e-5, atol=1e-6)
    everything = toy.loss(model, partly(family, [0, 1, 2]), train=False)
    assert not torch.allclose(toy.total(everything), toy.total(alone), rtol=1e-5)


@pytest.mark.parametrize("family", toy.FAMILIES)
def test_nothing_labelled_trains_nothing_but_the_terms(family):
    model = student(family)
    value = toy.total(toy.loss(model, partly(family, [])))
    assert value.item() == 0
    value.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
    head = getattr(model.student, "pts_bbox_head", None) or model.student.bbox_head
    assert "loss_by_feat" not in vars(head)

    teacher = dict(teacher=dict(type="Frozen", checkpoint=None, model=toy.FAMILIES[family](0.5)))
    taught = student(family, teachers=teacher, method=dict(type="fitnets", official_parity=True))
    losses = toy.loss(taught, partly(family, []))
    assert losses["kd.bev.loss"] > 0
    toy.total(losses).backward()
    assert any(p.grad is not None and p.grad.any() for p in taught.student.parameters())


def test_a_detector_whose_loss_cannot_be_cut_is_refused():
    model = student("centerpoint").student
    samples = copy.deepcopy(partly("centerpoint", [0])["data_samples"])
    model.roi_head = torch.nn.Identity()
    with pytest.raises(UserError, match="without labels"), only_labelled(model, samples, "student"):
        pass
    for sample in samples:
        sample.set_metainfo({FLAG: True})
    with only_labelled(model, samples, "student"):
        pass


def test_frames_that_a_teacher_labels_count_again():
    torch.manual_seed(0)
    teacher = dict(type="Frozen", checkpoint=None, model=toy.centerpoint(0.5))
    model = student("centerpoint", teachers=dict(teacher=teacher), labels=dict(score=0.05))
    losses = toy.loss(model, partly("centerpoint", []))
    assert losses["kd.labels.boxes"] > 0
    assert toy.total(losses) > 0
