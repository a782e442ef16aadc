"""Our infos and database against those of mmdet3d's own converters, and in its dataset class."""

import importlib
import pickle
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from kd3d.data.kitti_files import Labels
from kd3d.data.kitti_geometry import points_in_boxes
from kd3d.data.kitti_infos import difficulties
from kd3d.data.kitti_prepare import prepare_kitti
from tests.data.kitti_tiny import make_kitti
from tests.paths import SHARED

REAL = SHARED / "real" / "kitti_frames"


def run_mmdet3d_converters(root, monkeypatch):
    """Run what `tools/create_data.py kitti` of mmdet3d 1.4 runs."""
    mmdet3d = pytest.importorskip("mmdet3d")
    from mmdet3d.utils import register_all_modules

    register_all_modules()
    tools = Path(mmdet3d.__path__[0], ".mim", "tools")
    for name, path in (
        ("mim_tools", tools),
        ("mim_tools.converters", tools / "dataset_converters"),
    ):
        module = types.ModuleType(name)
        module.__path__ = [str(path)]
        monkeypatch.setitem(sys.modules, name, module)
    load = importlib.import_module
    infos = load("mim_tools.converters.kitti_converter")
    update = load("mim_tools.converters.update_infos_to_v2")
    database = load("mim_tools.converters.create_gt_database")
    monkeypatch.setattr(update.time, "sleep", lambda seconds: None)
    infos.create_kitti_info_file(str(root), "kitti")
    infos.create_reduced_point_cloud(str(root), "kitti")
    for split in ("train", "val", "trainval"):
        update.update_kitti_infos(str(root / f"kitti_infos_{split}.pkl"), str(root))
    database.create_groundtruth_database(
        "KittiDataset", str(root), "kitti", "kitti_infos_train.pkl"
    )


def differences(ours, theirs, where=""):
    """Return the places where two nested values differ by more than float32's rounding."""
    if isinstance(theirs, dict):
        if set(ours) != set(theirs):
            return [f"{where} keys {set(ours) ^ set(theirs)}"]
        return [d for k in theirs for d in differences(ours[k], theirs[k], f"{where}/{k}")]
    if isinstance(theirs, list) and theirs and isinstance(theirs[0], (dict, list)):
        if len(ours) != len(theirs):
            return [f"{where} {len(ours)} entries, wanted {len(theirs)}"]
        return [d for i, t in enumerate(theirs) for d in differences(ours[i], t, f"{where}[{i}]")]
    if isinstance(theirs, str) or theirs is None:
        return [] if ours == theirs else [f"{where} {ours!r}, wanted {theirs!r}"]
    a, b = np.asarray(ours, float), np.asarray(theirs, float)
    same = a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-4)
    return [] if same else [f"{where} {ours}, wanted {theirs}"]


def load(path):
    return pickle.loads(path.read_bytes())


@pytest.mark.parametrize("source", ["tiny", "real"])
def test_equal_to_mmdet3ds_converters(source, tmp_path, monkeypatch):
    theirs = tmp_path / "theirs"
    if source == "tiny":
        make_kitti(theirs)
    elif REAL.is_dir():
        shutil.copytree(REAL, theirs)
        shutil.rmtree(theirs / "training/velodyne_reduced")
    else:
        pytest.skip("the shared folder is not here")
    ours = prepare_kitti(theirs, tmp_path / "ours", pictures=False).out
    run_mmdet3d_converters(theirs, monkeypatch)
    for split in ("train", "val", "trainval"):
        a, b = (load(folder / f"kitti_infos_{split}.pkl") for folder in (ours, theirs))
        assert differences(a["data_list"], b["data_list"]) == []
        a["metainfo"]["categories"].pop("DontCare", None)
        b["metainfo"]["categories"].pop("DontCare", None)  # theirs looks at the last frame only
        assert a["metainfo"] == b["metainfo"]
    for cloud in (theirs / "training/velodyne_reduced").iterdir():
        assert cloud.read_bytes() == (ours / "training/velodyne_reduced" / cloud.name).read_bytes()
    a, b = (load(folder / "kitti_dbinfos_train.pkl") for folder in (ours, theirs))
    for name in b:
        for entry, wanted in zip(a[name], b[name], strict=True):
            files = [folder / e["path"] for folder, e in ((ours, entry), (theirs, wanted))]
            points = [np.fromfile(file, "<f4").reshape(-1, 4) for file in files]
            np.testing.assert_allclose(*points, atol=1e-5)
            for e in (entry, wanted):  # theirs holds the position in the split, ours the frame
                del e["path"], e["image_idx"]
    assert differences(a, b) == []


