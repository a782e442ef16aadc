"""Instance relationship graphs: objects, distances between them, and how layers change both."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.object_term import ObjectTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec, check_levels, levels_of
from kd3d.losses.reduce import global_normaliser
from kd3d.losses.similarity.relations import edge_difference, transformation_difference

CARD = MethodCard(
    name="irg",
    title="Y. Liu, J. Cao, B. Li, C. Yuan, W. Hu, Y. Li, Y. Duan: Knowledge distillation via "
    "instance relationship graph",
    venue="CVPR 2019",
    paper="https://openaccess.thecvf.com/content_CVPR_2019/html/"
    "Liu_Knowledge_Distillation_via_Instance_Relationship_Graph_CVPR_2019_paper.html",
    idea="Objects are the vertices of a graph whose edges are their distances in feature space; "
    "vertices, edges and how both change from layer to layer follow the teacher's.",
    equation="L = v sum |p(s_i) - t_i|^2 / sum |t_i|^2 + e mean_lij (A^S_lij - A^T_lij)^2 + "
    "c mean_li (L^S_li - L^T_li)^2 + c mean_lij (T^S_lij - T^T_lij)^2, "
    "A_lij = |x_li - x_lj|^2 / max, L_li = |x_li - x_(l+1)i|^2 / max, "
    "T_lij = (A_lij - A_(l+1)ij)^2",
    source=("feature", "similarity"),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=("graph",),
    needs=("stages", "gt_boxes"),
    status=("formula-tested",),
    differences=(
        "instances are the objects of the batch, read from the BEV maps at their centres; the "
        "paper's are images",
        "layers are the backbone's stages, transformations those of neighbouring stages, vertices "
        "those of the deepest; stages of other widths meet by averaging channels",
        "vertices pass a linear layer and are compared relative to the teacher's energy, edges "
        "and transformations weigh 1",
        "the gradient is that of the formula; the authors' Caffe layers treat the maximum as a "
        "constant and follow the first index of a pair only, so there are no numbers to compare",
        "official_parity=True: plain mean squared error of vertices, edges and transformations "
        "weigh 0.005",
    ),
    zero_when_equal=False,
)


@METHODS.register_module()
def irg(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    tap: str = "stages",
    teacher_tap: str | None = None,
    vertices: float = 1.0,
    edges: float | None = None,
    transformations: float | None = None,
    objects: int = 64,
    name: str = "instances",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of the instance relationship graph.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule of the whole.
        tap: The student's layers, one tap or several joined by commas, the deepest last.
        teacher_tap: The teacher's, as many; None: the same.
        vertices: Share of the deepest layer's vertices.
        edges: Share of the edges; None: 1, the authors' 0.005.
        transformations: Share of the vertices' and of the edges' transformations between
            neighbouring layers; None: 1, with official_parity 0.005.
        objects: Most objects of a batch.
        name: The term's name.
        official_parity: The authors' vertices and share.
    """
    usual = 0.005 if official_parity else 1.0
    return [
        dict(
            type="InstanceGraphTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{teacher_tap or tap}",
            weight=weight,
            vertices=vertices,
            edges=usual if edges is None else edges,
            transformations=usual if transformations is None else transformations,
            objects=objects,
            relative=not official_parity,
        )
    ]


@TERMS.register_module()
class InstanceGraphTerm(ObjectTerm):
    """Vertices, edges and transformations of the objects' graphs; see `irg`."""

    several = True

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        vertices: float = 1.0,
        edges: float = 1.0,
        transformations: float = 1.0,
        objects: int = 64,
        relative: bool = True,
    ) -> None:
        super().__init__(name, student, teacher, weight, objects)
        self.vertices, self.edges, self.relative = vertices, edges, relative
        self.transformations = transformations

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the linear layer of the vertices."""
        super().build(student, teacher)
        check_levels(student, teacher, f"term {self.name}")
        self.project = nn.Linear(student.each[-1].channels, teacher.each[-1].channels)

    def distance(
        self, student: Tensor | list[Tensor], teacher: Tensor | list[Tensor], context: Context
    ) -> Tensor:
        """Return the weighted sum of the parts, each a mean."""
        maps = levels_of(student)
        ours, theirs = self.rows(maps, levels_of(teacher), context)
        total = self.vertices * self._vertices(ours[-1], theirs[-1], maps[-1])
        pairs = list(zip(ours, theirs))
        edges = [self.relations_mean(edge_difference(*pair), m) for pair, m in zip(pairs, maps)]
        total = total + self.edges * torch.stack(edges).mean()
        changes: list[Tensor] = []
        for deeper, ((s1, t1), (s2, t2)) in zip(maps[1:], pairwise(pairs)):
            parts = transformation_difference((s1, s2), (t1, t2))
            changes += [self.relations_mean(part, deeper) for part in parts]
        if changes:
            total = total + self.transformations * 2 * torch.stack(changes).mean()
        unused = self.project(maps[-1][:1, :, 0, 0]).sum() * 0.0  # without an object
        return total + unused

    def _vertices(self, ours: Tensor, theirs: Tensor, student: Tensor) -> Tensor:
        """Return the error of the deepest layer's vectors."""
        value = self.relations_mean((self.project(ours) - theirs).square(), student)
        if not self.relative:
            return value
        energy = theirs.new_tensor([float(theirs.numel()), theirs.square().sum().item()])
        count, power = global_normaliser(energy)
        return value * count.clamp(min=1.0) / power.clamp(min=1e-6)
