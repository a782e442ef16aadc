"""The zarr v3 store of a teacher cache: one compressed, checksummed chunk a view and sample."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kd3d.cache import record
from kd3d.cache.record import Arrays
from kd3d.errors import UserError

RECORDS, MANIFEST = "records", "kd3d"
REFILL = "run kd3d cache with this config again: it keeps what is whole and makes the rest anew"


class CacheStore:
    """Records of a teacher's knowledge, addressed by view and sample.

    The group's attributes hold the manifest; the array ``records`` (views, samples) of
    variable-length bytes has one chunk an element: zstd, then crc32c. A chunk of a local store
    appears whole or not at all.

    Args:
        group: An open zarr group.
        url: For messages.
    """

    def __init__(self, group: Any, url: str) -> None:
        self.group, self.url = group, url
        with _quiet():
            self.records = group[RECORDS]

    @classmethod
    def create(cls, url: str, views: int, samples: int, manifest: dict[str, Any]) -> CacheStore:
        """Make an empty store at a local path or fsspec URL, in the place of an older one."""
        zarr = _zarr()
        from zarr.codecs import Crc32cCodec, ZstdCodec

        group = zarr.open_group(_backend(url), mode="w", zarr_format=3)
        with _quiet():
            group.create_array(
                RECORDS,
                shape=(views, samples),
                chunks=(1, 1),
                dtype=zarr.dtype.VariableLengthBytes(),
                compressors=[ZstdCodec(level=1), Crc32cCodec()],
                fill_value=b"",
            )
        group.attrs[MANIFEST] = manifest  # last: a store without it was never begun
        return cls(group, url)

    @classmethod
    def open(cls, url: str, write: bool = False) -> CacheStore | None:
        """Open a store; None where there is none that `create` finished.

        Raises:
            UserError: The address cannot be reached or holds something else.
        """
        zarr = _zarr()
        try:
            group = zarr.open_group(_backend(url), mode="r+" if write else "r", zarr_format=3)
            return cls(group, url) if MANIFEST in group.attrs else None
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, ImportError, OSError) as error:
            raise UserError(f"no teacher cache can be read there ({error})", url) from error

    @property
    def manifest(self) -> dict[str, Any]:
        """What `create` was given, and ``complete`` once every record is there."""
        return dict(self.group.attrs[MANIFEST])

    def finish(self) -> None:
        """Mark the store complete."""
        self.group.attrs[MANIFEST] = self.manifest | {"complete": True}

    def write(self, view: int, index: int, data: bytes) -> None:
        """Write one record, made by `kd3d.cache.record.encode`."""
        value = np.empty((1, 1), dtype=object)
        value[0, 0] = data
        self.records[view : view + 1, index : index + 1] = value

    def read(self, keys: Sequence[tuple[int, int]]) -> list[Arrays]:
        """Return the records of (view, index) pairs, read at the same time.

        Raises:
            UserError: A record is missing or corrupted; it is named.
        """
        views, indices = (list(part) for part in zip(*keys))
        try:
            found = self.records.vindex[views, indices]
            return [record.decode(data) for data in found]
        except (ValueError, RuntimeError, OSError):
            for view, index in keys:
                problem = self.problem(view, index)
                if problem:
                    where = f"{self.url}, sample {index}, view {view}"
                    raise UserError(f"the chunk {problem}", where, REFILL) from None
            raise

    def problem(self, view: int, index: int) -> str | None:
        """Return what is wrong with a record: ``is missing``, ``is corrupted (...)``, or None."""
        try:
            data = self.records[view : view + 1, index : index + 1].item()
            if not data:
                return "is missing"
            record.decode(data)
        except (ValueError, RuntimeError, OSError) as error:
            return f"is corrupted ({str(error).split('.')[0]})"
        return None


def _zarr() -> Any:
    try:
        import zarr
    except ModuleNotFoundError:
        raise UserError("zarr is not installed", "teacher cache", "pip install 'zarr>=3'") from None
    if int(zarr.__version__.split(".")[0]) < 3:
        fix = "use Python 3.11, for which zarr 3 exists"
        raise UserError(f"zarr {zarr.__version__} is too old", "teacher cache", fix)
    return zarr


def _backend(url: str) -> Any:
    """Return what zarr opens: a path, or an fsspec store for any other scheme than file."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    if scheme == "file":
        return rest
    from zarr.storage import FsspecStore

    return FsspecStore.from_url(url)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence zarr's note that variable-length bytes are an extension of the zarr v3 format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
