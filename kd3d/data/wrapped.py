"""Configs of data sets inside of wrappers such as RepeatDataset, CBGSDataset, SeededViews."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def layers(dataset: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the configs from the outermost wrapper to the data set itself."""
    yield dataset
    while "dataset" in dataset:
        dataset = dataset["dataset"]
        yield dataset


def innermost(dataset: dict[str, Any]) -> dict[str, Any]:
    """Return the config of the data set itself."""
    *_, last = layers(dataset)
    return last
