"""Make a detector smaller by factors, or as narrow as a budget of parameters or FLOPs asks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kd3d.core.probe import IMAGE, POINTS, inputs_of, lifts, made_up, point_channels
from kd3d.errors import UserError
from kd3d.evaluation.efficiency import layer_macs, parameters
from kd3d.models.shrink import PARTS, Model, shrink_model
from kd3d.models.shrink_cameras import CAMERA_PARTS
from kd3d.models.source import build_detector

PARAMETERS, FLOPS = "parameters", "FLOPs"
CAMERAS, IMAGE_SIZE = 6, (256, 704)  # of the frame, where a detector lifts images
_FINEST = 1e-5  # widths that are closer than this are one: no layer has so many channels


@dataclass(frozen=True)
class Cost:
    """What a detector costs.

    Attributes:
        parameters: Part -> number.
        flops: Part -> number on one frame, 2 for a multiply-accumulate.
        applied: Layer -> how often its weights are used on that frame; independent of the width.
    """

    parameters: dict[str, int]
    flops: dict[str, int]
    applied: dict[str, float]

    def total(self, unit: str) -> int:
        """Return the sum over the parts of `PARAMETERS` or `FLOPS`."""
        return sum((self.parameters if unit == PARAMETERS else self.flops).values())


@dataclass(frozen=True)
class Shrunk:
    """A smaller detector.

    Attributes:
        model: Its stock model dict.
        before: Cost of the original.
        after: Its cost.
        width: Its width factor.
        remark: Why a target was not met exactly, or empty.
    """

    model: Model
    before: Cost
    after: Cost
    width: float
    remark: str = ""


def compact(
    model: Model,
    points: np.ndarray,
    width: float | None = None,
    depth: float = 1.0,
    voxel_m: float | None = None,
    params: float | None = None,
    flops: float | None = None,
    divisor: int = 4,
    image_size: tuple[int, int] = IMAGE_SIZE,
) -> Shrunk:
    """Make a detector smaller; at most one of `width`, `params` and `flops` is given.

    Args:
        model: A stock model dict of a family that `shrink_model` knows.
        points: (N, 3 or more) x, y, z, intensity, ...: the frame on which FLOPs are counted.
        width: Factor on all hidden channels, in (0, 1].
        depth: Factor on the layers of each stage, in (0, 1].
        voxel_m: New voxel edge along x and y, metres.
        params: Wanted share of the original's parameters, in (0, 1]; a width is searched.
        flops: Wanted share of the original's FLOPs on this frame, in (0, 1].
        divisor: Channels are multiples of this.
        image_size: (H, W) of each of `CAMERAS` images that belong to the frame.

    Raises:
        UserError: Contradicting or impossible wishes, or a detector that cannot be shrunk or run.
    """
    if model.get("type") == "PointRCNN":
        raise UserError(
            "the FLOPs of a PointRCNN are not counted",
            "shrink",
            "name its width in a config: student=dict(config=..., shrink=dict(width=0.25))",
        )
    wishes = {"--width": width, "--params": params, "--flops": flops}
    given = [name for name, value in wishes.items() if value is not None]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} both decide the width", "shrink", "give one")
    if not given and depth == 1 and voxel_m is None:
        raise UserError(
            "nothing to change", "shrink", "give --params, --flops, --width, --depth or --voxel"
        )
    for name, share in (("--params", params), ("--flops", flops)):
        if share is not None and not 0 < share <= 1:
            raise UserError(f"{share}, wanted a share in (0, 1]", name)

    def shrunk(width: float) -> Model:
        return shrink_model(model, width, depth, voxel_m, divisor)

    wide = shrunk(1.0 if width is None else width)
    before = cost(model, points, image_size)
    lost = _pretraining(model, wide)
    if params is None and flops is None:
        return Shrunk(wide, before, cost(wide, points, image_size), width or 1.0, lost)
    unit = PARAMETERS if params is not None else FLOPS
    target = (params or flops or 1.0) * before.total(unit)
    at_full_width = before if wide == model else cost(wide, points, image_size)

    prices: dict[str, float] = {}  # many widths round to the same channels

    def value(width: float) -> float:
        narrow = shrunk(width)
        key = repr(narrow)
        if key not in prices:
            prices[key] = _price(narrow, at_full_width.applied, unit)
        return prices[key]

    width, missed = nearest_width(value, target)
    narrow = shrunk(width)
    after = cost(narrow, points, image_size)
    remark = _remark(missed, target, before.total(unit), unit, divisor)
    remark = "\n".join(filter(None, [remark, _pretraining(model, narrow)]))
    return Shrunk(narrow, before, after, width, remark)


def nearest_width(
    value: Callable[[float], float], target: float
) -> tuple[float, tuple[float, float]]:
    """Return the width in (0, 1] whose `value` is nearest to `target`, and the values around it.

    Args:
        value: Grows with the width, in steps.
        target: What it should be.

    Returns:
        The width, with as few digits as say it, and the nearest values not above and not below the
        target (both the same where it is met, or where nothing lies on one side).
    """
    low, high = _FINEST, 1.0
    below, above = value(low), value(high)
    if below >= target or above <= target:
        best = low if below >= target else high
        return _plain(best, value), (value(best), value(best))
    while high - low > _FINEST:
        middle = (low + high) / 2
        found = value(middle)
        if found <= target:
            low, below = middle, found
        else:
            high, above = middle, found
    best = low if target - below <= above - target else high
    return _plain(best, value), (below, below if below == target else above)


def cost(model: Model, points: np.ndarray, image_size: tuple[int, int] = IMAGE_SIZE) -> Cost:
    """Return what a detector costs on one frame; it is built and run on the CPU.

    Args:
        model: A stock model dict.
        points: (N, 3 or more) x, y, z, intensity, ...; missing columns are 0, further ones unused.
        image_size: See `compact`; what the images show does not matter.
    """
    if model["data_preprocessor"].get("voxel_type") == "dynamic":
        raise UserError(
            "dynamic voxels run on CUDA only, so FLOPs cannot be counted here",
            "shrink",
            "write shrink=dict(width=..., depth=...) in a kd3d config instead",
        )
    detector = build_detector(model).eval()
    weights = {name: p.numel() for name, p in detector.named_parameters()}
    macs = layer_macs(detector, frame_batch(detector, points, image_size))
    macs.pop("", None)  # geometry, outside of all layers
    applied = {name: n / weights[f"{name}.weight"] for name, n in macs.items()}
    parts = [*CAMERA_PARTS[:-1], *(p + part for part in PARTS for p in ("", "pts_"))]
    parts.insert(parts.index("pts_backbone"), CAMERA_PARTS[-1])  # in the order of the data
    parts = [p for p in parts if hasattr(detector, p) and parameters(getattr(detector, p))]
    return Cost(
        {name: parameters(getattr(detector, name)) for name in parts},
        {name: 2 * sum(n for k, n in macs.items() if k.split(".")[0] == name) for name in parts},
        applied,
    )


def _price(model: Model, applied: dict[str, float], unit: str) -> float:
    """Return parameters or FLOPs without running: a layer's weights are applied as often."""
    weights = {name: p.numel() for name, p in build_detector(model).named_parameters()}
    if unit == PARAMETERS:
        return sum(weights.values())
    return round(2 * sum(times * weights[f"{name}.weight"] for name, times in applied.items()))


