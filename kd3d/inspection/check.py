"""Does a config work? Build it, run two batches, and look at everything that can be wrong."""

from __future__ import annotations

import copy
import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from kd3d.core.portable import key_report, student_state
from kd3d.doctor import FAIL, OK, WARN, Verdict
from kd3d.engine.diagnostics import symptoms
from kd3d.errors import UserError
from kd3d.evaluation.efficiency import parameters
from kd3d.inspection.step import Look, cost, frozen_parameters, look
from kd3d.inspection.trial import build_distiller, first_batches
from kd3d.models.source import build_detector
from kd3d.teachers.certificate import certificate_path, certify_command

FATAL = ("coverage", "zero")  # symptoms of a term with which it does nothing
FULL = 0.9  # share of the device's memory from which a batch is too large


@dataclass(frozen=True)
class Checked:
    """The verdicts on a config, and what a step costs.

    Attributes:
        verdicts: A line a check.
        seconds: Of one step, forward and backward.
        peak_bytes: Peak memory of the process (or the GPU's tensors) during it.
    """

    verdicts: list[Verdict]
    seconds: float
    peak_bytes: int


def check(config: Config, untrained: bool = False) -> Checked:
    """Check a config on its own training data.

    Args:
        config: See `kd3d.engine.runner.load_config`.
        untrained: See `kd3d.inspection.trial.build_distiller`.

    Raises:
        UserError: It cannot be built, or there are no data.
    """
    if not config.get("optim_wrapper"):
        raise UserError("the config has no optim_wrapper", config.filename, "see configs/")
    batches = first_batches(config)
    config, uncertified = accepted(config)
    distiller = build_distiller(config, untrained)
    before = copy.deepcopy({name: p.data for name, p in frozen_parameters(distiller)})
    optimizer = build_optim_wrapper(distiller, config.optim_wrapper).optimizer
    looks = [look(distiller, batch, optimizer) for batch in batches]
    seconds, peak = cost(distiller, batches[-1])
    verdicts = [
        _built(distiller),
        _losses(looks),
        *_student(distiller, looks),
        *_terms(distiller, looks, untrained),
        _adapters(distiller, looks),
        _teachers(distiller, looks, before, optimizer),
        _memory(seconds, peak, batches[-1]),
        _portable(distiller, config),
        *([] if untrained else _certificates(config, uncertified)),
    ]
    return Checked(verdicts, seconds, peak)


def accepted(config: Config) -> tuple[Config, dict[str, str]]:
    """Return a copy of a config that accepts teachers without a certificate.

    Returns:
        The copy; and the name and weights of those that a training would refuse.
    """
    config, found = copy.deepcopy(config), {}
    for name, teacher in (config.model.get("teachers") or {}).items():
        for one in [teacher, *teacher.get("members", {}).values()]:
            weights = one.get("checkpoint")
            known = one.get("type", "Frozen") in ("Frozen", "Cached")
            if not weights or not known or one.get("allow_uncertified"):
                continue
            if not certificate_path(weights).is_file():
                one.allow_uncertified = True
                found[name] = weights
    return config, found


def _certificates(config: Config, uncertified: dict[str, str]) -> Iterator[Verdict]:
    configs = config.model.get("teachers") or {}
    for name, weights in uncertified.items():
        told = f"{weights} has no certificate: a training would refuse this teacher"
        command = certify_command(weights, configs[name].get("config"))
        yield Verdict(f"certificate {name}", FAIL, told, command)


def _built(distiller: Any) -> Verdict:
    student = type(distiller.student).__name__
    parts = [f"{student}, {parameters(distiller.student):,} parameters"]
    for name, teacher in distiller.teachers.items():
        models = ", ".join(type(m).__name__ for m in teacher.branches.values())
        parts.append(f"{name} ({type(teacher).__name__}{': ' + models if models else ''})")
    parts.append(f"terms: {', '.join(distiller.terms) or 'none'}")
    return Verdict("build", OK, "; ".join(parts))


def _losses(looks: list[Look]) -> Verdict:
    bad = sorted({key for one in looks for key, v in one.losses.items() if not math.isfinite(v)})
    if bad:
        return Verdict("losses", FAIL, f"not finite: {', '.join(bad)}", "look at data and weights")
    shown = [f"{k} {v:.3g}" for k, v in looks[-1].losses.items() if "loss" in k]
    return Verdict("losses", OK, ", ".join(shown))


def _student(distiller: Any, looks: list[Look]) -> Iterator[Verdict]:
    for learner, model in distiller.learners.items():
        prefix = "student." if learner == "student" else f"peers.{learner}."
        named = [n for n, p in model.named_parameters() if p.requires_grad]
        fixed = len(list(model.parameters())) - len(named)
        without = [n for n in named if all(prefix + n in one.without for one in looks)]
        broken = [n for n in named if any(prefix + n in one.broken for one in looks)]
        layer = f"gradients {learner}"
        told = f"{len(named) - len(without)} of {len(named)} trained tensors have gradients"
        told += f", {fixed} are frozen" if fixed else ""
        if broken:
            yield Verdict(layer, FAIL, f"not finite: {_some(broken)}", "lower weights or rate")
        elif len(without) == len(named):
            yield Verdict(layer, FAIL, told, "is everything frozen?")
        elif without:
            yield Verdict(layer, WARN, f"{told}; none: {_some(without)}", "unused, or detached?")
        else:
            yield Verdict(layer, OK, told)


