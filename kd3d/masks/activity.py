"""Where maps are active, and where a detector proposes objects (RadarDistill)."""

from __future__ import annotations

from torch import Tensor


def active_cells(feature: Tensor, activation: str = "magnitude", threshold: float = 0.0) -> Tensor:
    """Return 1 where a map is active, else 0.

    Args:
        feature: (B, C, H, W).
        activation: ``"magnitude"``: the mean of |f| over channels, against `threshold` times its
            mean over the sample's cells; ``"sum"``: the sum over channels, against 0 (G. Bang et
            al., "RadarDistill", CVPR 2024), which suits maps without negative values.
        threshold: 0 suits sparse maps, whose empty cells are 0; for dense ones 1 takes the cells
            above average.

    Returns:
        (B, 1, H, W) float mask.
    """
    if activation == "sum":
        return (feature.sum(1, keepdim=True) > 0).to(feature)
    size = feature.abs().mean(1, keepdim=True)
    return (size > threshold * size.mean((2, 3), keepdim=True)).to(feature)


def proposal_regions(
    truth: Tensor, scores: Tensor, threshold: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Return the cells of objects, found or missed, and those of false alarms.

    G. Bang, K. Choi, J. Kim, D. Kum, J. W. Choi, "RadarDistill: Boosting radar-based object
    detection performance via knowledge distillation from LiDAR features", CVPR 2024, proposal-based
    feature distillation.

    Args:
        truth: (B, 1, H, W) heat map of the ground truth, 0..1.
        scores: (B, 1, H, W) the student's highest class scores, 0..1.
        threshold: A cell belongs to an object above this in `truth`; elsewhere it is a false alarm
            above this in `scores`.

    Returns:
        Two (B, 1, H, W) float masks without common cells.
    """
    objects = truth > threshold
    return objects.to(truth), (~objects & (scores > threshold)).to(truth)
