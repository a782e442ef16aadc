"""One loss for a discriminator and for the features that are to deceive it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kd3d.losses.precision import as_float


class _Reversed(torch.autograd.Function):
    """The identity, whose gradient is negated and scaled."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return feature.view_as(feature)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return -ctx.strength * gradient, None


def reversed_gradient(feature: Tensor, strength: float = 1.0) -> Tensor:
    """Return the feature as it is, with a gradient of -strength times what arrives.

    Y. Ganin, V. Lempitsky, "Unsupervised domain adaptation by backpropagation", ICML 2015, section
    3.1: what comes before ascends a loss that what comes after descends.
    """
    return _Reversed.apply(feature, strength)


def domain_entropy(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Cross-entropy of telling a teacher's cells (1) from a student's (0).

    .. math:: -\tfrac{1}{2} \log \sigma(d_T) - \tfrac{1}{2} \log (1 - \sigma(d_S))

    I. Goodfellow et al., "Generative adversarial nets", NeurIPS 2014, equation 1.

    Args:
        student: (B, H, W) logits of the discriminator on the student's cells.
        teacher: (B, H, W) on the teacher's.

    Returns:
        (B, H, W) un-reduced; log 2 where it cannot tell.
    """
    return (F.softplus(-as_float(teacher)) + F.softplus(as_float(student))) / 2
