"""`kd3d prepare nuscenes`: validate and convert a nuScenes folder."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add `nuscenes` to the group `prepare`."""
    from kd3d.cli.main import group

    @group(app, "prepare").command("nuscenes")
    def prepare_nuscenes_command(
        data_root: Path = typer.Option(..., help="Folder with the tables, samples/ and sweeps/."),
        version: str = typer.Option("v1.0-mini", help="v1.0-mini or v1.0-trainval."),
        sweeps: int = typer.Option(10, help="LiDAR turns before each key frame, at most."),
        out: Path = typer.Option(None, help="Write there [default: --data-root]."),
        pictures: bool = typer.Option(True, help="Draw three samples into OUT/pictures."),
    ) -> None:
        """Validate nuScenes tables and files; build infos; count objects and points; draw."""
        from kd3d.data.nuscenes_prepare import prepare_nuscenes
        from kd3d.data.nuscenes_summary import format_summary

        done = prepare_nuscenes(data_root, version, sweeps, out, pictures=pictures)
        print(f"{done.out}: " + ("prepared" if done.rebuilt else "up to date, nothing to do"))
        print(format_summary(done.summary))
        for path in done.pictures:
            print(path)
