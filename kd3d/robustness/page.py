"""The page of `kd3d stress`: a table and a curve a corruption, self-contained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kd3d
from kd3d.fileio import write_text
from kd3d.report.svg import SMALL, Series, legend, line_chart

TERM_COLORS = 6


def write_page(path: Path, numbers: dict[str, Any]) -> None:
    """Write the page of what `kd3d.robustness.summary.summarise` returned, with facts."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loaders = [PackageLoader(f"kd3d.{name}", ".") for name in ("robustness", "report")]
    environment = Environment(
        loader=ChoiceLoader(loaders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    styles = line_styles(numbers["models"])
    page = environment.get_template("stress.html.j2").render(
        n=numbers,
        kd3d=kd3d.__version__,
        models=[model["name"] for model in numbers["models"]],
        charts=[(one, _chart(one, numbers, styles)) for one in numbers["corruptions"]],
        legend=legend(list(styles.items())),
        digits=2 if max(numbers["clean"].values()) > 1 else 3,
        simulated=any(model["simulated"] for model in numbers["models"]),
    )
    write_text(path, page)


def line_styles(models: list[dict[str, Any]]) -> dict[str, str]:
    """Return model -> CSS class: the colours of the roles where all are known and differ."""
    roles = [model["role"] for model in models]
    if None not in roles and len(set(roles)) == len(roles):
        return {model["name"]: f"role-{model['role']}" for model in models}
    return {model["name"]: f"term-{i % TERM_COLORS}" for i, model in enumerate(models)}


def _chart(one: dict[str, Any], numbers: dict[str, Any], styles: dict[str, str]) -> Any:
    """Return the curve of the metric over the amount, from the clean value at 0 on."""
    lines = [
        Series(
            model,
            [0.0, *one["amounts"]],
            [numbers["clean"][model], *found["values"]],
            styles[model],
        )
        for model, found in one["models"].items()
    ]
    title = f"{numbers['metric']} under {one['title']}"
    reach = (0.0, 1.03 * max(one["amounts"]))  # leaves room for the last number
    return line_chart(lines, one["unit"], numbers["metric"], title=title, size=SMALL, x_range=reach)
