"""Are a folder's data simulated? Their simulator left its manifest there."""

from __future__ import annotations

import os
from pathlib import Path

MANIFEST = "simulated.json"


def is_simulated(root: str | os.PathLike[str]) -> bool:
    """Return whether a data set's folder holds simulated data."""
    return (Path(root) / MANIFEST).is_file()
