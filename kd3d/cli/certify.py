"""`kd3d certify`: measure a teacher before anybody learns from it."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def certify(
        config: str = typer.Argument(
            help="The teacher's config: a file, or kd3d::teachers/pointpillars_kitti.py."
        ),
        checkpoint: str = typer.Argument(help="The teacher's weights."),
        minimum: list[str] = typer.Option(
            [], help="metric=value that it must reach; may be repeated."
        ),
        work_dir: str | None = typer.Option(None, help="Where logs go."),
        data_root: str | None = typer.Option(
            None, help="The prepared data set, instead of the config's."
        ),
        cfg_options: list[str] = typer.Option([], help="Override: key=value; may be repeated."),
    ) -> None:
        """Measure a teacher on the student's evaluator; write CHECKPOINT.certificate.json.

        A teacher below a --minimum, or one in the box convention of mmdet3d before 1.0, gets no
        certificate, and training refuses a teacher without one.
        """
        from kd3d.console import digits
        from kd3d.engine.certify import certify as run
        from kd3d.engine.certify import tell
        from kd3d.engine.runner import load_config
        from kd3d.teachers.certificate import certificate_path

        lowest = read_minimum(minimum)
        certificate = run(load_config(config, cfg_options, work_dir, data_root), checkpoint, lowest)
        for name in lowest or certificate["metrics"]:
            print(f"{name}: {digits(certificate['metrics'][name])}")
        tell(certificate, certificate_path(checkpoint))


def read_minimum(options: list[str]) -> dict[str, float]:
    """Return metric -> value of options such as ``Car_3D_AP40_moderate_loose=30``."""
    from kd3d.errors import UserError

    found = {}
    for option in options:
        name, _, value = option.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise UserError(f"{option!r} is not metric=number", "--minimum") from None
    return found
