"""`kd3d doctor`: can this machine run kd3d?"""

from __future__ import annotations

import json
from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command `doctor`."""

    @app.command("doctor")
    def doctor_command(
        as_json: bool = typer.Option(False, "--json", help="Print the verdicts as JSON."),
    ) -> None:
        """Examine each layer; exit code 0 when all is well, 1 otherwise."""
        from kd3d import doctor

        verdicts = doctor.examine(Path.cwd())
        if as_json:
            print(json.dumps(doctor.as_json(verdicts), indent=2))
        else:
            for verdict in verdicts:
                print(f"{verdict.status:5} {verdict.layer:26} {verdict.detail}")
                if verdict.fix:
                    print(f"{'':5} {'':26} -> {verdict.fix}")
        raise typer.Exit(0 if doctor.healthy(verdicts) else 1)
