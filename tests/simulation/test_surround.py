"""Motion, timetable, two tracers, visibility, and a moving world seen by LiDAR and camera."""

import numpy as np
import pytest

pytest.importorskip("open3d")

from kd3d.simulation.camera import photograph, pinhole
from kd3d.simulation.lidar import sweep
from kd3d.simulation.lorries import bus_template, semitrailer_template
from kd3d.simulation.materials import Material, Palette
from kd3d.simulation.meshes import box
from kd3d.simulation.motorcycles import motorcycle_template
from kd3d.simulation.surround.annotate import annotate, probes
from kd3d.simulation.surround.compose import compose_drive
from kd3d.simulation.surround.frames import lidar_rows
from kd3d.simulation.surround.motion import Drive, Motion, Timetable
from kd3d.simulation.surround.rig import (
    HDL32,
    LIDAR_POSITION,
    LIDAR_ROTATION,
    MOUNTS,
    in_world,
)
from kd3d.simulation.surround.world import Track, World
from kd3d.simulation.tracing import Tracer
from kd3d.simulation.worksite import barrier_template, cone_template, digger_template

TIME_S = 1.3


@pytest.fixture(scope="module")
def world():
    return compose_drive(np.random.default_rng([4, 2]), 2.0)


@pytest.fixture(scope="module")
def seen(world):
    scene, caster = world.at(TIME_S)
    pose = in_world(LIDAR_ROTATION, LIDAR_POSITION, world.drive.pose(TIME_S))
    turn = sweep(caster, scene, pose, np.random.default_rng(0), HDL32)
    return scene, caster, turn, turn.points[:, :3] @ pose[0].T + pose[1]


def small_world(builder, light, *tracks):
    """A world of moving tracks on the flat road; the sensors stand at its start."""
    builder.add_ground(Palette())
    drive = Drive(builder.road, Motion(0.0, 0.0, 0.0))
    return World(builder.road, drive, list(tracks), builder.build(light))


def test_things_move_evenly_along_their_heading(world):
    moving = [track for track in world.tracks if track.motion.speed]
    assert len(moving) >= 8
    instants = np.arange(0.0, 2.05, 0.1)
    for track in moving:
        places, yaws = track.motion.place(world.road, instants)
        steps = np.diff(places[:, :2], axis=0) / 0.1
        speeds = np.linalg.norm(steps, axis=1)
        # a lane on the inside of the bend is shorter; undulations are not in the ground plan
        assert speeds.std() < 0.01
        assert speeds.mean() == pytest.approx(track.motion.speed, rel=0.12)
        middle = (yaws[1:] + yaws[:-1]) / 2
        away = np.arctan2(steps[:, 1], steps[:, 0]) - middle
        assert np.abs(np.angle(np.exp(1j * away))).max() < 1e-3
        assert np.diff(yaws, 2) == pytest.approx(0, abs=1e-9)


def test_nothing_runs_into_anything(world):
    """Rectangles of moving things do not overlap others, looked at between the checked instants."""
    from shapely.geometry import Polygon

    from kd3d.viz.boxes import bev_corners

    for time_s in (0.1, 0.6, 1.1, 1.9):
        boxes = world.boxes(time_s)
        shapes = [Polygon(corners) for corners in bev_corners(boxes)]
        for i, track in enumerate(world.tracks):
            if track.motion.speed:
                cut = [shapes[i].intersection(s).area for k, s in enumerate(shapes) if k != i]
                assert max(cut) < 0.1 * min(shapes[i].area, 2.0)


def test_timetable_refuses_ways_that_cross_at_the_same_time(flat_builder):
    instants = np.arange(0, 5, 0.25)
    table = Timetable(flat_builder.road, instants)
    assert table.claim_way(Motion(-20, 0, 0, 10), 4, 2, 0.2)
    across = Motion(0, -10, np.pi / 2, 5)  # there after 2 s, as the first one
    assert not table.claim_way(across, 4, 2, 0.2)
    assert table.claim_way(Motion(0, -20, np.pi / 2, 5), 4, 2, 0.2)  # after 4 s
    assert not table.claim(10, 0.5, 0, 4, 2, 0.2)  # to stand in the way of the first
    assert table.claim(10, 4, 0, 4, 2, 0.2)
    assert not table.claim_way(Motion(-20, 4, 0, 8), 4, 2, 0.2)


def test_two_tracers_are_one(world):
    scene, caster = world.at(TIME_S)
    joined = Tracer(scene.vertices, scene.faces)
    rays = HDL32.directions[::7]
    origin = np.array([0.5, 0.2, 1.8])
    distance, face = caster.cast(origin, rays)
    wanted, other = joined.cast(origin, rays)
    np.testing.assert_allclose(distance, wanted, atol=1e-4)
    assert (face != other).mean() < 1e-3  # two faces at one distance
    starts = scene.vertices[::50] + np.array([0, 0, 0.05], dtype=np.float32)
    sun = world.still.light.sun
    assert np.array_equal(caster.blocked(starts, sun), joined.blocked(starts, sun))


def test_points_lie_in_the_boxes_of_their_owners(world, seen):
    _, _, turn, points = seen
    hit = 0
    for index, (x, y, z, length, width, height, yaw) in enumerate(world.boxes(TIME_S)):
        own = points[turn.owner == index] - (x, y, z)
        along = own[:, 0] * np.cos(yaw) + own[:, 1] * np.sin(yaw)
        across = own[:, 1] * np.cos(yaw) - own[:, 0] * np.sin(yaw)
        assert (np.abs(along) < length / 2 + 0.1).all()  # five sigma of the range noise
        assert (np.abs(across) < width / 2 + 0.1).all()
        assert ((own[:, 2] > -0.1) & (own[:, 2] < height + 0.1)).all()
        hit += len(own) > 0 and world.tracks[index].motion.speed != 0
    assert hit >= 3


