"""Contrastive distillation of the bird's-eye-view feature's peaks."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd3d.adapters import MetricResample
from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.core.term import Term
from kd3d.errors import UserError
from kd3d.losses.contrastive.info_nce import info_nce
from kd3d.losses.contrastive.noise_contrast import noise_contrast, pair_scores, partition
from kd3d.losses.reduce import masked_mean

CARD = MethodCard(
    name="crd",
    title="Y. Tian, D. Krishnan, P. Isola: Contrastive representation distillation, on cells of a "
    "bird's-eye-view map",
    venue="ICLR 2020",
    paper="arXiv:1910.10699",
    idea="A student's cell must be told apart from other cells by the teacher's feature of the "
    "same cell; nothing has to be equal.",
    equation="L = -mean_i log(exp(s_i t_i / tau) / sum_j exp(s_i t_j / tau))",
    source=("feature", "similarity"),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=("contrastive",),
    needs=("bev",),
    status=("parity-tested",),
    differences=(
        "InfoNCE among the cells of the batch instead of noise-contrastive estimation against a "
        "memory bank of the whole data set",
        "what is contrasted are the cells where the teacher's energy peaks; the paper has one "
        "vector an image",
        "official_parity=True: the noise-contrastive loss in both directions, weight 0.8, but "
        "the negatives are the batch's other cells: a bank needs rows that keep their identity "
        "from epoch to epoch, which cells of augmented clouds do not",
    ),
    zero_when_equal=False,
)


@METHODS.register_module()
def crd(
    teacher: str = "teacher",
    weight: float | dict | None = None,
    tap: str = "bev",
    cells: int = 64,
    channels: int = 128,
    temperature: float = 0.07,
    name: str = "crd",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of contrastive distillation.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule; None: 0.1, the authors 0.8.
        tap: Tap of both models, a BEV map.
        cells: Cells of a sample, at most.
        channels: Width of the embeddings.
        temperature: tau.
        name: The term's name.
        official_parity: The authors' loss.
    """
    return [
        dict(
            type="ContrastTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{tap}",
            weight=(0.8 if official_parity else 0.1) if weight is None else weight,
            cells=cells,
            channels=channels,
            temperature=temperature,
            noise=official_parity,
        )
    ]


@TERMS.register_module()
class ContrastTerm(Term):
    """Contrast of cells between two models; see `crd`.

    Args:
        name: See `Term`.
        student: See `Term`.
        teacher: See `Term`.
        weight: See `Term`.
        cells: Cells of a sample, at most.
        channels: Width of the two trained embeddings.
        temperature: tau.
        noise: Noise-contrastive estimation in both directions instead of InfoNCE.
    """

    weighs_samples = True

    constants: Tensor

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        cells: int = 64,
        channels: int = 128,
        temperature: float = 0.07,
        noise: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        self.cells, self.channels, self.temperature = cells, channels, temperature
        self.noise = noise

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make both embeddings."""
        where = f"term {self.name}"
        if (student.layout, teacher.layout) != ("map", "map"):
            raise UserError(f"the student has {student}, the teacher {teacher}", where)
        self.resample: MetricResample | None = None
        if not student.same_grid(teacher):
            self.resample = MetricResample(teacher, student, where)
        self.embed_student = nn.Linear(student.channels, self.channels)
        self.embed_teacher = nn.Linear(teacher.channels, self.channels)
        if self.noise:
            self.register_buffer("constants", torch.zeros(2))  # of the partition; 0: not yet known

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the contrastive loss, a mean over cells."""
        valid = None
        if self.resample is not None:
            teacher, valid = self.resample(teacher), self.resample.valid
        places = peaks(teacher, self.cells, valid)
        ours = F.normalize(self.embed_student(at(student, places)), dim=1)
        theirs = F.normalize(self.embed_teacher(at(teacher, places)), dim=1)
        if self.noise:
            value = self._contrast(0, ours, theirs) + self._contrast(1, theirs, ours)
        else:
            value = info_nce(ours, theirs, self.temperature)
        of_sample = self.sample_weight(context)
        if of_sample is not None:
            value = value * of_sample.repeat_interleave(places.shape[1])
        return masked_mean(value)

    def _contrast(self, side: int, anchor: Tensor, other: Tensor) -> Tensor:
        """Return the (N,) losses of anchors against all N cells of the other model, held fixed."""
        count = len(anchor)
        order = torch.arange(count, device=anchor.device)
        turned = (order[:, None] + order) % count  # a row's own cell first
        scores = pair_scores(anchor, other.detach()[turned], self.temperature)
        if self.constants[side] == 0:
            self.constants[side] = partition(scores, count)
        return noise_contrast(scores / self.constants[side].clone(), count)


def peaks(feature: Tensor, count: int, valid: Tensor | None = None) -> Tensor:
    """Return the cells (B, K) with the largest energy, local maxima first.

    Energy is the mean square over channels; a maximum is one among its 3 x 3 neighbours.

    Args:
        feature: (B, C, H, W).
        count: K, or H W where that is less.
        valid: (1, 1, H, W); cells outside come last.

    Returns:
        Indices into H W.
    """
    energy = feature.square().mean(1, keepdim=True)
    highest = energy == F.max_pool2d(energy, 3, 1, 1)
    rank = energy / energy.amax((2, 3), keepdim=True).clamp(min=1e-12) + highest
    if valid is not None:
        rank = rank - 3 * (1 - valid)
    rank = rank.flatten(1)
    return rank.topk(min(count, rank.shape[1])).indices


def at(feature: Tensor, places: Tensor) -> Tensor:
    """Return rows (B K, C) of a map (B, C, H, W) at cells (B, K)."""
    index = places[:, None].expand(-1, feature.shape[1], -1)
    return feature.flatten(2).gather(2, index).transpose(1, 2).flatten(0, 1)
