"""What every registered method must do on every detector pair that its card allows.

The default run tries every method on its home, the first pair that its card allows, and on two
pairs by turns; ``-m slow`` tries the whole product.
"""

import pytest
import torch

from kd3d.core.compatibility import AGREEMENTS, agreements
from kd3d.core.registry import LABELS, METHODS
from kd3d.engine.contract import broken_promises, build, data_of, kd_losses, not_allowed
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.methods import cards
from kd3d.models.tiny import PAIRS

register_all()
CARDS = cards()
FORMS = {label: form for card in CARDS.values() for label, form in card.forms.items()}
VARIANTS = {
    **{label: method for label, (method, _) in FORMS.items()},
    "crosskd in the branches": dict(type="crosskd", cross="branches"),
    "crosskd not crossed": dict(type="crosskd", cross=None),
    "reviewkd of one level": dict(type="reviewkd", tap="bev"),
}
PUBLISHED = {f"{n} as published": dict(type=n, official_parity=True) for n in CARDS}
ALL = {**VARIANTS, **PUBLISHED}
SLOW = pytest.mark.slow


def home(label):
    """The first pair that the card allows."""
    card = FORMS[label][1] if label in FORMS else CARDS[ALL[label]["type"]]
    return next(pair for pair in PAIRS if not_allowed(card, pair) is None)


def some_by_default(names, others):
    """Every name with every other one; all but two of each name's, by turns, are slow."""
    apart = len(others) // 2
    return [
        pytest.param(name, other, marks=() if (i + j) % apart == 0 else SLOW)
        for i, name in enumerate(names)
        for j, other in enumerate(others)
    ]


def test_every_card_is_complete_and_registered():
    assert set(CARDS) == set(METHODS.module_dict)
    for name, card in CARDS.items():
        assert card.name == name
        assert all(
            (card.title, card.venue, card.paper, card.idea, card.equation, card.source, card.needs)
        )
        assert card.schemes
        assert set(card.schemes) <= {"offline", "online", "self"}
        assert set(card.source) <= {"logit", "feature", "similarity"}
        assert set(agreements(card)) <= set(AGREEMENTS)
        assert card.status
        assert card.differences


@pytest.mark.parametrize("label, pair", some_by_default(FORMS, list(PAIRS)))
def test_method_runs_exactly_on_the_pairs_that_its_card_allows(label, pair):
    method, card = FORMS[label]
    if not_allowed(card, pair) is None:
        assert broken_promises(build(method, pair), pair) == []
        return
    with pytest.raises(UserError):
        kd_losses(build(method, pair), data_of(pair))


@pytest.mark.parametrize("variant", ALL)
def test_method_keeps_its_promises_at_home(variant):
    method, pair = ALL[variant], home(variant)
    assert broken_promises(build(method, pair), pair) == []


@pytest.mark.parametrize(
    "variant", [*VARIANTS, *(pytest.param(name, marks=SLOW) for name in PUBLISHED)]
)
def test_loss_falls_on_one_batch(variant):
    method, pair = ALL[variant], home(variant)
    model, data = build(method, pair), data_of(pair)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    values = []
    for _ in range(20):
        loss = sum(kd_losses(model, data).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.9 * values[0], values


@pytest.mark.parametrize("pair", ["centerpoint", "pointpillars"])
@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.zero_when_equal])
def test_loss_is_zero_for_an_equal_student(name, pair):
    if not_allowed(CARDS[name], pair) is not None:
        pytest.skip("the card does not allow this pair")
    model = build(dict(type=name), pair, same=True)
    model.teachers["teacher"].model.load_state_dict(model.student.state_dict())
    model.student.eval()
    data = model.data_preprocessor(data_of(pair), True)
    losses = model(**data, mode="loss")
    assert all(v < 1e-6 for k, v in losses.items() if k.startswith("kd.") and k.endswith("loss"))


@pytest.mark.parametrize(
    "name, scheme", [(n, s) for n, card in CARDS.items() for s in card.schemes if s != "offline"]
)
def test_the_scheme_changes_by_config_alone(name, scheme):
    pair = home(name)
    model = build(dict(type=name), pair, scheme=scheme)
    losses = kd_losses(model, data_of(pair))
    terms = [term for term in METHODS.get(name)() if term.get("type") not in LABELS.module_dict]
    assert len(losses) == len(terms) * (2 if scheme == "online" else 1)
    assert all(torch.isfinite(v) for v in losses.values())
    sum(losses.values()).backward()
    for learner in model.learners.values():
        grads = [p.grad for p in learner.parameters() if p.grad is not None]
        assert any(grad.abs().sum() > 0 for grad in grads)
