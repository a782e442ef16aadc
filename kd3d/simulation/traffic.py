"""Where vehicles, pedestrians and cyclists go."""

from __future__ import annotations

import numpy as np

from kd3d.simulation import lorries, people, vehicles
from kd3d.simulation.materials import person_palette, vehicle_palette
from kd3d.simulation.meshes import Mesh
from kd3d.simulation.road import LANE_M
from kd3d.simulation.scene import SceneBuilder
from kd3d.simulation.scenery import furniture_template
from kd3d.simulation.spec import ScenarioSpec

BEHIND_M, AHEAD_M, PARKED_M = -45.0, 90.0, 60.0
EGO_LENGTH_M, EGO_WIDTH_M = 5.5, 2.2


def place_traffic(builder: SceneBuilder, spec: ScenarioSpec) -> None:
    """Put every labelled thing into the scene; the sensors' own vehicle keeps its place free."""
    builder.claim(-0.5, builder.road.ego_d, 0.0, EGO_LENGTH_M, EGO_WIDTH_M, 0.0)
    rng = builder.rng
    if rng.random() < spec.tram_chance:
        _try_vehicle(builder, "Tram", rng.uniform(15, 60), 0.5 * LANE_M, np.pi, 1.0)
    if rng.random() < spec.misc_chance:
        _try_vehicle(builder, "Misc", rng.uniform(8, 40), -builder.road.half_width - 0.3, 0.0, 0.5)
    _park_rows(builder, spec)
    if rng.random() < spec.yard_chance:
        _park_yard(builder, spec)
    for _ in range(rng.poisson(spec.moving_cars)):
        _drive(builder, spec)
    for _ in range(rng.poisson(spec.cyclists)):
        _ride(builder)
    left = int(rng.poisson(spec.pedestrians))
    while left > 0:
        size = min(left, int(rng.choice([1, 2, 3], p=[0.65, 0.27, 0.08])))
        _walk(builder, size)
        left -= size
    if rng.random() < spec.sitting_chance:
        _sit(builder)


def random_vehicle(rng: np.random.Generator, kind: str) -> tuple[Mesh, np.ndarray]:
    """Draw a vehicle's mesh and its scale: (3,) factors that give a real size."""
    if kind == "Truck":
        return lorries.truck_template(str(rng.choice(["box", "open"]))), rng.uniform(
            0.85, 1.1
        ) * np.ones(3)
    if kind == "Tram":
        return lorries.truck_template("tram"), np.array([rng.uniform(0.9, 1.4), 1, 1])
    if kind == "Misc":
        return lorries.trailer_template(), rng.uniform(0.85, 1.15, 3)
    if kind == "Van":
        name = str(rng.choice(list(vehicles.VANS)))
        style = vehicles.VANS[name]
    else:
        shares = np.array(list(vehicles.CAR_SHARES.values()))
        name = str(rng.choice(list(vehicles.CAR_SHARES), p=shares / shares.sum()))
        style = vehicles.CARS[name]
    size = rng.normal(style.size, style.spread)
    low = np.array(style.size) - 2.2 * np.array(style.spread)
    high = np.array(style.size) + 2.2 * np.array(style.spread)
    return vehicles.car_template(name), np.clip(size, low, high) / np.array(style.size)


def _kind(rng: np.random.Generator, spec: ScenarioSpec, trucks: bool) -> str:
    if trucks and rng.random() < spec.truck_share:
        return "Truck"
    return "Van" if rng.random() < spec.van_share else "Car"


def _try_vehicle(
    builder: SceneBuilder,
    kind: str,
    s: float,
    d: float,
    turn: float,
    gap: float,
    chosen: tuple[Mesh, np.ndarray] | None = None,
) -> bool:
    mesh, scale = chosen or random_vehicle(builder.rng, kind)
    low, high = mesh.bounds * scale
    if not builder.claim(s, d, turn, high[0] - low[0], high[1] - low[1], gap):
        return False
    builder.add(mesh, s, d, turn, vehicle_palette(builder.rng), scale, kind)
    return True


def _park_rows(builder: SceneBuilder, spec: ScenarioSpec) -> None:
    """Cars along the kerbs, mostly facing the traffic's way, in places of about 6 m."""
    rng, road = builder.rng, builder.road
    for parked, side in zip(road.parked, (1, -1)):
        if not parked:
            continue
        s = BEHIND_M + rng.uniform(0, 6)
        while s < PARKED_M:
            s += rng.uniform(5.0, 6.6)
            if rng.random() > spec.parked_fill or road.in_crossing(s, 5.0):
                continue
            turn = (0.0 if side < 0 else np.pi) + (np.pi if rng.random() < 0.12 else 0.0)
            d = side * (road.half_width - 1.0 + rng.normal(0, 0.08))
            _try_vehicle(builder, _kind(rng, spec, False), s, d, turn + rng.normal(0, 0.03), 0.15)


def _park_yard(builder: SceneBuilder, spec: ScenarioSpec) -> None:
    """A row of cars at right angles to the road, behind one pavement."""
    rng, road = builder.rng, builder.road
    side = rng.choice([1, -1])
    start = rng.uniform(4, 40)
    for k in range(rng.integers(3, 9)):
        s = start + 2.75 * k
        if rng.random() < 0.7 and not road.in_crossing(s, 3.0):
            turn = rng.choice([0.5, -0.5]) * np.pi + rng.normal(0, 0.05)
            _try_vehicle(builder, _kind(rng, spec, False), s, side * (road.edge + 3.2), turn, 0.1)


