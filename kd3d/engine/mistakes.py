"""Mistakes in a config, told in one line instead of mmengine's traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from kd3d.data.wrapped import innermost
from kd3d.errors import UserError


@contextlib.contextmanager
def building(config: Config) -> Iterator[None]:
    """Turn what mmengine raises for an unknown type or argument into a `UserError`."""
    try:
        yield
    except (KeyError, TypeError) as error:
        text = str(error.args[0]).split(". ")[0] if error.args else ""
        if not any(words in text for words in ("is not in the", "argument", "callable")):
            raise
        raise UserError(text, config.filename) from error


def check_data(config: Config, *loaders: str) -> None:
    """Refuse data that are not there or were never prepared.

    Args:
        config: The whole config.
        *loaders: Which data loaders will be used, e.g. ``"train_dataloader"``.
    """
    for loader in loaders:
        dataset = innermost((config.get(loader) or {}).get("dataset") or {})
        if dataset.get("ann_file"):
            path = Path(dataset.get("data_root") or "") / dataset["ann_file"]
            if not path.is_file():
                raise UserError(
                    "file not found",
                    path,
                    f"kd3d prepare kitti --root {path.parent}, or --data-root",
                )
