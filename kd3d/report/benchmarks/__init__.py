"""What is measured where: KITTI's AP, nuScenes' NDS and errors, one file a benchmark.

A run's result tells which benchmark it is from; `benchmark_of` finds it.
"""

from __future__ import annotations

from typing import Any

from kd3d.report.benchmarks.benchmark import Benchmark, Metric
from kd3d.report.benchmarks.kitti import KITTI
from kd3d.report.benchmarks.nuscenes import NUSCENES

__all__ = ["BENCHMARKS", "METRICS", "Benchmark", "Metric", "benchmark_of"]

BENCHMARKS = {benchmark.name: benchmark for benchmark in (KITTI, NUSCENES)}
METRICS = {metric.key: metric for one in BENCHMARKS.values() for metric in one.metrics}


def benchmark_of(result: dict[str, Any]) -> Benchmark:
    """Return the benchmark that a result is from: nuScenes' has an ``nd_score``."""
    return NUSCENES if "nd_score" in result else KITTI
