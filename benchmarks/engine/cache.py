"""What a training step from a teacher cache costs beyond the student's own step.

ratio = cached step / student-only step, the demo's detectors, reading included

- cached step: ``Distiller.train_step`` with the demo's terms, response (heat maps and boxes of a
  centre head) and fitnets (foreground of the BEV map), from a `Cached` teacher: chunks are read,
  checked and decompressed inside of the step;
- student-only step: the same method of a distiller without teachers;
- live step: the same terms from the `Frozen` teacher, for comparison.

All arms get the same batches, loaded before. The teacher has random weights, which cost the same;
their heat maps are raised so that many cells are confident.
"""

from __future__ import annotations

import copy
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.engine import setups
from benchmarks.engine.harness import Arm, facts, interleave, ratio, seconds

BOUND = 1.10
STUDENT, CACHED, LIVE = "student", "cached", "live"


def run(
    steps: int = 40,
    batch_size: int = 4,
    seed: int = 0,
    dtype: str = "float32",
    threads: int | None = None,
    clock: str = "wall",
    data: str | None = None,
    store: str | None = None,
) -> dict[str, Any]:
    """Fill a store from simulated or given frames and time the steps.

    Args:
        steps: Timed rounds; every arm takes one step a round.
        batch_size: Samples a step.
        seed: Of weights, data and augmentation.
        dtype: Of the store.
        threads: Of torch; None: as it is.
        clock: ``wall`` or ``cpu``: which the ratio is taken of.
        data: A prepared KITTI folder; None: simulated frames.
        store: Path or fsspec URL; None: a temporary folder.

    Returns:
        The ratio with its spread and bound, the cost of reading alone, size, and facts.
    """
    from kd3d.cache.fill import fill

    started, load = time.monotonic(), os.getloadavg()
    if threads:
        torch.set_num_threads(threads)
    setups.register()
    with (
        setups.prepared_data(data, max(16, 2 * batch_size), seed) as root,
        tempfile.TemporaryDirectory(prefix="kd3d-bench-") as folder,
    ):
        config = _config(root, Path(folder), store or f"{folder}/cache.zarr", batch_size, seed)
        config.model.teachers.teacher.dtype = dtype
        (filled,) = fill(config)
        given = _batches(config, batch_size, seed)
        arms = _arms(config, given, seed)
        measured = interleave(list(arms.values()), steps, warmup=2, label="cached step")
        reading = _reading(arms[CACHED].step.__self__.model, given, steps)  # type: ignore[attr-defined]
    found = ratio(measured, [CACHED], [STUDENT], clock)
    return {
        "ratio": found,
        "bound": BOUND,
        "met": found["median"] <= BOUND,
        "live_ratio": ratio(measured, [LIVE], [STUDENT], clock),
        "clock": clock,
        "batch_size": batch_size,
        "dtype": dtype,
        "bytes_a_sample": round(filled.bytes_each),
        "reading_s": reading,
        "seconds": {name: seconds(measured, name) for name in ("wall", "cpu")},
        "facts": facts(seed, started, load),
    }


def _config(root: Path, folder: Path, store: str, batch_size: int, seed: int) -> Any:
    """Return the demo's distillation with a cached teacher of random weights."""
    from kd3d.engine.runner import load_config
    from kd3d.models.source import build_detector, config_path

    teacher = dict(type="Cached", store=store, checkpoint=str(folder / "teacher.pth"))
    config = load_config(config_path("kd3d::demo/distilled.py"), None, str(folder), root)
    config.model.teachers.teacher.update(teacher, allow_uncertified=True)
    config.train_dataloader.batch_size = batch_size
    config.randomness = dict(seed=seed)
    torch.manual_seed(seed)
    model = build_detector(dict(config=config.model.teachers.teacher.config))
    model.init_weights()
    with torch.no_grad():
        for task in model.pts_bbox_head.task_heads:
            task.heatmap[-1].bias.zero_()
    torch.save(dict(state_dict=model.state_dict(), meta={}), teacher["checkpoint"])
    return config


def _batches(config: Any, size: int, seed: int) -> list[dict[str, Any]]:
    """Load the first view, collated."""
    from mmengine.dataset import pseudo_collate

    from kd3d.data.views import SeededViews

    dataset = SeededViews(config.train_dataloader.dataset.to_dict(), seed)
    count = len(dataset) // size
    samples = [dataset.sample(i) for i in range(count * size)]
    return [pseudo_collate(samples[i * size : (i + 1) * size]) for i in range(count)]


def _arms(config: Any, given: list[dict[str, Any]], seed: int) -> dict[str, Arm]:
    from kd3d.cache.manifest import frozen_config
    from kd3d.core.distiller import Distiller

    model = config.model.to_dict()
    model.pop("type")
    cached = model["teachers"]["teacher"]
    live = model | {"teachers": {"teacher": frozen_config(cached)}}
    made = {STUDENT: {"student": model["student"]}, CACHED: model, LIVE: live}
    arms = {}
    for name, arguments in made.items():
        torch.manual_seed(seed)
        trainer = setups.Trainer(setups.ready(Distiller(**arguments), seed))
        arms[name] = Arm(name, trainer.step, lambda i: copy.deepcopy(given[i % len(given)]))
    return arms


def _reading(model: Any, given: list[dict[str, Any]], repeats: int) -> dict[str, Any]:
    """Time the cached teacher alone: read, check, decompress, join."""
    from kd3d.core.context import Context

    teacher = model.teachers["teacher"]
    context = Context([], [], {}, 0.0)

    def read(batch: dict[str, Any]) -> None:
        teacher({}, {"student": batch["data_samples"]}, context)

    arm = Arm("reading", read, lambda i: given[i % len(given)])
    return seconds(interleave([arm], repeats, label="reading alone"))["reading"]


def lines(result: dict[str, Any]) -> list[str]:
    """Return the result as text."""
    found, live, facts_ = result["ratio"], result["live_ratio"], result["facts"]
    return [
        f"cached step / student-only step, {result['clock']} time, batch {result['batch_size']}, "
        f"{facts_['threads']} threads, {found['n']} repeats; GPU: {facts_['gpu']}",
        f"{found['median']:.3f} (quartiles {found['q25']:.3f} to {found['q75']:.3f}), bound "
        f"{BOUND:.2f}: {'met' if result['met'] else 'MISSED'}; with the live teacher "
        f"{live['median']:.3f}; {result['bytes_a_sample'] / 1e3:.0f} kB a sample",
    ]
