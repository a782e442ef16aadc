"""`kd3d train` and `kd3d test`."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command()
    def train(
        config: str = typer.Argument(help="A config file."),
        work_dir: str | None = typer.Option(
            None, help="Where to write; default work_dirs/<config>."
        ),
        resume: bool = typer.Option(
            False, help="Continue from the last checkpoint of the work folder."
        ),
        data_root: str | None = typer.Option(
            None, help="The prepared data set, instead of the config's."
        ),
        cfg_options: list[str] = typer.Option([], help="Override: key=value; may be repeated."),
    ) -> None:
        """Train a student (or a teacher) and export it as a stock mmdet3d checkpoint."""
        from mmengine.dist import is_main_process

        from kd3d.engine.runner import load_config
        from kd3d.engine.runner import train as run

        student = run(load_config(config, cfg_options, work_dir, data_root), resume)
        if is_main_process():
            print(student)

    @app.command()
    def test(
        config: str = typer.Argument(help="The config the model was trained with."),
        checkpoint: str = typer.Argument(help="student.pth or a training checkpoint."),
        model: str = typer.Option(
            "student", help="Whose weights: student, or an online peer's or average's name."
        ),
        work_dir: str | None = typer.Option(None, help="Where logs go."),
        data_root: str | None = typer.Option(
            None, help="The prepared data set, instead of the config's."
        ),
        cfg_options: list[str] = typer.Option([], help="Override: key=value; may be repeated."),
    ) -> None:
        """Evaluate a checkpoint on the config's test set."""
        from mmengine.dist import is_main_process

        from kd3d.console import digits
        from kd3d.engine.runner import load_config
        from kd3d.engine.runner import test as run

        metrics = run(load_config(config, cfg_options, work_dir, data_root), checkpoint, model)
        for name, value in metrics.items() if is_main_process() else ():
            print(f"{name}: {digits(value)}")
