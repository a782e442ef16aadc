"""`kd3d explain`: the data flow of a config."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def explain(
        config: str = typer.Argument(help="A training config."),
        html: Path | None = typer.Option(None, help="Write a page there."),
        mermaid: Path | None = typer.Option(
            None, help="Write the graph there, instead of printing it."
        ),
        focus: Path | None = typer.Option(
            None, help="Draw where the terms pull at the student in the first batch there (PNG)."
        ),
        data_root: str | None = typer.Option(
            None, help="For --focus: the prepared data set, instead of the config's."
        ),
        cfg_options: list[str] = typer.Option([], help="Override: key=value; may be repeated."),
    ) -> None:
        """Draw what flows where: taps, adapters, masks, losses, what is trained and what is frozen.

        Neither weights nor data are needed, but for --focus, which takes both from the config.
        """
        from kd3d.console import quiet_logs
        from kd3d.engine.runner import load_config
        from kd3d.explain.flow import flow_of
        from kd3d.explain.focus import draw
        from kd3d.explain.mermaid import mermaid as graph_of
        from kd3d.explain.page import write_page
        from kd3d.fileio import write_text

        with quiet_logs():
            loaded = load_config(config, cfg_options, None, data_root)
            if focus is not None:
                draw(loaded, focus)
                print(focus)
            flow = flow_of(loaded) if html or mermaid or not focus else None
        if flow is None:
            return
        if html is not None:
            write_page(flow, html)
            print(html)
        if mermaid is not None:
            write_text(mermaid, graph_of(flow))
            print(mermaid)
        if html is None and mermaid is None:
            print(graph_of(flow), end="")
