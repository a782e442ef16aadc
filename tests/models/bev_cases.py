"""What the tests of the bird's-eye-view models share."""

import numpy as np
import torch

from kd3d.models.bev.cameras import Cameras
from tests.paths import GOLDEN


def load(name):
    """Return the authors' numbers."""
    stored = np.load(GOLDEN / "parity" / f"{name}.npz")
    return {key: torch.from_numpy(np.array(value)) for key, value in stored.items()}


def rigid(rotation, translation):
    """Return (..., 4, 4) float64 of (..., 3, 3) and (..., 3)."""
    matrix = torch.eye(4, dtype=torch.float64).repeat(*rotation.shape[:-2], 1, 1)
    matrix[..., :3, :3], matrix[..., :3, 3] = rotation.double(), translation.double()
    return matrix


def cameras_of(data):
    """Return the cameras that BEVDet's arguments stand for."""
    none = torch.eye(3).expand(len(data["rots"]), 3, 3)
    bda = data.get("bda", none)
    return Cameras(
        rigid(data["rots"], data["trans"]),
        data["intrins"].double(),
        rigid(data["post_rots"], data["post_trans"]),
        rigid(bda, torch.zeros(len(bda), 3)),
    )
