"""`kd3d doctor`: can this machine run kd3d, and do a config's data fit its models?"""

from __future__ import annotations

import json
from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command `doctor`."""

    @app.command("doctor")
    def doctor_command(
        data: str | None = typer.Option(
            None, help="Examine the data of this training config, instead of the machine."
        ),
        data_root: str | None = typer.Option(
            None, help="The prepared data set, instead of the config's."
        ),
        frames: int = typer.Option(100, min=1, help="Most training frames that are looked at."),
        cfg_options: list[str] = typer.Option([], help="Override: key=value; may be repeated."),
        as_json: bool = typer.Option(False, "--json", help="Print the verdicts as JSON."),
    ) -> None:
        """Examine each layer; exit code 0 when all is well, 1 otherwise."""
        from kd3d import doctor
        from kd3d.errors import UserError

        if data is None:
            if data_root is not None or cfg_options:
                raise UserError("no config is given", "--data", "kd3d doctor --data CONFIG")
            verdicts = doctor.examine(Path.cwd())
        else:
            from kd3d.console import quiet_logs
            from kd3d.engine.runner import load_config
            from kd3d.inspection.data import examine_data

            with quiet_logs():
                verdicts = examine_data(load_config(data, cfg_options, None, data_root), frames)
        if as_json:
            print(json.dumps(doctor.as_json(verdicts), indent=2))
        else:
            print("\n".join(doctor.lines(verdicts)))
        raise typer.Exit(0 if doctor.healthy(verdicts) else 1)
