"""`kd3d view`: what is written into the page, from folders and from models, and the page itself."""

import base64
import html
import json
import pickle
import re

import numpy as np
import pytest
import torch
from PIL import Image

from kd3d.data.frames import Boxes, Picture
from kd3d.engine.looking import feature_energy
from kd3d.engine.runner import load_config
from kd3d.models.stock import write_config
from kd3d.viz.viewer.page import write_viewer
from kd3d.viz.viewer.scene import GroundMap, Scene, packed
from kd3d.viz.viewer.window import shapes
from tests.browser import needs_browser, told
from tests.deploy.test_parity import built
from tests.engine.tiny import DEMO, failure, prepared, run

# In each frame of the outer page: what is seen, told to the outer page.
PROBE = """<script>addEventListener("load", () => setTimeout(() => {
  const told = [], seen = canvas => {
    const copy = document.createElement("canvas"), size = [canvas.width, canvas.height];
    [copy.width, copy.height] = size;
    const brush = copy.getContext("2d", { willReadFrequently: true });
    brush.drawImage(canvas, 0, 0);
    const image = brush.getImageData(0, 0, ...size);
    return new Set(new Uint32Array(image.data.buffer)).size;
  };
  document.getElementById("map").selectedIndex = 1;
  document.getElementById("map").onchange({ target: document.getElementById("map") });
  const before = seen(document.getElementById("scene"));
  document.getElementById("on").click();
  told.push(innerWidth, before, seen(document.getElementById("scene")));
  told.push(document.querySelectorAll("#layers input").length);
  told.push(document.getElementById("frame").value);
  told.push(document.documentElement.scrollWidth - innerWidth);
  setTimeout(() => {
    told.push([...document.querySelectorAll("#pictures canvas")].map(seen).join("/"));
    parent.postMessage(told.join(","), "*");
  }, 300);
}, 50));</script>"""


