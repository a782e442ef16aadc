"""`kd3d simulate nuscenes`."""

from __future__ import annotations

import re
from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add `nuscenes` to the group `simulate`."""
    from kd3d.cli.main import group

    group(app, "simulate").command("nuscenes")(nuscenes)


def nuscenes(
    out: Path = typer.Option(..., help="Folder to make."),
    scenes: int = typer.Option(
        10, help="Scenes; of v1.0-mini 2 to 10, of v1.0-trainval 2 to 600, every fourth in val."
    ),
    samples: int = typer.Option(10, help="Key frames a scene, half a second apart."),
    seed: int = typer.Option(0, help="Same seed, same bytes."),
    sweeps: int = typer.Option(9, help="LiDAR turns kept before each key frame, 0 to 9."),
    image_size: str = typer.Option("256x144", help="Width x height of the pictures."),
    workers: int = typer.Option(None, help="Processes; one a core if not given."),
    version: str = typer.Option("v1.0-mini", help="v1.0-mini or v1.0-trainval: splits and names."),
    overwrite: bool = typer.Option(False, help="Replace simulated data of another kind."),
) -> None:
    """Make SIMULATED drives with six cameras and a LiDAR in the layout of nuScenes."""
    from kd3d.errors import UserError
    from kd3d.simulation.nuscenes import simulate_nuscenes

    match = re.fullmatch(r"(\d+)x(\d+)", image_size)
    if match is None:
        raise UserError(f"{image_size!r} is not a size", "--image-size", "write 256x144")
    size = int(match[1]), int(match[2])
    print(simulate_nuscenes(out, scenes, samples, seed, sweeps, size, workers, overwrite, version))
