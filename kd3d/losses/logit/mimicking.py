"""Prediction mimicking of CrossKD."""

from __future__ import annotations

from torch import Tensor

from kd3d.losses.logit.quality_focal import quality_focal
from kd3d.losses.precision import as_float
from kd3d.losses.reduce import global_normaliser


def class_mimicking(
    student: Tensor,
    teacher: Tensor,
    weight: Tensor,
    total: Tensor,
    beta: float = 1.0,
) -> Tensor:
    r"""Quality focal loss to the teacher's scores, summed over classes.

    .. math:: \frac{1}{n} \sum_i w_i \sum_c |\sigma(s_{ic}) - \sigma(t_{ic})|^\beta\,
        \mathrm{BCE}(\sigma(s_{ic}), \sigma(t_{ic}))

    J. Wang, Y. Chen, Z. Zheng, X. Li, M.-M. Cheng, Q. Hou, "CrossKD: Cross-head knowledge
    distillation for object detection", CVPR 2024, section 3.3 and released code.

    Args:
        student: Logits (..., K); of the teacher's head on the student's feature, or of the
            student's own head.
        teacher: Logits (..., K).
        weight: (...,) of the rows.
        total: Normaliser n of this process; that of the whole batch is used.
        beta: Focusing exponent; the focal factor is not a constant.

    Returns:
        A scalar.
    """
    value = quality_focal(as_float(student), as_float(teacher).sigmoid(), beta).sum(-1)
    return (value * weight).sum() / global_normaliser(total, minimum=1e-6)
