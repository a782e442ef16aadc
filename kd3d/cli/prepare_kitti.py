"""`kd3d prepare kitti`: validate and convert a KITTI folder."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add `kitti` to the group `prepare`."""
    from kd3d.cli.main import group

    @group(app, "prepare").command("kitti")
    def prepare_kitti_command(
        root: Path = typer.Option(..., help="Folder with training/, testing/ and ImageSets/."),
        out: Path = typer.Option(None, help="Write there and link the source [default: --root]."),
        pictures: bool = typer.Option(True, help="Draw three frames into OUT/pictures."),
        workers: int = typer.Option(None, min=1, help="Threads [default: all processors]."),
    ) -> None:
        """Validate KITTI files; build infos, reduced clouds and the ground-truth database."""
        from kd3d.data.kitti_prepare import prepare_kitti
        from kd3d.data.kitti_summary import format_summary

        done = prepare_kitti(root, out, pictures=pictures, workers=workers)
        print(f"{done.out}: " + ("prepared" if done.rebuilt else "up to date, nothing to do"))
        print(format_summary(done.summary))
        for path in done.pictures:
            print(path)
