import numpy as np
import pytest

pytest.importorskip("open3d")

from kd3d.simulation.kitti import simulate_kitti
from kd3d.simulation.road import Road
from kd3d.simulation.scene import Light, SceneBuilder

FRAMES, TEST_FRAMES, SEED = 5, 1, 7


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """A small data set made in this process."""
    root = tmp_path_factory.mktemp("simulated") / "kitti"
    return simulate_kitti(root, FRAMES, SEED, test_frames=TEST_FRAMES, workers=1)


@pytest.fixture
def flat_builder():
    """An empty scene builder on flat ground 1.65 m below the camera, the path along x."""
    road = Road(
        half_width=6.0, pavement=0.0, lanes=1, ego_d=0.0, ground_z=-1.65, curvature=1e-9,
        heading=0.0, bend=0.0, waves=np.zeros((4, 3)), slopes=(0.0, 0.0), side=3,
        crossing=None, crossing_half=4.0, parked=(False, False),
    )  # fmt: skip
    return SceneBuilder(np.random.default_rng(0), road)


@pytest.fixture
def light():
    """Plain daylight."""
    up = np.array([0.0, 0.0, 1.0], dtype=np.float32)
    ones = np.ones(3, dtype=np.float32)
    return Light(up, ones, ones, ones, 500.0, 1.0)
