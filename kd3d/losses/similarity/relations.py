"""Relations between the rows of a set: similarities, distances, angles, probabilities."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kd3d.losses.precision import as_float
from kd3d.losses.unit import unit_length


def similarity_preserving(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Squared difference of two row-normalised Gram matrices.

    .. math:: \Big(\frac{G^T_{ij}}{\|G^T_{i:}\|_2} - \frac{G^S_{ij}}{\|G^S_{i:}\|_2}\Big)^2,
        \qquad G = A A^\top

    F. Tung, G. Mori, "Similarity-preserving knowledge distillation" (SP), ICCV 2019, equations 2
    to 4. A single row has no relations: its value is 0 whatever it holds.

    Args:
        student: (N, C), or several sets of rows (M, N, C).
        teacher: (N, D), or (M, N, D).

    Returns:
        (N, N) or (M, N, N) un-reduced.
    """
    ours, theirs = (
        unit_length(rows @ rows.transpose(-1, -2), dim=-1)
        for rows in (as_float(student), as_float(teacher))
    )
    return (ours - theirs).square()


def pairwise_distances(rows: Tensor) -> Tensor:
    """Return the (N, N) Euclidean distances of (N, C) rows; gradients are 0 at equal rows."""
    rows = as_float(rows)
    square = (rows[:, None] - rows[None]).square().sum(2)
    return torch.where(square > 0, square.clamp(min=1e-12).sqrt(), square)


def relative_distances(rows: Tensor) -> Tensor:
    """Return distances divided by the mean over all pairs of two rows; 0 where all rows agree."""
    distance = pairwise_distances(rows)
    pairs = max(1, len(rows) * (len(rows) - 1))
    return distance / (distance.sum() / pairs).clamp(min=1e-12)


