"""What the page needs of a data set's frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kd3d.report.record import PREDICTIONS, RunRecord

GROUND_TRUTH = "ground truth"


@dataclass
class Boxes:
    """Boxes of one frame.

    Attributes:
        name: (N,) class names.
        box: (N, 7) LiDAR boxes.
        score: (N,) scores; NaN for labels.
        seen: Of labels: how well they are seen, (N,) texts by what is told from.
    """

    name: np.ndarray
    box: np.ndarray
    score: np.ndarray
    seen: dict[str, np.ndarray] = field(default_factory=dict)

    def of_score(self, at_least: float) -> Boxes:
        """Return the boxes with a score of at least the given one."""
        keep = self.score >= at_least
        return Boxes(self.name[keep], self.box[keep], self.score[keep])


class Scenes(ABC):
    """Frames of one data set; boxes are (x, y, z_bottom, dx, dy, dz, yaw) in the LiDAR frame.

    Args:
        root: Folder of the data set.
        split: The evaluated split.

    Attributes:
        match_m: How near, in metres, a box's centre must be to find a label.
    """

    match_m: ClassVar[float]

    def __init__(self, root: Path, split: str) -> None:
        self.root, self.split = root, split

    @staticmethod
    @abstractmethod
    def is_root(path: Path) -> bool:
        """Return whether a folder looks like the data set's."""

    @abstractmethod
    def evaluated(self, run: RunRecord) -> list[str]:
        """Return the ids of the frames that a run has predictions of, in order; maybe none."""

    @abstractmethod
    def truth(self, frame: str) -> Boxes:
        """Return a frame's labels of the evaluated classes."""

    @abstractmethod
    def found(self, run: RunRecord, frame: str) -> Boxes:
        """Return a run's boxes in a frame."""

    @abstractmethod
    def points(self, frame: str) -> np.ndarray:
        """Return a frame's cloud, (N, >= 3)."""

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
