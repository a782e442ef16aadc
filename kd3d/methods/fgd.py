"""FGD: focal imitation under the teacher's attention, and global context."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.map_term import MapTerm
from kd3d.core.part_weights import part_weights
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError
from kd3d.losses import squared_error
from kd3d.losses.feature.focal import cell_attention, channel_attention, focal_error
from kd3d.masks.scales import scale_masks, upright_scale_masks

CARD = MethodCard(
    name="fgd",
    title="Z. Yang, Z. Li, X. Jiang, Y. Gong, Z. Yuan, D. Zhao, C. Yuan: Focal and global "
    "knowledge distillation for detectors",
    venue="CVPR 2022",
    paper="arXiv:2111.11837",
    idea="Objects and background are imitated apart, under the teacher's spatial and channel "
    "attention; attention itself and the global context are imitated too.",
    equation="L = a sum M^fg A^S A^C (t - s)^2 + b sum M^bg A^S A^C (t - s)^2 + g (|A^S_t - A^S_s|"
    " + |A^C_t - A^C_s|) + l |R(t) - R(s)|^2",
    source=("feature", "similarity"),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=("attention",),
    needs=("bev", "gt_boxes"),
    status=("parity-tested",),
    differences=(
        "objects are rotated boxes in metres; the authors take upright rectangles of cells",
        "each part is a mean (over objects, cells and channels) with weights 1, 0.5, 1, 0.5, and "
        "the teacher's map is standardised per channel; the authors sum over channels and cells "
        "with weights 1e-3, 5e-4, 5e-4, 5e-6 for images of one size",
        "the student's head is not initialised from the teacher's",
        "official_parity=True: the authors' rectangles, sums and weights on raw maps",
    ),
    zero_when_equal=False,
)
USUAL = dict(foreground=1.0, background=0.5, attention=1.0, context=0.5)
OFFICIAL = dict(foreground=1e-3, background=5e-4, attention=5e-4, context=5e-6)


@METHODS.register_module()
def fgd(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    tap: str = "bev",
    teacher_tap: str | None = None,
    temperature: float = 0.5,
    parts: dict[str, float] | None = None,
    name: str = "focal",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of FGD.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule of the whole.
        tap: The student's tap.
        teacher_tap: The teacher's tap; None: the same.
        temperature: tau of the attention.
        parts: Weights of ``foreground``, ``background``, ``attention``, ``context`` that differ
            from the usual ones.
        name: The term's name.
        official_parity: The authors' rectangles, sums and weights.
    """
    usual = OFFICIAL if official_parity else USUAL
    return [
        dict(
            type="FocalTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{teacher_tap or tap}",
            weight=weight,
            temperature=temperature,
            parts=part_weights(usual, parts, "fgd"),
            summed=official_parity,
        )
    ]


class GlobalContext(nn.Module):
    """A map plus what one attention over all its cells has gathered.

    Y. Cao, J. Xu, S. Lin, F. Wei, H. Hu, "GCNet: Non-local networks meet squeeze-excitation
    networks and beyond", ICCV 2019 workshop, equation 4; reduction 2, last convolution zero.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(1, channels // 2)
        self.attend = nn.Conv2d(channels, 1, 1)
        self.gather = nn.Sequential(
            nn.Conv2d(channels, narrow, 1),
            nn.LayerNorm([narrow, 1, 1]),
            nn.ReLU(),
            nn.Conv2d(narrow, channels, 1),
        )
        nn.init.kaiming_normal_(self.attend.weight, mode="fan_in")
        nn.init.zeros_(self.attend.bias)  # type: ignore[arg-type]
        for parameter in self.gather[3].parameters():
            nn.init.zeros_(parameter)

    def forward(self, feature: Tensor) -> Tensor:
        """Return (B, C, H, W) of the same shape."""
        share = self.attend(feature).flatten(2).softmax(2)  # (B, 1, HW)
        context = (feature.flatten(2) * share).sum(2)[:, :, None, None]
        return feature + self.gather(context)


@TERMS.register_module()
class FocalTerm(MapTerm):
    """Focal and global imitation; see `fgd`."""

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        temperature: float = 0.5,
        parts: dict[str, float] | None = None,
        summed: bool = False,
    ) -> None:
        adapter = dict(projection="auto" if summed else "always")
        super().__init__(name, student, teacher, weight, adapter, not summed)
        self.temperature, self.parts, self.summed = temperature, dict(parts or USUAL), summed

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the adapter and the two context blocks; both are trained, as in the paper."""
        super().build(student, teacher)
        if not student.is_bev:
            raise UserError(f"FGD needs a BEV map, the student has {student}", f"term {self.name}")
        self.student_context = GlobalContext(teacher.channels)
        self.teacher_context = GlobalContext(teacher.channels)

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the weighted sum of the four parts."""
        ours, theirs, valid = self.maps(student, teacher)
        foreground, background = self._regions(context, valid, ours)
        cells, channels = (
            (attention(ours, self.temperature), attention(theirs, self.temperature))
            for attention in (cell_attention, channel_attention)
        )
        error = focal_error(ours, theirs, cells[1], channels[1])
        relation = squared_error(self.student_context(ours), self.teacher_context(theirs))
        width = ours.shape[1] if self.summed else 1  # the authors sum over channels too
        reduce = self._sum if self.summed else self.mean
        parts = {
            "foreground": width * reduce(error, context, foreground),
            "background": width * reduce(error, context, background),
            "attention": reduce((cells[0] - cells[1]).abs(), context, valid)
            + reduce((channels[0] - channels[1]).abs(), context, None),
            "context": width * reduce(relation, context, valid),
        }
        total = error.new_zeros(())
        return sum((self.parts[key] * value for key, value in parts.items()), total)

    def _regions(
        self, context: Context, valid: Tensor | None, like: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the weights of objects and background, (B, 1, H, W), on covered cells."""
        extent, shape = self.spec.extent_m, self.spec.shape
        assert extent is not None
        assert shape is not None
        make = upright_scale_masks if self.summed else scale_masks
        regions = make([box.to(like.device) for box in context.boxes], extent, shape)
        if valid is None:
            return regions
        return regions[0] * valid, regions[1] * valid

    def _sum(self, value: Tensor, context: Context, mask: Tensor | None) -> Tensor:
        """Return the mean over samples of the masked sum over cells."""
        if mask is not None:
            value = value * mask.squeeze(1)
        return self.mean(value.flatten(1).sum(1), context)
