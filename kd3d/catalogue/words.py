"""Results of a method in words, for the command line and for pages."""

from __future__ import annotations

from typing import Any

from kd3d.catalogue.results import INHERIT


def published(entry: dict[str, Any]) -> str:
    """Return what a paper reports, see `kd3d.catalogue.results.published`; a line a student."""
    rows = []
    for row in entry["rows"]:
        figures = ", ".join(f"{key} {value}" for key, value in row.items() if key != "student")
        rows.append(f"  {row['student']}: {figures}")
    head = f"{entry['source']}; {entry['data']}; {entry['metric']} (checked: {entry['checked']})"
    return "\n".join([head, *rows])


def measured(entry: dict[str, Any]) -> str:
    """Return what was measured here, see `kd3d.catalogue.results.measured`, as one line."""
    gain = entry["gain"]
    spread = f", 95 % {gain['ci95'][0]:+.1f} to {gain['ci95'][1]:+.1f}" if gain["ci95"] else ""
    seeds = "1 seed" if gain["n"] == 1 else f"{gain['n']} seeds"
    kind = "simulated data" if entry["simulated"] else "real data"
    arm = entry["arm"] + " (begins with other weights)" * (INHERIT in entry["methods"])
    return (
        f"{entry['benchmark']}, {arm}: {gain['mean']:+.1f} {entry['metric']} over "
        f"{entry['over']} at equal {entry['equal']} ({seeds}{spread}; {kind})"
    )
