"""ReviewKD's hierarchical context loss on a bird's-eye-view map."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.map_term import MapTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.losses.feature.pyramid import hierarchical_error

CARD = MethodCard(
    name="reviewkd",
    title="P. Chen, S. Liu, H. Zhao, J. Jia: Distilling knowledge via knowledge review, its "
    "hierarchical context loss",
    venue="CVPR 2021",
    paper="arXiv:2104.09044",
    idea="A map and its means on ever coarser grids follow the teacher's, so that the context "
    "counts beside the detail.",
    equation="L = sum_k 2^-k mse(P_k(r(s)), P_k(t)) / sum_k 2^-k",
    source=("feature",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("bev",),
    status=("parity-tested",),
    differences=(
        "one level, the neck's map, in which a detector has already joined its stages; the paper's "
        "attention-based fusion of the student's stages from deep to shallow is not built",
        "the teacher's map is standardised per channel",
        "official_parity=True: raw maps",
    ),
    zero_when_equal=False,
)


@METHODS.register_module()
def reviewkd(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    tap: str = "bev",
    teacher_tap: str | None = None,
    levels: tuple[int, ...] = (4, 2, 1),
    name: str = "review",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of the hierarchical context loss.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule.
        tap: The student's tap.
        teacher_tap: The teacher's tap; None: the same.
        levels: Cells a side of the coarse grids.
        name: The term's name.
        official_parity: Raw maps.
    """
    return [
        dict(
            type="ReviewTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{teacher_tap or tap}",
            weight=weight,
            levels=levels,
            normalise_teacher=not official_parity,
        )
    ]


@TERMS.register_module()
class ReviewTerm(MapTerm):
    """Hierarchical error of a map; see `reviewkd`."""

    any_width = True  # the two convolutions change the width

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        levels: tuple[int, ...] = (4, 2, 1),
        normalise_teacher: bool = True,
    ) -> None:
        super().__init__(name, student, teacher, weight, normalise_teacher=normalise_teacher)
        self.levels = tuple(levels)

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the student's two convolutions, those of the paper's fusion module."""
        super().build(student, teacher)
        width = teacher.channels
        self.transform = nn.Sequential(
            nn.Conv2d(student.channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over samples; cells that the teacher does not cover count as equal."""
        ours, theirs, valid = self.maps(student, teacher)
        ours = self.transform(ours)
        if valid is not None:
            ours, theirs = ours * valid, theirs * valid
        return self.mean(hierarchical_error(ours, theirs, self.levels), context)
