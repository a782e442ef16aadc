"""LiDAR Distillation: features of a cloud with many beams for a student that sees few."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.map_term import MapTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.term import beside
from kd3d.errors import UserError, did_you_mean
from kd3d.losses.feature.distance import euclidean
from kd3d.masks.regions import equal_boxes

CARD = MethodCard(
    name="lidar_distillation",
    title="Y. Wei, Z. Wei, Y. Rao, J. Li, J. Zhou, J. Lu: LiDAR Distillation: Bridging the "
    "beam-induced domain gap for 3D object detection",
    venue="ECCV 2022",
    paper="arXiv:2203.14956",
    idea="A teacher that sees all beams of a scene teaches its BEV map, in its proposals, to a "
    "student that sees every n-th beam; then that student teaches one that sees fewer still.",
    equation="L = (1 / R) sum_r (1 / |m_r|) sum_{i in m_r} |s_i - t_i|_2",
    source=("feature",),
    routes=("lidar to lidar",),
    schemes=("offline", "online", "self"),
    algorithm=("cross-domain",),
    needs=("bev", "proposals"),
    heads=("CenterHead", "Anchor3DHead"),
    status=("parity-tested",),
    differences=(
        "a proposal's cells lie in its rotated box; the authors ignore yaw and judge a cell by its "
        "lower corner",
        "the mean runs over the proposals that hold a cell; the authors divide by all slots",
        "proposals are the 128 best boxes after suppression at an overlap of 0.8; the authors "
        "sample 128 of a region proposal network's with their target assigner",
        "beams are found by a k-means without random starts; the authors' is not seeded",
        "official_parity=True gives the authors' cells, and their normaliser with regions='roi'; "
        "that of their mode 'gt', which divides twice, is not reproduced",
    ),
)
REGIONS = ("roi", "gt", "all")


@METHODS.register_module()
def lidar_distillation(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    regions: str = "roi",
    tap: str = "bev",
    teacher_tap: str | None = None,
    adapter: dict | None = None,
    name: str = "beams",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of LiDAR Distillation.

    The clouds are thinned by the data pipeline, see `kd3d.data.multi_input`; the stages from many
    beams to few by ``stages`` in the config, see `kd3d.engine.stages`.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule.
        regions: Where the maps are compared: ``roi``: in the teacher's proposals; ``gt``: in the
            ground truth's boxes; ``all``: everywhere.
        tap: The student's tap.
        teacher_tap: The teacher's tap; None: the same.
        adapter: Options of `kd3d.adapters.FeatureAdapter`; there is none between equal widths.
        name: The term's name.
        official_parity: The authors' cells and normaliser.
    """
    return [
        dict(
            type="RegionFeatureTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{teacher_tap or tap}",
            weight=weight,
            regions=regions,
            adapter=adapter,
            official_parity=official_parity,
        )
    ]


@TERMS.register_module()
class RegionFeatureTerm(MapTerm):
    """Length of the features' difference in regions of equal weight; see `lidar_distillation`."""

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        regions: str = "roi",
        adapter: dict | None = None,
        official_parity: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight, adapter)
        if regions not in REGIONS:
            hint = did_you_mean(regions, REGIONS)
            raise UserError(f"unknown regions {regions!r}", f"term {name}", hint)
        self.regions, self.official = regions, official_parity
        self.proposals = f"{self.teacher_branch}:{beside(self.teacher_tap, 'proposals')}"

    def further(self) -> tuple[str, ...]:
        """The teacher's proposals."""
        return (self.proposals,) if self.regions == "roi" else ()

    def build(self, student: Any, teacher: Any) -> None:
        """Refuse regions on what has no place in metres."""
        super().build(student, teacher)
        if self.regions != "all" and not student.is_bev:
            where = f"term {self.name}"
            raise UserError(f"regions need a BEV map, the student has {student}", where, "tap bev")

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over regions of the mean over their cells."""
        ours, theirs, valid = self.maps(student, teacher)
        value = euclidean(ours, theirs)
        if self.regions == "all":
            return self.mean(value, context, valid)
        boxes = context.boxes
        if self.regions == "roi":
            boxes = [one["boxes"] for one in context.taps[self.proposals]]
        boxes = [one.to(value.device) for one in boxes]
        mask = equal_boxes(boxes, *self.spec.grid, upright=self.official)
        if valid is not None:
            mask = mask * valid
        if self.official and self.regions == "roi":
            slots = max(1, *(len(one) for one in boxes))
            return self.mean((value * mask[:, 0]).sum((1, 2)) / slots, context)
        return self.mean(value, context, mask)
