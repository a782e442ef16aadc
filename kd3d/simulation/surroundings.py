"""Where scenery goes, the frame's light, and the whole frame put together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kd3d.simulation import scenery
from kd3d.simulation.materials import Material, Palette, person_palette, random_rgb
from kd3d.simulation.people import bicycle_template
from kd3d.simulation.road import random_road
from kd3d.simulation.scene import Light, Scene, SceneBuilder
from kd3d.simulation.spec import ScenarioSpec
from kd3d.simulation.traffic import place_traffic

FURNITURE_MEAN = {
    "sign": 5,
    "bin": 4,
    "litter_bin": 2,
    "bollard": 5,
    "cabinet": 1.5,
    "bench": 1.0,
    "advert": 0.8,
    "traffic_light": 0.5,
}
FACADES = np.array(
    [
        (0.62, 0.56, 0.44),
        (0.66, 0.63, 0.58),
        (0.45, 0.25, 0.18),
        (0.55, 0.45, 0.30),
        (0.42, 0.42, 0.43),
        (0.60, 0.50, 0.40),
        (0.50, 0.55, 0.58),
    ]
)


Span = tuple[float, float]


@dataclass(frozen=True)
class Stretch:
    """Where along the road scenery goes, in metres; by default what KITTI's camera sees.

    Attributes:
        buildings: Houses with what stands in front of them.
        lamps: Lamp posts.
        furniture: Signs, bins, benches and the like.
        trees: Trees.
        bushes: Bushes.
        driven: Where the sensors come along: foliage is drawn finely near it.
    """

    buildings: Span = (-105.0, 118.0)
    lamps: Span = (-80.0, 100.0)
    furniture: Span = (-30.0, 65.0)
    trees: Span = (-90.0, 118.0)
    bushes: Span = (-40.0, 90.0)
    driven: Span = (0.0, 0.0)

    def detail(self, s: float, d: float = 0.0) -> int:
        """How finely to draw foliage at (s, d) in path coordinates: 0 near, 2 far."""
        away = max(self.driven[0] - s, s - self.driven[1], 0.0)
        return int(np.searchsorted((22.0, 50.0), np.hypot(away, d)))


def compose(rng: np.random.Generator, spec: ScenarioSpec, ground_z: float) -> Scene:
    """Draw one frame's world.

    Args:
        rng: The frame's own generator; everything follows from it.
        spec: What to draw.
        ground_z: Height of the ground below the sensors, world metres.
    """
    environment = random_environment(rng, spec)
    road = random_road(rng, environment, ground_z, spec.parked_chance, spec.crossing_chance)
    builder = SceneBuilder(rng, road)
    stretch = Stretch()
    builder.add_ground(ground_palette(rng))
    place_traffic(builder, spec)
    place_buildings(builder, environment, stretch)
    place_furniture(builder, spec.clutter, stretch)
    _place_bicycles(builder, spec.clutter)
    place_plants(builder, environment, spec.clutter, stretch)
    return builder.build(random_light(rng))


def random_environment(rng: np.random.Generator, spec: ScenarioSpec) -> str:
    """Draw "town", "suburb" or "country" by the spec's shares."""
    names = list(spec.environments)
    shares = np.array([spec.environments[name] for name in names], dtype=float)
    return str(rng.choice(names, p=shares / shares.sum()))


def random_light(rng: np.random.Generator) -> Light:
    """Draw sun, sky and haze: two thirds sunny, one third overcast."""
    height, way = rng.uniform(0.35, 1.2), rng.uniform(-np.pi, np.pi)
    sun = np.array([np.cos(height) * np.cos(way), np.cos(height) * np.sin(way), np.sin(height)])
    sunny = rng.random() < 0.67
    warm = np.array([1.0, 0.95, 0.86]) if sunny else np.array([0.95, 0.98, 1.0])
    return Light(
        sun=sun.astype(np.float32),
        sun_rgb=(warm * (rng.uniform(1.3, 2.1) if sunny else 0.15)).astype(np.float32),
        sky_rgb=(
            np.array([0.75, 0.88, 1.0]) * rng.uniform(0.35, 0.5)
            if sunny
            else np.array([0.93, 0.97, 1.0]) * rng.uniform(0.8, 1.1)
        ).astype(np.float32),
        horizon_rgb=np.array([0.86, 0.90, 0.95], dtype=np.float32),
        visibility_m=float(rng.uniform(250, 900)),
        exposure=float(rng.uniform(0.75, 1.1)),
    )


