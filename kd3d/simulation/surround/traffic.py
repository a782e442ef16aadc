"""Who is on the road during a drive: the ten detection classes of nuScenes, standing and moving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from kd3d.simulation import lorries, people, worksite
from kd3d.simulation.materials import (
    Material,
    Palette,
    person_palette,
    random_rgb,
    vehicle_palette,
)
from kd3d.simulation.meshes import Mesh
from kd3d.simulation.motorcycles import motorcycle_template
from kd3d.simulation.road import LANE_M
from kd3d.simulation.scene import SceneBuilder
from kd3d.simulation.scenery import furniture_template
from kd3d.simulation.surround.motion import Motion, Timetable
from kd3d.simulation.surround.world import Track
from kd3d.simulation.traffic import random_vehicle

REACH_M = 85.0
"""Things are placed up to this far along the road from its middle."""
TRIES = 8
# means of Poisson draws over a drive
MOVING = {"car": 6.0, "truck": 1.4, "bus": 1.2, "construction_vehicle": 0.4}
CYCLES = {"motorcycle": 2.5, "bicycle": 2.5}
PARKED_SHARES = {"car": 0.84, "truck": 0.08, "trailer": 0.08}
WALKERS, STANDERS = 9.0, 4.0
PARKED_CYCLES = 3.0
WORK_CHANCE, YARD_CHANCE, SITTING_CHANCE, TRAILER_CHANCE = 0.75, 0.4, 0.3, 0.45
YELLOWS = np.array([(0.75, 0.45, 0.04), (0.7, 0.28, 0.03), (0.65, 0.55, 0.1)])
CATEGORY = {
    "car": "vehicle.car",
    "truck": "vehicle.truck",
    "trailer": "vehicle.trailer",
    "bus": "vehicle.bus.rigid",
    "construction_vehicle": "vehicle.construction",
    "motorcycle": "vehicle.motorcycle",
    "bicycle": "vehicle.bicycle",
    "adult": "human.pedestrian.adult",
    "child": "human.pedestrian.child",
    "worker": "human.pedestrian.construction_worker",
    "cone": "movable_object.trafficcone",
    "barrier": "movable_object.barrier",
}


@dataclass
class Traffic:
    """Collects the labelled things of a drive.

    Attributes:
        builder: Where standing things go; its footprints are a `Timetable`.
        standing: Tracks without motion, in the order of the builder's actors.
        moving: Tracks with motion.
    """

    builder: SceneBuilder
    standing: list[Track] = field(default_factory=list)
    moving: list[Track] = field(default_factory=list)

    def add(
        self,
        name: str,
        mesh: Mesh,
        palette: Palette,
        motion: Motion,
        attribute: str = "",
        gap: float | None = 0.3,
    ) -> bool:
        """Add a thing where its place or way is free; say whether it was. No gap: do not ask."""
        track = Track(CATEGORY[name], attribute, mesh, palette, motion)
        length, width, _ = track.size
        if motion.speed != 0:
            timetable = self.builder.footprints
            assert isinstance(timetable, Timetable)
            if gap is not None and not timetable.claim_way(motion, length, width, gap):
                return False
            self.moving.append(track)
            return True
        s, d, turn = motion.s, motion.d, motion.turn_rad
        if gap is not None and not self.builder.claim(s, d, turn, length, width, gap):
            return False
        self.builder.add(mesh, s, d, turn, palette, kind=track.category)
        self.standing.append(track)
        return True


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
        for _ in range(rng.poisson(mean)):
            _drive(traffic, name, lanes)
    for name, mean in CYCLES.items():
        for _ in range(rng.poisson(mean)):
            _ride(traffic, name, lanes)
    _park_rows(traffic)
    if rng.random() < YARD_CHANCE:
        _park_yard(traffic)
    if rng.random() < WORK_CHANCE:
        _road_works(traffic)
    for _ in range(rng.poisson(WALKERS)):
        _walk(traffic)
    for _ in range(rng.poisson(STANDERS)):
        _stand(traffic)
    for _ in range(rng.poisson(PARKED_CYCLES)):
        _lean(traffic)
    if rng.random() < SITTING_CHANCE:
        _sit(traffic)
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


def _try(propose: Callable[[], Motion], place: Callable[[Motion], bool]) -> bool:
    return any(place(propose()) for _ in range(TRIES))


def _sized(mesh: Mesh, scale: np.ndarray | float) -> Mesh:
    return mesh.moved(scale=np.broadcast_to(scale, 3))


def vehicle_mesh(rng: np.random.Generator, name: str) -> tuple[Mesh, Palette]:
    """Draw a vehicle's mesh and colours by its class."""
    palette = vehicle_palette(rng)
    if name == "bus":
        return _sized(lorries.bus_template(), rng.uniform((0.85, 0.97, 0.95), (1.1, 1.03, 1.05))), palette
    if name == "trailer":
        factors = rng.uniform((0.6, 0.9, 0.85), (1.1, 1.03, 1.05))
        return _sized(lorries.semitrailer_template(), factors), palette
    if name == "construction_vehicle":
        kind = str(rng.choice(["excavator", "loader"]))
        paint = YELLOWS[rng.integers(len(YELLOWS))] * rng.uniform(0.8, 1.1)
        factors = rng.uniform(0.85, 1.15) * np.ones(3)
        return _sized(worksite.digger_template(kind), factors), Palette({Material.PAINT: paint})
    if name == "truck":
        mesh, scale = random_vehicle(rng, "Truck")
        return _sized(mesh, scale * rng.uniform(0.85, 1.0)), palette
    mesh, scale = random_vehicle(rng, "Van" if rng.random() < 0.12 else "Car")
    return _sized(mesh, scale * 1.04), palette


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
    rng, road = traffic.builder.rng, traffic.builder.road
    mesh, palette = vehicle_mesh(rng, name)
    crossing = road.crossing is not None and rng.random() < 0.25
    pulls = name == "truck" and rng.random() < TRAILER_CHANCE

    def place(motion: Motion) -> bool:
        attribute = "vehicle.moving" if motion.speed else "vehicle.stopped"
        if not traffic.add(name, mesh, palette, motion, attribute, 0.9):
            return False
        if pulls:
            towed, colours = vehicle_mesh(rng, "trailer")
            back = (np.ptp(mesh.bounds[:, 0]) + np.ptp(towed.bounds[:, 0])) / 2 + 0.5
            behind = Motion(
                motion.s - back * float(np.cos(motion.turn_rad)),
                motion.d - back * float(np.sin(motion.turn_rad)),
                motion.turn_rad,
                motion.speed,
            )
            traffic.add("trailer", towed, colours, behind, attribute, 0.0)
        return True

    _try(lambda: _at_crossing(traffic) if crossing else _in_lane(traffic, lanes), place)


