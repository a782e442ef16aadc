"""`kd3d list`: methods and their parts, and teachers with published weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import typer

Rows = list[dict[str, Any]]


class Kind(str, Enum):
    """What can be listed."""

    methods = "methods"
    teachers = "teachers"
    losses = "losses"
    masks = "masks"
    adapters = "adapters"
    schedules = "schedules"


# Columns of the printed tables; --json has all.
COLUMNS = {
    Kind.methods: ("name", "source", "scheme", "algorithm", "modality", "needs", "status", "venue"),
    Kind.teachers: ("checkpoint", "modality", "published"),
    Kind.losses: ("name", "source", "config", "methods", "meaning"),
    Kind.masks: ("name", "config", "methods", "meaning"),
    Kind.adapters: ("name", "config", "methods", "meaning"),
    Kind.schedules: ("name", "config", "arguments", "meaning"),
}


def register(app: typer.Typer) -> None:
    """Add the command `list`."""

    @app.command("list")
    def list_command(
        kind: Kind = typer.Argument(help="What to list."),
        source: list[str] = typer.Option([], help="logit, feature or similarity."),
        scheme: list[str] = typer.Option([], help="offline, online or self."),
        algorithm: list[str] = typer.Option([], help="imitation, attention, contrastive, ..."),
        modality: list[str] = typer.Option(
            [], help="lidar, camera, radar, image, lidar+camera, or 'lidar to camera'."
        ),
        needs: list[str] = typer.Option([], help="A tap, or gt_boxes, that a method reads."),
        without: list[str] = typer.Option([], help="A tap, or gt_boxes, that it does not read."),
        as_json: bool = typer.Option(False, "--json", help="Print all columns as JSON."),
        markdown: Path | None = typer.Option(
            None, help="Try every method on tiny detectors and write the page of all methods here."
        ),
    ) -> None:
        """List what there is; a filter may be repeated, and a row must meet all."""
        from kd3d.catalogue.methods import chosen
        from kd3d.errors import UserError

        filters = dict(
            source=source, scheme=scheme, algorithm=algorithm, modality=modality, needs=needs,
            without=without,
        )  # fmt: skip
        if markdown is not None:
            if kind is not Kind.methods or any(filters.values()):
                raise UserError("this page is about all methods", "--markdown", "kd3d list methods")
            _write(markdown)
            return
        rows = chosen(_rows(kind), filters)
        if as_json:
            print(json.dumps(rows, indent=2))
        else:
            _print(rows, COLUMNS[kind])


def _rows(kind: Kind) -> Rows:
    from kd3d.catalogue import parts
    from kd3d.catalogue.methods import method_rows
    from kd3d.catalogue.teachers import teacher_rows
    from kd3d.engine.register import register_all
    from kd3d.methods import cards

    if kind is Kind.methods:
        register_all()
    makers: dict[Kind, Callable[[], Rows]] = {
        Kind.methods: lambda: method_rows(list(cards().values())),
        Kind.teachers: teacher_rows,
        Kind.losses: parts.loss_rows,
        Kind.masks: parts.mask_rows,
        Kind.adapters: parts.adapter_rows,
        Kind.schedules: parts.schedule_rows,
    }
    return makers[kind]()


def _print(rows: Rows, columns: tuple[str, ...]) -> None:
    from rich.table import Table

    table = Table()
    for column in columns:
        table.add_column(column, no_wrap=column == columns[0])
    for row in rows:
        table.add_row(*(shown(row[column]) for column in columns))
    console().print(table)


def shown(value: Any) -> str:
    """Return a value of a row in words."""
    if isinstance(value, dict):
        return "; ".join(f"{key} {shown(item)}".strip() for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def console() -> Any:
    """Return a console that cuts nothing where standard output is no terminal."""
    from rich.console import Console

    found = Console(markup=False, highlight=False)
    return found if found.is_terminal else Console(markup=False, highlight=False, width=160)


def _write(path: Path) -> None:
    from kd3d.engine.method_page import page, try_all
    from kd3d.engine.register import register_all
    from kd3d.errors import UserError
    from kd3d.fileio import write_text
    from kd3d.methods import cards

    register_all()
    known = list(cards().values())
    wrong = try_all(known)
    if wrong:
        raise UserError("; ".join(wrong), str(path), "mend the card or the method")
    write_text(path, page(known))
    print(f"{len(known)} methods -> {path}")