def ground_palette(rng: np.random.Generator) -> Palette:
    """Draw the colours of road, pavement and grass."""
    return Palette(
        {
            Material.ASPHALT: np.array([0.17, 0.17, 0.175]) * rng.uniform(0.6, 1.3),
            Material.PAVEMENT: np.array([0.36, 0.34, 0.32]) * rng.uniform(0.7, 1.2),
            Material.GRASS: np.array([0.15, 0.22, 0.08]) * rng.uniform(0.7, 1.3, 3),
        }
    )


def place_buildings(builder: SceneBuilder, environment: str, stretch: Stretch) -> None:
    """Rows of houses on both sides with walls, fences or hedges in front."""
    rng, road = builder.rng, builder.road
    gaps = {"town": (0.0, 5.0), "suburb": (3.0, 14.0), "country": (25.0, 120.0)}[environment]
    setback = {"town": (0.2, 3.5), "suburb": (3.5, 10.0), "country": (8.0, 28.0)}[environment]
    storeys = {"town": (2, 6), "suburb": (1, 3), "country": (1, 3)}[environment]
    for side in (1, -1):
        s, turn = stretch.buildings[0] + rng.uniform(0, gaps[1]), 0.0 if side > 0 else np.pi
        back = rng.uniform(*setback)
        while s < stretch.buildings[1]:
            length, depth = rng.uniform(8, 22), rng.uniform(8, 14)
            middle = s + length / 2
            s += length + rng.uniform(*gaps)
            back = np.clip(back + rng.normal(0, 0.8), *setback)
            if road.in_crossing(middle, length / 2 + 1.5):
                continue
            d = side * (road.edge + back)
            if not builder.claim(middle, d + side * depth / 2, turn, length, depth, -1.5):
                continue
            mesh = scenery.building(rng, length, depth, int(rng.integers(*storeys)))
            builder.add(mesh, middle, d, turn, _house_palette(rng))
            if back > 3.0 and rng.random() < 0.75:
                _front_boundary(builder, middle, side, length, stretch)


def _house_palette(rng: np.random.Generator) -> Palette:
    facade = FACADES[rng.integers(len(FACADES))] * rng.uniform(0.7, 1.15)
    roof = np.array([0.30, 0.13, 0.09]) if rng.random() < 0.6 else np.array([0.15, 0.15, 0.16])
    return Palette(
        {
            Material.FACADE: facade,
            Material.ROOF: roof * rng.uniform(0.7, 1.3),
            Material.METAL: random_rgb(rng),
        }
    )


