"""Vehicles of a drive: in the lanes, on the crossing road, parked; and cycles that are ridden."""

from __future__ import annotations

import functools

import numpy as np

from kd3d.simulation import lorries, people
from kd3d.simulation.materials import Palette, person_palette, vehicle_palette
from kd3d.simulation.meshes import Mesh
from kd3d.simulation.motorcycles import motorcycle_template
from kd3d.simulation.road import LANE_M
from kd3d.simulation.scene import SceneBuilder
from kd3d.simulation.surround.cast import REACH_M, TRIES, Traffic, sized
from kd3d.simulation.surround.motion import Motion
from kd3d.simulation.surround.roadside import (
    digger,
    place_people,
    place_road_works,
    rider_palette,
)
from kd3d.simulation.traffic import random_vehicle

# means of Poisson draws over a drive; one at least, as a split may have one drive alone
MOVING = {"bus": 1.2, "truck": 1.4, "car": 6.0}
CYCLES = {"motorcycle": 2.5, "bicycle": 2.5}
DIGGERS_ON_ROAD = 0.4
PARKED_SHARES = {"car": 0.84, "truck": 0.08, "trailer": 0.08}
YARD_CHANCE, TRAILER_CHANCE = 0.4, 0.45


def place_traffic(builder: SceneBuilder, ego_speed: float) -> Traffic:
    """Fill a road whose timetable holds the sensors' own vehicle.

    Args:
        builder: Of the drive's scene.
        ego_speed: Speed of the own lane's traffic, m/s.
    """
    traffic = Traffic(builder)
    rng = builder.rng
    lanes = _lane_speeds(builder, ego_speed)
    for name, mean in MOVING.items():
        for _ in range(max(1, rng.poisson(mean))):
            _drive(traffic, name, lanes)
    for _ in range(rng.poisson(DIGGERS_ON_ROAD)):
        _drive(traffic, "construction_vehicle", lanes)
    place_road_works(traffic)
    for name, mean in CYCLES.items():
        for _ in range(max(1, rng.poisson(mean))):
            _ride(traffic, name, lanes)
    _park_trailer(traffic)
    _park_rows(traffic)
    if rng.random() < YARD_CHANCE:
        _park_yard(traffic)
    place_people(traffic)
    return traffic


def _lane_speeds(builder: SceneBuilder, ego_speed: float) -> dict[tuple[int, int], float]:
    """Speed of each lane by (side, number); side -1 goes along the road, +1 against it."""
    rng, road = builder.rng, builder.road
    own = round(-road.ego_d / LANE_M - 0.5)
    speeds = {}
    for side in (-1, 1):
        for lane in range(road.lanes):
            moving = 0.0 if rng.random() < 0.12 else float(rng.uniform(3.0, 12.0))
            speeds[side, lane] = ego_speed if (side, lane) == (-1, own) else moving
    return speeds


def vehicle_mesh(rng: np.random.Generator, name: str) -> tuple[Mesh, Palette]:
    """Draw a vehicle's mesh and colours by its class."""
    palette = vehicle_palette(rng)
    if name == "bus":
        factors = rng.uniform((0.85, 0.97, 0.95), (1.1, 1.03, 1.05))
        return sized(lorries.bus_template(), factors), palette
    if name == "trailer":
        factors = rng.uniform((0.6, 0.9, 0.85), (1.1, 1.03, 1.05))
        return sized(lorries.semitrailer_template(), factors), palette
    if name == "construction_vehicle":
        return digger(rng)
    if name == "truck":
        mesh, scale = random_vehicle(rng, "Truck")
        return sized(mesh, scale * rng.uniform(0.85, 1.0)), palette
    mesh, scale = random_vehicle(rng, "Van" if rng.random() < 0.12 else "Car")
    return sized(mesh, scale * 1.04), palette


def _in_lane(traffic: Traffic, lanes: dict[tuple[int, int], float]) -> Motion:
    rng, road = traffic.builder.rng, traffic.builder.road
    side, lane = int(rng.choice([1, -1])), int(rng.integers(road.lanes))
    speed = lanes[side, lane]
    speed *= float(np.clip(rng.normal(1.0, 0.02), 0.95, 1.05)) if speed else 1.0
    s = rng.uniform(-REACH_M, REACH_M)
    d = side * (lane + 0.5) * LANE_M + rng.normal(0, 0.12)
    return Motion(float(s), float(d), np.pi if side > 0 else 0.0, speed)


def _at_crossing(traffic: Traffic) -> Motion:
    """On the crossing road, on its right side: waiting at the main road, or driving over it."""
    rng, road = traffic.builder.rng, traffic.builder.road
    assert road.crossing is not None
    down = bool(rng.random() < 0.5)  # towards negative d
    s = road.crossing + (-0.45 if down else 0.45) * road.crossing_half
    waits = rng.random() < 0.5
    away = road.edge + rng.uniform(3.5, 30.0)
    speed = 0.0 if waits else float(rng.uniform(3.0, 7.0))
    return Motion(float(s), float(away if down else -away), (-0.5 if down else 0.5) * np.pi, speed)


