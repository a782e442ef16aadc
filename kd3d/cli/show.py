"""`kd3d show`: a method's card, its defaults and what is known of its worth."""

from __future__ import annotations

import json
from typing import Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command `show`."""

    @app.command()
    def show(
        method: str = typer.Argument(help="A method of `kd3d list methods`."),
        as_json: bool = typer.Option(False, "--json", help="Print the card as JSON."),
    ) -> None:
        """Show a method: idea, equation, taps, defaults and their source, results, differences."""
        from kd3d.catalogue.sheet import sheet
        from kd3d.cli.list import console
        from kd3d.engine.register import register_all
        from kd3d.errors import UserError, did_you_mean
        from kd3d.methods import cards

        register_all()
        known = cards()
        if method not in known:
            raise UserError(f"unknown method {method!r}", "kd3d show", did_you_mean(method, known))
        found = sheet(known[method])
        if as_json:
            print(json.dumps(found, indent=2))
            return
        for part in (_facts(found), *_tables(found)):
            console().print(part)


def _facts(found: dict[str, Any]) -> Any:
    from rich.table import Table

    from kd3d.catalogue import words
    from kd3d.cli.list import shown

    table = Table(show_header=False, box=None, padding=(0, 1))
    for key, value in {
        found["name"]: found["title"],
        "venue": f"{found['venue']}, {found['paper']}",
        "idea": found["idea"],
        "equation": found["equation"],
        "source": shown(found["source"]),
        "algorithm": shown(found["algorithm"]),
        "schemes": shown(found["scheme"]),
        "published for": shown(found["modality"]),
        "needs": shown(found["needs"]),
        "heads": shown(found["heads"]) or "any",
        "both models": "; ".join(found["both_models"]) or "nothing in common",
        "verified": shown(found["status"]),
        "differences": "\n".join(f"- {line}" for line in found["differences"]),
        "published": "\n".join(map(words.published, found["published"])) or "no figures kept here",
        "measured here": "\n".join(map(words.measured, found["measured"])) or "nothing yet",
    }.items():
        table.add_row(key, value)
    return table


def _tables(found: dict[str, Any]) -> list[Any]:
    from rich.table import Table

    options = Table("option", "default", "meaning", title="options", title_justify="left")
    for row in found["options"]:
        options.add_row(row["name"], repr(row["default"]), row["meaning"])
    terms = Table(
        "term", "student and teacher", "setting", "default", "source",
        title="terms with the default options", title_justify="left",
    )  # fmt: skip
    for term in found["terms"]:
        sides = " and ".join(filter(None, (term["student"], term["teacher"])))
        for i, row in enumerate(term["settings"]):
            first = (f"{term['name']} ({term['type']})", sides) if i == 0 else ("", "")
            other = f" (the authors': {row['published']!r})" if "published" in row else ""
            terms.add_row(*first, row["name"], repr(row["default"]), row["source"] + other)
    return [options, terms]
