"""`kd3d eval depth`: how well a camera model knows its depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def register(app: typer.Typer) -> None:
    """Add `eval depth`."""
    from kd3d.cli.main import group

    @group(app, "eval").command("depth")
    def eval_depth(
        config: str = typer.Argument(..., help="The training's config."),
        checkpoint: Path = typer.Argument(..., help="The student's weights."),
        data_root: str | None = typer.Option(
            None, help="The prepared data set, instead of the config's."
        ),
        cfg_options: list[str] = typer.Option([], help="Override: key=value; may be repeated."),
        json_file: str | None = typer.Option(
            None, "--json", help="Write the result there; '-' is standard output."
        ),
    ) -> None:
        """Compare the depth at which a camera model lifts its features with the LiDAR's."""
        from kd3d.console import gave_json
        from kd3d.engine.depth_run import measure_depth
        from kd3d.engine.runner import load_config

        values = measure_depth(load_config(config, cfg_options, None, data_root), checkpoint)
        if not gave_json(values, json_file):
            _print(values)


def _print(values: dict[str, Any]) -> None:
    from rich.table import Table

    from kd3d.cli.list import console

    table = Table(title="expected depth against the LiDAR's", title_justify="left")
    for column in ("cells", "count", "abs rel", "RMSE (m)", "MAE (m)", "within 1.25", "NLL"):
        table.add_column(column, justify="left" if column == "cells" else "right")
    for name, row in values.items():
        keys = ("abs_rel", "rmse_m", "mae_m", "close", "nll")
        shown = ["-" if row[key] is None else f"{row[key]:.3f}" for key in keys]
        table.add_row(name, str(row["cells"]), *shown)
    console().print(table)