def _front_boundary(
    builder: SceneBuilder, s: float, side: int, length: float, stretch: Stretch
) -> None:
    rng = builder.rng
    d = side * (builder.road.edge + 0.4)
    kind = rng.random()
    if not builder.claim(s, d, 0.0, length, 0.3, 0.05):
        return
    if kind < 0.35:
        mesh = scenery.wall(length, rng.uniform(0.6, 1.9), Material.CONCRETE)
        builder.add(mesh, s, d, 0.0, Palette({Material.CONCRETE: random_rgb(rng, 0.3, 0.6, 0.08)}))
        return
    if kind < 0.65:
        material = Material.WOOD if rng.random() < 0.5 else Material.METAL
        piece, step, palette = scenery.fence_template(material), 2.8, Palette()
        scale = (1, 1, rng.uniform(0.75, 1.15))
    else:
        piece, step, palette = scenery.hedge_template(stretch.detail(s)), 4.0, _leaf_palette(rng)
        scale = (1, 1, rng.uniform(0.6, 1.3))
    count = max(int(length // step), 1)
    for k in range(count):
        builder.add(piece, s + (k - (count - 1) / 2) * step, d + side * 0.3, 0.0, palette, scale)


def _leaf_palette(rng: np.random.Generator) -> Palette:
    return Palette({Material.LEAF: np.array([0.10, 0.19, 0.05]) * rng.uniform(0.6, 1.4, 3)})


def place_furniture(builder: SceneBuilder, clutter: float, stretch: Stretch) -> None:
    """Lamp posts at even distances, the rest at random along the pavements."""
    rng, road = builder.rng, builder.road
    inner = road.half_width + 0.45
    side, spacing = rng.choice([1, -1]), rng.uniform(22, 38)
    for s in np.arange(stretch.lamps[0] + rng.uniform(0, spacing), stretch.lamps[1], spacing):
        if not road.in_crossing(s, 1.0) and builder.claim(s, side * inner, 0.0, 0.3, 0.3, 0.1):
            builder.add(
                scenery.furniture_template("lamp_post"),
                s,
                side * inner,
                -side * np.pi / 2,
                Palette(),
            )
    for kind, mean in FURNITURE_MEAN.items():
        for _ in range(rng.poisson(mean * clutter)):
            s, side = rng.uniform(*stretch.furniture), rng.choice([1, -1])
            at_kerb = kind in ("sign", "bollard", "traffic_light")
            d = side * (inner if at_kerb else max(road.edge - 0.45, inner + 0.3))
            turn = rng.normal(0, 0.06) + (
                0.0 if at_kerb and side < 0 else np.pi if at_kerb else -side * np.pi / 2
            )
            mesh = scenery.furniture_template(kind)
            length, width, _ = mesh.bounds[1] - mesh.bounds[0]
            if road.in_crossing(s, 1.0) or not builder.claim(s, d, turn, length, width, 0.1):
                continue
            builder.add(mesh, s, d, turn, Palette({Material.PLASTIC: random_rgb(rng, 0.03, 0.2)}))


def _place_bicycles(builder: SceneBuilder, clutter: float) -> None:
    """Bicycles that lean at the back of the pavement, without a rider: KITTI labels none."""
    rng, road = builder.rng, builder.road
    for _ in range(rng.poisson(2.0 * clutter)):
        s, side = rng.uniform(-10, 45), rng.choice([1, -1])
        d, turn = side * (road.edge - 0.2), rng.normal(0, 0.2)
        if road.pavement > 1 and builder.claim(s, d, turn, 1.8, 0.6, 0.0):
            builder.add(bicycle_template(), s, d, turn, person_palette(rng))


def place_plants(builder: SceneBuilder, environment: str, clutter: float, stretch: Stretch) -> None:
    """Street trees, garden bushes, and rows of trees behind that close the horizon."""
    rng, road = builder.rng, builder.road
    near, far = {"town": (7, 14), "suburb": (16, 26), "country": (20, 70)}[environment]
    for index in range(rng.poisson(near) + rng.poisson(far)):
        side = rng.choice([1, -1])
        s = rng.uniform(*stretch.trees)
        away = rng.uniform(0.8, 9) if index < near else rng.uniform(8, 40)
        d = side * (road.edge + (-0.7 if index < near and road.pavement > 2.2 else away))
        if road.in_crossing(s, 2.0) or not builder.claim(s, d, 0.0, 0.8, 0.8, 0.2):
            continue
        mesh = scenery.tree_template(int(rng.integers(scenery.TREES)), stretch.detail(s, d))
        factor = rng.uniform(0.65, 1.35)
        builder.add(
            mesh,
            s,
            d,
            rng.uniform(0, 6.28),
            _leaf_palette(rng),
            (factor, factor, factor * rng.uniform(0.85, 1.15)),
        )
    bushes = {"town": 5, "suburb": 22, "country": 32}[environment] * clutter
    for _ in range(rng.poisson(bushes)):
        s, side = rng.uniform(*stretch.bushes), rng.choice([1, -1])
        d = side * (road.edge + rng.uniform(0.8, 8.0))
        factor = rng.uniform(0.5, 1.6)
        if road.in_crossing(s, 1.0) or not builder.claim(
            s, d, 0.0, 1.4 * factor, 1.4 * factor, 0.0
        ):
            continue
        mesh = scenery.bush_template(int(rng.integers(scenery.BUSHES)), stretch.detail(s, d))
        builder.add(
            mesh,
            s,
            d,
            rng.uniform(0, 6.28),
            _leaf_palette(rng),
            (factor, factor, factor * rng.uniform(0.7, 1.4)),
        )
