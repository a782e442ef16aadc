"""The same frames in a window of open3d."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from kd3d.errors import UserError
from kd3d.viz.boxes import EDGES, box_corners
from kd3d.viz.style import BACKGROUND, HEIGHT_RAMP, group_styles
from kd3d.viz.viewer.scene import Scene

_NEXT, _BACK = 262, 263  # arrow keys, GLFW


def need_display() -> None:
    """Refuse a window where there is no display.

    Raises:
        UserError: Neither ``DISPLAY`` nor ``WAYLAND_DISPLAY`` is set.
    """
    named = ("DISPLAY", "WAYLAND_DISPLAY")
    known = sys.platform != "linux" or any(os.environ.get(name) for name in named)
    if not known:
        raise UserError(
            "there is no display here", "--window", "leave it out: the page opens in any browser"
        )


def show_window(scenes: list[Scene], score: float) -> None:
    """Show frames until the window is closed; the right and left arrow keys change the frame.

    Args:
        scenes: At least one.
        score: Boxes below it are left out.

    Raises:
        UserError: No display, or open3d cannot open a window on it.
    """
    need_display()
    import open3d

    window = open3d.visualization.VisualizerWithKeyCallback()
    if not window.create_window(f"kd3d: {scenes[0].name}", 1280, 800):
        raise UserError("open3d cannot open a window on this display", "--window")
    window.get_render_option().background_color = _rgb(BACKGROUND)
    window.get_render_option().point_size = 1.5
    place = 0

    def turn(step: int) -> bool:
        nonlocal place
        place = (place + step) % len(scenes)
        window.clear_geometries()
        for shape in shapes(scenes[place], score):
            window.add_geometry(shape, reset_bounding_box=step == 0)
        return True

    window.register_key_callback(_NEXT, lambda _: turn(1))
    window.register_key_callback(_BACK, lambda _: turn(-1))
    turn(0)
    window.run()
    window.destroy_window()


def shapes(scene: Scene, score: float) -> list[Any]:
    """Return a scene as open3d's geometries: the cloud, and the edges of each group's boxes."""
    import open3d

    vectors = open3d.utility.Vector3dVector
    points = scene.points[:, :3].astype(np.float64)
    cloud = open3d.geometry.PointCloud(vectors(points))
    ramp = np.array([_rgb(colour) for colour in HEIGHT_RAMP])
    height = np.clip((points[:, 2] + 2.0) / 3.5, 0, 1) * (len(ramp) - 1)
    columns = [np.interp(height, np.arange(len(ramp)), ramp[:, i]) for i in range(3)]
    cloud.colors = vectors(np.stack(columns, 1))
    found: list[Any] = [cloud]
    for name, style in group_styles(list(scene.groups)).items():
        group = scene.groups[name]
        corners = box_corners(group.box[~(group.score < score)])  # labels have none
        lines = (EDGES[None] + 8 * np.arange(len(corners))[:, None, None]).reshape(-1, 2)
        edges = open3d.geometry.LineSet(
            vectors(corners.reshape(-1, 3)), open3d.utility.Vector2iVector(lines)
        )
        edges.paint_uniform_color(_rgb(style.color))
        found.append(edges)
    return found


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
