"""What every registered method must do on every detector pair that its card allows."""

import copy

import pytest
import torch

from kd3d.core.distiller import Distiller
from kd3d.core.registry import METHODS
from kd3d.core.taps import resolve
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.methods import cards
from kd3d.models.source import build_detector
from tests import toy

register_all()
# Small graphs keep the tests fast; the full sizes are defaults only.
OPTIONS = {"pointdistiller": dict(queries=40, neighbours=8)}
VARIANTS = {
    **{name: dict(type=name) for name in cards()},
    **{f"{name} as published": dict(type=name, official_parity=True) for name in cards()},
    "pointdistiller on cells": dict(type="pointdistiller", variant="bev"),
    "pointdistiller on points": dict(type="pointdistiller", variant="point"),
    "pointdistiller on points as published": dict(
        type="pointdistiller", variant="point", official_parity=True
    ),
}
DETECTORS = {family: build_detector(make()) for family, make in toy.ALL_FAMILIES.items()}


def allows(family, method):
    """Whether the family has every tap that the method reads."""
    terms = METHODS.get(method["type"])(**{k: v for k, v in method.items() if k != "type"})
    try:
        for term in terms:
            resolve(DETECTORS[family], term["student"].partition(":")[2])
    except UserError:
        return False
    return True


def families(name):
    """What the authors published is held to the contract on one family; its numbers to parity."""
    found = [family for family in toy.ALL_FAMILIES if allows(family, VARIANTS[name])]
    return found[:1] if name.endswith("as published") else found


PAIRS = [(name, family) for name in VARIANTS for family in families(name)]


SCHEMES = {
    "offline": lambda detector: dict(type="Frozen", checkpoint=None, model=detector),
    "online": lambda detector: dict(type="Online", model=detector),
    "self": lambda detector: dict(type="EMA"),
}


def build(method, family, same=False, scheme="offline"):
    torch.manual_seed(0)
    make = toy.ALL_FAMILIES[family]
    options = OPTIONS.get(method["type"], {})
    if method.get("variant") == "bev":
        options = options | dict(queries=20)
    teacher = make() if same else make(width=0.5)
    model = Distiller(
        make(),
        dict(teacher=SCHEMES[scheme](teacher)),
        copy.deepcopy(method) | options,
    )
    model.init_weights()
    return model


def kd_losses(model, data):
    return {
        k: v for k, v in toy.loss(model, data).items() if k.startswith("kd.") and k.endswith("loss")
    }


def data_for(family, **options):
    return toy.batch(box_dim=9 if family == "centerpoint" else 7, **options)


def test_every_card_is_complete_and_registered():
    assert set(cards()) == set(METHODS.module_dict)
    for name, card in cards().items():
        assert card.name == name
        assert all(
            (card.title, card.venue, card.paper, card.idea, card.equation, card.source, card.needs)
        )
        assert card.schemes
        assert set(card.schemes) <= {"offline", "online", "self"}
        assert set(card.source) <= {"logit", "feature", "similarity"}
        assert card.status
        assert card.differences


@pytest.mark.parametrize("variant, family", PAIRS)
def test_method_trains_the_student_and_never_the_teacher(variant, family):
    model = build(VARIANTS[variant], family)
    data = data_for(family)
    teacher = model.teachers["teacher"].model
    before = copy.deepcopy(teacher.state_dict())
    losses = kd_losses(model, data)
    assert losses
    assert all(torch.isfinite(v) and v >= 0 for v in losses.values())
    sum(losses.values()).backward()
    reached = [
        p for p in model.student.parameters() if p.grad is not None and p.grad.abs().sum() > 0
    ]
    assert reached
    assert all(p.grad is not None for p in model.terms.parameters())
    assert all(p.grad is None for p in teacher.parameters())
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())


@pytest.mark.parametrize("variant, family", PAIRS)
def test_loss_falls_on_one_batch(variant, family):
    model = build(VARIANTS[variant], family)
    data = data_for(family)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    values = []
    for _ in range(20):
        loss = sum(kd_losses(model, data).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.9 * values[0], values


def test_every_method_is_held_to_the_contract():
    assert {name for name, _ in PAIRS} == set(VARIANTS)
    assert [n for n, family in PAIRS if family == "pointrcnn"] == [
        "pointdistiller on points",
        "pointdistiller on points as published",
    ]


# Stock PointRCNN cannot train on a frame without objects: it indexes the empty list of boxes.
@pytest.mark.parametrize("variant, family", [p for p in PAIRS if p[1] != "pointrcnn"])
def test_frames_without_objects_are_finite(variant, family):
    model = build(VARIANTS[variant], family)
    losses = kd_losses(model, data_for(family, boxes=0))
    assert all(torch.isfinite(v) for v in losses.values())
    sum(losses.values()).backward()


@pytest.mark.parametrize("family", toy.FAMILIES)
@pytest.mark.parametrize("name", [name for name, card in cards().items() if card.zero_when_equal])
def test_loss_is_zero_for_an_equal_student(name, family):
    model = build(VARIANTS[name], family, same=True)
    model.teachers["teacher"].model.load_state_dict(model.student.state_dict())
    model.student.eval()
    data = model.data_preprocessor(data_for(family), True)
    losses = model(**data, mode="loss")
    assert all(v < 1e-6 for k, v in losses.items() if k.startswith("kd.") and k.endswith("loss"))


@pytest.mark.parametrize(
    "name, scheme",
    [(n, s) for n, card in cards().items() for s in card.schemes if s != "offline"],
)
def test_the_scheme_changes_by_config_alone(name, scheme):
    model = build(VARIANTS[name], "centerpoint", scheme=scheme)
    losses = kd_losses(model, data_for("centerpoint"))
    assert len(losses) == (2 if scheme == "online" else 1)
    assert all(torch.isfinite(v) for v in losses.values())
    sum(losses.values()).backward()
    for learner in model.learners.values():
        grads = [p.grad for p in learner.parameters() if p.grad is not None]
        assert any(grad.abs().sum() > 0 for grad in grads)
