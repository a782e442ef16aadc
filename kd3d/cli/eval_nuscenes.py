"""`kd3d eval nuscenes`: score a nuScenes result file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def register(app: typer.Typer) -> None:
    """Add `eval nuscenes`."""
    from kd3d.cli.main import group

    @group(app, "eval").command("nuscenes")
    def eval_nuscenes(
        result: Path = typer.Argument(..., help="results_nusc.json in the submission format."),
        data_root: Path = typer.Option(..., help="Folder that holds the version's tables."),
        version: str = typer.Option(..., help="v1.0-mini (mini_val) or v1.0-trainval (val)."),
        json_file: str | None = typer.Option(
            None, "--json", help="Write the result there; '-' is standard output."
        ),
    ) -> None:
        """mAP, NDS and the five errors of a result file, by nuscenes-devkit's own evaluation.

        Every sample of the split needs an entry, an empty one where nothing was detected.
        """
        from kd3d.console import gave_json
        from kd3d.evaluation.nuscenes_score import evaluate_nuscenes

        values = evaluate_nuscenes(result, data_root, version)
        if not gave_json(values, json_file):
            print_score(values)


def print_score(values: dict[str, Any]) -> None:
    """Print the score, one row a class with AP in percent, and the notes."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from kd3d.data.nuscenes_tables import ERRORS

    title = f"nuScenes {values['eval_set']}, {values['samples']} samples"
    table = Table(title=title, box=SIMPLE_HEAD, padding=0)
    table.add_column("class", no_wrap=True)
    distances = list(next(iter(values["label_aps"].values())))
    for name in (
        "boxes",
        "AP",
        *(f"{float(d):g}m" for d in distances),
        *(e[1:] for e in ERRORS.values()),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for name, aps in values["label_aps"].items():
        errors = values["label_tp_errors"][name]
        table.add_row(
            name,
            str(values["boxes"]["ground_truth_by_class"][name]),
            *(f"{100 * value:.1f}" for value in (values["mean_dist_aps"][name], *aps.values())),
            *(_text(errors[key]) for key in ERRORS),
        )
    table.add_section()
    means = [_text(values["tp_errors"][key]) for key in ERRORS]
    blank = [""] * len(distances)
    boxes = str(values["boxes"]["ground_truth"])
    table.add_row("mean", boxes, f"{100 * values['mean_ap']:.1f}", *blank, *means)
    console = Console()
    console.print(table)
    console.print(f"NDS {values['nd_score']:.4f}   mAP {values['mean_ap']:.4f}", highlight=False)
    for note in values["notes"]:
        console.print(f"note: {note}", highlight=False, soft_wrap=True)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
