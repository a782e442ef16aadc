"""Beside the lanes: road works, people on foot, and cycles that nobody rides."""

from __future__ import annotations

import numpy as np

from kd3d.simulation import people, worksite
from kd3d.simulation.materials import Material, Palette, person_palette, random_rgb
from kd3d.simulation.meshes import Mesh
from kd3d.simulation.motorcycles import motorcycle_template
from kd3d.simulation.scenery import furniture_template
from kd3d.simulation.surround.cast import REACH_M, Traffic, sized
from kd3d.simulation.surround.motion import Motion

# means of Poisson draws over a drive
WALKERS, STANDERS = 13.0, 4.0
PARKED_CYCLES = 3.0
SITTING_CHANCE = 0.3
YELLOWS = np.array([(0.75, 0.45, 0.04), (0.7, 0.28, 0.03), (0.65, 0.55, 0.1)])


def place_people(traffic: Traffic) -> None:
    """Add people and their cycles to a drive whose vehicles are in place."""
    rng = traffic.builder.rng
    for _ in range(rng.poisson(WALKERS)):
        _walk(traffic)
    for _ in range(rng.poisson(STANDERS)):
        _stand(traffic)
    for _ in range(rng.poisson(PARKED_CYCLES)):
        _lean(traffic)
    if rng.random() < SITTING_CHANCE:
        _sit(traffic)


def digger(rng: np.random.Generator) -> tuple[Mesh, Palette]:
    """Draw an excavator or a wheel loader and its colours."""
    kind = str(rng.choice(["excavator", "loader"]))
    paint = YELLOWS[rng.integers(len(YELLOWS))] * rng.uniform(0.8, 1.1)
    factor = rng.uniform(0.85, 1.15)
    return sized(worksite.digger_template(kind), factor), Palette({Material.PAINT: paint})


def rider_palette(rng: np.random.Generator) -> Palette:
    """Draw clothes, the machine's paint and the helmet's."""
    palette = person_palette(rng)
    palette.rows[Material.PLASTIC, :3] = random_rgb(rng, 0.05, 0.6)  # the helmet
    return palette


def place_road_works(traffic: Traffic) -> None:
    """Barriers beside the lanes, cones before them, and behind them machines and workers."""
    rng = traffic.builder.rng
    side, start = int(rng.choice([1, -1])), rng.uniform(-55, 45)
    _fence(traffic, side, start)
    for _ in range(int(rng.integers(1, 3))):
        mesh, paint = digger(rng)
        attribute = str(rng.choice(["vehicle.parked", "vehicle.stopped"]))
        traffic.add_somewhere(
            "construction_vehicle",
            mesh,
            paint,
            lambda: _on_site(traffic, side, start, 2.4, 6.5),
            attribute,
            0.2,
        )
    for _ in range(int(rng.integers(1, 4))):
        mesh, clothes = _person(rng, False)
        clothes.rows[Material.SHIRT, :3] = YELLOWS[2] * 1.2
        traffic.add_somewhere(
            "worker",
            mesh,
            clothes,
            lambda: _on_site(traffic, side, start, 0.9, 5.0),
            "pedestrian.standing",
            0.1,
        )


def _on_site(traffic: Traffic, side: int, start: float, near: float, far: float) -> Motion:
    """A place behind the fence, `near` to `far` metres from the lanes, facing anywhere."""
    rng, road = traffic.builder.rng, traffic.builder.road
    s, d = start + rng.uniform(-2, 23), side * (road.half_width + rng.uniform(near, far))
    return Motion(float(s), float(d), float(rng.uniform(-np.pi, np.pi)))


def _fence(traffic: Traffic, side: int, start: float) -> None:
    """A row of barriers at the kerb from `start` on, and cones on the lane before it."""
    rng, road = traffic.builder.rng, traffic.builder.road
    kind = str(rng.choice(["concrete", "plastic"]))
    colour = random_rgb(rng, 0.35, 0.55, 0.06) if kind == "concrete" else YELLOWS[rng.integers(3)]
    palette = Palette({Material.CONCRETE: colour, Material.PLASTIC: colour})
    kerb = float(side * (road.half_width + 0.4))
    for k in range(int(rng.integers(4, 9))):
        motion = Motion(float(start + 2.75 * k), kerb, float(0.5 * np.pi * side))
        traffic.add("barrier", worksite.barrier_template(kind), palette, motion, gap=0.02)
    orange = Palette(
        {Material.PLASTIC: np.array([0.75, 0.22, 0.03]), Material.SIGN: np.array([0.8, 0.8, 0.78])}
    )
    for k in range(int(rng.integers(4, 9))):
        mesh = sized(worksite.cone_template(), rng.uniform(0.75, 1.1))
        s = start - 2.0 - (1.8 + rng.uniform(0, 0.5)) * k
        d = side * (road.half_width - 0.3 + rng.normal(0, 0.15))
        traffic.add("cone", mesh, orange, Motion(float(s), float(d), rng.uniform(-3, 3)), gap=0.1)


