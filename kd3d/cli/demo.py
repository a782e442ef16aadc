"""`kd3d demo`."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def demo(
        task: str = typer.Option(
            "lidar",
            help="lidar: a compact LiDAR student on KITTI; camera: LiDAR teaches cameras "
            "on nuScenes.",
        ),
        out: Path | None = typer.Option(
            None, help="Work folder; work_dirs/demo or work_dirs/camera_demo if not given."
        ),
        frames: int | None = typer.Option(
            None, help="Simulated frames; five eighths (lidar) or four fifths (camera) train."
        ),
        seed: int = typer.Option(0, help="Seed of the models."),
        data_seed: int = typer.Option(0, help="Seed of the simulated data."),
        teacher_minimum: float | None = typer.Option(
            None,
            help="Lowest score of an accepted teacher: car 3D AP (loose overlap), or NDS.",
        ),
        cfg_options: list[str] = typer.Option([], help="Override in all configs: key=value."),
    ) -> None:
        """Run the main job on simulated data: teacher, baseline, distilled student, report."""
        from kd3d.demo import TASKS, run_demo
        from kd3d.errors import UserError, did_you_mean

        if task not in TASKS:
            raise UserError(f"unknown task {task!r}", "--task", did_you_mean(task, TASKS))
        chosen = TASKS[task]
        minimum = None
        if teacher_minimum is not None:
            minimum = dict.fromkeys(chosen.minimum, teacher_minimum)
        out = out or Path("work_dirs") / {"lidar": "demo"}.get(task, f"{task}_demo")
        print(run_demo(chosen, out, frames, seed, data_seed, cfg_options, minimum))
