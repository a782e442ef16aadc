"""Losses that treat the target class apart from the others.

All take logits (..., K), student first, and the index of each row's target class (...,) int64, and
give (...,) un-reduced values.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kd3d.losses.logit.soft_labels import sigmoid_kl, softmax_kl
from kd3d.losses.precision import as_float


def split_target(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the target's logit against the rest, and the logits of the rest.

    Args:
        logits: (..., K).
        target: (...,) int64 in 0..K - 1.

    Returns:
        (...,) log-odds of the target's softmax probability, and (..., K - 1) other logits.
    """
    own = F.one_hot(target, logits.shape[-1]).bool()
    others = logits[~own].view(*logits.shape[:-1], -1)
    odds = logits.gather(-1, target[..., None])[..., 0] - others.logsumexp(-1)
    return odds, others


def decoupled_kl(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    temperature: float = 4.0,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> Tensor:
    r"""Decoupled knowledge distillation.

    .. math:: \tau^2 \big(\alpha\, \mathrm{KL}(b^t \| b^s)
        + \beta\, \mathrm{KL}(\hat p^t \| \hat p^s)\big)

    b is the binary distribution (target, not target) and p-hat the distribution over the other
    classes, both at temperature tau. B. Zhao, Q. Cui, R. Song, Y. Qiu, J. Liang, "Decoupled
    knowledge distillation", CVPR 2022, equation 7. Computed from log-odds, so that a probability
    that underflows gives no infinity. With two classes the second part is 0.

    Args:
        student: (..., K), K >= 2.
        teacher: (..., K).
        target: (...,).
        temperature: tau > 0.
        alpha: Weight of the binary part.
        beta: Weight of the part over the other classes.
    """
    odds_s, others_s = split_target(as_float(student) / temperature, target)
    odds_t, others_t = split_target(as_float(teacher) / temperature, target)
    parts = alpha * sigmoid_kl(odds_s, odds_t) + beta * softmax_kl(others_s, others_t)
    return parts * temperature**2


def normalised_kd(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    temperature: float = 1.0,
    gamma: float = 1.5,
    entropy: bool = False,
) -> Tensor:
    r"""Normalised knowledge distillation, less its lower bound.

    .. math:: -q_y \log p_y - \gamma \tau^2 \sum_{c \ne y} \hat q_c \log \hat p_c

    p, q are the softmax scores at temperature 1, the hatted ones are normalised over the other
    classes at temperature tau. Z. Yang, A. Zeng, Z. Li, T. Zhang, C. Yuan, Y. Li, "From knowledge
    distillation to self-knowledge distillation: A unified approach with normalized loss and
    customized soft labels", ICCV 2023, equation 9.

    Args:
        student: (..., K), K >= 2.
        teacher: (..., K).
        target: (...,).
        temperature: tau > 0.
        gamma: Weight of the part over the other classes.
        entropy: Keep the teacher's entropy over the other classes in that part, as in the paper.
            Without it the part is a divergence: same gradient, 0 where both agree.
    """
    student, teacher = as_float(student), as_float(teacher)
    log_p = F.log_softmax(student, -1).gather(-1, target[..., None])[..., 0]
    q = teacher.softmax(-1).gather(-1, target[..., None])[..., 0]
    others_s = split_target(student, target)[1]
    others_t = split_target(teacher, target)[1]
    rest = softmax_kl(others_s, others_t, temperature)
    if entropy:
        log_q = F.log_softmax(others_t / temperature, -1)
        rest = rest - temperature**2 * (log_q.exp() * log_q).sum(-1)
    return gamma * rest - q * log_p


def weighted_soft_label(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    temperature: float = 2.0,
    entropy: bool = False,
    eps: float = 1e-7,
) -> Tensor:
    r"""Weighted soft-label distillation.

    .. math:: \tau^2 \Big(1 - \exp\frac{\log p_y}{-\log q_y}\Big)
        \Big(-\sum_c q_c^\tau \log p_c^\tau\Big)

    A row counts little where the student fits its label better than the teacher does; the weight is
    a constant. H. Zhou, L. Song, J. Chen, Y. Zhou, G. Wang, J. Yuan, Q. Zhang, "Rethinking soft
    labels for knowledge distillation: A bias-variance tradeoff perspective", ICLR 2021,
    equations 8 and 9.

    Args:
        student: (..., K).
        teacher: (..., K).
        target: (...,).
        temperature: tau > 0.
        entropy: Keep the teacher's entropy, as in the paper. Without it the soft-label part is a
            divergence: same gradient, 0 where both agree.
        eps: Added to the teacher's cross-entropy.
    """
    student, teacher = as_float(student), as_float(teacher)
    rows = target[..., None]
    with torch.no_grad():
        error_s = -F.log_softmax(student, -1).gather(-1, rows)[..., 0]
        error_t = -F.log_softmax(teacher, -1).gather(-1, rows)[..., 0]
        weight = 1 - torch.exp(-error_s / (error_t + eps))
    soft = softmax_kl(student, teacher, temperature)
    if entropy:
        log_q = F.log_softmax(teacher / temperature, -1)
        soft = soft - temperature**2 * (log_q.exp() * log_q).sum(-1)
    return weight * soft