def _person(rng: np.random.Generator, child: bool) -> tuple[Mesh, Palette]:
    mesh = people.pedestrian_template(int(rng.integers(people.POSES)))
    tall = rng.uniform(0.65, 0.85) if child else np.clip(rng.normal(1.0, 0.05), 0.87, 1.14)
    wide = np.clip(rng.normal(1.0, 0.06, 2), 0.85, 1.2)
    return sized(mesh, tall * np.array([*wide, 1.0])), person_palette(rng)


def _walk(traffic: Traffic) -> None:
    """Somebody along a pavement, or over the road where the timetable lets them; maybe two."""
    rng, road = traffic.builder.rng, traffic.builder.road
    crosses = rng.random() < 0.3

    def way() -> Motion:
        side = int(rng.choice([1, -1]))
        s, speed = float(rng.uniform(-0.8 * REACH_M, 0.8 * REACH_M)), float(rng.uniform(0.8, 1.8))
        if crosses:
            d = side * (road.half_width + rng.uniform(-3.0, 1.5))
            return Motion(s, float(d), -0.5 * np.pi * side, speed)
        d = side * (road.half_width + rng.uniform(0.9, max(road.pavement, 1.8) - 0.5))
        return Motion(s, float(d), float(rng.choice([0.0, np.pi])), speed)

    for _ in range(2 if rng.random() < 0.3 else 1):
        child = bool(rng.random() < 0.1)
        mesh, palette = _person(rng, child)
        name = "child" if child else "adult"
        traffic.add_somewhere(name, mesh, palette, way, "pedestrian.moving", 0.15)


def _stand(traffic: Traffic) -> None:
    rng, road = traffic.builder.rng, traffic.builder.road
    mesh, palette = _person(rng, False)

    def spot() -> Motion:
        s = float(rng.uniform(-0.7 * REACH_M, 0.7 * REACH_M))
        d = float(rng.choice([1, -1]) * (road.half_width + rng.uniform(0.5, 3.0)))
        return Motion(s, d, float(rng.uniform(-np.pi, np.pi)))

    traffic.add_somewhere("adult", mesh, palette, spot, "pedestrian.standing", 0.1)


def _lean(traffic: Traffic) -> None:
    """A bicycle or motorcycle without its rider at the pavement's edge."""
    rng, road = traffic.builder.rng, traffic.builder.road
    name = str(rng.choice(["bicycle", "motorcycle"]))
    mesh = motorcycle_template(False) if name == "motorcycle" else people.bicycle_template()
    mesh = mesh.fitted(*(np.ptp(mesh.bounds, axis=0) * rng.uniform(0.93, 1.07)))
    palette = rider_palette(rng)

    def spot() -> Motion:
        s = float(rng.uniform(-0.7 * REACH_M, 0.7 * REACH_M))
        d = float(rng.choice([1, -1]) * (road.half_width + rng.uniform(0.5, 1.0)))
        return Motion(s, d, float(rng.choice([0.0, np.pi]) + rng.normal(0, 0.3)))

    traffic.add_somewhere(name, mesh, palette, spot, "cycle.without_rider", 0.1)


def _sit(traffic: Traffic) -> None:
    """A bench at the back of a pavement with one person on it, facing the road."""
    builder = traffic.builder
    rng, road = builder.rng, builder.road
    s, side = float(rng.uniform(-40, 40)), int(rng.choice([1, -1]))
    d, turn = side * (road.edge - 0.5), -0.5 * np.pi * side
    if road.in_crossing(s, 2.0) or not builder.claim(s, d, turn + np.pi / 2, 1.7, 0.9, 0.2):
        return
    builder.add(furniture_template("bench"), s, d, turn, Palette())
    mesh = people.sitting_template(int(rng.integers(2)))
    motion = Motion(s, float(d - side * 0.22), float(turn))
    attribute = "pedestrian.sitting_lying_down"
    traffic.add("adult", mesh, person_palette(rng), motion, attribute, None)
