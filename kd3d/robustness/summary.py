"""What the results of `kd3d stress` come to."""

from __future__ import annotations

from typing import Any

from kd3d.errors import UserError, did_you_mean
from kd3d.robustness.severities import KINDS

_FIRST = ("mAP_3D_moderate", "NDS", "mAP")
Rows = list[dict[str, Any]]


def choose_metric(rows: Rows, wanted: str | None) -> str:
    """Return the metric that is shown.

    Raises:
        UserError: The evaluator has no metric of that name.
    """
    known = rows[0]["metrics"]
    if wanted is not None and wanted not in known:
        raise UserError(f"no metric {wanted!r}", "--metric", did_you_mean(wanted, known))
    return wanted or next((name for name in _FIRST if name in known), next(iter(known)))


def summarise(rows: Rows, kinds: list[str], metric: str) -> dict[str, Any]:
    """Return curves and rates of one metric, and all rows.

    Args:
        rows: Results, one a model, corruption and severity.
        kinds: The corruptions, in order.
        metric: Whose larger values are better.

    Returns:
        ``metric``; ``clean`` model -> value; ``corruptions``: a list with name, title, unit,
        source, ``levels``, ``amounts``, and by model ``values``, their ``mean`` and ``kept``, the
        mean's share of the clean value ("resilience rate" of RoboBEV; None where clean is 0; a
        model that does not read the spoilt input has no values); ``rows``.
    """
    found = {(r["model"], r["corruption"], r["level"]): r["metrics"][metric] for r in rows}
    models = list(dict.fromkeys(row["model"] for row in rows))
    clean = {model: found[model, "clean", 0] for model in models}
    corruptions = []
    for name in kinds:
        kind = KINDS[name]
        levels = sorted({row["level"] for row in rows if row["corruption"] == name})
        by_model = {}
        for model in models:
            values = [
                found[model, name, level] for level in levels if (model, name, level) in found
            ]
            if not values:
                continue
            mean = sum(values) / len(values)
            kept = mean / clean[model] if clean[model] else None
            by_model[model] = {"values": values, "mean": mean, "kept": kept}
        corruptions.append(
            {
                "name": name,
                "title": kind.title,
                "unit": kind.unit,
                "source": kind.source,
                "levels": levels,
                "amounts": [kind.amounts[level - 1] for level in levels],
                "models": by_model,
            }
        )
    return {"metric": metric, "clean": clean, "corruptions": corruptions, "rows": rows}