def _ride(traffic: Traffic, name: str, lanes: dict[tuple[int, int], float]) -> None:
    rng, road = traffic.builder.rng, traffic.builder.road
    if name == "motorcycle":
        mesh = _sized(motorcycle_template(True), rng.uniform(0.92, 1.08))
        palette = _rider_palette(rng)
        _try(
            lambda: _in_lane(traffic, lanes),
            lambda motion: traffic.add(name, mesh, palette, motion, "cycle.with_rider", 0.6),
        )
        return
    mesh = _sized(people.cyclist_template(int(rng.integers(people.RIDERS))), rng.uniform(0.95, 1.08))
    palette = person_palette(rng)

    def along() -> Motion:
        side = int(rng.choice([1, -1]))
        inner = road.half_width - (2.1 if any(road.parked) else 0.0)
        kerb = rng.random() < 0.6
        d = inner - rng.uniform(0.35, 0.8) if kerb else road.half_width + rng.uniform(0.5, 1.2)
        s, turn = rng.uniform(-REACH_M, REACH_M), np.pi if side > 0 else 0.0
        return Motion(float(s), float(side * d), turn, float(rng.uniform(3.0, 6.0)))

    _try(along, lambda motion: traffic.add(name, mesh, palette, motion, "cycle.with_rider", 0.25))


def _rider_palette(rng: np.random.Generator) -> Palette:
    palette = person_palette(rng)
    palette.rows[Material.PLASTIC, :3] = random_rgb(rng, 0.05, 0.6)  # the helmet
    return palette


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