def frame_batch(
    detector: Any, points: np.ndarray, image_size: tuple[int, int] = IMAGE_SIZE
) -> dict[str, Any]:
    """Return the preprocessed batch of one frame.

    Args:
        detector: Of a family with voxels, or with cameras that are lifted.
        points: (N, 3 or more) x, y, z in metres, intensity, ...; what the detector's points have
            more is 0.
        image_size: Height and width of its images, which are black.

    Raises:
        UserError: No point lies in the detector's range.
    """
    from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes

    inputs, wanted = {}, inputs_of(detector)
    sample = Det3DDataSample(metainfo=dict(box_type_3d=LiDARInstance3DBoxes))
    if POINTS in wanted:
        columns = min(points.shape[1], point_channels(detector))
        cloud = torch.zeros((len(points), point_channels(detector)))
        cloud[:, :columns] = torch.from_numpy(points[:, :columns].copy())
        inputs[POINTS] = [cloud]
    if IMAGE in wanted and lifts(detector):
        known = made_up(detector)["data_samples"][0].metainfo
        lists = {key: value[:1] * CAMERAS for key, value in known.items() if type(value) is list}
        sample.set_metainfo(known | lists)
        inputs[IMAGE] = [torch.zeros((CAMERAS, 3, *image_size))]
    batch = detector.data_preprocessor({"inputs": inputs, "data_samples": [sample]}, False)
    if POINTS in wanted and not len(batch["inputs"]["voxels"]["coors"]):
        limits = detector.data_preprocessor.voxel_layer.point_cloud_range
        raise UserError(f"no point lies in the model's range {list(limits)}", "frame")
    return batch


def _pretraining(before: Model, after: Model) -> str:
    """Return a remark where an image backbone lost its pretrained weights."""
    old, new = ((m.get("img_backbone") or {}).get("init_cfg") for m in (before, after))
    return "img_backbone: without pretrained weights, which do not fit" if old and not new else ""


def _plain(width: float, value: Callable[[float], float]) -> float:
    """Return the width of fewest digits that gives the same value."""
    wanted = value(width)
    for digits in range(1, 6):
        for rounded in (round(width, digits), math.ceil(width * 10**digits) / 10**digits):
            if 0 < rounded <= 1 and value(rounded) == wanted:
                return rounded
    return width


def _remark(
    missed: tuple[float, float], target: float, whole: float, unit: str, divisor: int
) -> str:
    low, high = missed
    if low == high == target:
        return ""
    share = target / whole
    if low == high:
        side = "more" if low < target else "less"
        return f"{unit}: no width gives {side} than {low / whole:.4g} of the original"
    return (
        f"{unit}: wanted {share:.4g} of the original; channels come in multiples of {divisor}, so "
        f"the nearest are {low / whole:.4g} and {high / whole:.4g}"
    )
