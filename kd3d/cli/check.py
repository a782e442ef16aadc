"""`kd3d check`: does a config work, before hours are spent on it?"""

from __future__ import annotations

import json

import typer


def register(app: typer.Typer) -> None:
    """Add the command `check`."""

    @app.command("check")
    def check_command(
        config: str = typer.Argument(help="A training config."),
        data_root: str | None = typer.Option(
            None, help="The prepared data set, instead of the config's."
        ),
        simulated: bool = typer.Option(
            False, help="Simulate a few frames of the config's data set instead (KITTI, nuScenes)."
        ),
        untrained: bool = typer.Option(
            False, help="Random weights for teachers and pretrained parts: check the wiring alone."
        ),
        cfg_options: list[str] = typer.Option([], help="Override: key=value; may be repeated."),
        as_json: bool = typer.Option(False, "--json", help="Print the verdicts as JSON."),
    ) -> None:
        """Build it, run two batches, check gradients, masks, memory and the exported checkpoint.

        Exit code 1 when a check fails.
        """
        import tempfile
        from pathlib import Path

        from kd3d import doctor
        from kd3d.console import quiet_logs
        from kd3d.engine.runner import load_config
        from kd3d.errors import UserError
        from kd3d.inspection.check import check
        from kd3d.inspection.trial import simulate_data

        if simulated and data_root is not None:
            raise UserError("data are given and simulated", "--simulated", "give one of both")
        read = load_config(config, cfg_options, None, data_root)
        with tempfile.TemporaryDirectory(prefix="kd3d-check-") as folder, quiet_logs():
            if simulated:
                simulate_data(read, Path(folder) / "data")
            found = check(read, untrained)
        if as_json:
            cost = {"step_s": found.seconds, "peak_bytes": found.peak_bytes}
            print(json.dumps(doctor.as_json(found.verdicts) | cost, indent=2))
        else:
            print("\n".join(doctor.lines(found.verdicts)))
            good = doctor.healthy(found.verdicts)
            print("OK" if good else "something is wrong: see the lines with 'fail'")
        raise typer.Exit(0 if doctor.healthy(found.verdicts) else 1)
