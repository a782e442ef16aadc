"""`kd3d taps`: what terms can read of the detectors of a config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

SEED = 0  # of the simulated frame


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def taps(
        config: str = typer.Argument(
            help="A config: a file, mmdet3d::second/..., or kd3d::...; of a detector or a pair."
        ),
        model: str | None = typer.Option(None, help="Only this model: student, or a teacher."),
        everything: bool = typer.Option(False, "--all", help="Every module, not the usual taps."),
        frame: Path | None = typer.Option(
            None, help="A cloud (.bin) to run on, instead of a simulated one."
        ),
        columns: int = typer.Option(4, min=3, help="Values of a point in --frame."),
        cfg_options: list[str] = typer.Option([], help="Override: key=value; may be repeated."),
        as_json: bool = typer.Option(False, "--json", help="Print the taps as JSON."),
    ) -> None:
        """Show path, alias, shape, stride, range, layout and device cost of every tap."""
        from kd3d.data.kitti_files import read_points
        from kd3d.engine.register import register_all
        from kd3d.engine.runner import load_config
        from kd3d.errors import UserError, did_you_mean
        from kd3d.inspection.detectors import detectors, one_frame
        from kd3d.inspection.trace import trace
        from kd3d.models.source import build_detector
        from kd3d.simulation.kitti import simulated_points

        register_all()
        known = detectors(load_config(config, cfg_options))
        if model is not None and model not in known:
            raise UserError(f"no model {model!r}", "--model", did_you_mean(model, known))
        points = simulated_points(SEED) if frame is None else read_points(frame, columns)
        found = {}
        for name in known if model is None else [model]:
            detector = build_detector(known[name], name)
            found[name] = trace(detector, one_frame(detector, points), everything)
        if as_json:
            shown = {name: [row.as_dict() for row in rows] for name, rows in found.items()}
            print(json.dumps(shown, indent=2))
            return
        for name, rows in found.items():
            _print(name, rows)


def _print(name: str, rows: list[Any]) -> None:
    from rich.table import Table

    from kd3d.cli.list import console

    table = Table(title=name, title_justify="left")
    for column in ("path", "alias", "shape"):
        table.add_column(column, overflow="fold")
    for column in ("stride", "cell (m)"):
        table.add_column(column, justify="right")
    for column in ("range (m)", "layout"):
        table.add_column(column)
    table.add_column("device ms", justify="right")
    for row in rows:
        spec = row.spec
        stride = "" if row.stride is None else f"{row.stride:g}"
        cell = "" if spec.cell_m is None else f"{spec.cell_m[0]:.3g} x {spec.cell_m[1]:.3g}"
        table.add_row(
            row.path, ", ".join(row.aliases), row.shape, stride, cell, extent(spec), spec.layout,
            f"{row.ms:.1f}",
        )  # fmt: skip
    console().print(table)


def extent(spec: Any) -> str:
    """Return where a map lies, in words."""
    if spec.extent_m is None:
        return ""
    x_min, y_min, x_max, y_max = spec.extent_m
    return f"x {x_min:g}..{x_max:g}, y {y_min:g}..{y_max:g}"
