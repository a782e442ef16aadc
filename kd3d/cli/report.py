"""`kd3d report`: run folders to one page."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def report(
        runs: list[Path] = typer.Argument(..., help="Run folders, each with a record.json."),
        out: Path = typer.Option(
            ..., "--out", help="The page to write (.html), or a table (.md, .csv)."
        ),
        title: str = typer.Option("Distillation report", "--title", help="Heading of the page."),
        data: Path | None = typer.Option(
            None, "--data", help="Data set folder, where the recorded one has moved."
        ),
        spread: Path | None = typer.Option(
            None,
            "--spread",
            help="JSON file: metric to {sd, n, source}, the standard deviation of the gain over "
            "seeds; a wrong metric is answered with the right ones.",
        ),
        score: float = typer.Option(0.3, "--score", help="Draw boxes from this score on."),
        frames: int = typer.Option(5, "--frames", min=0, help="Evenly spaced frames to show."),
        resamples: int = typer.Option(
            200, "--resamples", min=0, help="Frames are drawn anew this often for a single seed."
        ),
        allow_unequal: bool = typer.Option(
            False, "--allow-unequal", help="Show runs of unequal budget, data or recipe, too."
        ),
        picture: Path | None = typer.Option(
            None, "--picture", help="Write a summary picture (.png) as well."
        ),
    ) -> None:
        """Write one page about runs, the seeds of a model together, and its numbers as JSON."""
        from kd3d.fileio import read_json
        from kd3d.report.page import write_report
        from kd3d.report.summary_png import write_summary_png

        json_path = write_report(
            runs, out, title, spread=read_json(spread) if spread else None, data_root=data,
            score_threshold=score, frames=frames, resamples=resamples,
            allow_unequal=allow_unequal,
        )  # fmt: skip
        print(out)
        print(json_path)
        if picture is not None:
            write_summary_png(runs, picture, data_root=data, score_threshold=score)
            print(picture)
