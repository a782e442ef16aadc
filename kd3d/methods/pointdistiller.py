"""PointDistiller: local graphs around the most important pillars, cells or points."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kd3d.core.card import MethodCard, Variant
from kd3d.core.context import Context
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.core.term import Term
from kd3d.errors import UserError
from kd3d.losses.similarity.local_graph import (
    Neighbours,
    graph_distance,
    nearest_rows,
    normalised_edges,
)

CARD = MethodCard(
    name="pointdistiller",
    title="L. Zhang, R. Dong, H.-S. Tai, K. Ma: PointDistiller: Structured knowledge distillation "
    "towards efficient and compact 3D detection",
    venue="CVPR 2023",
    paper="arXiv:2205.11098",
    idea="Small graphs of nearest neighbours in feature space, around the most important pillars "
    "or points, are made alike; the important graphs weigh more.",
    equation="L = 2 mean_{q,c,j} w_q (g^T_{qjc} - g^S_{qjc})^2, w = M softmax(s / tau), "
    "g = ReLU(BN(W [f_j ; f_q]))",
    source=("feature", "similarity"),
    routes=("lidar to lidar",),
    schemes=("offline", "online", "self"),
    algorithm=("graph", "attention"),
    needs=("pillars",),
    status=("parity-tested", "trained-simulated"),
    differences=(
        "importance is scaled to [0, 1] before the temperature; in the authors' code integer "
        "counts with tau = 0.01 leave weight on pillars at the cap only",
        "the weights act in all variants; in the authors' BEV and point code the softmax runs over "
        "an axis of length 1 or is not multiplied",
        "neighbours come from the same sample; the authors search the whole batch for pillars",
        "the factor 2 stays; without importance the loss is the plain mean instead of 5e-4 times "
        "the Frobenius norm",
        "official_parity=True restores the authors' behaviour",
    ),
    zero_when_equal=False,
    variants=(
        Variant({"variant": "bev"}, needs=("stage0",), same=("grid",)),
        Variant({"variant": "point"}, needs=("points",)),
    ),
)
VARIANTS = {"voxel": "pillars", "bev": "stage0", "point": "points"}


@METHODS.register_module()
def pointdistiller(
    teacher: str = "teacher",
    variant: str = "voxel",
    weight: float | dict = 1.0,
    tap: str | None = None,
    queries: int | None = None,
    neighbours: int = 128,
    temperature: float | None = None,
    channels: int = 32,
    name: str = "graph",
    official_parity: bool = False,
    **options: Any,
) -> list[dict[str, Any]]:
    """Return the term of PointDistiller.

    Args:
        teacher: The teacher's name.
        variant: ``voxel`` (pillars, importance = points inside), ``bev`` (cells of a map) or
            ``point`` (PointNet++ features); the last two take the largest teacher channel.
        weight: Number or schedule.
        tap: Tap of both models; None: the variant's usual one.
        queries: Graphs M (of the batch for voxel, of a sample otherwise); None: 6000, bev 256.
        neighbours: K.
        temperature: tau; None: 0.1 of scaled importances, the authors' 0.01 (voxel), 1e-3 (point).
        channels: Width C' of the edges.
        name: The term's name.
        official_parity: The authors' behaviour.
        **options: Further options of `LocalGraphTerm`.
    """
    if variant not in VARIANTS:
        raise UserError(f"unknown variant {variant!r}", "pointdistiller", "voxel, bev or point")
    tap = tap or VARIANTS[variant]
    if temperature is None:
        temperature = (1e-3 if variant == "point" else 1e-2) if official_parity else 0.1
    return [
        dict(
            type="LocalGraphTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{tap}",
            weight=weight,
            variant=variant,
            queries=queries or (256 if variant == "bev" else 6000),
            neighbours=neighbours,
            temperature=temperature,
            channels=channels,
            official_parity=official_parity,
            **options,
        )
    ]


class EdgeAdapter(nn.Module):
    """The 1x1 convolution and batch normalisation of a model's edges: 2C -> C'."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, 2 * channels))
        self.gamma, self.beta = nn.Parameter(torch.ones(out)), nn.Parameter(torch.zeros(out))
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(
        self, rows: Tensor, queries: Tensor, neighbours: Neighbours, fuse: str
    ) -> tuple[Tensor, Tensor]:
        """Return the split normalised edges; see `normalised_edges`."""
        return normalised_edges(rows, queries, neighbours, self.weight, self.gamma, self.beta, fuse)


