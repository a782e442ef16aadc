"""Thinning of beams: the authors' masks, and k-means against scikit-learn's."""

import numpy as np
import pytest

from kd3d.data.beams import beam_indices, elevation_rad, kept_points
from kd3d.simulation.lidar import beam_elevations
from tests.data.test_multi_input import ringed
from tests.paths import GOLDEN

RATIOS = {"32": (2, 1), "32star": (2, 2), "16": (4, 1), "16star": (4, 2)}


@pytest.mark.parametrize("name", RATIOS)
def test_thinning_equals_the_authors_code(name):
    data = np.load(GOLDEN / "parity/lidar_distillation_beam_downsample.npz")
    np.testing.assert_allclose(np.degrees(elevation_rad(data["points"])), data["theta"])
    beam = beam_indices(data["points"], 8)
    np.testing.assert_array_equal(data["sorted_clusters"][beam], data["label"])
    kept = kept_points(data["points"], beam, *RATIOS[name])
    np.testing.assert_array_equal(kept, data[f"mask_{name}"])


def test_beams_lie_at_least_as_well_as_by_seeded_k_means():
    """The sum of squares is no larger than that of scikit-learn's, whose starts are random."""
    sklearn = pytest.importorskip("sklearn.cluster")
    xyz, _ = ringed(np.sort(beam_elevations())[20:], per_beam=60)
    angle = elevation_rad(xyz)
    theirs = sklearn.KMeans(44, n_init=3, random_state=0).fit(angle[:, None]).inertia_
    beam = beam_indices(xyz, 44)
    assert np.array_equal(beam_indices(xyz, 44), beam)
    groups = [angle[beam == b] for b in range(44)]
    assert sum(((g - g.mean()) ** 2).sum() for g in groups) <= theirs * (1 + 1e-9)


def test_every_nth_point_of_a_beam_is_kept_in_the_order_of_azimuth():
    rng = np.random.default_rng(0)
    xyz, beam = rng.normal(size=(300, 3)), rng.integers(0, 5, 300)
    kept = kept_points(xyz, beam, 2, 3, first=1)
    azimuth = np.arctan2(xyz[:, 1], xyz[:, 0]) % (2 * np.pi)
    expected = []
    for b in (1, 3):
        expected += sorted(np.flatnonzero(beam == b), key=lambda i: azimuth[i])[::3]
    assert sorted(expected) == np.flatnonzero(kept).tolist()
    assert kept_points(xyz[:0], beam[:0], 4).shape == (0,)
