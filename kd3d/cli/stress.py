"""`kd3d stress`: models when their sensors get worse."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def stress(
        models: list[str] = typer.Argument(
            help="Run folders, or CONFIG,CHECKPOINT; NAME= before it names it."
        ),
        out: Path = typer.Option(..., "--out", help="The folder of results and page."),
        only: str = typer.Option(
            "", "--only", help="Of beams,points,fog,cameras,noise,blur,calibration; default all."
        ),
        severities: str = typer.Option("1,3,5", "--severities", help="Some of 1,2,3,4,5."),
        frames: int | None = typer.Option(
            None, "--frames", min=1, help="Evenly spaced frames instead of the whole test set."
        ),
        metric: str | None = typer.Option(None, "--metric", help="The one that is shown."),
        seed: int = typer.Option(0, "--seed", min=0, help="Of what is drawn."),
        beams: int | None = typer.Option(None, "--beams", help="Of the LiDAR."),
        data_root: str | None = typer.Option(
            None, help="The prepared data set, instead of the configs'."
        ),
        cfg_options: list[str] = typer.Option([], help="Override: key=value; may be repeated."),
    ) -> None:
        """Score models under beam drop, point drop, fog, camera drop, noise, blur, calibration.

        Interrupt it at any time: the same command goes on. Writes results.json, stress.json and
        stress.html.
        """
        from kd3d.console import digits
        from kd3d.engine.subjects import load_subjects
        from kd3d.robustness.severities import chosen_levels
        from kd3d.robustness.stress import NUMBERS, PAGE, Plan
        from kd3d.robustness.stress import stress as run

        names = tuple(word for word in only.split(",") if word)
        plan = Plan(names, chosen_levels(severities), frames, seed, beams, metric)
        numbers = run(load_subjects(models, data_root, cfg_options), plan, out)
        for one in numbers["corruptions"]:
            for model, found in one["models"].items():
                kept = "" if found["kept"] is None else f", {100 * found['kept']:.0f} % kept"
                print(f"{one['title']}, {model}: {numbers['metric']} {digits(found['mean'])}{kept}")
        print(out / PAGE)
        print(out / NUMBERS)