def _road_works(traffic: Traffic) -> None:
    """Behind barriers beside the lanes: an excavator or two, workers, and cones along the kerb."""
    rng, road = traffic.builder.rng, traffic.builder.road
    side, start = int(rng.choice([1, -1])), rng.uniform(-55, 45)
    kind = str(rng.choice(["concrete", "plastic"]))
    colour = random_rgb(rng, 0.35, 0.55, 0.06) if kind == "concrete" else YELLOWS[rng.integers(3)]
    palette = Palette({Material.CONCRETE: colour, Material.PLASTIC: colour})
    fence = side * (road.half_width + 0.4)
    for k in range(int(rng.integers(4, 9))):
        motion = Motion(float(start + 2.75 * k), float(fence), float(0.5 * np.pi * side))
        traffic.add("barrier", worksite.barrier_template(kind), palette, motion, gap=0.02)
    orange = Palette(
        {Material.PLASTIC: np.array([0.75, 0.22, 0.03]), Material.SIGN: np.array([0.8, 0.8, 0.78])}
    )
    for k in range(int(rng.integers(4, 9))):
        cone = _sized(worksite.cone_template(), rng.uniform(0.75, 1.1))
        place = side * (road.half_width - 0.3 + rng.normal(0, 0.15))
        spot = float(start - 2.0 - (1.8 + rng.uniform(0, 0.5)) * k)
        traffic.add("cone", cone, orange, Motion(spot, float(place), rng.uniform(-3, 3)), gap=0.1)
    for _ in range(int(rng.integers(1, 3))):
        mesh, paint = vehicle_mesh(rng, "construction_vehicle")
        attribute = str(rng.choice(["vehicle.parked", "vehicle.stopped"]))
        _try(
            lambda: Motion(
                float(start + rng.uniform(0, 22)),
                float(side * (road.half_width + rng.uniform(2.4, 6.5))),
                float(rng.uniform(-np.pi, np.pi)),
            ),
            lambda motion: traffic.add(
                "construction_vehicle", mesh, paint, motion, attribute, 0.2
            ),
        )
    for _ in range(int(rng.integers(1, 4))):
        mesh, clothes = _person(rng, False)
        clothes.rows[Material.SHIRT, :3] = YELLOWS[2] * 1.2
        _try(
            lambda: Motion(
                float(start + rng.uniform(-2, 24)),
                float(side * (road.half_width + rng.uniform(0.9, 5.0))),
                float(rng.uniform(-np.pi, np.pi)),
            ),
            lambda motion: traffic.add(
                "worker", mesh, clothes, motion, "pedestrian.standing", 0.1
            ),
        )


def _person(rng: np.random.Generator, child: bool) -> tuple[Mesh, Palette]:
    mesh = people.pedestrian_template(int(rng.integers(people.POSES)))
    tall = rng.uniform(0.65, 0.85) if child else np.clip(rng.normal(1.0, 0.05), 0.87, 1.14)
    wide = np.clip(rng.normal(1.0, 0.06, 2), 0.85, 1.2)
    return _sized(mesh, tall * np.array([*wide, 1.0])), person_palette(rng)


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
        _try(
            way,
            lambda motion, mesh=mesh, palette=palette, child=child: traffic.add(
                "child" if child else "adult", mesh, palette, motion, "pedestrian.moving", 0.15
            ),
        )


def _stand(traffic: Traffic) -> None:
    rng, road = traffic.builder.rng, traffic.builder.road
    mesh, palette = _person(rng, False)
    _try(
        lambda: Motion(
            float(rng.uniform(-0.7 * REACH_M, 0.7 * REACH_M)),
            float(rng.choice([1, -1]) * (road.half_width + rng.uniform(0.5, 3.0))),
            float(rng.uniform(-np.pi, np.pi)),
        ),
        lambda motion: traffic.add("adult", mesh, palette, motion, "pedestrian.standing", 0.1),
    )


def _lean(traffic: Traffic) -> None:
    """A bicycle or motorcycle without its rider at the pavement's edge."""
    rng, road = traffic.builder.rng, traffic.builder.road
    name = str(rng.choice(["bicycle", "motorcycle"]))
    mesh = motorcycle_template(False) if name == "motorcycle" else people.bicycle_template()
    mesh = mesh.fitted(*(np.ptp(mesh.bounds, axis=0) * rng.uniform(0.93, 1.07)))
    palette = _rider_palette(rng)
    _try(
        lambda: Motion(
            float(rng.uniform(-0.7 * REACH_M, 0.7 * REACH_M)),
            float(rng.choice([1, -1]) * (road.half_width + rng.uniform(0.5, 1.0))),
            float(rng.choice([0.0, np.pi]) + rng.normal(0, 0.3)),
        ),
        lambda motion: traffic.add(name, mesh, palette, motion, "cycle.without_rider", 0.1),
    )


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
