"""A data flow as one self-contained HTML page, without scripts."""

from __future__ import annotations

from pathlib import Path

from kd3d.errors import UserError
from kd3d.explain.flow import Flow
from kd3d.explain.mermaid import mermaid, state
from kd3d.fileio import write_text

TEMPLATE = Path(__file__).with_name("page.html.j2")


def write_page(flow: Flow, path: Path) -> None:
    """Write the page.

    Raises:
        UserError: The name is not that of an HTML file.
    """
    import jinja2

    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError("the page is an HTML file", path, "name it something.html")
    engine = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    engine.filters |= {"state": state, "number": lambda value: f"{value:,}"}
    template = engine.from_string(TEMPLATE.read_text(encoding="utf-8"))
    models = {model.name: model for model in flow.models}
    write_text(path, template.render(flow=flow, models=models, mermaid=mermaid(flow)))
