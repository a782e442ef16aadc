"""`kd3d demo`."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def demo(
        out: Path = typer.Option(Path("work_dirs/demo"), help="Work folder."),
        frames: int = typer.Option(288, help="Simulated frames; five eighths train."),
        seed: int = typer.Option(0, help="Seed of the models."),
        data_seed: int = typer.Option(0, help="Seed of the simulated data."),
        teacher_minimum: float | None = typer.Option(
            None, help="Lowest car 3D AP (moderate, loose overlap) of an accepted teacher."
        ),
        cfg_options: list[str] = typer.Option([], help="Override in all three configs: key=value."),
    ) -> None:
        """Run the main job on simulated data: teacher, baseline, distilled student, report."""
        from kd3d.engine.demo import MINIMUM, run_demo

        minimum = MINIMUM if teacher_minimum is None else dict.fromkeys(MINIMUM, teacher_minimum)
        print(run_demo(out, frames, seed, data_seed, cfg_options, minimum))
