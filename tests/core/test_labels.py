"""A teacher's boxes as labels: the stock loss sees them, and nothing else does."""

import copy

import pytest
import torch

from kd3d.core.context import Context
from kd3d.core.distiller import Distiller
from kd3d.core.labels import TeacherLabels, truth_of
from kd3d.core.run import run_teacher
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from tests import toy

register_all()
LOW = dict(score=0.05)  # a random teacher is sure of nothing
FROZEN = dict(type="Frozen", checkpoint=None)


def build(family="centerpoint", labels=LOW, teacher=None, **changes):
    torch.manual_seed(0)
    make = toy.FAMILIES[family]
    if teacher is None:
        detector, score = toy.unsure(make(width=0.5), family)
        teacher, labels = (
            dict(FROZEN, model=detector),
            dict(score=score) if labels is LOW else labels,
        )
    model = Distiller(make(), dict(teacher=teacher), labels=copy.deepcopy(labels), **changes)
    model.init_weights()
    return model


def data_of(model, family="centerpoint", unlabelled=(), **options):
    """A preprocessed batch; the samples of some numbers have no ground truth."""
    raw = toy.batch(box_dim=9 if family == "centerpoint" else 7, **options)
    for number in unlabelled:
        del raw["data_samples"][number].gt_instances_3d
    return model.data_preprocessor(raw, True)


def detections(model, data):
    teacher = model.teachers["teacher"]
    with torch.no_grad():
        model_inputs = copy.deepcopy(data["inputs"]["teacher"])
        return run_teacher(
            teacher.model, teacher.taps, model_inputs, data["data_samples"]["teacher"]
        )


@pytest.mark.parametrize("unlabelled", [(), (1,), (0, 1)])
@pytest.mark.parametrize("family", toy.FAMILIES)
def test_the_loss_is_the_stock_loss_of_the_joined_labels(family, unlabelled):
    model = build(family)
    data = data_of(model, family, unlabelled)
    found = detections(model, data)["boxes"]
    assert all(len(one["boxes"]) > 5 for one in found)
    stock = copy.deepcopy(data["data_samples"]["student"])
    inputs = copy.deepcopy(data["inputs"]["student"])
    kept = copy.deepcopy(data["data_samples"])
    size = 9 if family == "centerpoint" else 7
    for sample, one in zip(stock, found):
        truth = truth_of(sample) or (torch.zeros(0, size), torch.zeros(0).long())
        boxes, labels, _ = TeacherLabels().join(one["boxes"], one["labels"], *truth)
        assert boxes.shape[1] == size
        made = type(toy.batch()["data_samples"][0].gt_instances_3d)()
        made.bboxes_3d = sample.metainfo["box_type_3d"](boxes, box_dim=size)
        made.labels_3d = labels
        sample.gt_instances_3d = made
    student = copy.deepcopy(model.student)
    losses = model(**data, mode="loss")
    want = student(inputs, stock, mode="loss")
    for key, value in want.items():
        for ours, theirs in zip(
            *(v if isinstance(v, list) else [v] for v in (losses[f"task.{key}"], value))
        ):
            assert torch.equal(ours, theirs), key
    assert losses["kd.labels.boxes"] > 5
    toy.total(losses).backward()
    for name, samples in data["data_samples"].items():  # what was given is as it was
        for sample, before in zip(samples, kept[name]):
            old, new = truth_of(before), truth_of(sample)
            assert (old is None) == (new is None)
            assert old is None or all(torch.equal(a, b) for a, b in zip(old, new))


def test_without_sure_boxes_training_is_the_stock_detectors():
    losses = [toy.loss(build(labels=labels), toy.batch()) for labels in (None, dict(score=0.99))]
    assert losses[1].pop("kd.labels.boxes") == 0
    assert all(torch.equal(losses[1][key], value) for key, value in losses[0].items())


def test_a_moving_average_gives_labels():
    model = build(teacher=dict(type="EMA"))
    losses = toy.loss(model, toy.batch())
    assert losses["kd.labels.boxes"] > 5
    model.after_step()
    assert torch.isfinite(toy.total(toy.loss(model, toy.batch(seed=1))))


def test_sources_join_one_after_the_other_and_one_member_may_speak():
    member = dict(FROZEN, model=toy.centerpoint(width=0.5))
    ensemble = dict(
        type="Ensemble", members=dict(a=member, b=dict(FROZEN, model=toy.centerpoint()))
    )
    sources = [dict(LOW, teacher=f"teacher:{m}/boxes", name=m) for m in "ab"]
    one, both = (toy.loss(build(labels=sources[:n], teacher=ensemble), toy.batch()) for n in (1, 2))
    assert one["kd.a.boxes"] == both["kd.a.boxes"] > 5
    assert both["kd.b.boxes"] > 0
    assert one["task.task0.loss_heatmap"] != both["task.task0.loss_heatmap"]


