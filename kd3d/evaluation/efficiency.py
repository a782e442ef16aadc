"""What a detector costs: parameters, multiply-accumulates, CPU latency, file size."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kd3d.core.run import run_heads


def parameters(model: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(p.numel() for p in model.parameters())


@torch.no_grad()
def multiply_accumulates(model: Any, batch: dict[str, Any]) -> int:
    """Return the multiply-accumulates of the network on one preprocessed batch.

    Convolutions and matrix products are counted by torch's counter (2 FLOPs each); voxelisation,
    sparse convolutions and post-processing are not.

    Args:
        model: A stock detector in eval mode.
        batch: ``inputs`` and ``data_samples`` of one frame, preprocessed.
    """
    with FlopCounterMode(display=False) as counter:
        run_heads(model, batch["inputs"], batch["data_samples"])
    return counter.get_total_flops() // 2


@torch.no_grad()
def cpu_latency_ms(model: Any, frames: list[dict[str, Any]], warmup: int = 3) -> dict[str, float]:
    """Return the latency of whole predictions (voxelisation to boxes), one frame at a time.

    Args:
        model: A stock detector in eval mode on the CPU.
        frames: Collated batches of one frame.
        warmup: Untimed predictions first.

    Returns:
        ``median`` in milliseconds and ``threads``.
    """
    times = []
    first = frames[:warmup]
    for i, frame in enumerate([*first, *frames]):
        started = time.perf_counter()
        batch = model.data_preprocessor(
            {
                "inputs": dict(frame["inputs"]),
                "data_samples": [s.new() for s in frame["data_samples"]],
            },
            False,
        )
        model(batch["inputs"], batch["data_samples"], mode="predict")
        if i >= len(first):
            times.append(1000 * (time.perf_counter() - started))
    return {"median": statistics.median(times), "threads": torch.get_num_threads()}


def measure(model: Any, frames: list[dict[str, Any]]) -> dict[str, Any]:
    """Return params, macs and latency_ms of a detector on some collated one-frame batches."""
    model.eval()
    first = {
        "inputs": dict(frames[0]["inputs"]),
        "data_samples": [s.new() for s in frames[0]["data_samples"]],
    }
    batch = model.data_preprocessor(first, False)
    return {
        "params": parameters(model),
        "macs": multiply_accumulates(model, batch),
        "latency_ms": cpu_latency_ms(model, frames),
    }
