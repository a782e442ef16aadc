"""`kd3d simulate kitti` and `kd3d simulate stats`."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the commands to the group `simulate`."""
    from kd3d.cli.main import group

    simulate = group(app, "simulate")
    simulate.command("kitti")(kitti)
    simulate.command("stats")(stats)


def kitti(
    out: Path = typer.Option(..., help="Folder to make."),
    frames: int = typer.Option(..., help="Labelled frames (training/)."),
    seed: int = typer.Option(0, help="Same seed, same bytes."),
    spec: str = typer.Option("street", help="Scenario: street, kitti_like, or a .yaml file."),
    test_frames: int = typer.Option(0, help="Frames without labels (testing/)."),
    val_share: float = typer.Option(0.4, help="Share of the labelled frames kept for validation."),
    workers: int = typer.Option(None, help="Processes; one a core if not given."),
    overwrite: bool = typer.Option(False, help="Replace simulated data of another seed or spec."),
) -> None:
    """Make SIMULATED LiDAR and camera frames in the KITTI object layout."""
    from kd3d.simulation.kitti import simulate_kitti

    print(simulate_kitti(out, frames, seed, spec, test_frames, val_share, workers, overwrite))


def stats(
    root: list[Path] = typer.Option(..., help="Folder in the KITTI layout; may be given again."),
    limit: int = typer.Option(None, help="At most this many frames of each."),
) -> None:
    """Print what KITTI-layout folders hold, side by side, as a Markdown table."""
    from kd3d.simulation.statistics import kitti_statistics, markdown

    print(markdown({str(path): kitti_statistics(path, limit) for path in root}), end="")
