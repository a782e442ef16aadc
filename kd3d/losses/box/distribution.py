"""Distances between boxes whose parameters are distributions over bins."""

from __future__ import annotations

import torch
from torch import Tensor

from kd3d.losses.logit.soft_labels import softmax_kl
from kd3d.losses.precision import as_float


def offset_logits(
    offset: Tensor, bins: int = 17, reach: float = 1.0, spread: float = 0.25
) -> Tensor:
    r"""Turn a number into the logits of a discretised Gaussian around it.

    .. math:: z_k = -\frac{(o - c_k)^2}{2 \sigma^2}, \quad
        c_k = \rho \Big(\frac{2k}{n - 1} - 1\Big), \quad k = 0..n-1

    Args:
        offset: (...,) in the unit of `reach`.
        bins: n.
        reach: rho; bins lie in [-rho, rho].
        spread: sigma > 0.

    Returns:
        (..., n).
    """
    offset = as_float(offset)
    centres = torch.linspace(-reach, reach, bins, dtype=offset.dtype, device=offset.device)
    return -(offset[..., None] - centres).square() / (2 * spread**2)


def box_distribution_kl(
    student: Tensor,
    teacher: Tensor,
    temperature: float = 1.0,
    bins: int = 17,
    reach: float = 1.0,
    spread: float = 0.25,
    mean_bins: bool = False,
) -> Tensor:
    r"""Localisation distillation between regressed boxes.

    Z. Zheng, R. Ye, P. Wang, D. Ren, W. Zuo, Q. Hou, M.-M. Cheng, "Localization distillation for
    dense object detection" (LD), CVPR 2022, equation 4: the divergence of two distributions over
    the bins of a box edge. The heads here regress numbers, so each parameter becomes the
    discretised Gaussian of `offset_logits`, on bins around the teacher's value. For small offsets d
    it is :math:`\tau d^2 / 2 \sigma^2`; beyond the last bin it grows linearly.

    Args:
        student: (..., D) box parameters.
        teacher: (..., D).
        temperature: tau.
        bins: Number of bins.
        reach: Largest offset that has a bin, in the parameters' unit.
        spread: Standard deviation of the Gaussian.
        mean_bins: Divide by the number of bins, as the authors' code does.

    Returns:
        (...,) un-reduced, mean over the D parameters.
    """
    offset = as_float(student) - as_float(teacher)
    ours = offset_logits(offset, bins, reach, spread)
    theirs = offset_logits(torch.zeros_like(offset), bins, reach, spread)
    value = softmax_kl(ours, theirs, temperature).mean(-1)
    return value / bins if mean_bins else value


def yaw_as_vector(residuals: Tensor) -> Tensor:
    r"""Replace the yaw of (..., 7) residuals by half of :math:`(\sin 2\theta, \cos 2\theta)`.

    Opposite headings become equal, as in `kd3d.losses.box.residual.residual_smooth_l1`.
    """
    double = 2 * residuals[..., 6:7]
    vector = 0.5 * torch.cat([double.sin(), double.cos()], -1)
    return torch.cat([residuals[..., :6], vector, residuals[..., 7:]], -1)
