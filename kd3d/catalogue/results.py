"""What papers report of a method, and what was measured here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kd3d
from kd3d.fileio import read_json

BENCHMARKS = Path(kd3d.__file__).parents[1] / "benchmarks"  # part of the repository alone
SEPARATOR = "+"  # between the methods of one run
INHERIT = "inherit"  # no method, but a gain may be its doing


def published(method: str, folder: Path = BENCHMARKS) -> list[dict[str, Any]]:
    """Return the entries of every ``<benchmark>/published.yaml`` about a method."""
    import yaml

    found = []
    for path in sorted(folder.glob("*/published.yaml")):
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or []
        found += [entry for entry in entries if entry["method"] == method]
    return found


def measured(method: str, folder: Path = BENCHMARKS) -> list[dict[str, Any]]:
    """Return the gains over the same-budget baseline in every ``<benchmark>/records/*.json``.

    Returns:
        An entry an arm that used the method, alone or with others: ``benchmark``, ``arm``,
        ``methods`` (`INHERIT` with them where it also began with other weights), ``over``,
        ``equal`` (what both budgets have in common), ``seeds``, ``simulated``, ``metric`` and its
        ``gain`` with ``n``, ``mean``, ``se``, ``ci95``.
    """
    found = []
    for path in sorted(folder.glob("*/records/*.json")):
        numbers = read_json(path)
        runs = {r["name"].split("/")[0]: r for r in numbers.get("records", [])}
        for row in numbers.get("gains", []):
            run = runs.get(row["arm"], {})
            methods = str(run.get("method") or "").split(SEPARATOR)
            if _first_weights(run) != _first_weights(runs.get(row["over"], {})):
                methods.append(INHERIT)
            gain = row["scores"].get(numbers["metric"])
            if method in methods and gain is not None:
                found.append(
                    {
                        "benchmark": f"{path.parents[1].name}/{path.stem}",
                        "arm": row["arm"],
                        "methods": methods,
                        "over": row["over"],
                        "equal": row.get("equal"),
                        "simulated": run["data"].get("simulated"),
                        "metric": numbers["metric"],
                        "gain": gain,
                    }
                )
    return found


def _first_weights(run: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return from where the detector of a run's record began."""
    notes = {k: v for k, v in (run.get("extra") or {}).items() if k.startswith("inherited")}
    return [(v["type"], v["from"], v.get("parts")) for _, v in sorted(notes.items())]
