"""What bad weather and broken LiDARs do to a cloud: which points are left."""

from __future__ import annotations

import numpy as np

from kd3d.data.beams import beam_indices


def kept_after_beam_drop(
    xyz: np.ndarray, beams: int, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Return which points are left when a share of the beams fails, (N,) bool.

    "Beam missing" of L. Kong et al., "Robo3D: Towards robust and reliable 3D perception against
    corruptions", ICCV 2023. Beams are told by elevation (`kd3d.data.beams.beam_indices`), also
    where earlier sweeps were joined, whose points then belong to the beam at that elevation.

    Args:
        xyz: (N, 3) metres, the sensor's frame.
        beams: How many the sensor has.
        share: Of the beams that fail, 0 to 1; of equal draws, more of them at a larger share.
        rng: Draws the beams.
    """
    failing = rng.permutation(beams)[: round(share * beams)]
    return ~np.isin(beam_indices(xyz, beams), failing)


def kept_after_point_drop(count: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return which of `count` points are left when each is lost with probability `share`.

    "Density decrease" of Y. Dong et al., "Benchmarking robustness of 3D object detection to common
    corruptions in autonomous driving", CVPR 2023.
    """
    return rng.random(count) >= share


def kept_in_fog(xyz: np.ndarray, extinction: float, rng: np.random.Generator) -> np.ndarray:
    """Return which points are left in fog: one at range r with probability exp(-2 a r).

    The attenuation on the way there and back by Beer and Lambert, as in M. Hahner et al., "Fog
    simulation on real LiDAR point clouds for 3D object detection in adverse weather", ICCV 2021,
    eq. 3, read as a probability: clouds hold no raw power. Echoes of the fog itself, which that
    paper adds, are not made.

    Args:
        xyz: (N, 3) metres, the sensor's frame.
        extinction: a, in 1/m; the meteorological optical range is ln(20) / a.
        rng: One draw a point.
    """
    distance = np.linalg.norm(xyz, axis=1)
    return rng.random(len(xyz)) < np.exp(-2 * extinction * distance)
