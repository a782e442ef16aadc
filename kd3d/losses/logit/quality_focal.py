"""Quality focal loss towards a teacher's soft scores."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def quality_focal(
    student_logits: Tensor, teacher_scores: Tensor, beta: float = 2.0, detach_focus: bool = False
) -> Tensor:
    r"""Binary cross-entropy to soft labels, focused where the two disagree.

    .. math:: |\sigma(x) - t|^\beta \; \big(-t \log\sigma(x) - (1 - t)\log(1 - \sigma(x))\big)

    X. Li et al., "Generalized focal loss", NeurIPS 2020, eq. 2, with the teacher's score t in the
    place of the quality.

    Args:
        student_logits: Logits x, any shape.
        teacher_scores: Scores t in [0, 1], same shape.
        beta: Focusing exponent.
        detach_focus: Treat the focal factor as a constant.

    Returns:
        Un-reduced values of the same shape.
    """
    focus = (student_logits.sigmoid() - teacher_scores).abs()
    if detach_focus:
        focus = focus.detach()
    entropy = F.binary_cross_entropy_with_logits(student_logits, teacher_scores, reduction="none")
    return entropy * focus.pow(beta)