def content(page):
    """The JSON of a page."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)
    return json.loads(html.unescape(found[1]) if "&quot;" in found[1] else found[1])


def made_up(name="a"):
    """A frame with everything the viewer knows."""
    rng = np.random.default_rng(0)
    points = rng.uniform([0, -20, -2], [40, 20, 1], (3000, 3))
    box = [10.0, 2.0, -1.7, 4.0, 1.6, 1.5, 0.3]
    image = rng.integers(0, 256, (60, 1600, 3), dtype=np.uint8)
    matrix = np.array([[800, -700, 0, 0], [30, 0, -700, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    return Scene(
        name,
        points,
        {
            "ground truth": Boxes.labels(np.array(["Car"]), np.array([box])),
            "model </script>": Boxes(
                np.array(["Car", "Car"]), np.array([box, box]), np.array([0.9, 0.2])
            ),
            "nothing": Boxes(np.zeros(0, dtype=object), np.zeros((0, 9)), np.zeros(0)),
        },
        {"energy": GroundMap(rng.random((8, 12)), (0.0, -20.0, 40.0, 20.0))},
        {"front": Picture(image, matrix)},
    )


def test_a_scene_is_packed_without_loss_that_is_seen():
    scene = made_up()
    found = packed(scene)
    points = np.frombuffer(base64.b64decode(found["points"]), "<i2").reshape(-1, 3) / 100
    known = scene.points[np.argsort(scene.points[:, 2], kind="stable")]
    np.testing.assert_allclose(points, known, atol=0.00501)
    assert [one["score"] for one in found["groups"]["model </script>"]] == [0.9, 0.2]
    assert found["groups"]["ground truth"][0]["score"] is None
    cells = np.frombuffer(base64.b64decode(found["maps"]["energy"]["data"]), np.uint8)
    np.testing.assert_allclose(
        cells.reshape(8, 12) / 255, scene.maps["energy"].values, atol=1 / 509
    )
    # the picture is halved, and so is where a point is seen
    picture = found["pictures"]["front"]
    assert picture["size"] == [800, 30]
    place = np.array(picture["matrix"]).reshape(4, 4) @ [10, 2, -1, 1]
    full = scene.pictures["front"].lidar_to_image @ [10, 2, -1, 1]
    np.testing.assert_allclose(place[:2] / place[2], full[:2] / full[2] / 2)
    few = packed(scene, most_points=100)
    assert len(base64.b64decode(few["points"])) == 600
    assert few["total"] == 3000


def test_energy_is_the_mean_square():
    value = torch.zeros(1, 2, 30, 40)
    value[0, 0, 3, 5], value[0, 1, 3, 5], value[0, 0, 9, 9] = 3.0, 1.0, 2.0
    found = feature_energy(value + 0.1)
    wanted = ((value + 0.1)[0] ** 2).mean(0)
    level = np.quantile(wanted.numpy(), 0.995)
    np.testing.assert_allclose(found, np.minimum(wanted / level, 1), rtol=1e-5)


def test_open3d_gets_the_same_boxes():
    cloud, truth, model, nothing = shapes(made_up(), 0.5)
    assert len(cloud.points) == 3000
    assert len(cloud.colors) == 3000
    assert (len(truth.lines), len(model.lines), len(nothing.lines)) == (12, 12, 0)
    corners = np.asarray(truth.points)
    np.testing.assert_allclose(corners.mean(0), [10, 2, -1.7 + 0.75], atol=1e-9)


@needs_browser
def test_page_in_chromium(tmp_path):
    """Wide and narrow at once: drawn, no error, no request, no sideways scrolling."""
    page = tmp_path / "made.html"
    write_viewer(page, [made_up("a"), made_up("b")], "Title <b>", ["note"])
    rows = told(tmp_path, page.read_text(), PROBE)
    for _, before, after, layers, frame, sideways, pictures in rows:
        assert int(before) > 60  # colours of points, boxes, rings and the map
        assert int(after) > 60
        assert (int(layers), frame) == (4, "1")  # points and three groups; the next frame
        assert int(sideways) <= 0
        assert int(pictures) > 1000  # of a picture of noise


def nuscenes(root):
    """One prepared key frame: a cloud, a camera, two boxes, one of no evaluated class."""
    cloud = root / "samples/LIDAR_TOP/a.bin"
    cloud.parent.mkdir(parents=True)
    np.random.default_rng(0).uniform(-9, 9, (50, 5)).astype("<f4").tofile(cloud)
    (root / "samples/CAM_FRONT").mkdir()
    Image.new("RGB", (64, 36), (9, 99, 9)).save(root / "samples/CAM_FRONT/a.jpg")
    camera = dict(img_path="a.jpg", cam2img=np.diag([50.0, 50, 1]).tolist(),
                  lidar2cam=np.eye(4).tolist())  # fmt: skip
    boxes = [
        dict(bbox_3d=[5.0, 1, 0.2, 4, 2, 1.6, 0.1], bbox_label_3d=0, num_lidar_pts=9),
        dict(bbox_3d=[9.0, 1, 0.2, 4, 2, 1.6, 0.1], bbox_label_3d=-1, num_lidar_pts=9),
    ]
    info = dict(token="tok", lidar_points=dict(lidar_path="a.bin"), images={"CAM_FRONT": camera},
                instances=boxes)  # fmt: skip
    infos = dict(metainfo=dict(categories={"car": 0}), data_list=[info])
    (root / "nuscenes_infos_val.pkl").write_bytes(pickle.dumps(infos))
    return root


def test_folders_of_both_layouts(tmp_path):
    kitti = prepared(tmp_path / "kitti")
    run(["view", kitti, "--out", tmp_path / "k.html", "--ids", "000031"])
    (scene,) = content((tmp_path / "k.html").read_text())["scenes"]
    (box,) = scene["groups"]["ground truth"]
    assert box["name"] == "Car"
    assert box["box"][3:6] == [4.0, 1.6, 1.5]
    assert list(scene["pictures"]) == ["image 2"]

    nus = nuscenes(tmp_path / "nus")
    run(["view", nus, "--out", tmp_path / "n.html"])
    (scene,) = content((tmp_path / "n.html").read_text())["scenes"]
    (box,) = scene["groups"]["ground truth"]
    assert box["name"] == "car"
    assert box["box"][:3] == [5.0, 1.0, pytest.approx(-0.6)]  # the bottom's middle
    assert list(scene["pictures"]) == ["CAM_FRONT"]

    line = failure(["view", kitti, "--out", tmp_path / "x.html", "--ids", "999"])
    assert "no frame '999'" in line
    assert "HTML file" in failure(["view", kitti, "--out", tmp_path / "x.txt"])
    (nus / "nuscenes_infos_val.pkl").unlink()
    assert "no infos yet" in failure(["view", nus, "--out", tmp_path / "x.html"])
    assert not (tmp_path / "x.html").exists()


def test_a_window_needs_a_display(tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    kitti = prepared(tmp_path / "kitti")
    line = failure(["view", kitti, "--out", tmp_path / "x.html", "--window"])
    assert line.startswith("--window: there is no display here")
    assert not (tmp_path / "x.html").exists()


def test_models_side_by_side(tmp_path):
    kitti = prepared(tmp_path / "kitti")
    config = load_config(str(DEMO / "baseline.py"), data_root=kitti)
    model = built(lambda: config.model.student)
    write_config(tmp_path / "one/config.py", config, "of a test")
    torch.save({"state_dict": model.state_dict()}, tmp_path / "one/student.pth")
    run(["view", tmp_path / "one", f"two={tmp_path / 'one'}", "--out", tmp_path / "v.html"])
    (scene,) = content((tmp_path / "v.html").read_text())["scenes"]
    assert set(scene["groups"]) == {"ground truth", "one", "two"}
    assert scene["groups"]["one"] == scene["groups"]["two"]
    assert scene["groups"]["one"]
    assert all(0.05 <= one["score"] <= 1 for one in scene["groups"]["one"])
    names = list(scene["maps"])
    assert names[0] == "one: feature energy"
    assert sum(name.startswith("mask of") for name in names) == 2
    energy = scene["maps"]["one: feature energy"]
    assert energy["extent"] == [0.0, -25.6, 51.2, 25.6]
    assert base64.b64decode(energy["data"]).count(255) > 0
