"""Occupancy that two depth distributions imply."""

from __future__ import annotations

from torch import Tensor

from kd3d.losses.precision import as_float


def occupancy_error(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Absolute difference of squashed occupancies, :math:`|\sigma(o^S) - \sigma(o^T)|`.

    L. Huang, Z. Li, C. Sima, W. Wang, J. Wang, Y. Qiao, H. Li, "Leveraging vision-centric
    multi-modal expertise for 3D object detection" (VCD), NeurIPS 2023, occupancy reconstruction.

    Args:
        student: (B, X, Y, Z) sums of the probability of depth that falls into a voxel, >= 0.
        teacher: Same shape.

    Returns:
        Un-reduced, in 0..1/2.
    """
    return (as_float(student).sigmoid() - as_float(teacher).sigmoid()).abs()
