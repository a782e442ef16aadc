"""What ``model.inherit`` can name, and the tensors that each one gives a student."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from kd3d.core.registry import INHERITANCES
from kd3d.errors import UserError, did_you_mean
from kd3d.models.inherit.parts import PARTS, declare
from kd3d.models.inherit.ranking import BN_SCALE, LEADING, OFA
from kd3d.models.inherit.slicing import Slicer, State
from kd3d.models.inherit.source import Source, trained_detector

WHERE = "model.inherit"
MULTI_MODAL = "pts_"  # how the multi-modal family begins the names of its point parts


class Inheritance:
    """Tensors of a trained detector that replace a student's random ones, once, before training.

    They are taken when the distiller is built, so that what does not fit is refused before
    anything is written, and set by `apply` after mmdet3d's own initialisation.

    Args:
        student: The student's detector.
        teachers: The distiller's teachers by name.
        teacher: Name of a teacher, ``"name/member"`` in an ensemble, or its config,
            ``dict(config=..., checkpoint=...)`` as of `kd3d.teachers.frozen.Frozen`.

    Attributes:
        kind: What a config calls it.
        source: Whose tensors they are.
        tensors: The student's keys and their values.
        notes: Further facts for the record.

    Raises:
        UserError: Tensors that have no counterpart, or another shape.
    """

    kind = ""

    def __init__(
        self, student: nn.Module, teachers: dict[str, Any], teacher: str | dict[str, Any]
    ) -> None:
        self.source: Source = trained_detector(teacher, teachers, WHERE)
        self.notes: dict[str, Any] = {}
        with torch.no_grad():
            found = self.find(student, self.source.model)
        self.tensors = {key: value.detach().cpu().clone() for key, value in found.items()}
        self.source.model = None  # a model of its own is not needed any more

    def find(self, student: nn.Module, teacher: nn.Module) -> State:
        """Return the student's keys and their new values."""
        raise NotImplementedError

    @torch.no_grad()
    def apply(self, student: nn.Module) -> None:
        """Set the tensors."""
        state = student.state_dict()
        for key, value in self.tensors.items():
            state[key].copy_(value)

    def summary(self, student: nn.Module) -> dict[str, Any]:
        """Return what was inherited, for the run's record."""
        weights = dict(student.named_parameters())
        of_teacher = sum(weights[key].numel() for key in self.tensors if key in weights)
        return {
            "type": self.kind,
            "from": self.source.name,
            "checkpoint": self.source.checkpoint,
            "parameters": of_teacher,
            "of": sum(weight.numel() for weight in weights.values()),
            **self.notes,
        }

    def __deepcopy__(self, memo: dict) -> Inheritance:
        """Copies of the distiller (an EMA) share it."""
        return self


class Slices(Inheritance):
    """Each tensor is a block of the teacher's: SparseKD's teacher-guided initialisation (TGI).

    J. Yang, S. Shi, R. Ding, Z. Wang, X. Qi, "Towards efficient 3D object detection with knowledge
    distillation", NeurIPS 2022. Kept channels stay in the teacher's order. What is
    read from a concatenation is sliced block by block, height planes by their index c * D + d;
    predictions are never cut; a shallower stage keeps the leading layers; voxels of another size
    change no weight. Where channels were 0 in the teacher, its output is unchanged without them.

    Differences from the authors' code: they slice the first map convolution as D blocks of C,
    which belong to other channels when the sparse encoder is narrower; rank sparse filters by all
    inputs and the first map convolution by the inputs of another layer; rank each layer of a
    residual sum for itself; and, behind a layer that keeps all its channels, permute what the next
    one reads. ``official_parity`` reproduces the first two, and their order.

    Args:
        student: See `Inheritance`.
        teachers: See `Inheritance`.
        teacher: See `Inheritance`.
        parts: Some of ``voxel_encoder``, ``middle_encoder``, ``backbone``, ``neck``,
            ``bbox_head``; None: all.
        official_parity: See `kd3d.models.inherit.slicing.Slicer`.

    Raises:
        UserError: A part that is not declared, a student that is wider or deeper, other
            predictions, other inputs.
    """

    kind = LEADING

    def __init__(
        self,
        student: nn.Module,
        teachers: dict[str, Any],
        teacher: str | dict[str, Any] = "teacher",
        parts: Iterable[str] | None = None,
        official_parity: bool = False,
    ) -> None:
        self.parts = _known(parts or PARTS, PARTS)
        self.official_parity = official_parity
        super().__init__(student, teachers, teacher)

    def find(self, student: nn.Module, teacher: nn.Module) -> State:
        """Slice the teacher's tensors."""
        mine, theirs = declare(student, WHERE), declare(teacher, WHERE)
        state = student.state_dict()
        cut = Slicer(
            mine,
            theirs,
            teacher.state_dict(),
            state,
            self.kind,
            self.parts,
            self.official_parity,
            WHERE,
        )
        starts = tuple(f"{mine.prefix}{part}." for part in self.parts)
        left = [key for key in state if key.startswith(starts) and key not in cut.result]
        if left:
            raise UserError(f"nothing declared gives {left[0]} and {len(left) - 1} more", WHERE)
        self.notes = {
            "parts": list(self.parts),
            "official_parity": self.official_parity,
            "channels": {
                name: f"{layer.width} of {theirs[name].width}"
                for name, layer in mine.items()
                if layer.part in self.parts and layer.width < theirs[name].width
            },
        }
        return cut.result


