"""mkdocs hooks: a page a method, written from its card and results when the site is built."""

from __future__ import annotations

from typing import Any

from mkdocs.structure.files import File

from kd3d.catalogue.page import method_page
from kd3d.catalogue.sheet import sheet
from kd3d.engine.register import register_all
from kd3d.methods import cards


def on_config(config: Any) -> Any:
    """Put the pages into the navigation, by the survey's source of knowledge."""
    register_all()
    by_source: dict[str, list[dict[str, str]]] = {}
    for name, card in sorted(cards().items()):
        by_source.setdefault(card.source[0], []).append({name: f"methods/{name}.md"})
    section = next(entry["Methods"] for entry in config.nav if "Methods" in entry)
    section.extend({f"By {source}": pages} for source, pages in sorted(by_source.items()))
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the methods."""
    for name, card in sorted(cards().items()):
        page = method_page(sheet(card))
        files.append(File.generated(config, f"methods/{name}.md", content=page))
    return files
