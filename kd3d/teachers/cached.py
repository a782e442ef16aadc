"""A teacher that was run once: its knowledge comes from a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from kd3d.cache import manifest, values
from kd3d.cache.appearance import appearance, same
from kd3d.cache.geometry import Motion, moved, moved_from_car
from kd3d.cache.record import Arrays
from kd3d.cache.store import CacheStore
from kd3d.core.branches import STUDENT
from kd3d.core.context import Context
from kd3d.core.foreground import Foreground
from kd3d.core.registry import TEACHERS
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError, did_you_mean
from kd3d.teachers.base import Teacher
from kd3d.teachers.car_frame import CarFrame
from kd3d.teachers.certificate import check_certificate

FILL = "fill it first: kd3d cache CONFIG"


@TEACHERS.register_module()
class Cached(Teacher):
    """`Frozen`, replaced by what ``kd3d cache`` stored of it; the detector is never built or run.

    Args:
        store: Path or fsspec URL of the store.
        checkpoint: The teacher's weights; only their hash is compared.
        name: Its name in taps.
        mode: ``replay``: the store holds `views` augmented appearances of every sample, exactly
            those of the training. ``canonical``: it holds every sample once, as it is without
            geometric augmentation, and the training's augmentation is replayed on what was stored.
        views: Number of stored appearances (replay).
        dtype: ``float32``, or ``float16`` for half the size of features and head maps.
        allow_uncertified: As `Frozen`.
        minimum: As `Frozen`.
        precision: As `Frozen`; in which it was run.
        frame: As `Frozen`. With ``ego`` a canonical store holds maps of the car's frame, which are
            turned to the LiDAR's and moved with the scene in one resampling; what replay stores is
            turned already.
        **detector: As `Frozen`.

    Raises:
        UserError: No complete store, or one of another teacher, mode or precision.
    """

    def __init__(
        self,
        store: str,
        checkpoint: str | None,
        name: str = "teacher",
        mode: str = "replay",
        views: int = 1,
        dtype: str = "float32",
        allow_uncertified: bool = False,
        minimum: dict[str, float] | None = None,
        precision: str = "float32",
        frame: str = manifest.LIDAR,
        **detector: Any,
    ) -> None:
        super().__init__(name)
        own = dict(detector, checkpoint=checkpoint, mode=mode, views=views, dtype=dtype)
        own |= dict(precision=precision, frame=frame)
        wanted = manifest.teacher_identity(own, f"teacher {name}")
        if checkpoint is not None:
            check_certificate(checkpoint, minimum, not allow_uncertified, detector.get("config"))
        self.store = open_complete(store)
        self.manifest = self.store.manifest
        manifest.refuse_difference(self.manifest, wanted, store)
        if views > self.manifest["views"]:
            raise UserError(f"{views} views are wanted, {self.manifest['views']} stored", store)
        self.mode, self.views = mode, views
        self.car: CarFrame | None = None
        self.index = {name: i for i, name in enumerate(self.manifest.get("names") or [])}
        self.device = torch.device("cpu")
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="kd3d-cache")
        self.reading: tuple[list[tuple[int, int]], Future] | None = None

    def tap(self, names: Iterable[str]) -> dict[str, FeatureSpec]:
        """Return the stored specs of the taps that terms read."""
        self.wanted = tuple(dict.fromkeys(names))
        stored = self.manifest["taps"]
        for name in self.wanted:
            if name not in stored:
                hint = f"{did_you_mean(name, stored)} fill another store with kd3d cache"
                raise UserError(f"the cache holds no tap {name!r}", self.store.url, hint)
        specs = {name: manifest.tap_spec(stored[name]) for name in self.wanted}
        if self.manifest.get("frame") != manifest.CAR:
            return specs
        self.car = CarFrame(self.name, specs)
        return self.car.specs

    def begin(self, data_samples: dict[str, list]) -> None:
        """Start reading a batch in a thread, while the student runs."""
        keys = [self._key(sample) for sample in data_samples[STUDENT]]
        if self.reading is None or self.reading[0] != keys:
            self.reading = keys, self.reader.submit(self.store.read, keys)

    @torch.no_grad()
    def __call__(
        self, inputs: dict[str, dict], data_samples: dict[str, list], context: Context
    ) -> dict[str, Any]:
        """Return tap name -> value as the live teacher would give it for this batch.

        Raises:
            UserError: A missing or corrupted chunk, a view that is not stored, or a sample that
                looks other than when it was stored.
        """
        samples = data_samples[STUDENT]
        self.begin(data_samples)
        assert self.reading is not None
        _, waited = self.reading
        self.reading, records = None, waited.result()
        if self.mode == "replay":
            for sample, record in zip(samples, records):
                self._same(sample, record)
        found = {name: self._value(name, records) for name in self.wanted}
        if self.mode == "canonical":
            motions = [Motion.of(sample.metainfo) for sample in samples]
            found = {name: self._moved(name, v, samples, motions) for name, v in found.items()}
        return {name: _to(value, self.device) for name, value in found.items()}

    def _moved(self, name: str, value: Any, samples: list, motions: list[Motion]) -> Any:
        """Return a canonical value as the teacher gives it of the augmented scene."""
        if self.car is not None:
            source, target = self.car.sources[name], self.car.specs[name]
            return moved_from_car(value, source, target, self.car.matrices(samples), motions)
        spec = manifest.tap_spec(self.manifest["taps"][name])
        return moved(value, spec, motions, self.manifest["log_dims"])

    def _value(self, name: str, records: list[Arrays]) -> Any:
        entry, start = self.manifest["taps"][name], f"{name}:"
        parts = [
            {key[len(start) :]: a for key, a in one.items() if key.startswith(start)}
            for one in records
        ]
        return values.join(parts, entry["layout"], entry["skeleton"])

    def _key(self, sample: Any) -> tuple[int, int]:
        meta = sample.metainfo
        if self.mode == "canonical":
            name = str(meta.get("sample_idx"))
            if name not in self.index:
                raise UserError(f"the cache does not hold sample {name}", self.store.url)
            return 0, self.index[name]
        if "view_index" not in meta:
            raise UserError(
                "replay needs data of seeded views",
                f"teacher {self.name}",
                "seeded_data=True in the config, or mode='canonical'",
            )
        if meta["view_seed"] != self.manifest["seed"] or meta["view"] >= self.views:
            raise UserError(
                f"view {meta['view']} of seed {meta['view_seed']} is wanted, {self.views} views "
                f"of seed {self.manifest['seed']} are stored",
                self.store.url,
                f"views={self.views} in the config, or store more",
            )
        return meta["view"], meta["view_index"]

    def _same(self, sample: Any, record: Arrays) -> None:
        if not same(record, appearance(sample)):
            meta = sample.metainfo
            raise UserError(
                "boxes or augmentation are other than when it was stored",
                f"{self.store.url}, sample {meta['view_index']}, view {meta['view']}",
                "fill another store with kd3d cache, or restore data, versions and config",
            )

    def apply_to_tensors(self, function: Callable[[Tensor], Tensor]) -> None:
        """Note the device the distiller moves to; knowledge stays in float32."""
        self.device = function(torch.empty(0, device=self.device)).device


def open_complete(url: str) -> CacheStore:
    """Open a store that a fill has finished."""
    store = CacheStore.open(url)
    if store is None:
        raise UserError("there is no teacher cache", url, FILL)
    if not store.manifest.get("complete"):
        raise UserError("the cache is not complete", url, "run kd3d cache CONFIG to continue")
    return store


def _to(value: Any, device: torch.device) -> Any:
    if device.type == "cpu":
        return value
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: _to(item, device) for key, item in value.items()}
    if isinstance(value, list):
        return [_to(item, device) for item in value]
    if isinstance(value, Foreground):
        cells, weight, rows = (_to(v, device) for v in (value.cells, value.weight, value.rows))
        moments = value.moments
        if moments is not None:
            moments = _to(moments[0], device), _to(moments[1], device)
        return Foreground(cells, weight, rows, moments)
    return value
