"""A teacher's certificate: its score on the student's evaluator, bound to the file by a hash."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

from kd3d.console import digits
from kd3d.errors import UserError, did_you_mean
from kd3d.fileio import read_json, write_json
from kd3d.models.zoo import checkpoint_file


def certificate_path(checkpoint: str | Path) -> Path:
    """Return ``<checkpoint>.certificate.json``, for ``"mmdet3d::<name>"`` beside its file."""
    return Path(f"{checkpoint_file(checkpoint)}.certificate.json")


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of the bytes of a file, or of the weights ``"mmdet3d::<name>"``."""
    digest = hashlib.sha256()
    with open(checkpoint_file(path), "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_certificate(
    checkpoint: str | Path, metrics: dict[str, float], **facts: Any
) -> dict[str, Any]:
    """Write the certificate beside the checkpoint and return it.

    Args:
        checkpoint: The measured weights.
        metrics: Metric name -> value, as the student's evaluator gives it.
        **facts: What was measured on: data, split, config, versions.
    """
    certificate = {"sha256": file_sha256(checkpoint), "metrics": metrics, **facts}
    write_json(certificate_path(checkpoint), certificate)
    return certificate


def below_minimum(
    metrics: dict[str, float], minimum: dict[str, float] | None, where: str | Path
) -> list[UserError]:
    """Return an error for every metric that is not stated or below its minimum."""
    problems = []
    for name, lowest in (minimum or {}).items():
        value = metrics.get(name)
        if value is None:
            problems.append(UserError(f"does not state {name}", where, did_you_mean(name, metrics)))
        elif not math.isfinite(value) or value < lowest:
            problems.append(
                UserError(
                    f"the teacher scores {name} = {digits(value)}, below the stated minimum "
                    f"{lowest:g}: its mistakes would be taught",
                    where,
                    "train it longer, or lower the minimum on purpose",
                )
            )
    return problems


def certify_command(checkpoint: str | Path, config: str | None) -> str:
    """Return the command that measures a teacher."""
    return f"kd3d certify {config or 'TEACHER.py'} {checkpoint}"


def check_certificate(
    checkpoint: str | Path,
    minimum: dict[str, float] | None,
    required: bool,
    config: str | None = None,
) -> dict[str, Any] | None:
    """Return the certificate of a checkpoint, or None where there is none and none is required.

    Args:
        checkpoint: The weights.
        minimum: Metric name -> lowest value that is accepted.
        required: Refuse a checkpoint without a certificate.
        config: The teacher's config, for the message.

    Raises:
        UserError: No certificate, one of other weights, or a metric below its minimum.
    """
    path = certificate_path(checkpoint)
    measure = certify_command(checkpoint, config)
    if not path.is_file():
        if required or minimum:
            raise UserError(
                "the teacher has no certificate, nobody knows what it scores here",
                checkpoint,
                f"measure it: {measure} (or allow_uncertified=True)",
            )
        return None
    certificate = read_json(path)
    if not isinstance(certificate, dict) or not isinstance(certificate.get("metrics"), dict):
        raise UserError("this is no certificate", path, f"measure the teacher again: {measure}")
    if certificate.get("sha256") != file_sha256(checkpoint):
        raise UserError(
            "the certificate belongs to other weights",
            path,
            f"measure the teacher again: {measure}",
        )
    for problem in below_minimum(certificate["metrics"], minimum, path):
        raise problem
    return certificate
