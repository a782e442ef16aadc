"""`kd3d advise`: which method to try on two detectors, and why."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import typer

SHOWN = 8  # rows of the ranking that are explained


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def advise(
        student: str = typer.Argument(
            help="The student's whole config, or mmdet3d::..., kd3d::..."
        ),
        teacher: str = typer.Argument(help="The teacher's config."),
        data: str | None = typer.Option(
            None, help="The prepared data set, instead of the config's."
        ),
        simulated: bool = typer.Option(
            False, help="Simulate a few frames of the data set for the short run."
        ),
        checkpoint: str | None = typer.Option(
            None, help="The teacher's weights; default: mmdet3d's own of that config."
        ),
        out: Path | None = typer.Option(None, help="The config to write."),
        dry_run: bool = typer.Option(False, help="Only rank; run, measure and write nothing."),
        cfg_options: list[str] = typer.Option([], help="Override of the student's: key=value."),
        as_json: bool = typer.Option(False, "--json", help="Print the advice as JSON."),
    ) -> None:
        """Rank the methods for a pair, write the config of the best and measure a step of it.

        Exit code 1 when the written config fails its check.
        """
        import tempfile

        from kd3d.advice.advise import look_at, sound, write_and_try
        from kd3d.advice.config import check_inputs
        from kd3d.console import quiet_logs
        from kd3d.engine.runner import load_config
        from kd3d.errors import UserError
        from kd3d.inspection.detectors import detectors
        from kd3d.inspection.trial import simulate_data
        from kd3d.models.source import build_detector

        if simulated and (data is not None or dry_run):
            raise UserError("data are given or not needed", "--simulated", "leave it out")
        own = load_config(student, cfg_options, None, data)
        other = load_config(teacher)
        found = look_at(own, other)
        if not dry_run:
            check_inputs(own, build_detector(detectors(other)["student"], "teacher"), student)
            with tempfile.TemporaryDirectory(prefix="kd3d-advise-") as folder, quiet_logs():
                short = own.copy() if simulated else None
                if short is not None:
                    simulate_data(short, Path(folder) / "data")
                write_and_try(found, own, short, (student, teacher), checkpoint, out)
        if as_json:
            print(json.dumps(_plain(found), indent=2))
        else:
            _print(found)
        raise typer.Exit(0 if dry_run or sound(found) else 1)


def _plain(found: Any) -> dict[str, Any]:
    """Return the advice as plain data."""
    from dataclasses import asdict

    def cost(one: Any) -> dict[str, Any] | None:
        return None if one is None else asdict(one)

    return {
        "facts": asdict(found.facts),
        "taps": {
            side: {name: str(spec) for name, spec in getattr(found, side).taps.items()}
            for side in ("student", "teacher")
        },
        "ranked": [
            {
                "method": one.fit.method, "points": one.points,
                "gain": one.record.gain, "measured": one.record.where,
                "rules": [
                    {"rule": r.rule, "points": r.points, "why": r.why, "source": r.source}
                    for r in one.rules
                ],
            }
            for one in found.ranked
        ],
        "unfit": {one.name: one.reason for one in found.unfit},
        "refused": found.refused,
        "chosen": None if found.chosen is None else found.chosen.fit.method,
        "config": None if found.path is None else str(found.path),
        "notes": found.notes,
        "check": [asdict(verdict) for verdict in found.verdicts],
        "step_alone": cost(found.alone), "step_distilled": cost(found.together),
        "steps": found.steps,
    }  # fmt: skip


def _print(found: Any) -> None:
    from rich.table import Table

    from kd3d import doctor
    from kd3d.cli.list import console

    out = console()
    for part in (_pair(found), _ranking(found)):
        out.print(part)
    unfit = Table("does not run", "because", title="other methods", title_justify="left")
    for one in found.unfit:
        unfit.add_row(one.name, one.reason)
    for name, reason in found.refused.items():
        unfit.add_row(name, f"it ranks higher, but: {reason}")
    if unfit.row_count:
        out.print(unfit)
    if found.chosen is not None:
        print("\n".join(doctor.lines(found.verdicts)))
        print(_costs(found))
    for note in found.notes:
        print(f"note: {note}")
    if found.chosen is not None:
        print(f"config: {found.path}\nstart:  kd3d train {found.path}")


def _pair(found: Any) -> Any:
    from rich.table import Table

    facts, sides = found.facts, (found.student, found.teacher)
    heads = [f"{one.detector}, {one.sensors}, {one.parameters:,} parameters" for one in sides]
    table = Table(
        "tap", f"student: {heads[0]}", f"teacher: {heads[1]}", title_justify="left",
        title=f"{facts.route}; heads of {facts.heads} kind, {facts.grids} cells; the teacher has "
        f"{facts.ratio:.2g} times the parameters; labelled frames: {facts.labels}",
    )  # fmt: skip
    for name in dict.fromkeys([*found.student.taps, *found.teacher.taps]):
        specs = (one.taps.get(name) for one in sides)
        table.add_row(name, *("-" if spec is None else str(spec) for spec in specs))
    return table


def _ranking(found: Any) -> Any:
    from rich.table import Table

    table = Table("method", "points", "gain here", "why", title="runs, best first",
                  title_justify="left")  # fmt: skip
    for i, one in enumerate(found.ranked):
        gain = "" if one.record.gain is None else f"{one.record.gain:+.1f} ({one.record.where})"
        why = "; ".join(f"{rule.points:+g} {rule.why}" for rule in one.rules)
        options = ", ".join(f"{k}={v}" for k, v in one.fit.method.items() if k != "type")
        name = f"{one.fit.name} ({options})" if options else one.fit.name
        table.add_row(name, f"{one.points:g}", gain, why if i < SHOWN else "")
    return table


def _costs(found: Any) -> str:
    alone, together = found.alone, found.together
    text = (
        f"a step on this machine: {alone.seconds:.2f} s alone, {together.seconds:.2f} s distilled; "
        f"peak memory {alone.peak_bytes / 1e9:.2f} and {together.peak_bytes / 1e9:.2f} GB"
    )
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores + 1:  # this run itself is one of them
        text += f"; too long: the machine is busy (load {load:.0f} on {cores} cores)"
    if found.steps is None:
        return text
    hours = found.steps * together.seconds / 3600
    return f"{text}; {found.steps} steps take about {hours:.1f} h"
