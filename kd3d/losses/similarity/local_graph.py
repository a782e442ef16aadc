"""Local graphs of feature rows: neighbours, normalised edges and their weighted distance.

L. Zhang et al., "PointDistiller: Structured knowledge distillation towards efficient and compact
3D detection", CVPR 2023. The edge tensor (Q, K, 2C) is never built: a linear map of
[f_j ; f_q] is W_1 f_j + W_2 f_q, batch statistics over edges follow from sums over rows, and what
remains per edge is computed for a few queries at a time, gradients included.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Numbers held at a time: on a CPU about its second-level cache, on a GPU enough to fill it.
_BLOCK = {"cpu": 1 << 20}
_BLOCK_ELSEWHERE = 1 << 26
_GROUP = 8


def _queries_at_a_time(device: torch.device, numbers: int) -> int:
    """Return how many queries fit in a block when each needs so many `numbers`."""
    return max(1, _BLOCK.get(device.type, _BLOCK_ELSEWHERE) // max(numbers, 1))


def nearest_rows(features: Tensor, queries: Tensor, k: int, ordered: bool = True) -> Tensor:
    """Return the k nearest rows of each query row in feature space, itself included.

    Exact. The order of |r - q|^2 is that of |r|^2 / 2 - q r, one matrix product for a block of
    queries. No gradient.

    Args:
        features: (V, C).
        queries: (Q,) int64 row indices.
        k: Number of neighbours; clamped to V.
        ordered: Nearest first; else in any order, which takes less time.

    Returns:
        (Q, min(k, V)) int64 row indices.
    """
    rows = features.detach()
    k = min(k, len(rows))
    found = queries.new_empty((len(queries), k))
    if not found.numel():
        return found
    rows = rows - rows.mean(0)  # the differences stay, the rounding shrinks
    half = rows.square().sum(1, keepdim=True) / 2
    table = torch.cat([half, -rows], 1)  # (V, 1 + C)
    asked = torch.cat([torch.ones_like(half), rows], 1)[queries]
    step = _queries_at_a_time(rows.device, len(rows))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        found[part] = _smallest(asked[part] @ table.T, k, ordered)
    return found


def _smallest(values: Tensor, k: int, ordered: bool) -> Tensor:
    """Return the columns of the k smallest values of each row: (Q, V) -> (Q, k), exact.

    The k smallest lie in the k groups with the smallest minima, so only those groups are searched.
    """
    count, columns = values.shape
    groups = -(-columns // _GROUP)
    if groups < 2 * k:
        return values.topk(k, dim=1, largest=False, sorted=ordered).indices
    if groups * _GROUP > columns:
        values = F.pad(values, (0, groups * _GROUP - columns), value=float("inf"))
    values = values.view(count, _GROUP, groups)  # a group is every groups-th column
    near = _smallest(values.amin(1), k, False)  # (Q, k)
    inside = values.gather(2, near[:, None].expand(-1, _GROUP, -1)).flatten(1)
    best = inside.topk(k, dim=1, largest=False, sorted=ordered).indices
    return best.div(k, rounding_mode="floor") * groups + near.gather(1, best % k)


class _RowSums(torch.autograd.Function):
    """(V, D) rows -> (Q, D) sums over each query's neighbours; backward is the transposed sum."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, neighbours: Tensor, askers: Tensor, ends: Tensor) -> Tensor:
        ctx.save_for_backward(askers, ends)
        return F.embedding_bag(neighbours, rows, mode="sum")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        askers, ends = ctx.saved_tensors
        grad = grad.contiguous()
        bags = F.embedding_bag(askers, grad, ends, mode="sum", include_last_offset=True)
        return bags, None, None, None


class Neighbours:
    """The graphs of one batch, with the same edges sorted by row.

    Attributes:
        rows: (Q, K) int64 row index of each edge.
        uses: (V,) how many edges end in each row.
        askers: (Q * K,) the edges' queries, in the order of the edges' rows.
        ends: (V + 1,) where each row's edges begin and end in `askers`.
    """

    def __init__(self, rows: Tensor, count: int) -> None:
        self.rows = rows
        flat = rows.flatten()
        self.uses = torch.bincount(flat, minlength=count)
        order = flat.int().sort(stable=True).indices
        self.askers = order.div(rows.shape[1], rounding_mode="floor")
        self.ends = F.pad(self.uses.cumsum(0), (1, 0))

    def sums(self, values: Tensor) -> Tensor:
        """Return the (Q, D) sums of (V, D) values over each query's neighbours."""
        return _RowSums.apply(values, self.rows, self.askers, self.ends)