@pytest.mark.parametrize("named", [(), ("bev",)])
def test_a_term_reads_the_joined_boxes_only_where_it_is_named(named):
    model = build(labels=dict(LOW, terms=list(named)), method=dict(type="fitnets"))
    data = data_of(model, unlabelled=(0, 1))
    value = model(**data, mode="loss")["kd.bev.loss"]
    assert (value > 0) == bool(named)  # there is no ground truth at all
    assert model.terms["bev"].reads() is None or not named  # a cache stores the whole map


CAR = torch.tensor([10.0, 0.0, -1.0, 4.0, 2.0, 1.5, 0.3])


def moved(*x):
    return torch.stack([CAR + torch.tensor([dx, 0, 0, 0, 0, 0, 0.0]) for dx in x])


def joined(truth=None, **options):
    """Join five detections 5 m apart, the first near the truth; return boxes, labels and added."""
    boxes = moved(0.5, 5.0, 10.0, 15.0, 15.5)
    scores, labels = torch.tensor([0.9, 0.5, 0.7, 0.8, 0.6]), torch.tensor([0, 1, 0, 2, 2])
    boxes = torch.cat([boxes, boxes.new_tensor([[torch.inf] * 7]), CAR[None] * 0])
    found = dict(
        boxes=boxes,
        scores=torch.cat([scores, scores[:2] * 0 + 1]),
        labels=torch.cat([labels, labels[:2]]),
    )
    sample = toy.batch(samples=1)["data_samples"][0]
    if truth is None:
        del sample.gt_instances_3d
    else:
        boxes = torch.cat([truth, truth.new_zeros(len(truth), 2)], 1)
        sample.gt_instances_3d = type(sample.gt_instances_3d)(
            bboxes_3d=sample.metainfo["box_type_3d"](boxes, box_dim=9),
            labels_3d=torch.zeros(len(truth)).long(),
        )
    made = TeacherLabels(**{"score": 0.1, "duplicate": None, **options}).joined(
        [sample], [found], 9
    )
    context = Context.from_batch({}, made.samples, 0.0)
    assert torch.equal(context.boxes[0], made.boxes[0])
    assert made.samples[0].gt_instances_3d.bboxes_3d.tensor.shape[1] == 9
    places = (made.boxes[0][:, 0] - 10).round(decimals=1).tolist()
    return places, made.labels[0].tolist(), made.added[0]


@pytest.mark.parametrize(
    "options, places",
    [
        (dict(), [0.5, 5, 10, 15, 15.5]),
        (dict(score=0.6), [0.5, 10, 15]),  # a score must be above
        (dict(score=[0.8, 0.1, 0.1]), [0.5, 5, 15, 15.5]),
        (dict(suppress=0.3), [0.5, 5, 10, 15]),
        (dict(limit=2), [0.5, 15]),
    ],
)
def test_which_detections_join_a_frame_without_ground_truth(options, places):
    assert joined(**options)[0] == places


def test_how_detections_join_the_ground_truth():
    truth = moved(0.0)
    assert joined(truth)[0] == [0, 0.5, 5, 10, 15, 15.5]
    assert joined(truth, first="teacher")[0] == [0.5, 5, 10, 15, 15.5, 0]
    places, labels, added = joined(truth, duplicate=0.1)
    assert (places, labels, added) == ([0, 5, 10, 15, 15.5], [0, 1, 0, 2, 2], 4)
    assert joined(truth, duplicate=0.9)[2] == 5
    assert joined(moved(4.0), duplicate=0.1)[2] == 5  # it overlaps one of another class
    assert joined(truth, frames="unlabelled")[0] == [0]
    assert joined(frames="unlabelled")[2] == 5
    assert joined(truth[:0], duplicate=0.1)[2] == 5


@pytest.mark.parametrize(
    "labels, message",
    [
        (dict(teacher="tacher"), "did you mean 'teacher'"),
        (dict(learner="peer"), "not trained"),
        (dict(teacher="teacher:bev"), "no boxes"),
        (dict(terms=["bve"]), "no term 'bve'"),
        (dict(first="gt"), "truth or teacher"),
        (dict(frames="some"), "unknown frames"),
        (dict(scores=0.5), "scores"),
        ([LOW, LOW], "one name"),
        (dict(limit=0), "limit"),
    ],
)
def test_mistakes_are_named(labels, message):
    with pytest.raises(UserError, match=message):
        build(labels=labels)


def test_what_cannot_join_is_refused():
    with pytest.raises(UserError, match="A peer gives no labels"):
        build(teacher=dict(type="Online", model=toy.centerpoint()))
    with pytest.raises(UserError, match="2 thresholds"):
        toy.loss(build(labels=dict(score=[0.05, 0.05])), toy.batch())
    data = toy.batch()
    for sample in data["data_samples"]:
        sample.gt_instances_3d.depths = torch.zeros(3)
    with pytest.raises(UserError, match="depths"):
        toy.loss(build(), data)