def test_mmdet3ds_dataset_reads_a_linked_folder(tmp_path):
    pytest.importorskip("mmdet3d")
    from mmdet3d.datasets import KittiDataset
    from mmdet3d.utils import register_all_modules

    register_all_modules()
    out = prepare_kitti(make_kitti(tmp_path / "kitti"), tmp_path / "out", pictures=False).out
    dataset = KittiDataset(
        data_root=str(out),
        ann_file="kitti_infos_train.pkl",
        data_prefix={"pts": "training/velodyne_reduced", "img": "training/image_2"},
        modality={"use_lidar": True, "use_camera": True},
        metainfo={"classes": ["Car", "Cyclist"]},
        pipeline=[
            {"type": "LoadPointsFromFile", "coord_type": "LIDAR", "load_dim": 4, "use_dim": 4},
            {"type": "LoadImageFromFile"},
            {"type": "LoadAnnotations3D", "with_bbox_3d": True, "with_label_3d": True},
        ],
        filter_empty_gt=False,
    )
    assert len(dataset) == 3
    item = dataset[0]
    assert item["gt_labels_3d"].tolist() == [0, 1]
    assert item["img"].shape == (360, 1200, 3)
    # the label says 14 m ahead of the camera, which sits 0.27 m ahead of the LiDAR
    np.testing.assert_allclose(item["gt_bboxes_3d"].tensor[0, :2], [14.27, -0.99], atol=0.02)
    assert len(dataset[1]["gt_labels_3d"]) == 0


def test_points_in_boxes_against_a_naive_loop():
    rng = np.random.default_rng(3)
    points = rng.uniform([-6, -6, -3, 0], [6, 6, 3, 1], (2000, 4)).astype(np.float32)
    boxes = np.array([[0, 0, -1, 4, 2, 1.5, 0.7], [2, -3, -2, 1, 5, 3, -2.5]], dtype=np.float32)
    for mask, (x, y, z, dx, dy, dz, yaw) in zip(points_in_boxes(points, boxes), boxes):
        for (px, py, pz, _), inside in zip(points, mask):
            along = np.cos(yaw) * (px - x) + np.sin(yaw) * (py - y)
            across = -np.sin(yaw) * (px - x) + np.cos(yaw) * (py - y)
            assert inside == (abs(along) < dx / 2 and abs(across) < dy / 2 and z < pz < z + dz)
        assert 10 < mask.sum() < 1000


@pytest.mark.parametrize(
    ("height", "occluded", "truncated", "level"),
    [
        (40.1, 0, 0.15, 0),
        (40.0, 0, 0.15, 1),
        (40.1, 1, 0.15, 1),
        (40.1, 0, 0.16, 1),
        (25.1, 1, 0.30, 1),
        (25.1, 2, 0.30, 2),
        (25.1, 1, 0.31, 2),
        (25.1, 2, 0.50, 2),
        (25.0, 0, 0.00, -1),
        (90.0, 3, 0.00, -1),
        (90.0, 0, 0.51, -1),
    ],
)
def test_difficulty_at_the_limits(height, occluded, truncated, level):
    row = np.array([[truncated, occluded, 0, 0, 100, 10, 100 + height, *[1.0] * 7]])
    assert difficulties(Labels.from_table(np.array(["Car"]), row)).tolist() == [level]
