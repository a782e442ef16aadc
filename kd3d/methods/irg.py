"""Instance relationship graph: objects as vertices, distances between them as edges."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.object_term import ObjectTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.losses.reduce import global_normaliser
from kd3d.losses.similarity.relations import edge_difference

CARD = MethodCard(
    name="irg",
    title="Y. Liu, J. Cao, B. Li, C. Yuan, W. Hu, Y. Li, Y. Duan: Knowledge distillation via "
    "instance relationship graph",
    venue="CVPR 2019",
    paper="https://openaccess.thecvf.com/content_CVPR_2019/html/"
    "Liu_Knowledge_Distillation_via_Instance_Relationship_Graph_CVPR_2019_paper.html",
    idea="Objects are the vertices of a graph whose edges are their distances in feature space; "
    "vertices and edges follow the teacher's.",
    equation="L = v sum |p(s_i) - t_i|^2 / sum |t_i|^2 + e / N^2 sum_ij (A^S_ij - A^T_ij)^2, "
    "A_ij = |x_i - x_j|^2 / max",
    source=("feature", "similarity"),
    schemes=("offline", "online", "self"),
    algorithm=("graph",),
    needs=("bev", "gt_boxes"),
    status=("formula-tested",),
    differences=(
        "instances are the objects of the batch, read from the BEV map at their centres; the "
        "paper's are images",
        "one graph of one layer: the paper's transformation graphs between layers are not built",
        "vertices pass a linear layer and are compared relative to the teacher's energy, edges "
        "weigh 1",
        "the gradient is that of the formula; the authors' Caffe layers treat the maximum as a "
        "constant and follow the first index of a pair only, so there are no numbers to compare",
        "official_parity=True: plain mean squared error of vertices, edges weigh 0.005",
    ),
    zero_when_equal=False,
)


@METHODS.register_module()
def irg(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    tap: str = "bev",
    teacher_tap: str | None = None,
    vertices: float = 1.0,
    edges: float | None = None,
    objects: int = 64,
    name: str = "instances",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of the instance relationship graph.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule of the whole.
        tap: The student's tap.
        teacher_tap: The teacher's tap; None: the same.
        vertices: Share of the vertices.
        edges: Share of the edges; None: 1, the authors' 0.005.
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
            objects=objects,
            relative=not official_parity,
        )
    ]


@TERMS.register_module()
class InstanceGraphTerm(ObjectTerm):
    """Vertices and edges of the objects' graph; see `irg`."""

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        vertices: float = 1.0,
        edges: float = 1.0,
        objects: int = 64,
        relative: bool = True,
    ) -> None:
        super().__init__(name, student, teacher, weight, objects)
        self.vertices, self.edges, self.relative = vertices, edges, relative

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the linear layer of the vertices."""
        super().build(student, teacher)
        self.project = nn.Linear(student.channels, teacher.channels)

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the vertices' error plus the mean over all edges, weighted."""
        ours, theirs = self.rows(student, teacher, context)
        error = (self.project(ours) - theirs).square()
        vertices = self.relations_mean(error, student)
        if self.relative:
            energy = theirs.new_tensor([float(theirs.numel()), theirs.square().sum().item()])
            count, power = global_normaliser(energy)
            vertices = vertices * count.clamp(min=1.0) / power.clamp(min=1e-6)
        edges = self.relations_mean(edge_difference(ours, theirs), student)
        return self.vertices * vertices + self.edges * edges