def _drive(traffic: Traffic, name: str, lanes: dict[tuple[int, int], float]) -> None:
    """Put a vehicle into a lane or onto the crossing road, some lorries with a trailer."""
    rng, road = traffic.builder.rng, traffic.builder.road
    mesh, palette = vehicle_mesh(rng, name)
    crossing = road.crossing is not None and rng.random() < 0.25
    pulls = name == "truck" and rng.random() < TRAILER_CHANCE
    for _ in range(TRIES):
        motion = _at_crossing(traffic) if crossing else _in_lane(traffic, lanes)
        attribute = "vehicle.moving" if motion.speed else "vehicle.stopped"
        if traffic.add(name, mesh, palette, motion, attribute, 0.9):
            if pulls:
                _tow(traffic, mesh, motion, attribute)
            return


def _tow(traffic: Traffic, mesh: Mesh, motion: Motion, attribute: str) -> None:
    """Let a trailer follow a vehicle at half a metre."""
    towed, colours = vehicle_mesh(traffic.builder.rng, "trailer")
    back = (np.ptp(mesh.bounds[:, 0]) + np.ptp(towed.bounds[:, 0])) / 2 + 0.5
    s = motion.s - back * float(np.cos(motion.turn_rad))
    d = motion.d - back * float(np.sin(motion.turn_rad))
    behind = Motion(s, d, motion.turn_rad, motion.speed)
    traffic.add("trailer", towed, colours, behind, attribute, 0.0)


def _ride(traffic: Traffic, name: str, lanes: dict[tuple[int, int], float]) -> None:
    """Somebody on a motorcycle in a lane, or on a bicycle along a kerb."""
    rng, road = traffic.builder.rng, traffic.builder.road
    if name == "motorcycle":
        mesh = sized(motorcycle_template(True), rng.uniform(0.92, 1.08))
        palette = rider_palette(rng)
        lane = functools.partial(_in_lane, traffic, lanes)
        traffic.add_somewhere(name, mesh, palette, lane, "cycle.with_rider", 0.6)
        return
    mesh = sized(people.cyclist_template(int(rng.integers(people.RIDERS))), rng.uniform(0.95, 1.08))
    palette = person_palette(rng)

    def along() -> Motion:
        side = int(rng.choice([1, -1]))
        inner = road.half_width - (2.1 if any(road.parked) else 0.0)
        kerb = rng.random() < 0.6
        d = inner - rng.uniform(0.35, 0.8) if kerb else road.half_width + rng.uniform(0.5, 1.2)
        s, turn = rng.uniform(-REACH_M, REACH_M), np.pi if side > 0 else 0.0
        return Motion(float(s), float(side * d), turn, float(rng.uniform(3.0, 6.0)))

    traffic.add_somewhere(name, mesh, palette, along, "cycle.with_rider", 0.25)


def _park_rows(traffic: Traffic) -> None:
    """Vehicles along the kerbs, mostly facing the traffic's way."""
    rng, road = traffic.builder.rng, traffic.builder.road
    names, shares = list(PARKED_SHARES), list(PARKED_SHARES.values())
    for parked, side in zip(road.parked, (1, -1)):
        s = -REACH_M + rng.uniform(0, 6)
        while parked and s < REACH_M:
            name = str(rng.choice(names, p=shares))
            mesh, palette = vehicle_mesh(rng, name)
            half = np.ptp(mesh.bounds[:, 0]) / 2
            s += half + rng.uniform(0.3, 1.2)
            turn = (0.0 if side < 0 else np.pi) + (np.pi if rng.random() < 0.12 else 0.0)
            d = side * (road.half_width - 1.0 + rng.normal(0, 0.06))
            if rng.random() < 0.6 and not road.in_crossing(s, 5.0):
                motion = Motion(float(s), float(d), turn + rng.normal(0, 0.02))
                traffic.add(name, mesh, palette, motion, "vehicle.parked", 0.1)
            s += half


def _park_trailer(traffic: Traffic) -> None:
    """One trailer left behind a pavement, along the road."""
    rng, road = traffic.builder.rng, traffic.builder.road
    mesh, palette = vehicle_mesh(rng, "trailer")

    def spot() -> Motion:
        d = float(rng.choice([1, -1]) * (road.edge + rng.uniform(1.7, 3.5)))
        return Motion(float(rng.uniform(-50, 50)), d, float(rng.choice([0.0, np.pi])))

    traffic.add_somewhere("trailer", mesh, palette, spot, "vehicle.parked", 0.3)


def _park_yard(traffic: Traffic) -> None:
    """A row of cars at right angles to the road, behind one pavement."""
    rng, road = traffic.builder.rng, traffic.builder.road
    side, start = int(rng.choice([1, -1])), rng.uniform(-50, 30)
    for k in range(int(rng.integers(3, 9))):
        s = start + 2.75 * k
        if rng.random() < 0.7 and not road.in_crossing(s, 3.0):
            mesh, palette = vehicle_mesh(rng, "car")
            turn = rng.choice([0.5, -0.5]) * np.pi + rng.normal(0, 0.05)
            motion = Motion(float(s), float(side * (road.edge + 3.2)), float(turn))
            traffic.add("car", mesh, palette, motion, "vehicle.parked", 0.1)
