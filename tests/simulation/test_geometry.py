"""Labels, LiDAR and camera against geometry computed in another way."""

import numpy as np
import pytest

pytest.importorskip("open3d")

from kd3d.errors import UserError
from kd3d.simulation.calibration import (
    HEIGHT,
    WIDTH,
    WORLD_FROM_RECT,
    camera_centre,
    kitti_camera,
    lidar_pose,
    rig,
)
from kd3d.simulation.camera import photograph, pixel_faces
from kd3d.simulation.labels import hidden_share, label_frame, outline
from kd3d.simulation.lidar import HDL64, beam_elevations, sweep
from kd3d.simulation.materials import Material, Palette
from kd3d.simulation.meshes import Mesh, box
from kd3d.simulation.people import cyclist_template, pedestrian_template
from kd3d.simulation.spec import ScenarioSpec, load_spec
from kd3d.simulation.surroundings import compose
from kd3d.simulation.tracing import Tracer
from kd3d.simulation.vehicles import CARS, VANS, car_template

CALIBRATION = rig()
CAMERA = kitti_camera()


@pytest.fixture(scope="module")
def frame():
    pose = lidar_pose(CALIBRATION)
    rng = np.random.default_rng([3, 1])
    scene = compose(rng, ScenarioSpec(), ground_z=pose[1][2] - 1.73)
    tracer = Tracer(scene.vertices, scene.faces)
    return scene, sweep(tracer, scene, pose, rng, HDL64), photograph(tracer, scene, rng, CAMERA)


