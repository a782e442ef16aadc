"""One sample's arrays as bytes, and back; nothing in them is ever executed."""

from __future__ import annotations

import json
import struct

import numpy as np

Arrays = dict[str, np.ndarray]


def encode(arrays: Arrays) -> bytes:
    """Return header length (uint32), JSON header, and the arrays' little-endian bytes in order.

    Args:
        arrays: Name -> array of numbers.
    """
    plain = {name: np.asarray(a, a.dtype.newbyteorder("<")) for name, a in arrays.items()}
    header = json.dumps([[name, a.dtype.str, list(a.shape)] for name, a in plain.items()]).encode()
    return b"".join(
        [struct.pack("<I", len(header)), header, *(a.tobytes() for a in plain.values())]
    )


def decode(data: bytes) -> Arrays:
    """Return the arrays of `encode`, read-only views into `data`.

    Raises:
        ValueError: The bytes are not of this format.
    """
    try:
        (length,) = struct.unpack_from("<I", data)
        offset, arrays = 4 + length, {}
        for name, kind, shape in json.loads(data[4:offset]):
            dtype, count = np.dtype(kind), int(np.prod(shape, dtype=np.int64))
            if dtype.hasobject:
                raise ValueError("objects are not stored")
            arrays[name] = np.frombuffer(data, dtype, count, offset).reshape(shape)
            offset += count * dtype.itemsize
    except (struct.error, TypeError, ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"no record ({error})") from error
    if offset != len(data):
        raise ValueError(f"no record ({len(data)} bytes instead of {offset})")
    return arrays
