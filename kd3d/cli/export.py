"""`kd3d export`: a student as ONNX or TorchScript, with its runtime, checks and card."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def export(
        run: str = typer.Argument(help="A run's folder, or the config it was trained with."),
        checkpoint: str | None = typer.Argument(
            None, help="The weights; a run's folder has its own, student.pth."
        ),
        out: Path = typer.Option(..., "--out", help="The folder to write."),
        form: str = typer.Option("onnx", "--format", help="onnx or torchscript."),
        frames: int = typer.Option(10, "--frames", min=1, help="Frames to compare with torch."),
        int8: str | None = typer.Option(
            None, "--int8", help="Also in 8 bits, with its cost in AP: dynamic or static."
        ),
        data_root: str | None = typer.Option(
            None, help="The prepared data set, instead of the config's."
        ),
        cfg_options: list[str] = typer.Option([], help="Override: key=value; may be repeated."),
    ) -> None:
        """Export a student on pillars or cameras to a folder that runs without mmdet3d.

        The folder has the graphs, the steps before and after them in numpy (runtime/), what they
        need to know (model.json), the comparison with torch (report.json) and a card (README.md).
        """
        from kd3d.deploy.export import export_model, tell

        tell(export_model(run, checkpoint, out, form, frames, int8, data_root, cfg_options), out)
        print(out)
