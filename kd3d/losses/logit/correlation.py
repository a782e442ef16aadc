"""Relations between classes and between rows, compared by correlation."""

from __future__ import annotations

from torch import Tensor

from kd3d.losses.precision import as_float


def pearson_distance(
    student: Tensor, teacher: Tensor, weight: Tensor | None = None, eps: float = 1e-8
) -> Tensor:
    r"""One minus the correlation along the last axis.

    .. math:: 1 - \frac{\sum_i w_i (s_i - \bar s)(t_i - \bar t)}
        {\max(\sqrt{\sum_i w_i (s_i - \bar s)^2} \sqrt{\sum_i w_i (t_i - \bar t)^2},\ \epsilon)}

    T. Huang, S. You, F. Wang, C. Qian, C. Xu, "Knowledge distillation from a stronger teacher"
    (DIST), NeurIPS 2022, equation 6; the weights are ours.

    Args:
        student: (..., N).
        teacher: (..., N).
        weight: (N,) non-negative; None: all alike.
        eps: Lower bound of the denominator; a constant vector has distance 1 and no gradient.

    Returns:
        (...,) un-reduced values in 0..2.
    """
    student, teacher = as_float(student), as_float(teacher)
    weight = student.new_ones(student.shape[-1]) if weight is None else weight.to(student.dtype)
    share = weight / weight.sum().clamp(min=eps)
    s = student - (student * share).sum(-1, keepdim=True)
    t = teacher - (teacher * share).sum(-1, keepdim=True)
    # The root's argument is kept off 0, where its derivative is infinite.
    power = (weight * s * s).sum(-1) * (weight * t * t).sum(-1)
    return 1 - (weight * s * t).sum(-1) / power.clamp(min=eps**2).sqrt()
