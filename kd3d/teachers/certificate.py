"""A teacher's certificate: its score on the student's evaluator, bound to the file by a hash."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from kd3d.errors import UserError
from kd3d.fileio import read_json, write_json


def certificate_path(checkpoint: str | Path) -> Path:
    """Return ``<checkpoint>.certificate.json``."""
    return Path(f"{checkpoint}.certificate.json")


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_certificate(checkpoint: str | Path, metrics: dict[str, float], **facts: Any) -> Path:
    """Write the certificate beside the checkpoint and return its path.

    Args:
        checkpoint: The measured weights.
        metrics: Metric name -> value, as the student's evaluator gives it.
        **facts: What was measured on: data, split, config, versions.
    """
    path = certificate_path(checkpoint)
    write_json(path, {"sha256": file_sha256(checkpoint), "metrics": metrics, **facts})
    return path


def check_certificate(
    checkpoint: str | Path, minimum: dict[str, float] | None, required: bool
) -> dict[str, Any] | None:
    """Return the certificate of a checkpoint, or None where there is none and none is required.

    Args:
        checkpoint: The weights.
        minimum: Metric name -> lowest value that is accepted.
        required: Refuse a checkpoint without a certificate.

    Raises:
        UserError: No certificate, one of other weights, or a metric below its minimum.
    """
    path = certificate_path(checkpoint)
    if not path.is_file():
        if required or minimum:
            raise UserError(
                "the teacher has no certificate", checkpoint, "measure it first: kd3d test"
            )
        return None
    certificate = read_json(path)
    if certificate.get("sha256") != file_sha256(checkpoint):
        raise UserError(
            "the certificate belongs to other weights", path, "measure the teacher again"
        )
    for name, lowest in (minimum or {}).items():
        value = certificate["metrics"].get(name)
        if value is None:
            raise UserError(f"does not state {name}", path, "measure the teacher again")
        if value < lowest:
            raise UserError(
                f"the teacher scores {name} = {value:.2f}, below the stated minimum {lowest:g}: "
                "its mistakes would be taught",
                path,
                "train it longer, or lower the minimum on purpose",
            )
    return certificate
