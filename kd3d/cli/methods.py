"""`kd3d methods`: what there is, a method's card, and the page of all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command `methods`."""

    @app.command("methods")
    def methods_command(
        name: str = typer.Argument("", help="Show this method's card."),
        markdown: Path | None = typer.Option(
            None,
            "--markdown",
            help="Try every method on tiny detectors and write the page of all methods here.",
        ),
    ) -> None:
        """List the methods, show a card, or write the page."""
        from kd3d.engine.register import register_all
        from kd3d.errors import UserError, did_you_mean
        from kd3d.methods import cards

        register_all()
        known = cards()
        if name and name not in known:
            raise UserError(f"unknown method {name!r}", "kd3d methods", did_you_mean(name, known))
        if markdown is not None:
            _write(markdown, list(known.values()))
        elif name:
            _show(known[name])
        else:
            _list(list(known.values()))


def _list(cards: list[Any]) -> None:
    from rich.table import Table

    table = Table("method", "source", "algorithm", "needs", "status", "venue")
    for card in cards:
        table.add_row(
            card.name,
            ", ".join(card.source),
            ", ".join(card.algorithm) or "imitation",
            ", ".join(card.needs),
            ", ".join(card.status),
            card.venue,
        )
    _console().print(table)


def _show(card: Any) -> None:
    from rich.table import Table

    from kd3d.core.compatibility import AGREEMENTS, agreements

    table = Table(show_header=False, box=None, padding=(0, 1))
    needed = [AGREEMENTS[name] for name in agreements(card)]
    for key, value in {
        card.name: card.title,
        "venue": f"{card.venue}, {card.paper}",
        "idea": card.idea,
        "equation": card.equation,
        "source": ", ".join(card.source),
        "algorithm": ", ".join(card.algorithm) or "imitation",
        "schemes": ", ".join(card.schemes),
        "needs": ", ".join(card.needs),
        "heads": ", ".join(card.heads) or "any",
        "both models": "; ".join(needed) or "nothing in common",
        "status": ", ".join(card.status),
        "differences": "\n".join(f"- {line}" for line in card.differences),
    }.items():
        table.add_row(key, value)
    _console().print(table)


def _console() -> Any:
    """Return a console that cuts nothing where standard output is no terminal."""
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, width=160)


def _write(path: Path, cards: list[Any]) -> None:
    from kd3d.engine.method_page import page, try_all
    from kd3d.errors import UserError
    from kd3d.fileio import write_text

    wrong = try_all(cards)
    if wrong:
        raise UserError("; ".join(wrong), str(path), "mend the card or the method")
    write_text(path, page(cards))
    print(f"{len(cards)} methods -> {path}")