def normalised_edges(
    features: Tensor,
    queries: Tensor,
    neighbours: Neighbours,
    weight: Tensor,
    gamma: Tensor,
    beta: Tensor,
    fuse: str = "concat",
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    r"""Split ReLU(BN(W e)) of every edge into a row part and a query part.

    The normalised edge of query q and neighbour j is ``rows[j] + at_query[q]`` before the ReLU;
    the statistics are those of batch normalisation in training mode over all Q x K edges.

    Args:
        features: (V, C).
        queries: (Q,) row indices.
        neighbours: The graphs.
        weight: (D, 2C) linear map of the edge.
        gamma: (D,) scale.
        beta: (D,) shift.
        fuse: ``"concat"``: e = [f_j ; f_q]; ``"difference"``: e = [f_q - f_j ; f_q].
        eps: Added to the variance.

    Returns:
        rows (V, D) and at_query (Q, D).
    """
    channels = features.shape[1]
    first, second = weight[:, :channels], weight[:, channels:]
    if fuse == "difference":
        first, second = -first, second + first
    rows, at_query = features @ first.T, features[queries] @ second.T
    edges, k = neighbours.rows.numel(), neighbours.rows.shape[1]
    uses = neighbours.uses.to(rows.dtype)[:, None]
    rows = rows - (uses * rows).sum(0) / edges
    at_query = at_query - at_query.mean(0)
    variance = (uses * rows.square()).sum(0) + k * at_query.square().sum(0)
    variance = (variance + 2.0 * (at_query * neighbours.sums(rows)).sum(0)) / edges
    scale = gamma * (variance + eps).rsqrt()
    return rows * scale, at_query * scale + beta


class _GraphDistance(torch.autograd.Function):
    """Weighted distance of all graphs; the gradient is made along with the value.

    The edges of a block of queries are visited once while they are in the cache. Only the row and
    query gradients are kept, which are as small as the inputs.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, at_query: Tensor, neighbours: Tensor, weight: Tensor, pool: bool
    ) -> Tensor:
        count, k = neighbours.shape
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        value = rows.new_zeros((), dtype=torch.float64)
        grad_rows = torch.zeros_like(rows) if wanted else None
        grad_query = torch.empty_like(at_query) if wanted else None
        step = _queries_at_a_time(rows.device, k * rows.shape[1])
        for start in range(0, count, step):
            part = slice(start, start + step)
            index = neighbours[part].flatten()
            edges = rows.index_select(0, index).view(-1, k, rows.shape[1])
            edges.add_(at_query[part, None]).relu_()
            squares = (_pooled if pool else _paired)(edges, weight[part], bool(wanted))
            value += squares.double().dot(weight[part].double())
            if grad_rows is not None and grad_query is not None:
                torch.sum(edges, 1, out=grad_query[part])
                grad_rows.index_add_(0, index, edges.flatten(0, 1))
        ctx.save_for_backward(grad_rows, grad_query)
        return value.to(rows.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_rows, grad_query = ctx.saved_tensors
        return grad_rows * grad, grad_query * grad, None, None, None


def _paired(edges: Tensor, weight: Tensor, wanted: bool) -> Tensor:
    """Return (q,) means over K and D of (s - t)^2; turn `edges` into their weighted gradient.

    Args:
        edges: (q, K, 2D) student's and teacher's edges after the ReLU; overwritten if `wanted`.
        weight: (q,).
        wanted: Whether the gradient is.
    """
    student, teacher = edges.chunk(2, 2)
    difference = student - teacher
    per_query = difference[0].numel()
    squares = torch.linalg.vector_norm(difference.flatten(1), dim=1).square() / per_query
    if wanted:
        difference.mul_((2.0 / per_query * weight)[:, None, None])
        edges.sign_()  # the ReLU's derivative
        student.mul_(difference)
        teacher.mul_(difference.neg_())
    return squares


def _pooled(edges: Tensor, weight: Tensor, wanted: bool) -> Tensor:
    """Do as `_paired` for edges that are max-pooled over K first; means over D."""
    best, at = edges.max(1)  # (q, 2D)
    student, teacher = best.chunk(2, 1)
    difference = student - teacher
    squares = difference.square().mean(1)
    if wanted:
        difference = difference * (2.0 / difference.shape[1] * weight)[:, None]
        flow = torch.cat([difference, -difference], 1) * best.sign()
        edges.zero_().scatter_(1, at[:, None], flow[:, None])
    return squares


def graph_distance(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    neighbours: Neighbours,
    weight: Tensor,
    pool: bool = False,
) -> Tensor:
    """Sum over queries of weight x mean squared difference of the two graphs.

    It is the one loss here that reduces: with the weights known the gradient is made in the same
    pass as the value and no edge is computed twice.

    Args:
        student: rows (V, D) and at_query (Q, D) of `normalised_edges`.
        teacher: The same of the teacher.
        neighbours: The graphs.
        weight: (Q,), a constant.
        pool: Max-pool the edges of a query before the difference (PointRCNN features).

    Returns:
        A scalar; means are taken over the D channels and, without `pool`, the K neighbours.
    """
    rows = torch.cat([student[0], teacher[0]], 1)
    at_query = torch.cat([student[1], teacher[1]], 1)
    return _GraphDistance.apply(
        rows, at_query, neighbours.rows, weight.detach().to(rows.dtype), pool
    )
