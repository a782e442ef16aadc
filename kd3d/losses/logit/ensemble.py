r"""How much each of several teachers counts, per sample.

K teachers, B samples; weights are (K, B), non-negative, and sum to 1 over the teachers.
"""

from __future__ import annotations

import torch
from torch import Tensor


def equal_weights(teachers: int, samples: int) -> Tensor:
    """Return 1 / K everywhere."""
    return torch.full((teachers, samples), 1.0 / teachers)


def entropy_weights(entropies: Tensor) -> Tensor:
    r"""Return weights that fall with a teacher's entropy.

    .. math:: w_k = \frac{1}{K - 1} \Big(1 - \frac{H_k}{\sum_j H_j}\Big)

    K. Kwon, H. Na, H. Lee, N. S. Kim, "Adaptive knowledge distillation based on entropy", ICASSP
    2020, which leaves out the factor, so that its weights sum to K - 1.

    Args:
        entropies: (K, B), non-negative.
    """
    teachers = len(entropies)
    if teachers == 1:
        return torch.ones_like(entropies)
    total = entropies.sum(0).clamp(min=torch.finfo(entropies.dtype).tiny)
    share = torch.where(entropies.sum(0) > 0, entropies / total, 1.0 / teachers)
    return (1 - share) / (teachers - 1)


def confidence_weights(errors: Tensor) -> Tensor:
    r"""Return weights that fall with a teacher's error against the ground truth.

    .. math:: w_k = \frac{1}{K - 1} \Big(1 - \frac{\exp L_k}{\sum_j \exp L_j}\Big)

    H. Zhang, D. Chen, C. Wang, "Confidence-aware multi-teacher knowledge distillation" (CA-MKD),
    ICASSP 2022, equation 3; L is the cross-entropy with the label.

    Args:
        errors: (K, B).
    """
    teachers = len(errors)
    if teachers == 1:
        return torch.ones_like(errors)
    return (1 - errors.softmax(0)) / (teachers - 1)


def map_entropy(scores: Tensor, eps: float = 1e-7) -> Tensor:
    """Return the mean binary entropy (B,) of class probabilities (B, K, H, W), in nats."""
    p = scores.clamp(eps, 1 - eps)
    return -(p * p.log() + (1 - p) * (1 - p).log()).flatten(1).mean(1)


def map_error(scores: Tensor, truth: Tensor, eps: float = 1e-4) -> Tensor:
    """Return the penalty-reduced focal loss (B,) of scores against a Gaussian heat map.

    X. Zhou, D. Wang, P. Kraehenbuehl, "Objects as points", 2019, equation 1 (alpha 2, beta 4).

    Args:
        scores: (B, K, H, W) probabilities.
        truth: (B, K, H, W) heat map of the ground truth, 1 at the centres; the loss is divided by
            their number.
        eps: Probabilities are kept in [eps, 1 - eps].
    """
    p = scores.clamp(eps, 1 - eps)
    centre = (truth == 1).to(p.dtype)
    positive = centre * (1 - p) ** 2 * p.log()
    negative = (1 - truth) ** 4 * p**2 * (1 - p).log() * (1 - centre)
    return -(positive + negative).flatten(1).sum(1) / centre.flatten(1).sum(1).clamp(min=1)


def mix(values: list[Tensor], weights: Tensor) -> Tensor:
    """Return the weighted sum (B, ...) of K tensors (B, ...) under weights (K, B)."""
    shape = (-1,) + (1,) * (values[0].dim() - 1)
    weights = weights.to(values[0])
    return torch.stack([v * w.view(shape) for v, w in zip(values, weights)]).sum(0)


def mix_logits(logits: list[Tensor], weights: Tensor, eps: float = 1e-6) -> Tensor:
    """Return the logit of the weighted mean probability of K logits (B, ...)."""
    return torch.logit(mix([one.sigmoid() for one in logits], weights), eps=eps)
