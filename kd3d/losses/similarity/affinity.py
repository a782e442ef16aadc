"""Affinities between the cells of a map."""

from __future__ import annotations

from torch import Tensor

from kd3d.losses.precision import as_float
from kd3d.losses.unit import unit_length


def affinity_difference(student: Tensor, teacher: Tensor, cosine: bool = True) -> Tensor:
    r"""Absolute difference of the similarities of all pairs of cells.

    .. math:: |s_i^\top s_j - t_i^\top t_j|

    L. Zhao, J. Song, K. A. Skinner, "CRKD: Enhanced camera-radar object detection with
    cross-modality knowledge distillation", CVPR 2024, relation distillation.

    Args:
        student: (B, C, N).
        teacher: (B, D, N), the same cells.
        cosine: Compare directions only; False: inner products, which grow with width and energy
            (the authors).

    Returns:
        (B, N, N) un-reduced; with `cosine` in 0..2.
    """
    ours, theirs = (as_float(feature) for feature in (student, teacher))
    if cosine:
        ours, theirs = unit_length(ours, dim=1), unit_length(theirs, dim=1)
    return (ours.transpose(1, 2) @ ours - theirs.transpose(1, 2) @ theirs).abs()