@pytest.mark.parametrize("mount", MOUNTS, ids=lambda mount: mount.channel)
def test_depth_of_every_camera_agrees_with_the_lidar(world, seen, mount):
    scene, caster, _, points = seen
    size = (448, 252)
    rotation, centre = in_world(mount.rotation, np.array(mount.position), world.drive.pose(TIME_S))
    camera = pinhole(size, mount.matrix(size), rotation, centre)
    view = photograph(caster, scene, np.random.default_rng(0), camera)
    local = (points - centre) @ rotation
    pixels = local @ mount.matrix(size).T
    front = local[:, 2] > 1
    u, v = (np.round(pixels[front, k] / pixels[front, 2]).astype(int) for k in (0, 1))
    inside = (u >= 0) & (u < size[0]) & (v >= 0) & (v < size[1])
    depth = view.depth[v[inside], u[inside]]
    difference = depth / local[front, 2][inside] - 1
    assert inside.sum() > 1000
    assert np.median(np.abs(difference)) < 0.02
    assert (difference > 0.1).mean() < 0.05  # it sees through nothing, but for pixels at edges
    assert (difference < -0.1).mean() < 0.35  # the LiDAR looks over cars from above
    level = np.degrees(np.arctan2(rotation[1, 2], rotation[0, 2]))
    ego = np.degrees(np.arctan2(*world.drive.pose(TIME_S)[0][1::-1, 0]))
    assert abs((level - ego - mount.azimuth_deg + 180) % 360 - 180) < 1


def test_cameras_see_all_around():
    covered = np.zeros(360, dtype=bool)
    for mount in MOUNTS:
        half = mount.view_deg / 2 - 1.0
        away = (np.arange(360) - mount.azimuth_deg + 180) % 360 - 180
        covered |= np.abs(away) < half
        matrix = mount.matrix((1600, 900))
        assert 2 * np.degrees(np.arctan(800 / matrix[0, 0])) == pytest.approx(mount.view_deg)
    assert covered.all()


def test_a_wall_hides_half_a_board(flat_builder, light):
    """A board across the view at 12 m; a wall in front of its left half; a second one is free."""
    board = box((0, 0, 1.0), (0.05, 4, 1), Material.PAINT)
    tracks = [
        Track("vehicle.car", "", board, Palette(), Motion(12, 0, 0, 0.001)),
        Track("vehicle.car", "", board, Palette(), Motion(-12, 0, 0, 0.001)),
        Track("vehicle.car", "", board, Palette(), Motion(100, 0, 0, 0.001)),
    ]
    flat_builder.add(box((0, 3, 2), (0.1, 6, 4), Material.CONCRETE), 11.7, 0, 0, Palette())
    world = small_world(flat_builder, light, *tracks)
    scene, caster = world.at(0.0)
    surface = probes(world, np.random.default_rng(0))
    ego = world.drive.pose(0.0)
    points = np.array([[12.0, 0.5, -0.6], [12.0, 0.5, 3.0], [-12.0, -1.0, -0.3], [100, 0, -0.5]])
    noted = annotate(world, caster, scene.owner, ego, points, surface, 0.0)
    assert noted.visibility[0] == 2
    assert noted.visibility[1] == 4
    assert noted.visibility[2] == 1  # too far to be looked at
    assert noted.points.tolist() == [1, 1, 0]


def test_lidar_rows_are_like_the_real_files(seen):
    _, _, turn, _ = seen
    rows = lidar_rows(turn)
    assert rows.dtype == np.float32
    assert len(rows) == len(turn.points)
    elevation = np.degrees(np.arcsin(rows[:, 2] / np.linalg.norm(rows[:, :3], axis=1)))
    for ring in (0, 10, 31):
        found = elevation[rows[:, 4] == ring]
        np.testing.assert_allclose(found, -30.67 + ring * 4 / 3, atol=0.01)
    azimuth = np.unwrap(np.arctan2(rows[:, 1], rows[:, 0]))
    assert azimuth[0] - azimuth[-1] == pytest.approx(2 * np.pi, abs=0.1)  # clockwise, one turn
    assert set(np.unique(rows[:, 3] % 1)) == {0.0}
    assert 3 < rows[:, 3].mean() < 60


def test_templates_fill_their_boxes_and_stand_on_the_ground():
    for mesh, size in (
        (barrier_template("plastic"), (0.5, 2.5, 1.0)),
        (cone_template(), (0.4, 0.4, 0.9)),
        (digger_template("excavator"), (7.2, 2.8, 3.2)),
        (bus_template(), (11.2, 2.9, 3.4)),
        (semitrailer_template(), (12.2, 2.9, 3.9)),
        (motorcycle_template(True), (2.0, 0.74, 1.73)),
    ):
        low, high = mesh.bounds
        np.testing.assert_allclose(low[:2], -high[:2], atol=1e-9)
        assert low[2] == pytest.approx(0, abs=1e-9)
        np.testing.assert_allclose(high - low, size, atol=0.05)


def test_the_sensors_start_where_the_road_is(world):
    rotation, origin = world.drive.pose(0.0)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert rotation[2, 2] > 0.995
    s, d = world.drive.motion.path(0.0)
    np.testing.assert_allclose(origin, world.road.locate(s, d))
