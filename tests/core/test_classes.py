"""Heads whose tasks part the classes differently: matched by name, or refused."""

import pytest
import torch

from kd3d.core.classes import ClassMatch, LabelMatch
from kd3d.core.distiller import Distiller
from kd3d.core.spec import FeatureSpec, describe
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.models import tiny_bev

register_all()
ONE = (("car", "truck", "pedestrian"),)
SEVERAL = (("pedestrian",), ("bus", "truck", "car"))


def head(classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    widths = dict(reg=2, rot=2)
    return [
        [
            {"heatmap": torch.randn((2, len(task), 3, 5), generator=generator)}
            | {name: torch.randn((2, n, 3, 5), generator=generator) for name, n in widths.items()}
        ]
        for task in classes
    ]


def test_scores_are_found_by_name_and_boxes_belong_to_the_best_task():
    teacher = head(SEVERAL)
    (task,) = (one[0] for one in ClassMatch.of(ONE, SEVERAL, "term")(teacher))
    people, cars = teacher[0][0], teacher[1][0]
    for k, want in enumerate(
        (cars["heatmap"][:, 2], cars["heatmap"][:, 1], people["heatmap"][:, 0])
    ):
        assert torch.equal(task["heatmap"][:, k], want)
    for b in range(2):
        for y in range(3):
            for x in range(5):
                wheels = cars["heatmap"][b, 1:, y, x].max()
                best = cars if wheels > people["heatmap"][b, 0, y, x] else people
                for name in ("reg", "rot"):
                    assert torch.equal(task[name][b, :, y, x], best[name][b, :, y, x])


def test_one_task_is_parted_and_the_spec_says_what_comes():
    teacher = head(ONE)
    match = ClassMatch.of((("truck",), ("pedestrian", "car")), ONE, "term")
    first, second = (one[0] for one in match(teacher))
    whole = teacher[0][0]
    assert torch.equal(first["heatmap"], whole["heatmap"][:, 1:2])
    assert torch.equal(second["heatmap"], whole["heatmap"][:, [2, 0]])
    assert first["reg"] is whole["reg"]
    student = FeatureSpec(1, "center_head", classes=(("truck",), ("pedestrian", "car")))
    spec = match.spec(describe(teacher, None), student)
    assert spec.maps == describe(match(teacher), None).maps
    assert ClassMatch.of(ONE, ONE, "term") is None


def test_a_class_that_the_teacher_lacks_is_refused():
    with pytest.raises(UserError, match="no class Truck, only car, truck, pedestrian"):
        ClassMatch.of((("car", "Truck"),), ONE, "term x")


def test_a_distiller_matches_when_it_is_built():
    def made(tasks):
        teacher = tiny_bev.centerpoint()
        teacher["pts_bbox_head"]["tasks"] = [
            dict(num_class=len(task), class_names=list(task)) for task in tasks
        ]
        return Distiller(
            student=tiny_bev.bevdet(),
            teachers=dict(teacher=dict(type="Frozen", model=teacher, checkpoint=None)),
            method=dict(type="response"),
        )

    distiller = made(SEVERAL)
    batch = distiller.data_preprocessor(tiny_bev.batch(samples=1), True)
    losses = distiller(**batch, mode="loss")
    assert all(torch.isfinite(v).all() for k, v in losses.items() if k.endswith(".loss"))
    (term,) = distiller.terms.values()
    assert term.classes.tasks == (((1, 2), (1, 1), (0, 0)),)
    with pytest.raises(UserError, match="no class truck"):
        made((("car", "lorry", "pedestrian"),))


def test_detections_get_the_students_labels():
    names = [name for task in SEVERAL for name in task]  # the bus is none of the student's
    found = dict(
        labels=torch.tensor([3, 1, 0, 2]), scores=torch.arange(4.0), boxes=torch.randn(4, 9)
    )
    match = LabelMatch.of(ONE, SEVERAL)
    (one,) = match([found])
    kept = [i for i, label in enumerate(found["labels"]) if names[label] != "bus"]
    assert [ONE[0][label] for label in one["labels"]] == [names[found["labels"][i]] for i in kept]
    assert torch.equal(one["boxes"], found["boxes"][kept])
    assert torch.equal(one["scores"], found["scores"][kept])
    assert LabelMatch.of(ONE, (("car",), ("truck", "pedestrian"))) is None
    assert LabelMatch.of((), SEVERAL) is None
    with_none = dict(labels=torch.zeros(0, dtype=torch.int64), boxes=torch.zeros(0, 9))
    assert len(match([with_none])[0]["labels"]) == 0


def test_a_distiller_gives_terms_and_labels_the_students_labels():
    teacher = tiny_bev.centerpoint()
    teacher["pts_bbox_head"]["tasks"] = [
        dict(num_class=len(task), class_names=list(task)) for task in SEVERAL
    ]
    distiller = Distiller(
        student=tiny_bev.bevdet(),
        teachers=dict(teacher=dict(type="Frozen", model=teacher, checkpoint=None)),
        labels=dict(score=0.5),
    )
    found = [dict(labels=torch.tensor([0, 1, 3]), scores=torch.ones(3), boxes=torch.ones(3, 9))]
    distiller.teachers["teacher"].run = lambda *_: {"boxes": found}
    seen = []
    source = distiller.labels[0]
    joined = source.joined
    source.joined = lambda samples, boxes, size: seen.append(boxes) or joined(samples, boxes, size)
    batch = distiller.data_preprocessor(tiny_bev.batch(samples=1), True)
    distiller(**batch, mode="loss")
    assert seen[0][0]["labels"].tolist() == [2, 0]  # a pedestrian and a car
