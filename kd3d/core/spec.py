"""What a feature is: channels, layout, and where it lies in metres."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from kd3d.errors import UserError

Extent = tuple[float, float, float, float]
HeadMaps = tuple[tuple[tuple[str, int], ...], ...]
Classes = tuple[tuple[str, ...], ...]
Detections = list[dict[str, Tensor]]  # a sample's boxes (N, >=7), scores (N,), labels (N,)


@dataclass(frozen=True)
class FeatureSpec:
    """The geometry of a tapped tensor.

    Attributes:
        channels: Length of the channel axis.
        layout: ``"map"`` (B, C, H, W), ``"image"`` (B, C, H, W on the image plane), ``"rows"``
            (V, C), ``"points"`` (B, C, N), ``"center_head"`` or ``"anchor_head"`` (raw head
            outputs, with their maps' grid), ``"boxes"`` (a teacher's decoded detections, a dict a
            sample), ``"levels"`` (several taps, see `LevelsSpec`), or ``"other"``.
        shape: (H, W) of a map, else None.
        extent_m: (x_min, y_min, x_max, y_max) that a bird's-eye-view map covers, H along y and W
            along x; None where it has no metric extent (images, rows).
        maps: Names and channels of a head's maps: a centre head's task by task, an anchor head's
            (``scores``, ``boxes``, ``directions``) level by level; empty for everything else.
        classes: Names of a centre head's classes, task by task; empty where they are not known.
    """

    channels: int
    layout: str
    shape: tuple[int, int] | None = None
    extent_m: Extent | None = None
    maps: HeadMaps = ()
    classes: Classes = ()

    @property
    def cell_m(self) -> tuple[float, float] | None:
        """Cell size along x and y in metres."""
        if self.shape is None or self.extent_m is None:
            return None
        x_min, y_min, x_max, y_max = self.extent_m
        return (x_max - x_min) / self.shape[1], (y_max - y_min) / self.shape[0]

    @property
    def is_bev(self) -> bool:
        """Whether it lies on a grid of cells with a metric extent."""
        return self.shape is not None and self.extent_m is not None

    @property
    def grid(self) -> tuple[Extent, tuple[int, int]]:
        """Extent in metres and (H, W) of a map on the ground.

        Raises:
            UserError: It has no place in metres.
        """
        if self.extent_m is None or self.shape is None:
            raise UserError(f"{self} has no place in metres", "tap", "tap a map such as bev")
        return self.extent_m, self.shape

    @property
    def each(self) -> tuple[FeatureSpec, ...]:
        """The specs of several taps; of one tap, itself alone."""
        return (self,)

    def same_grid(self, other: FeatureSpec, tolerance_m: float = 1e-3) -> bool:
        """Whether both maps have the same cells at the same places."""
        if self.shape != other.shape or self.extent_m is None or other.extent_m is None:
            return False
        return all(abs(a - b) <= tolerance_m for a, b in zip(self.extent_m, other.extent_m))

    def __str__(self) -> str:
        text = f"{self.layout} of {self.channels} channels"
        if self.shape:
            text += f", {self.shape[0]}x{self.shape[1]} cells"
        if self.is_bev:
            x_min, y_min, x_max, y_max = self.extent_m  # type: ignore[misc]
            text += f" of {self.cell_m[0]:.3g}x{self.cell_m[1]:.3g} m"  # type: ignore[index]
            text += f" over x {x_min:g}..{x_max:g}, y {y_min:g}..{y_max:g} m"
        return text


@dataclass(frozen=True)
class LevelsSpec(FeatureSpec):
    """Spec of several taps that are read together, as a list: layout ``"levels"``.

    Attributes:
        levels: The spec of each.
    """

    levels: tuple[FeatureSpec, ...] = ()

    @classmethod
    def of(cls, levels: Iterable[FeatureSpec]) -> LevelsSpec:
        """Return the spec of several taps."""
        return cls(0, "levels", levels=tuple(levels))

    @property
    def each(self) -> tuple[FeatureSpec, ...]:
        """The specs of the taps."""
        return self.levels

    def __str__(self) -> str:
        return "; ".join(map(str, self.levels))


def levels_of(value: object) -> list:
    """Return the values of several taps; of one tap, a list of it alone."""
    return [value] if isinstance(value, Tensor) else list(value)  # type: ignore[call-overload]


def check_levels(student: FeatureSpec, teacher: FeatureSpec, where: str) -> None:
    """Raise UserError where two models have other numbers of levels."""
    if len(student.each) != len(teacher.each):
        raise UserError(
            f"the student has {len(student.each)} levels ({student}), the teacher "
            f"{len(teacher.each)} ({teacher})",
            where,
            "name as many for each, such as tap='stage0,stage1' and teacher_tap='stage1,stage2'",
        )


def describe(value: object, grid: tuple[Extent, tuple[int, int]] | None) -> FeatureSpec:
    """Return the spec of a tapped value.

    Args:
        value: What the tap holds.
        grid: The detector's (extent in metres, (H, W) in voxels), None without a BEV grid.
    """
    if not isinstance(value, Tensor):
        return _describe_head(value, grid)
    if value.dim() == 2:
        return FeatureSpec(value.shape[1], "rows")
    if value.dim() == 3:
        return FeatureSpec(value.shape[1], "points")
    if value.dim() != 4:
        return FeatureSpec(0, "other")
    shape = (int(value.shape[2]), int(value.shape[3]))
    return FeatureSpec(value.shape[1], "map", shape, _map_extent(grid, shape))


def _describe_head(value: object, grid: tuple[Extent, tuple[int, int]] | None) -> FeatureSpec:
    """Return the spec of CenterHead (tasks of one dict) or Anchor3DHead (lists of maps)."""
    try:
        first = value[0][0]  # type: ignore[index]
    except (TypeError, IndexError, KeyError):
        return FeatureSpec(0, "other")
    layout = "center_head" if isinstance(first, dict) else "anchor_head"
    maps = _head_maps(value, layout)
    first = first.get("heatmap") if isinstance(first, dict) else first
    if not isinstance(first, Tensor) or first.dim() != 4:
        return FeatureSpec(0, "other")
    shape = (int(first.shape[2]), int(first.shape[3]))
    return FeatureSpec(int(first.shape[1]), layout, shape, _map_extent(grid, shape), maps)


def _head_maps(head: Any, layout: str) -> HeadMaps:
    """Return names and channels of the maps of raw head outputs; see `FeatureSpec`."""
    if layout == "center_head":
        named = [task[0].items() for task in head]
    else:
        named = [zip(("scores", "boxes", "directions"), level) for level in zip(*head)]
    return tuple(
        tuple((name, int(m.shape[1])) for name, m in group if isinstance(m, Tensor))
        for group in named
    )


def _map_extent(
    grid: tuple[Extent, tuple[int, int]] | None, shape: tuple[int, int]
) -> Extent | None:
    """Return the extent of a map that is the voxel grid at a whole stride (or finer), else None.

    A grid that is no multiple of the stride is padded by the convolutions at its far end, so the
    map reaches further than the grid; both axes must have the same stride.
    """
    if grid is None:
        return None
    (x_min, y_min, x_max, y_max), (rows, columns) = grid
    stride_y, stride_x = rows / shape[0], columns / shape[1]
    stride = round(stride_x) if stride_x >= 1 else 1 / round(1 / stride_x)
    covered = [-(-n // stride) if stride >= 1 else n / stride for n in (rows, columns)]
    if [round(c) for c in covered] != list(shape):
        if stride_y == stride_x:
            return (x_min, y_min, x_max, y_max)
        return None
    cell_x, cell_y = (x_max - x_min) / columns * stride, (y_max - y_min) / rows * stride
    return (x_min, y_min, x_min + shape[1] * cell_x, y_min + shape[0] * cell_y)
