"""Pictures: boxes at the right place, with the right orientation, whole files only."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from kd3d.errors import UserError
from kd3d.viz.bev import draw_bev
from kd3d.viz.boxes import box_corners, project_segments
from kd3d.viz.image import draw_image_boxes
from kd3d.viz.style import NAMED_STYLES, png_bytes

NO_POINTS = np.zeros((0, 4))
# A camera at the origin that looks along x: u = 100 - 100 y / x, v = 50 - 100 z / x.
CAMERA = np.array([[100, -100, 0, 0], [50, 0, -100, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])


def box(x, y, z=-1.0, dx=4.0, dy=2.0, dz=1.5, yaw=0.0):
    return np.array([[x, y, z, dx, dy, dz, yaw]])


def colored(picture: np.ndarray, group: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of the pixels in the group's colour."""
    wanted = np.array(to_rgb(NAMED_STYLES[group].color)) * 255
    return np.nonzero(np.abs(picture.astype(float) - wanted).max(axis=2) < 40)


def picture_of(figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png_bytes(figure))).convert("RGB"))


def test_corners_follow_length_yaw_and_height():
    corners = box_corners(box(10, 5, yaw=np.pi / 2))[0]
    assert np.allclose(corners[0], [9, 7, -1])  # front left of a box that looks to the left (+y)
    assert np.allclose(corners[6], [11, 3, 0.5])  # rear right, top
    assert np.allclose(np.linalg.norm(corners[0] - corners[3]), 4)  # front to rear is dx


def test_bev_is_forward_up_left_left_and_ticks_point_ahead():
    ranges = {"x_range_m": (0, 40), "y_range_m": (-20, 20), "legend": False}
    figure = draw_bev(NO_POINTS, {"distilled": box(30, 10)}, **ranges)
    picture = picture_of(figure)
    rows, columns = colored(picture, "distilled")
    assert len(rows) > 20
    assert rows.mean() < 0.45 * picture.shape[0]  # far ahead: upper part
    assert columns.mean() < 0.45 * picture.shape[1]  # on the left
    back = picture_of(draw_bev(NO_POINTS, {"distilled": box(30, 10, yaw=np.pi)}, **ranges))
    assert colored(back, "distilled")[0].min() > rows.min()  # its tick is at the other end
    assert colored(back, "distilled")[0].max() > rows.max()


def test_bev_puts_points_where_boxes_are():
    spot = np.array([[20.0, -8.0, 1.4, 0.5]])
    ranges = {"x_range_m": (0, 40), "y_range_m": (-20, 20), "legend": False, "dpi": 200}
    with_point = picture_of(draw_bev(spot, {}, **ranges)).astype(int)
    without = picture_of(draw_bev(NO_POINTS, {}, **ranges)).astype(int)
    rows, columns = np.nonzero(np.abs(with_point - without).max(axis=2) > 30)
    boxed = picture_of(draw_bev(NO_POINTS, {"ground truth": box(20, -8, dx=1, dy=1)}, **ranges))
    box_rows, box_columns = np.nonzero(np.abs(boxed.astype(int) - without).max(axis=2) > 120)
    assert 0 < len(rows) < 12
    assert abs(columns.mean() - (box_columns.min() + box_columns.max()) / 2) < 4
    assert box_rows.min() < rows.mean() < box_rows.max()


def test_image_boxes_land_on_their_pixels():
    image = np.zeros((100, 200, 3), np.uint8)
    figure = draw_image_boxes(image, {"teacher": box(12, 3)}, CAMERA, legend=False)
    rows, columns = colored(picture_of(figure), "teacher")
    # Rear face (nearest, x = 10) from y = 4 to 2: u = 60 to 80; z -1 to .5: v = 60 to 45.
    assert abs(columns.min() - 60) <= 2
    assert abs(rows.max() - 60) <= 2
    assert columns.max() < 90


def test_segments_are_cut_in_front_of_the_camera():
    segments = np.array([[[-5, 1, 0], [5, 1, 0]], [[-5, 1, 0], [-2, 1, 0]]], dtype=float)
    pixels = project_segments(segments, CAMERA, near_m=0.5)
    assert pixels.shape == (1, 2, 2)  # the segment behind is dropped
    assert np.allclose(pixels[0, 0], [100 - 100 / 0.5, 50])
    assert np.allclose(pixels[0, 1], [80, 50])
    around = draw_image_boxes(np.zeros((9, 9, 3), np.uint8), {"a": box(0, 0)}, CAMERA)
    assert np.isfinite(picture_of(around)).all()


def test_same_picture_same_bytes_and_names_are_not_mathematics(tmp_path):
    points = np.random.default_rng(0).uniform(0, 30, (500, 4))
    for name in ("a", "b"):
        draw_bev(
            points, {"$x_{": box(9, 1), "_hidden": box(3, 1)}, path=tmp_path / name, title="$\\x{"
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    draw_image_boxes(np.zeros((50, 80, 3), np.uint8), {"$x_{": box(9, 1)}, CAMERA)


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: draw_bev(np.zeros((3, 2)), {}, path=path),
        lambda path: draw_bev(NO_POINTS, {"a": np.zeros((2, 6))}, path=path),
        lambda path: draw_bev(NO_POINTS, {"a": box(1, 1)}, scores={"a": [1, 2]}, path=path),
        lambda path: draw_image_boxes(np.zeros((9, 9, 3)), {}, CAMERA, path=path),
        lambda path: draw_image_boxes(np.zeros((9, 9, 3), np.uint8), {}, np.eye(3), path=path),
    ],
)
def test_bad_shapes_are_told_and_write_nothing(draw, tmp_path):
    with pytest.raises(UserError):
        draw(tmp_path / "out.png")
    assert not list(tmp_path.iterdir())