@TERMS.register_module()
class LocalGraphTerm(Term):
    """Weighted distance of local graphs; see `pointdistiller`.

    Args:
        name: See `Term`.
        student: See `Term`.
        teacher: See `Term`.
        weight: See `Term`.
        variant: voxel, bev or point.
        queries: Number of graphs.
        neighbours: Rows in a graph.
        temperature: Of the softmax over importances.
        channels: Width of the edges.
        fuse: ``concat`` or ``difference``.
        use_importance: Weigh graphs by importance.
        official_parity: The authors' behaviour.
    """

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        variant: str = "voxel",
        queries: int = 6000,
        neighbours: int = 128,
        temperature: float = 0.1,
        channels: int = 32,
        fuse: str = "concat",
        use_importance: bool = True,
        official_parity: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        self.variant, self.queries, self.neighbours = variant, queries, neighbours
        self.temperature, self.channels, self.fuse = temperature, channels, fuse
        self.use_importance, self.official = use_importance, official_parity

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the two edge adapters, both trained."""
        layout = {"voxel": "rows", "bev": "map", "point": "points"}[self.variant]
        where = f"term {self.name}"
        if (student.layout, teacher.layout) != (layout, layout):
            raise UserError(
                f"the {self.variant} variant needs {layout}; the student has {student}, the "
                f"teacher {teacher}",
                where,
            )
        if layout == "map" and not student.same_grid(teacher):
            raise UserError(
                f"cells do not correspond: {student} and {teacher}",
                where,
                "give both models the same voxel size, range and stride",
            )
        self.student_edges = EdgeAdapter(student.channels, self.channels)
        self.teacher_edges = EdgeAdapter(teacher.channels, self.channels)

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the weighted graph distance of one batch."""
        if self.variant == "voxel":
            voxels = context.inputs[self.student_branch]["voxels"]
            if len(student) != len(teacher):
                raise UserError(
                    f"{len(student)} rows against {len(teacher)}",
                    f"term {self.name}",
                    "give both models the same voxel size, range and max_voxels",
                )
            sample, importance = voxels["coors"][:, 0].long(), voxels["num_points"].float()
        else:
            student, teacher, sample = _as_rows(student), _as_rows(teacher), _sample_index(student)
            if len(student) != len(teacher):
                raise UserError(
                    f"{len(student)} points against {len(teacher)}",
                    f"term {self.name}",
                    "give both models the same points",
                )
            importance = teacher.amax(1)
        queries = self._choose(importance, sample)
        neighbours = Neighbours(self._search(teacher, sample, queries), len(teacher))
        edges_s = self.student_edges(student, queries, neighbours, self.fuse)
        edges_t = self.teacher_edges(teacher, queries, neighbours, self.fuse)
        pool = self.variant == "point"
        if self.official and not self.use_importance:
            per_query = self.channels * (1 if pool else neighbours.rows.shape[1])
            even = torch.ones_like(importance[queries])
            squares = graph_distance(edges_s, edges_t, neighbours, even, pool)
            return 5e-4 * (squares * per_query).sqrt()
        weight = self._weights(importance[queries], sample)
        return 2.0 * graph_distance(edges_s, edges_t, neighbours, weight / len(queries), pool)

    def _choose(self, importance: Tensor, sample: Tensor) -> Tensor:
        """Return the row indices of the most important rows: of the batch, or of each sample."""
        if self.variant == "voxel":
            return importance.topk(min(self.queries, len(importance))).indices
        chosen = []
        for i in range(int(sample[-1]) + 1):
            rows = (sample == i).nonzero()[:, 0]
            chosen.append(rows[importance[rows].topk(min(self.queries, len(rows))).indices])
        return torch.cat(chosen)

    @torch.no_grad()
    def _search(self, teacher: Tensor, sample: Tensor, queries: Tensor) -> Tensor:
        """Return (Q, K) neighbours in the teacher's feature space."""
        if self.official and self.variant == "voxel":
            return nearest_rows(teacher, queries, self.neighbours, ordered=False)
        samples = range(int(sample.max()) + 1)
        k = min(
            [self.neighbours] + [int((sample == i).sum()) for i in samples if (sample == i).any()]
        )
        found = queries.new_empty((len(queries), k))
        for i in samples:
            rows, mine = (sample == i).nonzero()[:, 0], (sample[queries] == i).nonzero()[:, 0]
            local = torch.searchsorted(rows, queries[mine])
            found[mine] = rows[nearest_rows(teacher[rows], local, k, ordered=False)]
        return found

    def _weights(self, importance: Tensor, sample: Tensor) -> Tensor:
        """Return the (Q,) weights of the graphs, 1 on average but for the authors' BEV variant."""
        even = torch.ones_like(importance)
        if self.official and self.variant != "voxel":
            return even * (int(sample[-1]) + 1 if self.variant == "bev" else 1)
        if not self.use_importance:
            return even
        if not self.official:
            importance = importance / importance.abs().amax().clamp(min=1e-6)
        return len(importance) * torch.softmax(importance / self.temperature, 0)


def _as_rows(feature: Tensor) -> Tensor:
    """Turn (B, C, H, W) or (B, C, N) into rows (B * N, C)."""
    return feature.flatten(2).transpose(1, 2).reshape(-1, feature.shape[1])


def _sample_index(feature: Tensor) -> Tensor:
    """Return the (B * N,) sample index of each row of `_as_rows`."""
    count = feature.flatten(2).shape[2]
    return torch.arange(len(feature), device=feature.device).repeat_interleave(count)
