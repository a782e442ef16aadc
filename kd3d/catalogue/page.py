"""All that is known of one method, as a page in Markdown."""

from __future__ import annotations

from typing import Any

from kd3d.catalogue import words


def method_page(found: dict[str, Any]) -> str:
    """Return the page of what `kd3d.catalogue.sheet.sheet` found."""
    facts = {
        "source of knowledge": ", ".join(found["source"]),
        "schemes": ", ".join(found["scheme"]),
        "algorithm": ", ".join(found["algorithm"]),
        "published for": ", ".join(found["modality"]),
        "needs": ", ".join(f"`{need}`" for need in found["needs"]),
        "heads": ", ".join(found["heads"]) or "any",
        "both models": "; ".join(found["both_models"]) or "nothing in common",
        "verified": ", ".join(found["status"]),
    }
    lines = [
        f"# {found['name']}", "", f"{found['title']}. {found['venue']}, {found['paper']}.", "",
        found["idea"], "", "```text", found["equation"], "```", "",
        *_table(["", ""], [[key, value] for key, value in facts.items()]),
        "", "## Options", "", "```python", f'method = dict(type="{found["name"]}")', "```", "",
        *_table(
            ["option", "default", "meaning"],
            [[o["name"], f"`{o['default']!r}`", o["meaning"]] for o in found["options"]],
        ),
        "", "## Terms", "", *_table(["term", "student", "teacher", "setting"], _settings(found)),
    ]  # fmt: skip
    for title, entries, none in (
        ("How it differs from the authors' code", found["differences"], ""),
        ("What papers report", [words.published(one) for one in found["published"]], ""),
        ("What was measured here", [words.measured(one) for one in found["measured"]], "Nothing."),
    ):
        if entries or none:
            lines += ["", f"## {title}", "", *([f"- {one}" for one in entries] or [none])]
    return "\n".join(lines) + "\n"


def _settings(found: dict[str, Any]) -> list[list[str]]:
    rows = []
    for term in found["terms"]:
        for setting in term["settings"]:
            other = f"; the authors': {setting['published']!r}" if "published" in setting else ""
            value = f"{setting['name']} `{setting['default']!r}` ({setting['source']}{other})"
            rows.append(
                [f"{term['name']} ({term['type']})", term["student"], term["teacher"], value]
            )
    return rows


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(head), "|" + "---|" * len(head), *[line(row) for row in rows]]
