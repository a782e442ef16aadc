"""What the page needs of a data set's frames beside their labels, clouds and pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from kd3d.data.frames import Boxes, FrameFolder
from kd3d.report.record import PREDICTIONS, RunRecord

GROUND_TRUTH = "ground truth"
Folder = TypeVar("Folder", bound=FrameFolder)


class Scenes(ABC, Generic[Folder]):
    """Frames of one data set, and runs' boxes in them.

    Args:
        folder: Of the data set.

    Attributes:
        match_m: How near, in metres, a box's centre must be to find a label.
    """

    match_m: ClassVar[float]

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    @abstractmethod
    def evaluated(self, run: RunRecord) -> list[str]:
        """Return the ids of the frames that a run has predictions of, in order; maybe none."""

    @abstractmethod
    def found(self, run: RunRecord, frame: str) -> Boxes:
        """Return a run's boxes in a frame."""

    @abstractmethod
    def image(self, frame: str, boxes: dict[str, np.ndarray], width_px: int) -> np.ndarray | None:
        """Return (H, W, 3) uint8: the camera picture(s) with boxes by group, None without any."""

    def turn_rad(self, frame: str) -> float:
        """Return the angle about z that turns the direction ahead onto x; 0 where it is x."""
        return 0.0

    @abstractmethod
    def reach(self, furthest_m: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the range ahead and to the left that shows boxes up to |x|, |y|, in metres."""

    @abstractmethod
    def scorer(self, run: RunRecord, frames: list[str]) -> Callable[[np.ndarray], dict[str, Any]]:
        """Return a function from numbers into `frames`, repeated ones too, to their result."""

    def called(self, frame: str) -> str:
        """Return a frame's name for readers."""
        return frame


def predictions(run: RunRecord) -> Path:
    """Return the folder of the run's predictions (it need not exist)."""
    return (run.folder or Path("nowhere")) / PREDICTIONS
