"""Filling a teacher cache: run the live teacher over the training data, once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from kd3d.cache import manifest, values
from kd3d.cache.appearance import appearance
from kd3d.cache.plan import Plan, build_distiller, cached_teachers, make_plan
from kd3d.cache.record import encode
from kd3d.cache.store import CacheStore
from kd3d.console import say, track
from kd3d.core.branches import STUDENT
from kd3d.core.context import Context
from kd3d.errors import UserError

Record = tuple[int, int, bytes]  # view, index, encoded


@dataclass(frozen=True)
class Filled:
    """What a fill did: the store, records in it, those made now, and their compressed bytes."""

    store: str
    records: int
    made: int
    bytes_each: float
    seconds: float


def fill(config: Any, dry_run: bool = False) -> list[Filled]:
    """Fill the store of every cached teacher of a training config.

    What is stored already is checked and kept; the rest is made. It may be stopped at any time and
    run again. Size and time are told, from the first samples, before anything is written.

    Args:
        config: A training config whose distiller has ``Cached`` teachers.
        dry_run: Only tell size and time.

    Raises:
        UserError: Nothing to cache, augmentation that cannot be replayed, a store of other origin,
            or a full disk.
    """
    names = cached_teachers(config)
    if not names:
        raise UserError(
            "no teacher has type='Cached'", config.filename, "teacher=dict(type='Cached', ...)"
        )
    distiller = build_distiller(config)
    return [_fill_one(make_plan(config, distiller, name), dry_run) for name in names]


def _fill_one(plan: Plan, dry_run: bool) -> Filled:
    store = CacheStore.open(plan.url, write=not dry_run)
    keys = plan.keys()
    if store is not None:
        manifest.refuse_difference(store.manifest, plan.identity, plan.url)
        plan.refuse_other_content(store.manifest)
        checked = track(keys, f"{plan.url}: checking what is there")
        keys = [key for key in checked if store.problem(*key)]
    if not keys:
        say(f"{plan.url}: all {len(plan.keys())} records are there and whole")
        if store is not None and not dry_run:
            store.finish()
        return Filled(plan.url, len(plan.keys()), 0, 0.0, 0.0)
    started = time.monotonic()
    batches = plan.batches(keys)
    stream = _records(plan, batches)
    first = _measured(plan, stream, len(keys), len(batches))
    each = sum(map(_compressed, first)) / len(first)
    if dry_run:
        return Filled(plan.url, len(plan.keys()), 0, each, time.monotonic() - started)
    if store is None:
        entries = plan.entries()
        made = manifest.new_manifest(plan.identity, entries, **plan.facts())
        store = CacheStore.create(plan.url, plan.views, plan.samples, made)
    for record in track(_chained(first, stream), f"{plan.url}: storing", len(keys)):
        store.write(*record)
    store.finish()
    return Filled(plan.url, len(plan.keys()), len(keys), each, time.monotonic() - started)


def _measured(plan: Plan, stream: Iterator[list[Record]], count: int, batches: int) -> list[Record]:
    """Make the first records and say what all will cost; the first batch only warms up."""
    first = next(stream)
    started = time.monotonic()
    timed = next(stream) if batches > 1 else []
    seconds = (time.monotonic() - started) / max(len(timed), 1) * count
    first = first + timed
    size = sum(map(_compressed, first)) / len(first) * count
    took = f", about {_duration(seconds)}" if timed else ""
    say(
        f"teacher {plan.name}: {count} of {plan.samples} samples x {plan.views} views to store, "
        f"{_size(size / count)} each, {_size(size)} in all{took} -> {plan.url}"
    )
    folder = plan.local_folder()
    if folder is not None and size > shutil.disk_usage(folder).free:
        raise UserError(f"the disk has no room for {_size(size)}", plan.url, "give another store")
    return first


def _chained(first: list[Record], stream: Iterator[list[Record]]) -> Iterator[Record]:
    yield from first
    for batch in stream:
        yield from batch


@torch.no_grad()
def _records(plan: Plan, batches: list[list[tuple[int, int]]]) -> Iterator[list[Record]]:
    """Yield the encoded records of each batch, as the live teacher gives them."""
    distiller = plan.distiller
    distiller.data_preprocessor.train()  # voxel limits differ between training and testing
    for keys, data in zip(batches, plan.loader(batches)):
        batch = distiller.data_preprocessor(data, True)
        samples = batch["data_samples"][STUDENT]
        context = Context.from_batch(batch["inputs"], samples, 0.0)
        found = plan.teacher(batch["inputs"], batch["data_samples"], context)
        arrays: list[dict] = [
            appearance(sample) if plan.mode == "replay" else {} for sample in samples
        ]
        for tap, value in found.items():
            for one, part in zip(arrays, plan.parts(tap, value, batch["inputs"], context)):
                narrow = values.narrowed(part, plan.dtype, f"teacher {plan.name}, tap {tap}")
                one |= {f"{tap}:{key}": array for key, array in narrow.items()}
        yield [(view, index, encode(one)) for (view, index), one in zip(keys, arrays)]


def _compressed(record: Record) -> int:
    from numcodecs import Zstd

    return len(Zstd(level=1).encode(record[2]))


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
