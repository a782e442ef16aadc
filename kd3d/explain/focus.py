"""A picture of where the terms of a config pull at its student."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from kd3d.explain.flow import terms_made
from kd3d.inspection.focus import focus
from kd3d.inspection.trial import build_distiller, first_batches
from kd3d.viz.focus import Pull, draw_focus


def draw(config: Config, path: Path) -> None:
    """Draw the first sample of the first training batch, a panel a term that taps a map.

    Args:
        config: See `kd3d.engine.runner.load_config`; its teachers have their weights.
        path: PNG file to write.

    Raises:
        UserError: As the distiller or its data, or no term taps a map on the ground.
    """
    distiller = build_distiller(config)
    found = focus(distiller, first_batches(config)[0])
    made, panels = terms_made(config.model.to_dict()), []
    for name, cells in found.maps.items():
        term = distiller.terms[name]
        spec = distiller.taps[term.student_branch].specs[term.student_tap].each[0]
        if spec.is_bev:
            extent, boxes = spec.grid[0], found.boxes[0][:, :7].numpy()
            card = made[name][1] if name in made else None
            title = f"{card.name}: {name}" if card else name
            panels.append(Pull(title, cells[0].numpy(), extent, boxes))
    draw_focus(panels, path)
