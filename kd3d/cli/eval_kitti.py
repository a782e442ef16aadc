"""`kd3d eval kitti`: score KITTI result files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def register(app: typer.Typer) -> None:
    """Add `eval kitti`."""
    from kd3d.cli.main import group

    @group(app, "eval").command("kitti")
    def eval_kitti(
        gt: Path = typer.Option(..., help="Folder of label files (training/label_2)."),
        pred: Path = typer.Option(..., help="Folder of result files, 16 columns."),
        frames: Path | None = typer.Option(
            None, help="Frame names, one a line (ImageSets/val.txt); default: all of --gt."
        ),
        json_file: str | None = typer.Option(
            None, "--json", help="Write the result there; '-' is standard output."
        ),
        curves: bool = typer.Option(False, help="Put the 41-point curves into the JSON too."),
    ) -> None:
        """KITTI AP of result files: 2D, BEV, 3D, AOS; AP40, AP11; strict and loose overlaps.

        Every evaluated frame needs a result file, an empty one where nothing was detected. A
        result file of a frame that is not evaluated is not counted, and noted.
        """
        from kd3d.console import gave_json
        from kd3d.evaluation.kitti_ap import evaluate_kitti

        labels, detections, extra = read_frames(gt, pred, frames)
        result = evaluate_kitti(labels, detections, curves=curves)
        if extra:
            shown = ", ".join(extra[:5]) + (", ..." if len(extra) > 5 else "")
            result["notes"].append(f"{len(extra)} result files not evaluated: {shown}")
        if not gave_json(result, json_file):
            print_result(result, len(labels))


def read_frames(gt: Path, pred: Path, frames: Path | None) -> tuple[list, list, list[str]]:
    """Return labels and detections by frame, and the names of result files left out.

    Raises:
        UserError: A folder or file that is missing or broken; see `read_label_dir`.
    """
    from kd3d.data.kitti_files import read_label_dir
    from kd3d.errors import UserError

    names = None
    if frames is not None:
        if not frames.is_file():
            raise UserError("no such file", frames)
        names = list(dict.fromkeys(frames.read_text(encoding="ascii").split()))
        if not names:
            raise UserError("no frame names in the file", frames)
    labels = read_label_dir(gt, names, scores=False)
    detections = read_label_dir(pred, list(labels), scores=True)
    extra = sorted({path.stem for path in pred.glob("*.txt")} - set(labels))
    return list(labels.values()), list(detections.values()), extra


def print_result(result: dict[str, Any], frames: int) -> None:
    """Print one table, a row for each class, metric and overlap, and the notes."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from kd3d.data.kitti_files import CLASSES
    from kd3d.evaluation.kitti_rules import AVERAGES, DIFFICULTIES, OVERLAPS, min_overlap

    table = Table(title=f"KITTI AP in percent, {frames} frames", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("class", "metric", "IoU >"):
        table.add_column(column, no_wrap=True)
    for average in AVERAGES:
        for difficulty in DIFFICULTIES:
            head = f"{average}\n{difficulty.replace('moderate', 'mod.')}"
            table.add_column(head, justify="right", no_wrap=True)
    for name in CLASSES:
        shown = name
        for metric, averages in result[name].items():
            for overlap in OVERLAPS if metric in ("3D", "BEV") else OVERLAPS[:1]:
                values = [v for average in AVERAGES for v in averages[average][overlap]]
                limit = f"{min_overlap(metric, overlap, name):g}"
                table.add_row(shown, metric, limit, *(f"{value:.2f}" for value in values))
                shown = ""
        table.add_section()
    console = Console()
    console.print(table)
    for note in result["notes"]:
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
