"""Channel-wise distillation: each channel as a distribution over the cells."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.map_term import MapTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.losses.feature.channel_wise import channel_wise_divergence

CARD = MethodCard(
    name="cwd",
    title="C. Shu, Y. Liu, J. Gao, Z. Yan, C. Shen: Channel-wise knowledge distillation for dense "
    "prediction",
    venue="ICCV 2021",
    paper="arXiv:2011.13256",
    idea="Each channel is a distribution over the cells; the student's follows the teacher's, so "
    "that what is salient in a channel counts most.",
    equation="L = tau^2 / (B C) sum_bc KL(softmax_i(t_bci / tau) || softmax_i(s_bci / tau))",
    source=("feature",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=("attention",),
    needs=("bev",),
    status=("parity-tested",),
    differences=(
        "the teacher's map is standardised per channel, so that a temperature means the same for "
        "any teacher; the student always passes a 1x1 convolution",
        "weight 1 instead of 10",
        "official_parity=True: raw maps, a 1x1 convolution only where the channels differ, weight "
        "10",
    ),
    zero_when_equal=False,
)


@METHODS.register_module()
def cwd(
    teacher: str = "teacher",
    weight: float | dict | None = None,
    tap: str = "bev",
    teacher_tap: str | None = None,
    temperature: float = 1.0,
    name: str = "channels",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of channel-wise distillation.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule; None: 1, the authors' 10.
        tap: The student's tap.
        teacher_tap: The teacher's tap; None: the same.
        temperature: tau.
        name: The term's name.
        official_parity: Raw maps and the authors' weight.
    """
    usual = 10.0 if official_parity else 1.0
    return [
        dict(
            type="ChannelWiseTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{teacher_tap or tap}",
            weight=usual if weight is None else weight,
            temperature=temperature,
            adapter=dict(projection="auto" if official_parity else "always"),
            normalise_teacher=not official_parity,
        )
    ]


@TERMS.register_module()
class ChannelWiseTerm(MapTerm):
    """Divergence of channels over the cells; see `cwd`."""

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        temperature: float = 1.0,
        adapter: dict | None = None,
        normalise_teacher: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight, adapter, normalise_teacher)
        self.temperature = temperature

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean divergence of a channel."""
        value = channel_wise_divergence(*self.cells(student, teacher), self.temperature)
        return self.mean(value, context)
