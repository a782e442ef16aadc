"""The corruptions that `kd3d stress` knows: five amounts each, with their source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kd3d.core.probe import IMAGE, POINTS
from kd3d.errors import UserError, did_you_mean

LEVELS = (1, 2, 3, 4, 5)
BEAMS = {"KittiDataset": 64, "NuScenesDataset": 32}  # of the data sets' sensors


@dataclass(frozen=True)
class Kind:
    """One corruption.

    Attributes:
        transform: Registered name.
        title: In words.
        unit: Of the amounts.
        amounts: One a severity, 1 to 5.
        reads: Which input it spoils, ``"points"`` or ``"img"``.
        source: Where the corruption, and where the amounts are from.
    """

    transform: str
    title: str
    unit: str
    amounts: tuple[float, ...]
    reads: str
    source: str


KINDS: dict[str, Kind] = {
    "beams": Kind(
        "BeamDrop", "beam drop", "share of beams", (0.25, 0.5, 0.625, 0.75, 0.875), POINTS,
        "Robo3D, ICCV 2023; ours: 64 beams become 48, 32, 24, 16, 8",
    ),
    "points": Kind(
        "PointDrop", "point drop", "share of points", (0.1, 0.3, 0.5, 0.7, 0.9), POINTS,
        "3D-Corruptions (density decrease), CVPR 2023; amounts ours",
    ),
    "fog": Kind(
        "FogLoss", "fog", "extinction, 1/m", (0.005, 0.01, 0.02, 0.03, 0.06), POINTS,
        "Hahner et al., ICCV 2021, and its extinctions",
    ),
    "cameras": Kind(
        "CameraDrop", "camera drop", "black cameras", (1, 2, 3, 4, 5), IMAGE,
        "RoboBEV (camera crash), arXiv:2304.06719; amounts ours",
    ),
    "noise": Kind(
        "ImageNoise", "image noise", "std, 1: whole range", (0.08, 0.12, 0.18, 0.26, 0.38), IMAGE,
        "Hendrycks and Dietterich, ICLR 2019, and its amounts",
    ),
    "blur": Kind(
        "ImageBlur", "image blur", "sigma, pixels", (0.5, 1, 1.5, 2, 3), IMAGE,
        "Hendrycks and Dietterich, ICLR 2019; half its amounts, for smaller images",
    ),
    "calibration": Kind(
        "CalibrationNoise", "calibration noise", "degrees", (0.5, 1, 2, 3, 5), IMAGE,
        "3D-Corruptions (spatial misalignment), CVPR 2023; amounts ours",
    ),
}  # fmt: skip


def corruption(name: str, level: int, seed: int, beams: int) -> dict[str, Any]:
    """Return the config of a corruption's transform at a severity of 1 to 5."""
    kind = KINDS[name]
    made = dict(type=kind.transform, amount=kind.amounts[level - 1], seed=seed)
    return made | (dict(beams=beams) if kind.transform == "BeamDrop" else {})


def chosen_kinds(names: Iterable[str], inputs: tuple[str, ...]) -> list[str]:
    """Return the corruptions to run: the named ones, or all that spoil something the models read.

    Args:
        names: As on the command line; none: all.
        inputs: What any of the models reads.

    Raises:
        UserError: An unknown name, or one that changes nothing that the models read.
    """
    names = list(names)
    for name in names:
        if name not in KINDS:
            raise UserError(f"unknown corruption {name!r}", "--only", did_you_mean(name, KINDS))
        if KINDS[name].reads not in inputs:
            raise UserError(
                f"{KINDS[name].title} changes nothing for models that read {', '.join(inputs)}",
                "--only",
            )
    return names or [name for name, kind in KINDS.items() if kind.reads in inputs]


def chosen_levels(text: str) -> tuple[int, ...]:
    """Return the severities that ``"1,3,5"`` means.

    Raises:
        UserError: Anything but numbers from 1 to 5.
    """
    try:
        found = tuple(sorted({int(word) for word in text.split(",")}))
    except ValueError:
        found = ()
    if not found or not set(found) <= set(LEVELS):
        raise UserError(f"{text!r} are no severities", "--severities", "numbers of 1 to 5: 1,3,5")
    return found


def beams_of(dataset: str, given: int | None) -> int:
    """Return how many beams the LiDAR of a data set's type has.

    Raises:
        UserError: Not known of this data set.
    """
    if given is not None:
        if given < 2:
            raise UserError(f"{given}, wanted 2 or more", "--beams")
        return given
    if dataset not in BEAMS:
        raise UserError(f"the beams of a {dataset} are not known", fix="give --beams")
    return BEAMS[dataset]