@INHERITANCES.register_module()
class FNAV2(Slices):
    """The leading channels of every layer."""


@INHERITANCES.register_module(name="BN_SCALE")
class BNScale(Slices):
    """The channels with the largest |gamma| in the BatchNorm behind them."""

    kind = BN_SCALE


@INHERITANCES.register_module(name="OFA")
class FilterNorm(Slices):
    """The channels whose filters have the largest L1 norm, over the inputs that are kept."""

    kind = OFA


@INHERITANCES.register_module(name="handover")
class HandOver(Inheritance):
    """Tensors of equal name and shape, as they are.

    Whole: the stages of LiDAR Distillation, where a student of the same network begins as its
    teacher (Y. Wei, Z. Wei, Y. Rao, J. Li, J. Zhou, J. Lu, ECCV 2022); voxels of another size
    change no weight. ``parts=["neck", "bbox_head"]``: the inheriting of FGD (Z. Yang, Z. Li,
    X. Jiang, Y. Gong, Z. Yuan, D. Zhao, C. Yuan, CVPR 2022).

    Args:
        student: See `Inheritance`.
        teachers: See `Inheritance`.
        teacher: See `Inheritance`.
        parts: Some of the student's modules, with or without ``pts_``; None: all.

    Raises:
        UserError: A tensor that the teacher lacks or has in another shape; both are named.
    """

    kind = "handover"

    def __init__(
        self,
        student: nn.Module,
        teachers: dict[str, Any],
        teacher: str | dict[str, Any] = "teacher",
        parts: Iterable[str] | None = None,
    ) -> None:
        known = [_plain(name) for name, _ in student.named_children()]
        self.parts = None if parts is None else _known(map(_plain, parts), known)
        super().__init__(student, teachers, teacher)

    def find(self, student: nn.Module, teacher: nn.Module) -> State:
        """Pick equal names; ``pts_`` is left out of both."""
        if self.parts is not None:
            self.notes = {"parts": list(self.parts)}
        return handed_over(student, teacher, self.parts)


@INHERITANCES.register_module(name="prefix")
class Prefix(Inheritance):
    """A branch whose keys are the teacher's behind a prefix, as they are.

    The radar branch of RadarDistill begins as the LiDAR network: ``radar_backbone.*`` from
    ``backbone.*`` (G. Bang, K. Choi, J. Kim, D. Kum, J. W. Choi, CVPR 2024).

    Args:
        student: See `Inheritance`.
        teachers: See `Inheritance`.
        prefix: How the student's keys begin; each such key is filled.
        teacher: See `Inheritance`.
        teacher_prefix: How the teacher's begin where the student's have `prefix`.

    Raises:
        UserError: No such key, or a tensor that the teacher lacks or has in another shape.
    """

    kind = "prefix"

    def __init__(
        self,
        student: nn.Module,
        teachers: dict[str, Any],
        prefix: str,
        teacher: str | dict[str, Any] = "teacher",
        teacher_prefix: str = "",
    ) -> None:
        self.prefix, self.teacher_prefix = prefix, teacher_prefix
        super().__init__(student, teachers, teacher)

    def find(self, student: nn.Module, teacher: nn.Module) -> State:
        """Exchange the prefix."""
        state = student.state_dict()
        mine = {key: value for key, value in state.items() if key.startswith(self.prefix)}
        if not mine:
            names = {key.split(".")[0] for key in state}
            hint = did_you_mean(self.prefix, names)
            raise UserError(f"the student has no tensor {self.prefix}*", WHERE, hint)
        self.notes = {"prefix": self.prefix, "teacher_prefix": self.teacher_prefix}
        size = len(self.prefix)
        return _equal(mine, teacher.state_dict(), lambda key: self.teacher_prefix + key[size:])


def handed_over(student: nn.Module, teacher: nn.Module, parts: Iterable[str] | None) -> State:
    """Return the teacher's tensors under the student's keys.

    Args:
        student: Who takes them.
        teacher: Whose they are.
        parts: Of the student, without ``pts_``; None: all.

    Raises:
        UserError: A tensor that the teacher lacks or has in another shape.
    """
    mine = student.state_dict()
    if parts is not None:
        starts = tuple(f"{part}." for part in parts)
        mine = {key: value for key, value in mine.items() if _plain(key).startswith(starts)}
    theirs = {_plain(key): value for key, value in teacher.state_dict().items()}
    return _equal(mine, theirs, _plain)


def _equal(mine: State, theirs: State, named: Callable[[str], str]) -> State:
    """Return the teacher's tensors under the student's keys; all must be there, of equal shape."""
    found: dict[str, Tensor] = {}
    for key, value in mine.items():
        other = theirs.get(named(key))
        if other is None or other.shape != value.shape:
            has = "nothing" if other is None else tuple(other.shape)
            raise UserError(
                f"{key} is {tuple(value.shape)} in the student, {has} as {named(key)} in the "
                "teacher",
                WHERE,
                "name other parts, or use type='FNAV2' for a narrower student",
            )
        found[key] = other
    return found


def _plain(name: str) -> str:
    return name.removeprefix(MULTI_MODAL)


def _known(parts: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    parts, known = tuple(parts), tuple(known)
    for part in parts:
        if part not in known:
            raise UserError(f"unknown part {part!r}", f"{WHERE}.parts", did_you_mean(part, known))
    return parts
