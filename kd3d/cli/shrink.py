"""`kd3d shrink`: a stock config of a smaller detector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from kd3d.models.compact import Cost

SEED = 0  # of the simulated frame


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def shrink(
        config: str = typer.Argument(
            help="A config of mmdet3d (mmdet3d::second/...) or of kd3d, whose student is meant."
        ),
        params: float | None = typer.Option(None, help="Wanted share of the parameters, 0 to 1."),
        flops: float | None = typer.Option(None, help="Wanted share of the FLOPs, 0 to 1."),
        width: float | None = typer.Option(None, help="Factor on the channels, 0 to 1."),
        depth: float = typer.Option(1.0, help="Factor on the layers of a stage, 0 to 1."),
        voxel: float | None = typer.Option(None, help="New voxel edge along x and y in metres."),
        divisor: int = typer.Option(4, help="Channels are multiples of this."),
        frame: Path | None = typer.Option(
            None, help="A cloud (.bin) to count FLOPs on, instead of a simulated one."
        ),
        image_size: tuple[int, int] | None = typer.Option(
            None, help="Height and width of each image to count FLOPs on; default the config's."
        ),
        columns: int = typer.Option(4, help="Values of a point in --frame: KITTI 4, nuScenes 5."),
        out: Path | None = typer.Option(
            None, help="The file to write; default <config>_shrunk.py here."
        ),
    ) -> None:
        """Write a stock mmdet3d config of a smaller detector and say what it costs."""
        from kd3d.data.kitti_files import read_points
        from kd3d.engine.runner import load_config
        from kd3d.errors import UserError
        from kd3d.models.compact import IMAGE_SIZE, compact
        from kd3d.models.stock import stock_model, with_model, write_config
        from kd3d.simulation.kitti import simulated_points

        if columns < 3:
            raise UserError(f"{columns}, wanted 3 or more", "--columns")
        read = load_config(config)
        points = simulated_points(SEED) if frame is None else read_points(frame, columns)
        size = tuple(image_size or read.get("image_size", IMAGE_SIZE))
        if min(size) < 32:
            raise UserError(f"{size}, wanted 32 pixels or more", "--image-size")
        wishes = width, depth, voxel, params, flops, divisor
        found = compact(stock_model(read), points, *wishes, size)
        target = out or Path(f"{Path(read.filename).stem}_shrunk.py")
        options = f"width {found.width:g}, depth {depth:g}"
        options += "" if voxel is None else f", voxel {voxel:g} m"
        write_config(target, with_model(read, found.model), f"kd3d shrink {config}: {options}")
        where = f"simulated frame, seed {SEED}" if frame is None else str(frame)
        show(found.before, found.after, where)
        for line in (options, found.remark, str(target)):
            print(line, end="\n" if line else "")


def show(before: Cost, after: Cost, frame: str) -> None:
    """Print what both models cost, part by part."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"FLOPs (2 a multiply-accumulate) on {frame}", title_justify="left")
    table.add_column("part")
    for unit in ("parameters", "GFLOPs"):
        for column in (unit, "shrunk", "share"):
            table.add_column(column, justify="right")
    for part in before.parameters:
        table.add_row(part, *_figures(before, after, part))
    table.add_section()
    table.add_row("all", *_figures(before, after, None))
    Console().print(table)


def _figures(before: Cost, after: Cost, part: str | None) -> list[str]:
    """Return the row of a part, or of all."""

    def of(counts: dict[str, int]) -> int:
        return sum(counts.values()) if part is None else counts[part]

    def row(old: int, new: int, text: str, unit: float) -> list[str]:
        share = f"{new / old:.1%}" if old else "-"
        return [format(old / unit, text), format(new / unit, text), share]

    return [
        *row(of(before.parameters), of(after.parameters), ",.0f", 1),
        *row(of(before.flops), of(after.flops), ",.2f", 1e9),
    ]
