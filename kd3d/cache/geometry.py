"""Replaying a geometric augmentation on a teacher's stored knowledge.

What ``RandomFlip3D`` and ``GlobalRotScaleTrans`` of mmdet3d did is a similarity of the scene, read
from the sample's metainfo by `kd3d.data.augmentation.augmentation_matrix`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kd3d.core.spec import FeatureSpec
from kd3d.data.augmentation import augmentation_matrix
from kd3d.errors import UserError

EMPTY_LOGIT = -12.0  # of a heat map where the stored scene does not reach: no object


@dataclass(frozen=True)
class Motion:
    """A similarity of the scene: p' = linear p + shift in the ground plane, z' = scale z + lift.

    Attributes:
        linear: (2, 2) float64: rotation or reflection times scale.
        shift: (2,) float64, metres.
        scale: Scale factor.
        lift: Metres along z.
        turn: Angle a and sign s with yaw' = s yaw + a.
        flips: (x, y) flipped where the motion is only that, else None.
    """

    linear: Tensor
    shift: Tensor
    scale: float
    lift: float
    turn: tuple[float, float]
    flips: tuple[bool, bool] | None

    @classmethod
    def of(cls, meta: dict[str, Any]) -> Motion:
        """Read the motion from a sample's metainfo.

        Raises:
            UserError: A step that is not known, not recorded, or done twice.
        """
        matrix = torch.from_numpy(augmentation_matrix(meta))
        linear, shift = matrix[:2, :2], matrix[:2, 3]
        scale, lift = float(matrix[2, 2]), float(matrix[2, 3])
        sign = 1.0 if float(torch.linalg.det(linear)) > 0 else -1.0
        angle = math.atan2(float(linear[1, 0]), float(linear[0, 0]))
        signs = linear.diagonal()
        mirrors = torch.equal(linear, torch.diag(signs)) and bool((signs.abs() == 1).all())
        only_flips = mirrors and lift == 0 and not shift.any()
        flips = (bool(signs[0] < 0), bool(signs[1] < 0)) if only_flips else None
        return cls(linear, shift, scale, lift, (angle, sign), flips)


def moved(value: Any, spec: FeatureSpec, motions: list[Motion], log_dims: bool) -> Any:
    """Apply each sample's motion to a batch's value.

    Boxes are exact. Maps are exact where the motion is only a flip about an axis of the map,
    otherwise they are resampled bilinearly in metres: a network's features are not those it would
    give for the moved cloud, and what the stored scene did not see at the border stays unseen.

    Args:
        value: Boxes, a map (B, C, H, W) or a centre head's output.
        spec: Its spec.
        motions: One a sample.
        log_dims: Whether a centre head gives the logarithm of box sizes.

    Raises:
        UserError: A layout that cannot be moved.
    """
    if all(motion.flips == (False, False) for motion in motions):
        return value
    if spec.layout == "boxes":
        return [one | {"boxes": move_boxes(one["boxes"], m)} for one, m in zip(value, motions)]
    if spec.layout not in ("map", "center_head") or not spec.is_bev:
        raise UserError(f"{spec} cannot be moved with the scene", "mode='canonical'", "use replay")
    sources = [_sources(spec, motion) for motion in motions]
    if spec.layout == "map":
        return _map_batch(value, spec, motions, sources)
    return [[_move_task(part, spec, motions, sources, log_dims) for part in task] for task in value]


def moved_from_car(
    value: Tensor,
    source: FeatureSpec,
    target: FeatureSpec,
    lidar2ego: Tensor,
    motions: list[Motion],
) -> Tensor:
    """Read stored maps of the car's frame at the cells of the moved LiDAR's, in one resampling.

    A live teacher gets the moved cloud in the car's frame, p' = E M p; what it sees at a place q of
    the moved LiDAR's frame, the stored map of E p has at E M^-1 q. As in `moved`, what the stored
    scene did not see at the border stays unseen.

    Args:
        value: (B, C, H, W) in the car's frame, without augmentation.
        source: Its spec, in the car's frame.
        target: Spec of the result, in the LiDAR's frame.
        lidar2ego: E, (B, 4, 4); of it the part in the plane counts.
        motions: M, one a sample.

    Returns:
        (B, C, H, W) on the target's cells.
    """
    made = []
    for one, frame, motion in zip(value, lidar2ego.cpu().double(), motions):
        grid = _sources(target, motion, source, frame)[None].to(one.dtype)
        made.append(F.grid_sample(one[None], grid, "bilinear", "border", align_corners=False)[0])
    return torch.stack(made)


def move_boxes(boxes: Tensor, motion: Motion) -> Tensor:
    """Return (N, 7 or 9) boxes [x, y, z_bottom, dx, dy, dz, yaw, (vx, vy)] moved with the scene."""
    linear, shift = motion.linear.to(boxes), motion.shift.to(boxes)
    angle, sign = motion.turn
    made = boxes.clone()
    made[:, :2] = boxes[:, :2] @ linear.t() + shift
    made[:, 2] = boxes[:, 2] * motion.scale + motion.lift
    made[:, 3:6] = boxes[:, 3:6] * motion.scale
    made[:, 6] = sign * boxes[:, 6] + angle
    made[:, 7:9] = boxes[:, 7:9] @ linear.t()
    return made


def _sources(
    spec: FeatureSpec,
    motion: Motion,
    source: FeatureSpec | None = None,
    frame: Tensor | None = None,
) -> Tensor:
    """Return where each cell's centre comes from, (H, W, 2) in the units of ``grid_sample``.

    Args:
        spec: Of the moved map.
        motion: Of the scene.
        source: Of the stored map; None: the same.
        frame: (4, 4) from the frame of `spec` to that of `source`; None: they are one.
    """
    y, x = torch.meshgrid(*_centres(spec), indexing="ij")
    place = torch.stack([x, y], -1) - motion.shift
    place = place @ torch.linalg.inv(motion.linear).t()
    if frame is not None:
        place = place @ frame[:2, :2].t() + frame[:2, 3]
    x_min, y_min, x_max, y_max = (source or spec).extent_m  # type: ignore[misc]
    low = torch.tensor([x_min, y_min], dtype=torch.float64)
    size = torch.tensor([x_max - x_min, y_max - y_min], dtype=torch.float64)
    return 2 * (place - low) / size - 1


def _centres(spec: FeatureSpec) -> tuple[Tensor, Tensor]:
    """Return y (H,) and x (W,) of the cell centres, float64 metres."""
    (height, width), (cell_x, cell_y) = spec.shape, spec.cell_m  # type: ignore[misc]
    x_min, y_min = spec.extent_m[:2]  # type: ignore[index]
    y = y_min + (torch.arange(height, dtype=torch.float64) + 0.5) * cell_y
    return y, x_min + (torch.arange(width, dtype=torch.float64) + 0.5) * cell_x


def _symmetric(spec: FeatureSpec, flips: tuple[bool, bool]) -> bool:
    """Whether flips map cell centres to cell centres."""
    x_min, y_min, x_max, y_max = spec.extent_m  # type: ignore[misc]
    return (not flips[0] or abs(x_min + x_max) < 1e-6) and (
        not flips[1] or abs(y_min + y_max) < 1e-6
    )


def _map_batch(
    feature: Tensor,
    spec: FeatureSpec,
    motions: list[Motion],
    sources: list[Tensor],
    mode: str = "bilinear",
) -> Tensor:
    """Return a (B, C, H, W) map moved sample by sample; cells from outside take the border's."""
    made = []
    for one, motion, source in zip(feature, motions, sources):
        if motion.flips is not None and _symmetric(spec, motion.flips):
            axes = [2] * motion.flips[0] + [1] * motion.flips[1]
            made.append(one.flip(axes) if axes else one)
            continue
        grid = source[None].to(one.dtype)
        made.append(F.grid_sample(one[None], grid, mode, "border", align_corners=False)[0])
    return torch.stack(made)


