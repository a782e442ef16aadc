"""The task's weight, further taps of a term, and velocities in the context."""

import json

import pytest
import torch

from kd3d.cache.manifest import tap_entry, tap_spec
from kd3d.core.distiller import Distiller
from kd3d.core.registry import TERMS
from kd3d.core.term import Term
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from tests import toy

register_all()


class WatchingTerm(Term):
    """Keeps what it sees."""

    def further(self):
        return "student:head", "student:stage0", "teacher:head"

    def build(self, student, teacher):
        self.layouts = {address: spec.layout for address, spec in self.further_specs.items()}

    def distance(self, student, teacher, context):
        self.seen = context.taps
        self.moves = context.velocities
        return student.mean()


TERMS.register_module(module=WatchingTerm, force=True)


def distiller(**options):
    torch.manual_seed(0)
    teacher = dict(type="Frozen", checkpoint=None, model=toy.centerpoint(width=0.5))
    model = Distiller(toy.centerpoint(), dict(teacher=teacher), **options)
    model.init_weights()
    return model


def test_task_weight_scales_the_learners_losses_and_their_gradients_alone():
    whole, half = (distiller(method=dict(type="itkd"), task_weight=weight) for weight in (1.0, 0.5))
    losses = [toy.loss(model, toy.batch()) for model in (whole, half)]
    for key, value in losses[0].items():
        factor = 0.5 if key.startswith("task.") else 1.0
        torch.testing.assert_close(losses[1][key], factor * value, rtol=0, atol=0)
    grads = []
    for model, found in zip((whole, half), losses):
        sum(v for k, v in found.items() if k.startswith("task.") and "loss" in k).backward()
        grads.append(model.student.pts_neck.deblocks[0][0].weight.grad)
    torch.testing.assert_close(grads[1], 0.5 * grads[0])


@pytest.mark.parametrize("weight", [-0.5, float("nan"), float("inf")])
def test_a_task_weight_that_is_no_weight_is_refused(weight):
    with pytest.raises(UserError, match="task_weight"):
        distiller(task_weight=weight)


def test_further_taps_have_specs_and_only_the_students_carry_a_graph():
    sides = dict(name="watch", student="student:bev", teacher="teacher:bev")
    model = distiller(terms=[dict(type="WatchingTerm", **sides)])
    data = toy.batch()
    boxes = data["data_samples"][0].gt_instances_3d.bboxes_3d.tensor
    boxes[:, 7:9] = torch.tensor([[3.0, -1.0], [0.0, 0.0], [float("nan"), 2.0]])
    losses = toy.loss(model, data)
    term = model.terms["watch"]
    heads = {"student:head": "center_head", "teacher:head": "center_head"}
    assert term.layouts == {**heads, "student:stage0": "map"}
    heat = term.seen["student:head"][0][0]["heatmap"]
    assert heat.shape == (2, 3, *model.taps["student"].specs["head"].shape)
    assert heat.requires_grad
    assert term.seen["student:stage0"].requires_grad
    assert not term.seen["teacher:head"][0][0]["heatmap"].requires_grad
    assert term.moves[0].tolist() == [[3.0, -1.0], [0.0, 0.0], [0.0, 2.0]]
    assert term.moves[1].abs().sum() == 0
    losses["kd.watch.loss"].backward()
    assert all(p.grad is None for n, p in model.student.named_parameters() if "task_heads" in n)


@pytest.mark.parametrize("family, maps", [("centerpoint", 6), ("pointpillars", 3)])
def test_specs_of_heads_name_their_maps_and_survive_a_cache(family, maps):
    model = toy.FAMILIES[family]()
    sides = dict(student="student:head", teacher="teacher:head")
    teacher = dict(type="Frozen", checkpoint=None, model=model)
    made = Distiller(
        model, dict(teacher=teacher), terms=[dict(type="ResponseTerm", name="r", **sides)]
    )
    spec = made.taps["student"].specs["head"]
    assert len(spec.maps) == 1
    assert len(spec.maps[0]) == maps
    first = "heatmap" if family == "centerpoint" else "scores"
    assert dict(spec.maps[0])[first] == spec.channels
    assert tap_spec(json.loads(json.dumps(tap_entry(spec, None, None)))) == spec