def silhouette(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels whose rays meet the mesh."""
    _, face = Tracer(mesh.vertices, mesh.faces).cast(CAMERA.centre, CAMERA.directions)
    return np.nonzero((face >= 0).reshape(HEIGHT, WIDTH))


@pytest.mark.parametrize("style", [*CARS, *VANS])
def test_templates_fill_their_boxes(style):
    length, width, height = {**CARS, **VANS}[style].size
    low, high = car_template(style).bounds
    np.testing.assert_allclose(high, [length / 2, width / 2, height], atol=1e-9)
    np.testing.assert_allclose(low, [-length / 2, -width / 2, 0], atol=1e-9)


def test_people_have_human_sizes():
    for template, index in (
        (pedestrian_template, 3),
        (pedestrian_template, 8),
        (cyclist_template, 2),
    ):
        low, high = template(index).bounds
        assert low[2] == pytest.approx(0, abs=1e-9)
        assert 1.5 < high[2] < 1.9
        assert 0.4 < high[1] - low[1] < 0.9
    assert 1.6 < np.ptp(cyclist_template(2).bounds[:, 0]) < 2.0


# (s, d, heading): in the middle, cut by the left border, by the right one, beside the camera.
@pytest.mark.parametrize("place", [(20, 1, 0.3), (6, 4.5, 0), (9, -7.5, 1.5), (2.5, -2.6, 0)])
def test_2d_box_is_that_of_the_pixels(flat_builder, place):
    flat_builder.add(car_template("estate"), *place, Palette(), kind="Car")
    mesh = flat_builder.actors[0].mesh
    found = outline(mesh.vertices @ WORLD_FROM_RECT, mesh.faces, CALIBRATION.p2)
    rows, columns = silhouette(mesh)
    pixels = [columns.min(), rows.min(), columns.max(), rows.max()]
    np.testing.assert_allclose(found.cut, pixels, atol=1.5)
    at_border = columns.min() == 0 or columns.max() == WIDTH - 1
    assert (found.truncated > 0.03) == at_border


def test_truncation_of_a_plate_half_outside():
    u = WIDTH - 1
    ray = np.linalg.inv(CALIBRATION.p2[:, :3]) @ np.array([u, 170.0, 1.0])
    ray *= 10 / ray[2]
    plate = box(camera_centre(CALIBRATION.p2) + ray, (2.0, 1.0, 1e-6), int(Material.PAINT))
    found = outline(plate.vertices, plate.faces, CALIBRATION.p2)
    assert found.truncated == pytest.approx(0.5, abs=0.01)
    assert found.cut[2] == pytest.approx(u, abs=1e-6)


def test_outline_is_none_behind_and_beside():
    for centre in ((0, 0, -8), (30, 0, 5)):
        mesh = box(centre, (1.6, 1.5, 4), int(Material.PAINT))
        assert outline(mesh.vertices, mesh.faces, CALIBRATION.p2) is None


def test_hidden_share_of_a_half_covered_plate(flat_builder, light):
    flat_builder.add(
        box((0, 0, 1.65), (0.01, 2, 1), Material.PAINT), 12, 0, 0, Palette(), kind="Car"
    )
    flat_builder.add(box((0, 1, 1.65), (0.01, 2, 3), Material.CONCRETE), 11.9, 0, 0, Palette())
    scene = flat_builder.build(light)
    view = photograph(Tracer(scene.vertices, scene.faces), scene, np.random.default_rng(0), CAMERA)
    actor = scene.actors[0]
    found = outline(actor.mesh.vertices @ WORLD_FROM_RECT, actor.mesh.faces, CALIBRATION.p2)
    assert hidden_share(actor, 0, found.cut, view) == pytest.approx(0.5, abs=0.03)


def test_label_row_of_a_known_car(flat_builder, light):
    flat_builder.add_ground(Palette())
    flat_builder.add(car_template("saloon"), 15, 2, 0.4, Palette(), kind="Car")
    scene = flat_builder.build(light)
    tracer, rng = Tracer(scene.vertices, scene.faces), np.random.default_rng(0)
    turn = sweep(tracer, scene, lidar_pose(CALIBRATION), rng, HDL64)
    labels = label_frame(scene, photograph(tracer, scene, rng, CAMERA), turn, CALIBRATION.p2)
    assert list(labels.name) == ["Car"]
    length, width, height = CARS["saloon"].size
    np.testing.assert_allclose(labels.dimensions[0], [height, width, length], atol=1e-6)
    np.testing.assert_allclose(labels.location[0, [0, 2]], [-2, 15], atol=1e-6)
    assert labels.location[0, 1] == pytest.approx(1.65, abs=0.11)  # the road is cambered
    assert labels.rotation_y[0] == pytest.approx(-0.4 - np.pi / 2)
    assert labels.alpha[0] == pytest.approx(-0.4 - np.pi / 2 + np.arctan2(2, 15))
    assert labels.occluded[0] == 0
    assert labels.truncated[0] == 0


def test_points_of_an_object_lie_in_its_box(frame):
    scene, turn, _ = frame
    rotation, origin = lidar_pose(CALIBRATION)
    world = turn.points[:, :3] @ rotation.T + origin
    checked = 0
    for index, actor in enumerate(scene.actors):
        own = world[turn.owner == index]
        x, y, z, length, width, height, yaw = actor.box
        cos, sin = np.cos(yaw), np.sin(yaw)
        along = (own[:, 0] - x) * cos + (own[:, 1] - y) * sin
        across = (own[:, 1] - y) * cos - (own[:, 0] - x) * sin
        up = own[:, 2] - z
        slack = 0.1  # five sigma of the range noise
        assert (np.abs(along) < length / 2 + slack).all()
        assert (np.abs(across) < width / 2 + slack).all()
        assert ((up > -slack) & (up < height + slack)).all()
        checked += len(own) > 20
    assert checked >= 3


def test_camera_depth_agrees_with_the_lidar(frame):
    _, turn, view = frame
    points = np.column_stack([turn.points[:, :3], np.ones(len(turn.points))])
    pixels = points @ CALIBRATION.lidar_to_image.T
    depth = pixels[:, 2]
    u, v = (np.round(pixels[:, k] / np.where(depth > 0, depth, 1)).astype(int) for k in (0, 1))
    seen = (depth > 1) & (u >= 0) & (u < WIDTH) & (v >= 0) & (v < HEIGHT)
    difference = np.abs(view.depth[v[seen], u[seen]] - depth[seen])
    assert seen.sum() > 10_000
    assert np.median(difference) < 0.04
    assert (difference < 0.3).mean() > 0.9


def test_sparse_casting_sees_what_every_pixel_sees(frame):
    scene, _, view = frame
    tracer = Tracer(scene.vertices, scene.faces)
    distance, face = tracer.cast(CAMERA.centre, CAMERA.directions)
    assert (pixel_faces(tracer, CAMERA).reshape(-1) != face).mean() < 0.005
    both = np.isfinite(distance) & np.isfinite(view.depth.reshape(-1))
    wrong = np.abs(distance[both] - view.depth.reshape(-1)[both]) > 0.01
    assert wrong.mean() < 0.005


def test_beams_are_two_blocks():
    degrees = np.degrees(beam_elevations())
    np.testing.assert_allclose(degrees[[0, 31, 32, 63]], [2, -8.33, -8.83, -24.33], atol=0.01)
    np.testing.assert_allclose(np.diff(degrees[:32]), -1 / 3)
    np.testing.assert_allclose(np.diff(degrees[32:]), -0.5)


def test_own_vehicle_gives_no_returns(frame):
    _, turn, _ = frame
    ahead = turn.points[(np.abs(turn.points[:, 1]) < 0.8) & (np.abs(turn.points[:, 0]) < 2.0)]
    assert (np.linalg.norm(turn.points[:, :3], axis=1) > HDL64.min_range_m - 0.2).all()
    assert not len(ahead)


def test_shipped_street_is_the_default():
    assert load_spec("street") == ScenarioSpec()
    assert load_spec("kitti_like").pedestrians < ScenarioSpec().pedestrians


@pytest.mark.parametrize(
    "text, message",
    [
        ("pedestrian: 3", "did you mean 'pedestrians'"),
        ("pedestrians: many", "a number from 0 to 200"),
        ("van_share: 2", "a number from 0 to 1 "),
        ("environments: {city: 1}", "shares of town, suburb, country"),
        ("- 1", "key: value"),
        ("a: [", "not valid YAML"),
    ],
)
def test_bad_specs_are_refused(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_spec(path)
