"""The `kd3d` program: finds the commands in this folder and turns errors into one line."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys

import typer

import kd3d
import kd3d.cli
from kd3d.console import quiet_dependencies
from kd3d.errors import user_line

GROUPS = {
    "simulate": "Make simulated data in a real data set's layout.",
    "prepare": "Validate and convert a data set for training.",
    "eval": "Score detections.",
    "bench": "Measure speed against a peer or a bound.",
}
INTERRUPTED = 130


def build_app() -> typer.Typer:
    """Return the application with every command module of this package registered.

    A module registers on the application, or on a group of it through
    ``group(app, "simulate")``.
    """
    app = typer.Typer(
        name="kd3d",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Knowledge distillation for 3D and multi-view perception.",
    )

    @app.callback(invoke_without_command=True)
    def version(version: bool = typer.Option(False, "--version", help="Show the version.")) -> None:
        if version:
            print(f"kd3d {kd3d.__version__}")
            raise typer.Exit

    app.kd3d_groups = {}  # type: ignore[attr-defined]
    for module in sorted(m.name for m in pkgutil.iter_modules(kd3d.cli.__path__)):
        if module != "main":
            importlib.import_module(f"kd3d.cli.{module}").register(app)
    return app


def group(app: typer.Typer, name: str) -> typer.Typer:
    """Return the command group `name`, made on first use."""
    groups: dict[str, typer.Typer] = app.kd3d_groups  # type: ignore[attr-defined]
    if name not in groups:
        groups[name] = typer.Typer(no_args_is_help=True, help=GROUPS[name])
        app.add_typer(groups[name], name=name)
    return groups[name]


def main() -> None:
    """Run the program: 0 done, 1 ran with a negative verdict, 2 bad input, 130 interrupted."""
    # OpenMP's threads spin so long at barriers that on a busy machine they cost several times the
    # work itself; a short spin costs nothing on an idle one.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    quiet_dependencies()
    try:
        build_app()()
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer's answer to Ctrl-C
            print("kd3d: interrupted; run the same command again to continue", file=sys.stderr)
        raise
    except Exception as error:
        line = user_line(error)
        if line is None:
            raise
        print(f"kd3d: error: {line}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
