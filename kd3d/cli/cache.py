"""`kd3d cache`."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def cache(
        config: str = typer.Argument(help="A training config with a teacher of type Cached."),
        data_root: str | None = typer.Option(
            None, help="The prepared data set, instead of the config's."
        ),
        dry_run: bool = typer.Option(
            False, help="Only say how large it gets and how long it takes."
        ),
        cfg_options: list[str] = typer.Option([], help="Override: key=value; may be repeated."),
    ) -> None:
        """Store what terms read of cached teachers; run it again to continue or to mend."""
        from kd3d.cache.fill import fill
        from kd3d.engine.runner import load_config

        for done in fill(load_config(config, cfg_options, None, data_root), dry_run):
            made = f"{done.made} of {done.records} records made"
            print(f"{done.store}: {made}, {done.bytes_each / 1e3:.0f} kB each")