def distance_relations(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Smooth L1 between relative distances of all pairs.

    .. math:: \ell_\delta\Big(\frac{\|s_i - s_j\|_2}{\mu_S}, \frac{\|t_i - t_j\|_2}{\mu_T}\Big)

    W. Park, D. Kim, Y. Lu, M. Cho, "Relational knowledge distillation" (RKD), CVPR 2019, equations
    5 to 8; mu is the mean over the pairs of this process.

    Args:
        student: (N, C).
        teacher: (N, D).

    Returns:
        (N, N) un-reduced, 0 on the diagonal.
    """
    ours, theirs = relative_distances(student), relative_distances(teacher)
    return F.smooth_l1_loss(ours, theirs, reduction="none")


def angle_relations(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Smooth L1 between the cosines of the angles of all triplets.

    .. math:: \ell_\delta(\langle e^S_{ij}, e^S_{ik} \rangle, \langle e^T_{ij}, e^T_{ik} \rangle),
        \qquad e_{ij} = \frac{x_i - x_j}{\|x_i - x_j\|_2}

    RKD, CVPR 2019, equations 9 and 10; see `distance_relations`. Memory grows with N^3.

    Args:
        student: (N, C).
        teacher: (N, D).

    Returns:
        (N, N, N) un-reduced; the first axis is the apex.
    """

    def cosines(rows: Tensor) -> Tensor:
        direction = unit_length(rows[:, None] - rows[None], dim=2)
        return direction @ direction.transpose(1, 2)

    ours, theirs = cosines(as_float(student)), cosines(as_float(teacher))
    return F.smooth_l1_loss(ours, theirs, reduction="none")


def probabilistic_transfer(
    student: Tensor, teacher: Tensor, itself: bool = False, eps: float = 1e-7
) -> Tensor:
    r"""Terms of the divergence between conditional probabilities of neighbours.

    .. math:: t_{ij} \log \frac{t_{ij} + \epsilon}{s_{ij} + \epsilon}, \qquad
        x_{ij} = \frac{K(x_i, x_j)}{\sum_{k \ne i} K(x_i, x_k)}, \qquad
        K(a, b) = \tfrac{1}{2} \Big(\frac{a^\top b}{\|a\|_2 \|b\|_2} + 1\Big)

    N. Passalis, A. Tefas, "Learning deep representations with probabilistic knowledge transfer"
    (PKT), ECCV 2018, equations 3, 4, 7 and 8.

    Args:
        student: (N, C).
        teacher: (N, D).
        itself: Let a row be its own neighbour, as the authors' code does.
        eps: epsilon.

    Returns:
        (N, N) un-reduced; the sum of a row is its divergence.
    """
    rows = len(student)
    others = torch.ones(rows, rows, device=student.device)
    if not itself:
        others = others - torch.eye(rows, device=student.device)

    def probability(feature: Tensor) -> Tensor:
        unit = unit_length(as_float(feature), dim=1)
        kernel = (unit @ unit.t() + 1) / 2 * others
        return kernel / kernel.sum(1, keepdim=True).clamp(min=eps)

    ours, theirs = probability(student), probability(teacher)
    return theirs * torch.log((theirs + eps) / (ours + eps))


def part_affinity(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Squared difference of the cosines between the parts of each object.

    .. math:: \Big(\frac{s_{ni}^\top s_{nj}}{\|s_{ni}\| \|s_{nj}\|}
        - \frac{t_{ni}^\top t_{nj}}{\|t_{ni}\| \|t_{nj}\|}\Big)^2

    The affinity feature loss of SparseKD (J. Yang et al., NeurIPS 2022), its released code.

    Args:
        student: (N, P, C): P parts of N objects.
        teacher: (N, P, D).

    Returns:
        (N, P, P) un-reduced.
    """
    ours, theirs = (unit_length(as_float(parts), dim=2) for parts in (student, teacher))
    return (ours @ ours.transpose(1, 2) - theirs @ theirs.transpose(1, 2)).square()


def edge_difference(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Squared difference of the edges of two instance graphs.

    .. math:: (A^S_{ij} - A^T_{ij})^2, \qquad
        A_{ij} = \frac{\|x_i - x_j\|_2^2}{\max_{kl} \|x_k - x_l\|_2^2}

    Y. Liu, J. Cao, B. Li, C. Yuan, W. Hu, Y. Li, Y. Duan, "Knowledge distillation via instance
    relationship graph" (IRG), CVPR 2019, equations 2 and 5.

    Args:
        student: (N, C).
        teacher: (N, D).

    Returns:
        (N, N) un-reduced, 0 on the diagonal.
    """
    return (graph_edges(student) - graph_edges(teacher)).square()


def graph_edges(rows: Tensor) -> Tensor:
    """Return the edges (N, N) of the instance graph of (N, C) rows; see `edge_difference`."""
    rows = as_float(rows)
    return _relative((rows[:, None] - rows[None]).square().sum(2))


def transformation_difference(
    student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    r"""Squared differences of two graphs' transformations from one layer to another.

    .. math:: (\Lambda^S_i - \Lambda^T_i)^2, \quad (\Theta^S_{ij} - \Theta^T_{ij})^2, \qquad
        \Lambda_i = \frac{\|f_1(x_i) - f_2(x_i)\|_2^2}{\max_k \|f_1(x_k) - f_2(x_k)\|_2^2}, \quad
        \Theta_{ij} = (A_{1,ij} - A_{2,ij})^2

    The vertex and edge transformations of IRG, CVPR 2019, section 3.2; see `edge_difference`. Where
    the layers' widths differ, the wider vector is averaged over neighbouring channels.

    Args:
        student: Vectors (N, C_1) and (N, C_2) of the same instances in two layers.
        teacher: (N, D_1) and (N, D_2).

    Returns:
        (N,) of the vertices and (N, N) of the edges, un-reduced.
    """

    def transformation(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        width = min(first.shape[1], second.shape[1])
        one, two = (_narrowed(as_float(rows), width) for rows in (first, second))
        vertices = _relative((one - two).square().sum(1))
        return vertices, (graph_edges(first) - graph_edges(second)).square()

    ours, theirs = transformation(*student), transformation(*teacher)
    return (ours[0] - theirs[0]).square(), (ours[1] - theirs[1]).square()


def _narrowed(rows: Tensor, width: int) -> Tensor:
    if rows.shape[1] == width or not len(rows):
        return rows[:, :width]
    return F.adaptive_avg_pool1d(rows[None], width)[0]


def _relative(value: Tensor) -> Tensor:
    """Return non-negative values divided by the largest of them."""
    return value / value.amax().clamp(min=1e-12) if value.numel() else value
