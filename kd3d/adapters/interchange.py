"""The channel-wise auto-encoder that two models share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn

from kd3d.core.spec import FeatureSpec


class Interchanged(NamedTuple):
    """What `Interchange` makes of two maps.

    Attributes:
        student_code: (B, c, H, W) compressed student.
        teacher_code: (B, c, H, W) compressed teacher.
        student_as_teacher: (B, C_t, H, W) the student, compressed, opened and lifted.
        teacher_as_student: (B, C_s, H, W) the teacher, compressed and opened.
    """

    student_code: Tensor
    teacher_code: Tensor
    student_as_teacher: Tensor
    teacher_as_student: Tensor


class Interchange(nn.Module):
    """Compress both models' maps with one encoder, open both with one decoder.

    The student is lifted to the teacher's channels by a 1x1 convolution, before the encoder and
    after the decoder. All convolutions are 1x1, with ReLU between them. H. Cho, J. Choi, G. Baek,
    W. Hwang, "itKD: Interchange transfer-based knowledge distillation for 3D object detection",
    CVPR 2023.

    Args:
        student: Spec of the student's map.
        teacher: Spec of the teacher's map.
        code: Channels of the code.
        hidden: Channels between the teacher's and the code's; the decoder has them backwards.
    """

    def __init__(
        self,
        student: FeatureSpec,
        teacher: FeatureSpec,
        code: int = 32,
        hidden: Sequence[int] = (128, 64),
    ) -> None:
        super().__init__()
        self.lift = nn.Conv2d(student.channels, teacher.channels, 1)
        self.encoder = _pointwise([teacher.channels, *hidden, code])
        self.decoder = _pointwise([code, *reversed(hidden), student.channels])

    def forward(self, student: Tensor, teacher: Tensor) -> Interchanged:
        """Interchange two maps of the same cells.

        Args:
            student: (B, C_s, H, W).
            teacher: (B, C_t, H, W).
        """
        ours, theirs = self.encoder(self.lift(student)), self.encoder(teacher)
        return Interchanged(ours, theirs, self.lift(self.decoder(ours)), self.decoder(theirs))


def _pointwise(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 1), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
