"""Similarity of two representations of the same positions."""

from __future__ import annotations

import torch
from torch import Tensor


def linear_cka(student: Tensor, teacher: Tensor, debiased: bool = False) -> Tensor:
    r"""Linear centred kernel alignment of two sets of rows.

    .. math:: \frac{\|T^\top S\|_F^2}{\|S^\top S\|_F \|T^\top T\|_F}

    with the columns of S and T centred. It is 1 for features that are equal up to rotation and
    scale, does not change with either, and needs no equal widths.
    S. Kornblith, M. Norouzi, H. Lee, G. Hinton, "Similarity of neural network representations
    revisited", ICML 2019, section 3 and table 1.

    With fewer rows than channels even unrelated features score high. `debiased` takes the unbiased
    estimator of all three terms instead (L. Song et al., "Feature selection via dependence
    maximization", JMLR 2012, eq. 4, as used by T. Nguyen, M. Raghu, S. Kornblith, "Do wide and
    deep networks learn the same things?", ICLR 2021, eq. 3): unrelated features then score 0 on
    average, at the price of values slightly below 0.

    Args:
        student: (N, C) rows.
        teacher: (N, D) rows of the same positions.
        debiased: Use the unbiased estimator; needs N >= 4.

    Returns:
        A float64 scalar, at most 1; 0, attached to the graph, where one of the two is constant.

    Raises:
        ValueError: Not two matrices of as many rows, or too few rows.
    """
    if student.dim() != 2 or teacher.dim() != 2 or len(student) != len(teacher):
        raise ValueError(f"rows {tuple(student.shape)} against {tuple(teacher.shape)}")
    if debiased and len(student) < 4:
        raise ValueError(f"{len(student)} rows, the unbiased estimator needs 4")
    s, t = _centred(student), _centred(teacher)
    if debiased:
        gram_s, gram_t = _without_diagonal(s @ s.T), _without_diagonal(t @ t.T)
        shared = _unbiased_hsic(gram_s, gram_t)
        own = _unbiased_hsic(gram_s, gram_s) * _unbiased_hsic(gram_t, gram_t)
        return shared / own.sqrt() if own > 0 else shared * 0.0
    shared = (t.T @ s).square().sum()
    own = torch.linalg.matrix_norm(s.T @ s) * torch.linalg.matrix_norm(t.T @ t)
    return shared / own if own > 0 else shared * 0.0


def _centred(rows: Tensor) -> Tensor:
    """Return (N, C) rows in float64 with columns of zero mean, scaled to a largest value of 1."""
    rows = rows.double()
    rows = rows - rows.mean(0, keepdim=True)
    return rows / rows.detach().abs().amax().clamp(min=1e-30)


def _without_diagonal(gram: Tensor) -> Tensor:
    return gram - torch.diag(gram.diagonal())


def _unbiased_hsic(first: Tensor, second: Tensor) -> Tensor:
    """Return Song et al.'s estimate for two (N, N) Gram matrices with zero diagonals."""
    n = len(first)
    trace = (first * second).sum()
    means = first.sum() * second.sum() / ((n - 1) * (n - 2))
    crossed = 2 * (first.sum(0) * second.sum(0)).sum() / (n - 2)
    return (trace + means - crossed) / (n * (n - 3))
