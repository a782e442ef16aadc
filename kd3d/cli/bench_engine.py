"""`kd3d bench overhead|cache|pointdistiller|memory|bev-pool`: what distillation costs."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import typer

BATCH = typer.Option(None, min=1, help="Samples a step, instead of the benchmark's own.")
REPEATS = typer.Option(None, min=1, help="Measure so often, instead of the benchmark's own number.")
SEED = typer.Option(0, min=0, help="Seed of weights, data and augmentation.")
THREADS = typer.Option(None, min=1, help="Threads of torch; all cores where not given.")
CLOCK = typer.Option(
    "wall", help="wall, or cpu: processor time, for a busy machine (with --threads 1)."
)
DATA = typer.Option(None, help="A prepared KITTI folder, instead of simulated frames.")
JSON = typer.Option(None, "--json", help="Write the result there; '-' is standard output.")
DETECTOR = typer.Option(["pointpillars", "second"], help="pointpillars or second; may be repeated.")
METHOD = typer.Option(
    ["fitnets", "response", "pointdistiller"],
    help="fitnets, response or pointdistiller; may be repeated.",
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    from kd3d.cli.main import group

    bench = group(app, "bench")

    @bench.command()
    def overhead(
        detector: list[str] = DETECTOR,
        method: list[str] = METHOD,
        batch_size: int | None = BATCH,
        repeats: int | None = REPEATS,
        seed: int = SEED,
        threads: int | None = THREADS,
        clock: str = CLOCK,
        data: str | None = DATA,
        json_file: str | None = JSON,
    ) -> None:
        """Time a distillation step against the student's step plus the teacher's forward pass.

        Exit code 1 when a bound is missed.
        """
        arguments: dict[str, Any] = dict(
            batch_size=batch_size, repeats=repeats, threads=threads, data=data
        )
        _run("overhead", json_file, detector, method, seed=seed, clock=clock, **arguments)

    @bench.command()
    def cache(
        batch_size: int | None = BATCH,
        repeats: int | None = REPEATS,
        seed: int = SEED,
        threads: int | None = THREADS,
        clock: str = CLOCK,
        data: str | None = DATA,
        json_file: str | None = JSON,
    ) -> None:
        """Time a step with a cached teacher against the student's step.

        Exit code 1 when the bound is missed.
        """
        arguments: dict[str, Any] = dict(
            batch_size=batch_size, steps=repeats, threads=threads, data=data
        )
        _run("cache", json_file, seed=seed, clock=clock, **arguments)

    @bench.command()
    def pointdistiller(
        channels: list[int] = typer.Option([64, 128], min=1, help="Feature widths C."),
        repeats: int | None = REPEATS,
        seed: int = SEED,
        threads: int | None = THREADS,
        clock: str = CLOCK,
        json_file: str | None = JSON,
    ) -> None:
        """Compare PointDistiller's loss with one that builds the whole edge tensor.

        Exit code 1 when values differ or a bound is missed.
        """
        arguments: dict[str, Any] = dict(repeats=repeats, threads=threads)
        _run("pointdistiller", json_file, channels=channels, seed=seed, clock=clock, **arguments)

    @bench.command()
    def memory(
        detector: list[str] = DETECTOR,
        method: list[str] = METHOD,
        batch_size: int | None = BATCH,
        repeats: int | None = REPEATS,
        seed: int = SEED,
        threads: int | None = THREADS,
        data: str | None = DATA,
        json_file: str | None = JSON,
    ) -> None:
        """Measure the peak memory of a distillation step against its parts.

        Exit code 1 when a bound is missed.
        """
        arguments: dict[str, Any] = dict(
            batch_size=batch_size, repeats=repeats, threads=threads, data=data
        )
        _run("memory", json_file, detector, method, seed=seed, **arguments)

    @bench.command("bev-pool")
    def bev_pool(
        size: list[str] = typer.Option(
            ["bevdet", "bevdepth"], help="bevdet, bevdepth or small; may be repeated."
        ),
        batch_size: int | None = BATCH,
        repeats: int | None = REPEATS,
        seed: int = SEED,
        threads: int | None = THREADS,
        clock: str = CLOCK,
        json_file: str | None = JSON,
    ) -> None:
        """Compare the pooling of lifted image features with sorting and cumulative sums.

        Exit code 1 when values differ or a bound is missed.
        """
        load("setups").check_names("size", size, load("bev_pool").SIZES)
        arguments: dict[str, Any] = dict(samples=batch_size, repeats=repeats, threads=threads)
        _run("bev_pool", json_file, sizes=list(size), seed=seed, clock=clock, **arguments)


def load(name: str) -> Any:
    """Import a benchmark of the folder ``benchmarks/engine`` beside the package.

    Raises:
        UserError: kd3d is installed without its repository.
    """
    import kd3d
    from kd3d.errors import UserError

    root = Path(kd3d.__file__).parents[1]
    path = root / "benchmarks" / "engine" / f"{name}.py"
    if not path.is_file():
        raise UserError("no such file", path, "benchmarks run from a checkout of kd3d's repository")
    if str(root) not in sys.path:
        sys.path.append(str(root))
    return importlib.import_module(f"benchmarks.engine.{name}")


def _run(
    name: str,
    json_file: str | None,
    detectors: list[str] | None = None,
    methods: list[str] | None = None,
    **arguments: Any,
) -> None:
    from kd3d.console import gave_json
    from kd3d.errors import UserError

    benchmark = load(name)
    if arguments.get("clock", "wall") not in ("wall", "cpu"):
        raise UserError(f"unknown clock {arguments['clock']!r}", "--clock", "wall or cpu")
    arguments = {key: value for key, value in arguments.items() if value is not None}
    if detectors is not None:
        setups = load("setups")
        setups.check_names("detector", detectors, setups.DETECTORS)
        setups.check_names("method", methods, setups.METHODS)
        arguments |= dict(detectors=list(detectors), methods=list(methods or []))
    result = benchmark.run(**arguments)
    if not gave_json(result, json_file):
        print("\n".join(benchmark.lines(result)))
    rows = result.get("rows", [result])
    if any(row["met"] is False for row in rows):
        raise typer.Exit(1)
