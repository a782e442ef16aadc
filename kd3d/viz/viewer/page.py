"""The viewer's page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kd3d.errors import UserError
from kd3d.fileio import write_text
from kd3d.viz.style import HEIGHT_RAMP, group_styles
from kd3d.viz.viewer.scene import MOST_POINTS, Scene, packed


def write_viewer(
    path: Path,
    scenes: list[Scene],
    title: str,
    notes: list[str],
    score: float = 0.3,
    most_points: int = MOST_POINTS,
) -> None:
    """Write a page that shows frames; it asks nothing of any server.

    Args:
        path: The page (.html).
        scenes: At least one.
        title: Heading.
        notes: Short facts below it.
        score: From which score on boxes are shown at first.
        most_points: A larger cloud is thinned.

    Raises:
        UserError: No scene, or a name that is not of an HTML file.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    check_target(path)
    if not scenes:
        raise UserError("no frame to show", path)
    groups = list(dict.fromkeys(name for scene in scenes for name in scene.groups))
    data: dict[str, Any] = {
        "scenes": [packed(scene, most_points) for scene in scenes],
        "styles": {
            name: {"color": style.color, "dashed": style.dash != "-"}
            for name, style in group_styles(groups).items()
        },
        "ramp": list(HEIGHT_RAMP),
        "score": score,
    }
    environment = Environment(
        loader=PackageLoader("kd3d.viz.viewer", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = json.dumps(data, allow_nan=False).replace("</", "<\\/")  # ends no script element
    page = environment.get_template("viewer.html.j2").render(title=title, notes=notes, data=text)
    write_text(path, page)


def check_target(path: Path) -> None:
    """Refuse a target that is no HTML file.

    Raises:
        UserError: Another suffix.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError("the viewer is an HTML file", path, "name it something.html")