def _drive(builder: SceneBuilder, spec: ScenarioSpec) -> None:
    """A vehicle in a lane, or on the crossing road; up to six tries."""
    rng, road = builder.rng, builder.road
    kind = _kind(rng, spec, True)
    chosen = random_vehicle(rng, kind)
    for _ in range(6):
        if road.crossing is not None and rng.random() < 0.3:
            right = rng.random() < 0.5
            s = road.crossing + (-0.45 if right else 0.45) * road.crossing_half
            d = rng.uniform(-25, 25)
            turn = (0.5 if not right else -0.5) * np.pi + rng.normal(0, 0.08)
        else:
            oncoming = rng.random() < 0.5
            lane = rng.integers(road.lanes) + 0.5
            s = rng.uniform(BEHIND_M, AHEAD_M)
            d = (lane if oncoming else -lane) * LANE_M + rng.normal(0, 0.15)
            turn = (np.pi if oncoming else 0.0) + rng.normal(0, 0.03)
        if _try_vehicle(builder, kind, s, d, turn, 1.0, chosen):
            return


def _ahead(rng: np.random.Generator) -> float:
    """A place along the road for people: mostly 5 to 40 m ahead, sometimes behind."""
    return rng.uniform(-20, 0) if rng.random() < 0.12 else 4.5 + 45 * rng.beta(1.1, 2.0)


def _ride(builder: SceneBuilder) -> None:
    rng, road = builder.rng, builder.road
    mesh = people.cyclist_template(int(rng.integers(people.RIDERS)))
    factor = np.clip(rng.normal(1.03, 0.05), 0.87, 1.14)
    scale = factor * np.clip(rng.normal(1.0, 0.03, 3), 0.92, 1.08)
    low, high = mesh.bounds * scale
    for _ in range(6):
        s, side = _ahead(rng), rng.choice([1, -1])
        turn = (0.0 if side < 0 else np.pi) + rng.normal(0, 0.12)
        inner = road.half_width - (2.1 if any(road.parked) else 0.0)
        place = rng.random()
        if place < 0.55:
            d = side * (inner - rng.uniform(0.4, 1.0))
        elif place < 0.8:
            d = side * (road.half_width + rng.uniform(0.4, max(road.pavement, 1.0)))
            turn += np.pi * (rng.random() < 0.4)
        else:
            d = rng.uniform(-road.edge, road.edge)
            turn = rng.choice([0.5, -0.5]) * np.pi + rng.normal(0, 0.3)
        if builder.claim(s, d, turn, high[0] - low[0], high[1] - low[1], 0.3):
            builder.add(mesh, s, d, turn, person_palette(rng), scale, "Cyclist")
            return


def _walk(builder: SceneBuilder, size: int) -> None:
    """A group of `size` people side by side, on a pavement or crossing the road."""
    rng, road = builder.rng, builder.road
    s, side = _ahead(rng), rng.choice([1, -1])
    crossing = rng.random() < 0.2
    if crossing:
        d = rng.uniform(-road.half_width, road.half_width)
        turn = rng.choice([0.5, -0.5]) * np.pi + rng.normal(0, 0.2)
    else:
        d = side * (road.half_width + rng.uniform(0.5, max(road.pavement, 1.6) - 0.3))
        turn = rng.choice([0.0, np.pi]) + rng.normal(0, 0.15)
        if rng.random() < 0.15:
            turn = rng.uniform(-np.pi, np.pi)
    for k in range(size):
        _person(builder, s, d, turn, k)


def _person(builder: SceneBuilder, s: float, d: float, turn: float, place: int) -> None:
    rng = builder.rng
    mesh = people.pedestrian_template(int(rng.integers(people.POSES)))
    child = rng.random() < 0.08
    factor = rng.uniform(0.65, 0.85) if child else np.clip(rng.normal(1.02, 0.05), 0.87, 1.14)
    scale = factor * np.array([*np.clip(rng.normal(1.0, 0.06, 2), 0.85, 1.2), 1.0])
    low, high = mesh.bounds * scale
    for _ in range(4):
        across = 0.75 * place + rng.normal(0, 0.1)
        along = rng.normal(0, 0.3)
        ps = s + along * np.cos(turn) - across * np.sin(turn)
        pd = d + along * np.sin(turn) + across * np.cos(turn)
        way = turn + rng.normal(0, 0.1)
        if builder.claim(ps, pd, way, high[0] - low[0], high[1] - low[1], 0.05):
            builder.add(mesh, ps, pd, way, person_palette(rng), scale, "Pedestrian")
            return
        s += rng.uniform(-2, 4)


def _sit(builder: SceneBuilder) -> None:
    """A bench at the back of a pavement with one person on it, facing the road."""
    rng, road = builder.rng, builder.road
    s, side = rng.uniform(6, 28), rng.choice([1, -1])
    d = side * (road.edge - 0.5)
    turn = -0.5 * np.pi * side
    if road.in_crossing(s, 2.0) or not builder.claim(s, d, turn + np.pi / 2, 1.7, 0.9, 0.2):
        return
    builder.add(furniture_template("bench"), s, d, turn, person_palette(rng))
    mesh = people.sitting_template(int(rng.integers(2)))
    builder.add(mesh, s, d - side * 0.22, turn, person_palette(rng), kind="Person_sitting")