def _move_task(
    part: dict[str, Tensor],
    spec: FeatureSpec,
    motions: list[Motion],
    sources: list[Tensor],
    log_dims: bool,
) -> dict[str, Tensor]:
    """Move one task of a centre head: heat maps bilinearly, the boxes behind the nearest cell."""
    made = {}
    for key, maps in part.items():
        if key == "heatmap":
            scores = _map_batch(maps.sigmoid(), spec, motions, sources).clamp(1e-6, 1 - 1e-6)
            exact = _map_batch(maps, spec, motions, sources, "nearest")
            flipped = [m.flips is not None and _symmetric(spec, m.flips) for m in motions]
            outside = torch.stack([(s.abs() > 1).any(-1) for s in sources])[:, None]
            choose = torch.tensor(flipped)[:, None, None, None]
            logits = scores.logit().masked_fill(outside, EMPTY_LOGIT)
            made[key] = torch.where(choose, exact, logits)
        elif key in _MOVERS:
            if key == "reg":
                maps = _as_places(maps, spec)
            maps = _map_batch(maps, spec, motions, sources, "nearest")
            moved_maps = [_MOVERS[key](one, m, log_dims) for one, m in zip(maps, motions)]
            made[key] = torch.stack(moved_maps)
            if key == "reg":
                made[key] = _as_offsets(made[key], spec)
        else:
            raise UserError(f"the head's map {key!r} cannot be moved", "mode='canonical'", "replay")
    return made


