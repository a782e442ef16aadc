"""A drive's world put together: road, own vehicle, traffic, and scenery all around."""

from __future__ import annotations

import numpy as np

from kd3d.simulation.road import random_road
from kd3d.simulation.scene import SceneBuilder
from kd3d.simulation.spec import ScenarioSpec
from kd3d.simulation.surround.motion import (
    EGO_LENGTH_M,
    EGO_MIDDLE_M,
    EGO_WIDTH_M,
    Drive,
    Motion,
    Timetable,
)
from kd3d.simulation.surround.traffic import place_traffic
from kd3d.simulation.surround.world import World
from kd3d.simulation.surroundings import (
    Stretch,
    ground_palette,
    place_buildings,
    place_furniture,
    place_plants,
    random_environment,
    random_light,
)

SPEC = ScenarioSpec(
    name="surround",
    environments={"town": 0.6, "suburb": 0.4},
    parked_chance=0.6,
    crossing_chance=0.5,
    clutter=1.6,
)
LONGEST_M = 90.0
"""A drive is at most this long: the world ends 130 m from its middle."""
INSTANT_S = 0.25
AROUND = (-115.0, 115.0)


def compose_drive(rng: np.random.Generator, duration_s: float) -> World:
    """Draw the world of one drive, whose middle is the road's middle.

    Args:
        rng: The drive's own generator; everything follows from it.
        duration_s: From the first to the last key frame.
    """
    environment = random_environment(rng, SPEC)
    road = random_road(rng, environment, 0.0, SPEC.parked_chance, SPEC.crossing_chance)
    speed = 0.0 if rng.random() < 0.12 else float(rng.uniform(2.0, 11.0))
    speed = min(speed, LONGEST_M / max(duration_s, 1.0))
    start = -speed * duration_s / 2
    drive = Drive(road, Motion(start, road.ego_d, 0.0, speed))
    instants = np.arange(-INSTANT_S, duration_s + INSTANT_S, INSTANT_S)
    timetable = Timetable(road, instants)
    body = Motion(start + EGO_MIDDLE_M, road.ego_d, 0.0, speed)
    timetable.claim_way(body, EGO_LENGTH_M, EGO_WIDTH_M, 0.5)
    builder = SceneBuilder(rng, road, timetable)
    builder.add_ground(ground_palette(rng))
    traffic = place_traffic(builder, speed)
    driven = (start, -start)
    stretch = Stretch(AROUND, (-100.0, 100.0), (-80.0, 80.0), AROUND, (-95.0, 95.0), driven)
    place_buildings(builder, environment, stretch)
    place_furniture(builder, SPEC.clutter, stretch)
    place_plants(builder, environment, SPEC.clutter, stretch)
    still = builder.build(random_light(rng))
    return World(road, drive, traffic.standing + traffic.moving, still)
