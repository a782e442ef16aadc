"""mkdocs hooks: a page a method, written from its card when the site is built."""

from __future__ import annotations

from typing import Any

from mkdocs.structure.files import File


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the methods."""
    from kd3d.engine.register import register_all
    from kd3d.methods import cards

    register_all()
    for name, card in sorted(cards().items()):
        path = f"methods/{name}.md"
        files.append(File.generated(config, path, content=method_page(card)))
    return files


def on_config(config: Any) -> Any:
    """Put the pages into the navigation, by the survey's source of knowledge."""
    from kd3d.engine.register import register_all
    from kd3d.methods import cards

    register_all()
    by_source: dict[str, list[dict[str, str]]] = {}
    for name, card in sorted(cards().items()):
        by_source.setdefault(card.source[0], []).append({name: f"methods/{name}.md"})
    section = next(entry["Methods"] for entry in config.nav if "Methods" in entry)
    section.extend({f"By {source}": pages} for source, pages in sorted(by_source.items()))
    return config


def method_page(card: Any) -> str:
    """Return a card as Markdown."""
    rows = {
        "knowledge": ", ".join(card.source),
        "scheme": ", ".join(card.schemes),
        "algorithm": ", ".join(card.algorithm) or "imitation",
        "needs": ", ".join(f"`{need}`" for need in card.needs),
        "heads": ", ".join(card.heads) or "any",
        "verification": ", ".join(card.status),
    }
    lines = [f"# {card.name}", "", f"{card.title}. {card.venue}, {card.paper}.", "", card.idea, ""]
    lines += ["```text", card.equation, "```", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in rows.items()]
    if card.differences:
        lines += ["", "## How it differs from the authors' code", ""]
        lines += [f"- {line}" for line in card.differences]
    lines += ["", "## Use", "", "```python", f'method = dict(type="{card.name}")', "```", ""]
    lines += [f"Options and defaults: `kd3d.methods.{card.name}`.", ""]
    lines += [f"::: kd3d.methods.{card.name}", "    options: {show_root_heading: false}", ""]
    return "\n".join(lines)