def _terms(distiller: Any, looks: list[Look], untrained: bool) -> Iterator[Verdict]:
    followers = {n for n, t in distiller.teachers.items() if t.follows_student}
    told = [dict(symptoms(one.monitor, followers)) for one in looks]
    for name in distiller.terms:
        reports = [one.monitor.terms[name] for one in looks]
        of_labels = getattr(distiller.terms[name], "mask_options", None) is not None
        told_cells = of_labels or not untrained  # a random teacher's sureness says nothing
        covered = [r.coverage for r in reports if r.coverage is not None and told_cells]
        ratio = ", ".join(f"{report.gradient.ratio:.2g}" for report in reports)
        detail = f"{_covered(covered)}; gradient / task's: {ratio}"
        keys = [key for key in told[-1] if key.startswith(f"{name}.") and key in told[0]]
        lasting = {key.rsplit(".", 1)[1]: told[-1][key] for key in keys}
        fatal = next((lasting[kind] for kind in FATAL if kind in lasting), None)
        if fatal is not None:
            yield Verdict(f"term {name}", FAIL, fatal, "see docs/engine.md, diagnostics")
        elif lasting and not untrained:
            yield Verdict(f"term {name}", WARN, f"{detail}; {'; '.join(lasting.values())}", "tune")
        else:
            yield Verdict(f"term {name}", OK, detail)
    for key in told[-1] if not untrained else ():
        if key.split(".")[0] in distiller.teachers and key in told[0]:
            yield Verdict(f"teacher {key.split('.')[0]}", WARN, told[-1][key], "kd3d certify")


def _covered(shares: list[float]) -> str:
    if not shares:
        return "all positions count, or the term chooses them itself"
    return f"mask keeps {min(shares):.1%} to {max(shares):.1%} of the cells"


def _adapters(distiller: Any, looks: list[Look]) -> Verdict:
    count = sum(p.numel() for p in distiller.terms.parameters() if p.requires_grad)
    without = [n for n in looks[-1].without if n.startswith("terms.")]
    broken = [n for one in looks for n in one.broken if n.startswith("terms.")]
    still = sorted(set.intersection(*(set(one.still) for one in looks)))
    if without or broken or still:
        wrong = f"no gradient: {_some([*without, *still])}" if without or still else ""
        wrong += f" not finite: {_some(broken)}" if broken else ""
        return Verdict("gradients adapters", FAIL, wrong, "mend the term's build and distance")
    told = f"{count:,} parameters of terms, all with gradients" if count else "terms train nothing"
    return Verdict("gradients adapters", OK, told)


def _teachers(
    distiller: Any, looks: list[Look], before: dict[str, Any], optimizer: torch.optim.Optimizer
) -> Verdict:
    after = frozen_parameters(distiller)
    followers = tuple(f"{n}." for n, t in distiller.teachers.items() if t.follows_student)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    taught = sorted({name for one in looks for name in one.taught})
    moved = [
        name
        for name, p in after
        if not torch.equal(p.data, before[name]) and not name.startswith(followers or "\n")
    ]
    optimized = [name for name, p in after if id(p) in held]
    for names, what in (
        (taught, "have gradients"), (moved, "changed"), (optimized, "are in the optimizer"),
    ):  # fmt: skip
        if names:
            return Verdict("teachers", FAIL, f"{_some(names)} {what}", "a teacher is no learner")
    if not after:
        return Verdict("teachers", OK, "no frozen detector")
    return Verdict("teachers", OK, f"{len(after)} tensors without gradient, unchanged")


def _memory(seconds: float, peak: int, raw: dict[str, Any]) -> Verdict:
    if torch.cuda.is_available():
        whole, what = torch.cuda.get_device_properties(0).total_memory, "the GPU's"
    else:
        whole, what = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "this machine's"
    told = (
        f"{peak / 1e9:.2f} GB at its peak, {peak / whole:.0%} of {what} {whole / 1e9:.1f} GB; "
        f"{seconds:.2f} s a step of {len(raw['data_samples'])} samples"
    )
    if peak > FULL * whole:
        return Verdict("memory", WARN, told, "lower train_dataloader.batch_size")
    return Verdict("memory", OK, told)


def _portable(distiller: Any, config: Config) -> Verdict:
    """Save what a training exports, read it with the safe loader, load it into a stock detector."""
    model = config.model.to_dict()
    stock = build_detector(model["student"] if model["type"] == "Distiller" else model)
    buffer = io.BytesIO()
    torch.save({"state_dict": student_state(distiller.state_dict())}, buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)["state_dict"]
    report = key_report(stock.state_dict(), state)
    if report:
        return Verdict("checkpoint", FAIL, f"not the stock detector's: {report}", "see the report")
    size = buffer.getbuffer().nbytes / 1e6
    return Verdict("checkpoint", OK, f"the stock {type(stock).__name__}'s keys, {size:.2f} MB")


def _some(names: list[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
