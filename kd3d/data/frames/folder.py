"""What can be looked at in a data set's folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Boxes:
    """Boxes of one frame.

    Attributes:
        name: (N,) class names.
        box: (N, 7 or more) [x, y, z_bottom, dx, dy, dz, yaw, ...], LiDAR frame, metres and radians.
        score: (N,) in 0..1; NaN for labels.
        seen: Of labels: how well they are seen, (N,) texts by what is told from.
    """

    name: np.ndarray
    box: np.ndarray
    score: np.ndarray
    seen: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def labels(cls, name: np.ndarray, box: np.ndarray, **seen: np.ndarray) -> Boxes:
        """Return labels; a keyword's underscores become spaces."""
        told = {key.replace("_", " "): value for key, value in seen.items()}
        return cls(name, box, np.full(len(name), np.nan), told)

    def of_score(self, at_least: float) -> Boxes:
        """Return the boxes with a score of at least the given one."""
        keep = self.score >= at_least
        return Boxes(self.name[keep], self.box[keep], self.score[keep])


@dataclass(frozen=True)
class Picture:
    """A camera's image.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        lidar_to_image: (4, 4) from the LiDAR's frame to (u d, v d, d, 1).
    """

    image: np.ndarray
    lidar_to_image: np.ndarray


class FrameFolder(ABC):
    """Frames of one data set.

    Args:
        root: Its folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @staticmethod
    @abstractmethod
    def is_root(path: Path) -> bool:
        """Return whether a folder looks like the data set's."""

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """Names of the frames of its validation split, in order."""

    @abstractmethod
    def truth(self, name: str) -> Boxes:
        """Return a frame's labels of the evaluated classes; none where it has no labels."""

    @abstractmethod
    def points(self, name: str) -> np.ndarray:
        """Return a frame's cloud, (N, >= 4): x, y, z in metres, intensity."""

    @abstractmethod
    def pictures(self, name: str) -> dict[str, Picture]:
        """Return camera -> picture, of those that are there."""
