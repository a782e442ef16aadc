"""The adapter that is built from two feature specs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kd3d.adapters.resample import MetricResample
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError


class FeatureAdapter(nn.Module):
    """Project the student's channels to the teacher's and resample the teacher to its cells.

    Args:
        student: Spec of the student's tap.
        teacher: Spec of the teacher's tap.
        where: For messages.
        projection: ``"auto"``: a projection where channels differ; ``"always"``; ``"never"``.
        kernel: Kernel size of the projection; 1 acts on every cell by itself.
        norm: Batch normalisation and ReLU after the projection (FitNets' regressor).

    Raises:
        UserError: The two specs cannot be aligned; both are shown.
    """

    def __init__(
        self,
        student: FeatureSpec,
        teacher: FeatureSpec,
        where: str = "adapter",
        projection: str = "auto",
        kernel: int = 1,
        norm: bool = False,
    ) -> None:
        super().__init__()
        if student.layout != teacher.layout or student.layout == "other":
            raise UserError(f"the student has {student}, the teacher {teacher}", where)
        if projection == "never" and student.channels != teacher.channels:
            raise UserError(
                f"{student.channels} against {teacher.channels} channels",
                where,
                "use projection='auto'",
            )
        if projection not in ("auto", "always", "never"):
            raise UserError(f"unknown projection {projection!r}", where, "auto, always or never")
        if student.layout == "points" and kernel != 1:
            raise UserError(
                f"a kernel of {kernel} over points, whose order means nothing", where, "kernel=1"
            )
        self.project: nn.Module = nn.Identity()
        if projection == "always" or student.channels != teacher.channels:
            self.project = _projection(student, teacher.channels, kernel, norm)
        self.pointwise = not norm and (kernel == 1 or isinstance(self.project, nn.Identity))
        self.resample = None
        if student.layout == "map" and not student.same_grid(teacher):
            self.resample = MetricResample(teacher, student, where)
        if student.layout == "image" and student.shape != teacher.shape:
            raise UserError(
                f"image features of other strides: the student has {student}, the teacher "
                f"{teacher}",
                where,
                "tap levels of one stride",
            )

    def forward(self, student: Tensor) -> Tensor:
        """Return the student's feature with the teacher's channels."""
        return self.project(student)

    def rows(self, student: Tensor) -> Tensor:
        """Return `forward` at single cells of a map, (N, C) to (N, C'); only where `pointwise`."""
        if isinstance(self.project, nn.Identity):
            return student
        weight, bias = self.project.parameters()  # of the convolution
        return F.linear(student, weight.flatten(1), bias)

    def teacher(self, teacher: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the teacher on the student's cells and the (1, 1, H, W) mask of covered cells."""
        if self.resample is None:
            return teacher, None
        return self.resample(teacher), self.resample.valid


def _projection(student: FeatureSpec, channels: int, kernel: int, norm: bool) -> nn.Module:
    if student.layout == "rows":
        return nn.Linear(student.channels, channels)
    flat = student.layout in ("map", "image")
    dimension = nn.Conv2d if flat else nn.Conv1d
    convolution = dimension(student.channels, channels, kernel, padding=kernel // 2)
    if not norm:
        return convolution
    batch_norm = nn.BatchNorm2d if flat else nn.BatchNorm1d
    return nn.Sequential(convolution, batch_norm(channels), nn.ReLU())
