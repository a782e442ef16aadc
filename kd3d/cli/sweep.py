"""`kd3d sweep`: many runs from one file."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def sweep(
        file: Path = typer.Argument(help="A sweep file (.yaml): arms, students, seeds."),
        out: Path | None = typer.Option(None, "--out", help="Where to write, instead of its out."),
        data_root: Path | None = typer.Option(
            None, "--data-root", help="The prepared data set, instead of the file's."
        ),
        jobs: int | None = typer.Option(
            None, "--jobs", min=1, help="Runs at once; they share the machine's threads and GPUs."
        ),
        threads: int | None = typer.Option(
            None, "--threads", min=1, help="CPU threads of a run, instead of its share."
        ),
        executor: str = typer.Option("local", "--executor", help="local or ray."),
        address: str | None = typer.Option(
            None, "--address", help="Ray cluster: auto, host:port or ray://host:port."
        ),
        only: list[str] | None = typer.Option(
            None, "--only", help="Work on this arm only, to redo a row; may be repeated."
        ),
        dry_run: bool = typer.Option(False, "--dry-run", help="Check all and say what would run."),
    ) -> None:
        """Train, test and compare arms x students x seeds; the same command again continues."""
        from rich.console import Console

        from kd3d.sweep.job import SweepJob
        from kd3d.sweep.summary import tables

        job = SweepJob(file, out, data_root, only or ())
        if dry_run:
            for name, action in job.plan():
                print(f"{name}: {action}")
            return
        numbers = job.work(executor, jobs, threads, address)
        console = Console()
        console = console if console.is_terminal else Console(width=160)
        console.print(tables(numbers))
        print(job.sweep.out / "sweep.json")
        if any(run["state"] != "done" for run in numbers["runs"]):
            raise typer.Exit(1)
