"""A teacher is measured on the student's evaluator, and its certificate written beside it."""

from __future__ import annotations

import hashlib
import importlib
import time
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd3d.console import say
from kd3d.data.simulated import is_simulated
from kd3d.engine import provenance
from kd3d.engine.mistakes import check_data
from kd3d.engine.register import register_all
from kd3d.engine.runner import test
from kd3d.errors import UserError
from kd3d.teachers.certificate import below_minimum, file_sha256, write_certificate

# what the predictions may be in, if not in today's convention: prefix -> are sizes swapped too
_OLD = {"old_yaw": False, "old_yaw_and_sizes": True}
_FILES = ("prediction_dir", "result_file", "json_file")
# evaluators of mmdet3d -> what students are measured by
_OURS = {
    "KittiMetric": "type='KittiAP', label_dir='<data>/training/label_2'",
    "NuScenesMetric": "type='NuScenesAP', data_root='<data>', "
    "ann_file='<data>/nuscenes_infos_val.pkl'",
}
_AT_STAKE = r"(3D|AOS).*_moderate|NDS"  # the metrics that tell


def certify(
    config: Config,
    checkpoint: str | Path,
    minimum: dict[str, float] | None = None,
    facts: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure a teacher on its config's test set and write ``<checkpoint>.certificate.json``.

    Args:
        config: The teacher's config; see `kd3d.engine.runner.load_config`.
        checkpoint: The teacher's weights.
        minimum: Metric name -> lowest value that is accepted.
        facts: More facts about the data.

    Returns:
        The certificate. It says what was measured (``metrics``), on what (``data``, with the hash
        of the annotation file), of what (hashes of weights and config), and by what (versions,
        commit, machine, command, seconds).

    Raises:
        UserError: The config lacks a test set or an evaluator that runs on any device, the weights
            do not fit or have the conventions of mmdet3d before 1.0, or a metric is below its
            minimum; nothing is written then.
    """
    evaluators = device_evaluators(config)
    check_data(config, "test_dataloader")
    started = time.monotonic()
    metrics, old = _measure(config, checkpoint, evaluators)
    seconds = time.monotonic() - started
    _refuse_old_convention(metrics, old, checkpoint)
    for message in below_minimum(metrics, minimum, checkpoint):
        raise message
    data = {**_data_facts(config), **(facts or {})}
    return write_certificate(
        checkpoint,
        metrics,
        minimum=minimum or {},
        data=data,
        config=str(config.filename),
        config_text_sha256=hashlib.sha256(config.pretty_text.encode()).hexdigest(),
        seconds=round(seconds, 1),
        **provenance.origin(),
    )


def device_evaluators(config: Config) -> list[dict[str, Any]]:
    """Return the config's evaluators that run on any device.

    Raises:
        UserError: It has no test set, or no such evaluator.
    """
    from mmdet3d.registry import METRICS

    register_all()
    importlib.import_module("kd3d.evaluation.old_convention")
    for key in ("test_dataloader", "test_evaluator"):
        if not config.get(key):
            raise UserError(
                f"the config has no {key}", config.filename, "see configs/teachers for whole ones"
            )
    given = config.test_evaluator
    given = list(given) if isinstance(given, (list, tuple)) else [given]
    classes = [METRICS.get(evaluator["type"]) for evaluator in given]
    stock = [cls is not None and cls.__module__.startswith("mmdet3d.") for cls in classes]
    if all(stock):
        raise UserError(
            f"{given[0]['type']} of mmdet3d is not what students are measured by",
            config.filename,
            f"write a config with _base_ = {str(config.filename)!r} and test_evaluator = "
            f"dict(_delete_=True, {_OURS.get(given[0]['type'], _OURS['KittiMetric'])})",
        )
    return [dict(evaluator) for evaluator, is_stock in zip(given, stock) if not is_stock]


def without_files(evaluator: dict[str, Any]) -> dict[str, Any]:
    """Return an evaluator's config that writes no files."""
    return {key: value for key, value in evaluator.items() if key not in _FILES}


def _measure(
    config: Config, checkpoint: str | Path, evaluators: list[dict[str, Any]]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Return the metrics, and the same ones had the boxes been in an older convention."""
    config = config.copy()
    scored = [without_files(one) for one in evaluators]
    config.test_evaluator = scored + [
        dict(
            type="OldConvention",
            metric=dict(e),
            swap_sizes=swap,
            prefix=prefix,
            names=_AT_STAKE,
        )
        for prefix, swap in _OLD.items()
        for e in scored
    ]
    values = test(config, checkpoint)
    old = {
        prefix: {k.split("/", 1)[1]: v for k, v in values.items() if k.startswith(f"{prefix}/")}
        for prefix in _OLD
    }
    known = tuple(f"{prefix}/" for prefix in _OLD)
    return {k: float(v) for k, v in values.items() if not k.startswith(known)}, old


def _refuse_old_convention(
    metrics: dict[str, float], old: dict[str, dict[str, float]], checkpoint: str | Path
) -> None:
    """Refuse a teacher that scores far more once its boxes are converted from before 1.0.

    Far more: twice as much and ten points. Where traffic follows the axes, boxes of the old
    convention still overlap, but their headings are wrong: so AOS is compared too.
    """
    gains = {
        (prefix, name): value - metrics[name]
        for prefix, values in old.items()
        for name, value in values.items()
        if value >= max(2 * metrics[name], metrics[name] + 10)
    }
    if gains:
        prefix, name = max(gains, key=lambda key: gains[key])
        change = "yaw -> -yaw - pi/2" + (", length <-> width" if _OLD[prefix] else "")
        raise UserError(
            f"{name} is {metrics[name]:.2f}, but {old[prefix][name]:.2f} with boxes converted from "
            f"the convention of mmdet3d before 1.0 ({change}): these weights are from before 1.0",
            checkpoint,
            "retrain them with mmdet3d >= 1.0, or take weights of its present model zoo",
        )


def _data_facts(config: Config) -> dict[str, Any]:
    """Return what identifies the test set: folder, annotation file with hash, frames."""
    from mmdet3d.registry import DATASETS

    dataset = config.test_dataloader.dataset
    root = Path(dataset.get("data_root") or "")
    annotations = root / dataset.get("ann_file", "")
    found: dict[str, Any] = {
        "root": str(root),
        "ann_file": str(dataset.get("ann_file", "")),
        "ann_sha256": file_sha256(annotations) if annotations.is_file() else None,
        "simulated": is_simulated(root),
    }
    with DATASETS.switch_scope_and_registry("mmdet3d") as registry:
        found["frames"] = len(registry.build(dataset))
    return found


def tell(certificate: dict[str, Any], path: Path) -> None:
    """Say what was certified, in one line on standard error."""
    data = certificate["data"]
    kind = "simulated " if data.get("simulated") else ""
    say(
        f"measured on {data['frames']} {kind}frames of {data['root']} in "
        f"{certificate['seconds']:.0f} s; the certificate is {path}"
    )
