"""The numbers of a report as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

from kd3d.report.benchmarks import BENCHMARKS, METRICS


def markdown(numbers: dict[str, Any]) -> str:
    """Return the verdicts, the summary and the strata of a report's numbers."""
    benchmark = BENCHMARKS[numbers["benchmark"]]
    lines = [f"# {numbers['title']}", ""]
    if numbers["simulated"]:
        lines += ["**The data are simulated.**", ""]
    for one in numbers["comparisons"]:
        lines += [f"- {one['headline']} ({one['distilled']} against {one['baseline']})."]
        lines += [f"  - Unfair: {line}" for line in one["unfair"]]
    lines += ["", benchmark.rule, ""]
    names = [model["name"] for model in numbers["models"]]
    lines += _table(["", *names], [_row(row) for row in numbers["summary"]])
    if numbers["comparisons"]:
        lines += ["", "## Gains", ""]
        head = ["model", "over", "metric", "gain", "95 % interval", "seeds", "verdict", "why"]
        lines += _table(head, [_gain(row) for row in _gain_rows(numbers)])
    strata = (numbers["frames"] or {}).get("strata")
    if strata:
        lines += ["", "## Labels found", "", numbers["frames"]["rule"], ""]
        runs = numbers["frames"]["runs"]
        body = [
            [f"{row['group']}: {row['label']}", row["labels"], *_shares(row, runs)]
            for row in strata
        ]
        lines += _table(["", "labels", *runs], body)
    if numbers["missing"]:
        lines += ["", "## Missing", "", *[f"- {line}" for line in numbers["missing"]]]
    return "\n".join(lines) + "\n"


def table_csv(numbers: dict[str, Any]) -> str:
    """Return one line a model and metric: model, role, seeds, metric, mean, standard error."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "role", "seeds", "row", "value", "standard_error"])
    for row in numbers["summary"]:
        for model, cell in zip(numbers["models"], row["cells"]):
            if row["label"] == "Seeds" or cell["value"] is None:
                continue
            seeds = " ".join(map(str, model["seeds"]))
            writer.writerow(
                [model["name"], model["role"], seeds, row["label"], cell["value"], cell.get("se")]
            )
    return out.getvalue()


def _gain_rows(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every metric of every comparison, with its `model` and the one it is set `over`."""
    return [
        {**metric, "model": one["distilled"], "over": one["baseline"]}
        for one in numbers["comparisons"]
        for metric in one["metrics"]
    ]


def _gain(row: dict[str, Any]) -> list[str]:
    metric, interval = METRICS[row["key"]], row["ci95"]
    ends = [metric.show(end, signed=True) for end in interval or ()]
    return [
        row["model"],
        row["over"],
        row["label"],
        "not measured" if row["gain"] is None else metric.show(row["gain"], signed=True),
        " to ".join(ends),
        str(row["n"]),
        row["verdict"],
        row["reason"],
    ]


def _row(row: dict[str, Any]) -> list[str]:
    cells = [cell["text"] + (f" ({cell['note']})" if cell["note"] else "") for cell in row["cells"]]
    return [row["label"], *cells]


def _shares(row: dict[str, Any], runs: list[str]) -> list[str]:
    return [f"{100 * row['found'][run] / row['labels']:.0f} %" for run in runs]


def _table(head: list[str], rows: list[list[Any]]) -> list[str]:
    def line(cells: list[Any]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    return [line(head), "|" + "---|" * len(head), *[line(row) for row in rows]]
