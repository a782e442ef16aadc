"""`kd3d view`: frames, labels and models' boxes in a page."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def view(
        what: list[str] = typer.Argument(
            help="A data set's folder, or models: run folders, or CONFIG,CHECKPOINT; NAME= before "
            "it names it."
        ),
        out: Path = typer.Option(Path("view.html"), "--out", help="The page to write (.html)."),
        frames: int = typer.Option(5, "--frames", min=1, help="Evenly spaced frames."),
        ids: str = typer.Option("", "--ids", help="Names of frames instead: 000003,000025."),
        score: float = typer.Option(0.3, "--score", help="Show boxes from this score on at first."),
        points: int = typer.Option(30000, "--points", min=1, help="Most points of a frame."),
        window: bool = typer.Option(False, "--window", help="Open a window of open3d as well."),
        data_root: Path | None = typer.Option(
            None, help="The prepared data set, instead of the configs'."
        ),
        cfg_options: list[str] = typer.Option([], help="Override: key=value; may be repeated."),
    ) -> None:
        """Write a page that shows points, boxes, masks, feature energy and pictures.

        It is one file and asks nothing of the network.
        """
        from kd3d.data.frames import is_data, open_folder
        from kd3d.data.simulated import is_simulated
        from kd3d.engine.looking import folder_scenes, look
        from kd3d.engine.subjects import load_subjects
        from kd3d.errors import UserError
        from kd3d.viz.viewer.page import check_target, write_viewer
        from kd3d.viz.viewer.window import need_display, show_window

        check_target(out)
        if window:
            need_display()
        chosen = [word for word in ids.split(",") if word]
        data = [Path(word) for word in what if is_data(Path(word))]
        if data and len(what) > 1:
            fix = "name a data set's folder alone, or models alone with --data-root"
            raise UserError("a data set beside something else", data[0], fix)
        if data:
            scenes, root = folder_scenes(open_folder(data[0]), chosen, frames), data[0]
            title = data[0].resolve().name
        else:
            subjects = load_subjects(what, str(data_root) if data_root else None, cfg_options)
            scenes = look(subjects, chosen, frames, data_root)
            root = Path(subjects[0].data["root"])
            title = ", ".join(subject.name for subject in subjects)
        simulated = is_simulated(root)
        notes = [f"{len(scenes)} frames of {root}", *(["simulated data"] if simulated else [])]
        write_viewer(out, scenes, title, notes, score, points)
        print(out)
        if window:
            show_window(scenes, score)