def _as_places(offset: Tensor, spec: FeatureSpec) -> Tensor:
    """Turn a centre head's offsets in cells, (B, 2, H, W), into metres x, y."""
    return (offset.double() + _corners(spec)) * _cells(spec) + _origin(spec)


def _as_offsets(place: Tensor, spec: FeatureSpec) -> Tensor:
    """Turn x, y in metres into offsets from each cell's lower corner, in cells, float32."""
    return ((place - _origin(spec)) / _cells(spec) - _corners(spec)).float()


def _corners(spec: FeatureSpec) -> Tensor:
    """Return the (2, H, W) column and row of each cell."""
    height, width = spec.shape  # type: ignore[misc]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([columns, rows]).double()


def _cells(spec: FeatureSpec) -> Tensor:
    return torch.tensor(spec.cell_m, dtype=torch.float64)[:, None, None]


def _origin(spec: FeatureSpec) -> Tensor:
    return torch.tensor(spec.extent_m[:2], dtype=torch.float64)[:, None, None]  # type: ignore[index]


def _move_reg(place: Tensor, motion: Motion, log_dims: bool) -> Tensor:
    return torch.einsum("ij,jhw->ihw", motion.linear, place) + motion.shift[:, None, None]


def _move_height(height: Tensor, motion: Motion, log_dims: bool) -> Tensor:
    return height * motion.scale + motion.lift


def _move_dim(size: Tensor, motion: Motion, log_dims: bool) -> Tensor:
    return size + math.log(motion.scale) if log_dims else size * motion.scale


def _move_rot(rot: Tensor, motion: Motion, log_dims: bool) -> Tensor:
    """Move (sin, cos) of yaw to those of s yaw + a."""
    (sine, cosine), (angle, sign) = rot.unbind(0), motion.turn
    sine = sign * sine
    sin_a, cos_a = math.sin(angle), math.cos(angle)
    return torch.stack([sine * cos_a + cosine * sin_a, cosine * cos_a - sine * sin_a])


def _move_vel(velocity: Tensor, motion: Motion, log_dims: bool) -> Tensor:
    return torch.einsum("ij,jhw->ihw", motion.linear.to(velocity.dtype), velocity)


_MOVERS = {
    "reg": _move_reg,
    "height": _move_height,
    "dim": _move_dim,
    "rot": _move_rot,
    "vel": _move_vel,
}
