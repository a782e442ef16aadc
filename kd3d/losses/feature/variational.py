"""Imitation with a learned variance per channel."""

from __future__ import annotations

from torch import Tensor

from kd3d.losses.precision import as_float


def gaussian_nll(student: Tensor, teacher: Tensor, variance: Tensor) -> Tensor:
    r"""Negative log-likelihood of the teacher under a Gaussian around the student's prediction.

    .. math:: \frac{1}{2C} \sum_c \Big(\frac{(t_c - \mu_c)^2}{\sigma_c^2} + \log \sigma_c^2\Big)

    S. Ahn, S. X. Hu, A. Damianou, N. D. Lawrence, Z. Dai, "Variational information distillation for
    knowledge transfer" (VID), CVPR 2019, equation 5, averaged over channels.

    Args:
        student: Predicted means mu, (B, C, H, W).
        teacher: (B, C, H, W).
        variance: (C,), positive.

    Returns:
        (B, H, W) un-reduced; negative where the variance is small and the prediction good.
    """
    variance = as_float(variance).view(-1, 1, 1)
    square = (as_float(teacher) - as_float(student)).square()
    return 0.5 * (square / variance + variance.log()).mean(1)
