"""Divergences to a teacher's softened class scores."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kd3d.losses.precision import as_float


def softmax_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    r"""Kullback-Leibler divergence of two softened distributions, teacher first.

    .. math:: \tau^2 \sum_c q_c (\log q_c - \log p_c), \quad p = \mathrm{softmax}(s / \tau),
        \quad q = \mathrm{softmax}(t / \tau)

    G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", NIPS 2014
    workshop, section 2 (with its tau squared).

    Args:
        student: Logits (..., K).
        teacher: Logits (..., K).
        temperature: tau > 0.

    Returns:
        (...,) un-reduced values, >= 0.
    """
    log_p = F.log_softmax(as_float(student) / temperature, -1)
    log_q = F.log_softmax(as_float(teacher) / temperature, -1)
    return (log_q.exp() * (log_q - log_p)).sum(-1) * temperature**2


def sigmoid_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    r"""The same where every class is a yes or no of its own.

    .. math:: \tau^2 \, \mathrm{KL}\big(\mathrm{Bern}(\sigma(t / \tau)) \,\|\,
        \mathrm{Bern}(\sigma(s / \tau))\big)

    It is the binary cross-entropy to the teacher's score less the teacher's entropy, so that it is
    0 where both agree.

    Args:
        student: Logits, any shape.
        teacher: Logits, same shape.
        temperature: tau > 0.

    Returns:
        Un-reduced values of the same shape, >= 0.
    """
    s, t = as_float(student) / temperature, as_float(teacher) / temperature
    yes = t.sigmoid() * (F.logsigmoid(t) - F.logsigmoid(s))
    no = (-t).sigmoid() * (F.logsigmoid(-t) - F.logsigmoid(-s))
    return (yes + no) * temperature**2
