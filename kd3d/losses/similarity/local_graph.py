"""Local graphs of feature rows: neighbours, normalised edges and their weighted distance.

L. Zhang et al., "PointDistiller: Structured knowledge distillation towards efficient and compact
3D detection", CVPR 2023. The edge tensor (Q, K, 2C) is never built: a linear map of
[f_j ; f_q] is W_1 f_j + W_2 f_q, batch statistics over edges follow from sums over rows, and what
remains per edge is computed in chunks that are recomputed in the backward pass.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def nearest_rows(features: Tensor, queries: Tensor, k: int, chunk: int = 4096) -> Tensor:
    """Return the k nearest rows of each query row in feature space, itself included.

    Args:
        features: (V, C).
        queries: (Q,) int64 row indices.
        k: Number of neighbours; clamped to V.
        chunk: Distances are held for `chunk` x 2048 pairs' worth of queries at a time.

    Returns:
        (Q, min(k, V)) int64 row indices, nearest first.
    """
    k = min(k, len(features))
    step = max(1, chunk * 2048 // max(len(features), 1))
    found = []
    for start in range(0, len(queries), step):
        distance = torch.cdist(features[queries[start : start + step]], features)
        found.append(distance.topk(k, dim=1, largest=False).indices)
    return torch.cat(found) if found else queries.new_zeros((0, k))


def normalised_edges(
    features: Tensor,
    queries: Tensor,
    neighbours: Tensor,
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
        neighbours: (Q, K) row indices.
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
    k = neighbours.shape[1]
    uses = torch.bincount(neighbours.flatten(), minlength=len(features)).to(rows.dtype)[:, None]
    edges = neighbours.numel()
    rows = rows - (uses * rows).sum(0) / edges
    at_query = at_query - at_query.mean(0)
    row_sums = F.embedding_bag(neighbours, rows, mode="sum")
    variance = (uses * rows.square()).sum(0) + k * at_query.square().sum(0)
    variance = (variance + 2.0 * (at_query * row_sums).sum(0)) / edges
    scale = gamma * (variance + eps).rsqrt()
    return rows * scale, at_query * scale + beta


def _chunk_distance(
    rows_s: Tensor, query_s: Tensor, rows_t: Tensor, query_t: Tensor, neighbours: Tensor, pool: bool
) -> Tensor:
    student = F.relu(rows_s[neighbours] + query_s[:, None])
    teacher = F.relu(rows_t[neighbours] + query_t[:, None])
    if pool:
        return (student.amax(1) - teacher.amax(1)).square().mean(1)
    return (student - teacher).square().mean((1, 2))


def graph_distance(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    neighbours: Tensor,
    pool: bool = False,
    chunk: int = 512,
) -> Tensor:
    """Mean squared difference of the two graphs at each query.

    Args:
        student: rows (V, D) and at_query (Q, D) of `normalised_edges`.
        teacher: The same of the teacher.
        neighbours: (Q, K) row indices.
        pool: Max-pool the edges of a query before the difference (PointRCNN features).
        chunk: Queries computed, and recomputed in the backward pass, at a time.

    Returns:
        (Q,) means over the D channels and, without `pool`, the K neighbours.
    """
    parts = []
    for start in range(0, len(neighbours), chunk):
        part = slice(start, start + chunk)
        arguments = (
            student[0],
            student[1][part],
            teacher[0],
            teacher[1][part],
            neighbours[part],
            pool,
        )
        parts.append(checkpoint(_chunk_distance, *arguments, use_reentrant=False))
    return torch.cat(parts)
