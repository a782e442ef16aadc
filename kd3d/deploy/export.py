"""A trained student becomes a folder that runs by itself."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from kd3d.console import say
from kd3d.core.taps import head_of
from kd3d.deploy import quantise as int8
from kd3d.deploy.card import model_card
from kd3d.deploy.convert import SUFFIX, need_onnx, write_graph
from kd3d.deploy.frames import frames_for, image_size
from kd3d.deploy.graphs import make_parts
from kd3d.deploy.parity import compare, latency
from kd3d.deploy.refusals import CAMERAS, kind_of
from kd3d.deploy.runtime.detector import Detector
from kd3d.deploy.spec import grid_anchors, model_spec, padded_size
from kd3d.engine import provenance
from kd3d.engine.mistakes import check_data
from kd3d.engine.run_folder import find_run
from kd3d.engine.runner import load_config
from kd3d.engine.scoring import headline, trained_detector
from kd3d.errors import UserError, did_you_mean
from kd3d.fileio import atomic_path, read_json, write_json, write_text
from kd3d.teachers.certificate import file_sha256

RUNTIME = Path(__file__).parent / "runtime"
SPEC, REPORT, CARD = "model.json", "report.json", "README.md"


def export_model(
    run: str,
    checkpoint: str | None,
    out: Path,
    form: str = "onnx",
    frames: int = 10,
    way: str | None = None,
    data_root: str | None = None,
    options: list[str] | None = None,
) -> dict[str, Any]:
    """Write a folder with graphs, runtime, numbers and card; all of it or nothing.

    Args:
        run: See `kd3d.engine.run_folder.find_run`.
        checkpoint: Likewise.
        out: The folder; an earlier export there is replaced.
        form: ``"onnx"`` or ``"torchscript"``.
        frames: How many are compared with torch.
        way: Also in 8 bits: ``"dynamic"`` or ``"static"``, see `kd3d.deploy.quantise`.
        data_root: The prepared data set, instead of the config's.
        options: ``key=value`` for the config.

    Returns:
        What is in ``report.json``: ``format``, ``frames``, ``parity``, ``latency``, ``int8`` and
        ``provenance``.

    Raises:
        UserError: A detector that cannot be exported, missing packages or data, or a folder that
            holds something else.
    """
    if form not in SUFFIX:
        raise UserError(f"unknown format {form!r}", "--format", did_you_mean(form, SUFFIX))
    _check_target(out)
    path, weights = find_run(run, checkpoint)
    config = load_config(str(path), options, data_root=data_root)
    if form == "onnx":
        need_onnx()
    if data_root is not None:
        check_data(config, "test_dataloader")
    int8.check_way(way, form, config)
    model = trained_detector(config, weights)
    kind = kind_of(model, path)
    size = image_size(config) if kind == CAMERAS else None
    parts = make_parts(model, kind, padded_size(model, size) if size else None)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for part in parts:
            write_graph(part, partial, form)
        spec = model_spec(model, kind, parts, SUFFIX[form], size, class_names(model, config))
        write_json(partial / SPEC, spec)
        if spec["head"]["type"] == "anchors":
            _write_anchors(partial, grid_anchors(model, parts))
        copy_runtime(partial / "runtime")
        threads = torch.get_num_threads()
        detector = Detector(partial, threads)
        shown = frames_for(config, model, kind, frames)
        report: dict[str, Any] = {
            "format": form,
            "frames": shown.source,
            "parity": compare(model, parts, detector, shown.batches),
            "latency": latency(model, detector, shown.batches),
            "int8": None,
            "provenance": _origin(path, weights),
        }
        if way is not None:
            found = int8.quantise(partial, spec, way, config)
            write_json(partial / SPEC, spec)
            quantised = Detector(partial, threads, int8=True)
            report["int8"] = found | {
                "latency": latency(model, quantised, shown.batches),
                "cost": int8.ap_cost(partial, config, threads),
            }
        write_json(partial / REPORT, report)
        write_text(partial / CARD, model_card(spec, parts, report, weights.parent.name or "model"))
        partial.chmod(0o755)
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def class_names(model: Any, config: Config) -> list[str]:
    """Return the names of the labels: a centre head's own, or those of the data."""
    tasks = getattr(head_of(model), "class_names", None)
    if tasks:
        return [str(name) for task in tasks for name in task]
    dataset = (config.get("test_dataloader") or {}).get("dataset") or {}
    named = (dataset.get("metainfo") or {}).get("classes") or config.get("class_names")
    count = int(head_of(model).num_classes)  # type: ignore[union-attr, arg-type]
    return [str(name) for name in named] if named else [f"class {i}" for i in range(count)]


def copy_runtime(target: Path) -> None:
    """Copy the runtime so that it is imported as ``runtime``, without kd3d."""
    for source in sorted(RUNTIME.glob("*.py")):
        text = source.read_text(encoding="utf-8").replace("kd3d.deploy.runtime", "runtime")
        write_text(target / source.name, text)


def tell(report: dict[str, Any], out: Path) -> None:
    """Say what matters, in a few lines on standard error."""
    boxes, times = report["parity"]["detections"], report["latency"]
    worst = max(one["error"] for one in report["parity"]["tensors"].values())
    say(
        f"on {report['frames']}: largest error of a tensor {worst:.1e}; {boxes['same']} of "
        f"{boxes['torch']} detections of torch and {boxes['exported']} of the export are the same"
    )
    say(
        f"torch {times['torch']:.1f} ms, exported {times['exported']:.1f} ms a frame, "
        f"{times['threads']} threads"
    )
    if report["int8"]:
        cost = report["int8"]["cost"]
        int8.tell_cost(cost, headline(cost["metrics"]["float32"]))
    say(f"read {out / CARD}")


def _check_target(out: Path) -> None:
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / SPEC).is_file()):
        raise UserError("it holds something else", out, "name a new folder for --out")


def _write_anchors(folder: Path, anchors: list[np.ndarray]) -> None:
    with atomic_path(folder / "anchors.npz") as path, open(path, "wb") as file:
        np.savez_compressed(file, **{f"level{i}": one for i, one in enumerate(anchors)})


def _origin(config: Path, weights: Path) -> dict[str, Any]:
    measured = weights.parent / "metrics.json"
    return {
        "checkpoint": str(weights),
        "sha256": file_sha256(weights),
        "config": str(config),
        **provenance.origin("onnx", "onnxruntime"),
        "metrics": headline(read_json(measured)["metrics"]) if measured.is_file() else {},
    }
