"""Graphs in 8-bit integers, by onnxruntime, and what that costs in AP."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from kd3d.console import digits, say, track
from kd3d.data.wrapped import innermost
from kd3d.deploy.frames import camera_frame, exported_predictor
from kd3d.deploy.refusals import CAMERAS
from kd3d.deploy.runtime.detector import Arrays, Detector
from kd3d.engine.scoring import frame, score, test_frames
from kd3d.errors import UserError, did_you_mean
from kd3d.fileio import atomic_path

WAYS = ("dynamic", "static")
CALIBRATION_FRAMES = 32


def check_way(way: str | None, form: str, config: Config) -> None:
    """Refuse what cannot be quantised or measured, before anything is written.

    Raises:
        UserError: An unknown way, another format than ONNX, or no data set.
    """
    if way is None:
        return
    if way not in WAYS:
        raise UserError(f"unknown way {way!r}", "--int8", did_you_mean(way, WAYS))
    if form != "onnx":
        raise UserError("only ONNX is quantised", "--int8", "--format onnx")
    test_frames(config)
    if way == "static":
        _calibration_set(config)


def quantise(folder: Path, spec: dict[str, Any], way: str, config: Config) -> dict[str, Any]:
    """Write ``<part>-int8.onnx`` of every graph and name it in `spec`.

    Dynamic: weights in 8 bits, the ranges of activations are found at run time. Static: activations
    too, with ranges from `CALIBRATION_FRAMES` frames of the training set; weights a channel each.
    The pillar network stays in float32: 256 steps of coordinates over tens of metres are too
    coarse for what it reads of them, and it is a small part of the work.

    Returns:
        ``way``, ``calibration_frames`` and bytes before and after.
    """
    from onnxruntime.quantization import (
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.getLogger("root").setLevel(logging.ERROR)  # it advises what is done here
    samples = list(_calibration_inputs(folder, config)) if way == "static" else []
    sizes = {"before": 0, "after": 0}
    for name, part in spec["graphs"].items():
        source, target = folder / part["file"], folder / f"{name}-int8.onnx"
        with atomic_path(folder / f"{name}-prepared.onnx") as prepared, atomic_path(target) as made:
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            whole = before_scatter(prepared)
            if way == "dynamic":
                # onnxruntime's integer convolution on the CPU knows unsigned weights alone
                unsigned = QuantType.QUInt8
                quantize_dynamic(
                    str(prepared), str(made), weight_type=unsigned, nodes_to_exclude=whole
                )
            else:
                quantize_static(
                    str(prepared),
                    str(made),
                    _Reader([one[name] for one in samples]),
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    nodes_to_exclude=whole,
                )
        (folder / f"{name}-prepared.onnx").unlink()
        part["int8"] = target.name
        sizes["before"] += source.stat().st_size
        sizes["after"] += target.stat().st_size
    return {"way": way, "calibration_frames": len(samples), "bytes": sizes}


def before_scatter(path: Path) -> list[str]:
    """Return the names of a graph's nodes whose values reach a ScatterND, none without one."""
    import onnx

    nodes = list(onnx.load(str(path)).graph.node)
    maker = {name: node for node in nodes for name in node.output}
    found: dict[str, None] = {}
    ahead = [node for node in nodes if node.op_type == "ScatterND"]
    while ahead:
        for name in ahead.pop().input:
            node = maker.get(name)
            if node is not None and node.name not in found:
                found[node.name] = None
                ahead.append(node)
    return list(found)


def ap_cost(folder: Path, config: Config, threads: int) -> dict[str, Any]:
    """Return the metrics of the float and of the 8-bit graphs on the config's test set."""
    dataset = test_frames(config)
    metrics = {
        name: score(config, dataset, exported_predictor(Detector(folder, threads, int8)), name)
        for name, int8 in (("float32", False), ("int8", True))
    }
    return {"frames": len(dataset), "metrics": metrics}


def _calibration_inputs(folder: Path, config: Config) -> Iterator[dict[str, Arrays]]:
    """Yield part -> inputs of the float graphs on evenly spaced frames of the training set."""
    detector, dataset = Detector(folder), _calibration_set(config)
    count = min(CALIBRATION_FRAMES, len(dataset))
    for place in track(np.linspace(0, len(dataset) - 1, count).round().astype(int), "calibrating"):
        batch = frame(dataset, int(place))
        if detector.spec["kind"] != CAMERAS:
            yield {"model": detector.prepare_points(batch["inputs"]["points"][0].numpy())}
            continue
        images, rig = camera_frame(batch)
        first = detector.prepare_images(images, rig)
        made = detector.graphs["image"](first)
        lifted = detector.lift_of(rig).pool(made["depth"], made["context"])
        yield {"image": first, "bev": {"bev": lifted}}


def _calibration_set(config: Config) -> Any:
    """Return the training set's frames through the test pipeline.

    Raises:
        UserError: The config has no training set, or it is not there.
    """
    training = innermost((config.get("train_dataloader") or {}).get("dataset") or {})
    if not training.get("ann_file"):
        raise UserError(
            "it has no training set to find the ranges of activations on",
            config.filename,
            "give the config it was trained with, or --int8 dynamic",
        )
    config = copy.deepcopy(config)
    dataset = config.test_dataloader.dataset
    dataset.ann_file = training["ann_file"]
    if training.get("data_prefix"):
        dataset.data_prefix = training["data_prefix"]
    return test_frames(config)


class _Reader:
    """Gives onnxruntime one sample after the other."""

    def __init__(self, samples: list[Arrays]) -> None:
        self.samples = iter(samples)

    def get_next(self) -> Arrays | None:
        """Return the next inputs, None at the end."""
        return next(self.samples, None)


def tell_cost(cost: dict[str, Any], shown: dict[str, float]) -> None:
    """Say what 8 bits cost, a line a metric."""
    for name in shown:
        before, after = (cost["metrics"][key][name] for key in ("float32", "int8"))
        say(f"int8, {cost['frames']} frames: {name} {digits(before)} -> {digits(after)}")
