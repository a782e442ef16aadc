"""What methods there are and on which pairs they run, as Markdown, from their cards."""

from __future__ import annotations

from collections.abc import Iterable

from kd3d.console import track
from kd3d.core.card import MethodCard
from kd3d.core.compatibility import AGREEMENTS, agreements
from kd3d.engine.contract import broken_promises, build, not_allowed
from kd3d.errors import UserError
from kd3d.models.tiny import PAIRS

RUNS = "runs"


def matrix(cards: Iterable[MethodCard]) -> dict[str, dict[str, str]]:
    """Return method or variant -> pair -> ``runs``, or why the card does not allow it."""
    forms = {label: form for card in cards for label, (_, form) in card.forms.items()}
    return {
        label: {pair: not_allowed(form, pair) or RUNS for pair in PAIRS}
        for label, form in forms.items()
    }


def try_all(cards: list[MethodCard]) -> list[str]:
    """Run the contract wherever the cards allow it, and look that it is refused elsewhere.

    Returns:
        A line for each method and pair that does otherwise than its card says.
    """
    wrong = []
    forms = {label: form for card in cards for label, form in card.forms.items()}
    cells = [(label, pair) for label in forms for pair in PAIRS]
    for label, pair in track(cells, "methods on pairs"):
        method, card = forms[label]
        reason = not_allowed(card, pair)
        try:
            broken = broken_promises(build(method, pair), pair)
        except UserError as error:
            if reason is None:
                wrong.append(f"{label} on {pair}: allowed, but {error}")
            continue
        if reason is not None:
            wrong.append(f"{label} on {pair}: runs, although {reason}")
        elif broken:
            wrong.append(f"{label} on {pair}: {'; '.join(broken)}")
    return wrong


def page(cards: list[MethodCard]) -> str:
    """Return the page; its matrix follows from the cards and the pairs of tiny detectors alone."""
    cells = matrix(cards)
    reasons = sorted({c for row in cells.values() for c in row.values() if c != RUNS})
    number = {reason: i for i, reason in enumerate(reasons, start=1)}
    lines = [
        "# Methods",
        "",
        "Written by `kd3d list methods --markdown docs/methods.md`, from the cards in "
        "`kd3d/methods/`. Do not edit it: change a card and run the command again. "
        "`kd3d show NAME` shows all that is known of a method, also how it differs from its "
        "authors' code and what it gained "
        "here. `published for`: sensors of the paper's teachers and students; a method runs "
        "wherever its needs are met.",
        "",
        "| method | paper | source | algorithm | published for | schemes | needs | "
        "both models need | status |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_row(card) for card in cards),
        "",
        "## Which method runs on which pair",
        "",
        "A dot: it runs, as a test tries on tiny detectors (`tests/contract/test_methods.py`, all "
        "pairs with `-m slow`). A number: it is refused with a message, for the reason below. "
        "Teachers are twice as wide. The default options are meant where none are named.",
        "",
        *(f"- **{name}**: {pair.meaning}" for name, pair in PAIRS.items()),
        "",
        "| | " + " | ".join(PAIRS) + " |",
        "|---|" + "---|" * len(PAIRS),
        *(
            f"| `{name}` | "
            + " | ".join("·" if row[p] == RUNS else str(number[row[p]]) for p in PAIRS)
            + " |"
            for name, row in cells.items()
        ),
        "",
        *(f"{i}. {reason}" for reason, i in number.items()),
        "",
    ]
    return "\n".join(lines)


def _row(card: MethodCard) -> str:
    needed = "; ".join(AGREEMENTS[name] for name in agreements(card)) or "nothing in common"
    columns = [
        f"`{card.name}`",
        f"{link(card)}, {card.venue}",
        ", ".join(card.source),
        ", ".join(card.algorithm) or "imitation",
        ", ".join(card.routes),
        ", ".join(card.schemes),
        ", ".join([*(f"`{need}`" for need in card.needs), *card.heads]),
        needed,
        ", ".join(card.status),
    ]
    return "| " + " | ".join(columns) + " |"


def link(card: MethodCard) -> str:
    """Return the paper's title as a Markdown link."""
    address = card.paper
    if address.startswith("arXiv:"):
        address = "https://arxiv.org/abs/" + address.removeprefix("arXiv:")
    return f"[{card.title}]({address})"
