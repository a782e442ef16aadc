import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from kd3d.data import kitti_layout, kitti_prepare
from kd3d.data.kitti_prepare import MANIFEST, info_format, prepare_kitti
from kd3d.data.kitti_summary import OFFICIAL_TRAIN_BOXES, format_summary, summarise
from kd3d.errors import UserError
from tests.data.kitti_tiny import CAR, DONT_CARE, make_kitti
from tests.paths import SHARED, needs_shared


def load(path):
    return pickle.loads(Path(path).read_bytes())


def snapshot(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


@pytest.fixture
def tiny(tmp_path):
    return make_kitti(tmp_path / "kitti", testing=True)


def test_infos_clouds_and_database_lie_in_place(tiny):
    done = prepare_kitti(tiny, pictures=False)
    assert done.rebuilt
    assert done.summary["frames"] == {"train": 3, "val": 1, "test": 1, "trainval": 4}
    infos = load(tiny / "kitti_infos_train.pkl")
    assert infos["metainfo"]["info_version"] == "1.1"
    assert [i["sample_idx"] for i in infos["data_list"]] == [3, 10, 25]
    assert [len(i["instances"]) for i in infos["data_list"]] == [3, 0, 2]
    car, _, dont_care = infos["data_list"][0]["instances"]
    assert (car["bbox_label"], car["difficulty"], dont_care["bbox_label"]) == (2, 0, -1)
    reduced = np.fromfile(tiny / "training/velodyne_reduced/000003.bin", "<f4").reshape(-1, 4)
    assert 0 < len(reduced) < 5500
    assert reduced[:, 0].min() > 0
    database = load(tiny / "kitti_dbinfos_train.pkl")
    assert {name: len(entries) for name, entries in database.items()} == {
        "Car": 2,
        "Cyclist": 1,
        "Van": 1,
    }
    entry = database["Car"][0]
    inside = np.fromfile(tiny / entry["path"], "<f4").reshape(-1, 4)
    assert len(inside) == entry["num_points_in_gt"] == car["num_lidar_pts"] > 20
    dx, dy, dz = entry["box3d_lidar"][3:6]
    assert np.abs(inside[:, :2]).max() <= np.hypot(dx, dy) / 2
    assert inside[:, 2].min() >= 0
    assert inside[:, 2].max() <= dz


def test_second_run_does_nothing_and_a_changed_file_is_noticed(tiny):
    prepare_kitti(tiny, pictures=False)
    before = {p: p.stat().st_mtime_ns for p in tiny.rglob("*.pkl")}
    again = prepare_kitti(tiny, pictures=False)
    assert not again.rebuilt
    assert {p: p.stat().st_mtime_ns for p in tiny.rglob("*.pkl")} == before
    stale = tiny / "kitti_gt_database/25_Van_1.bin"
    assert stale.exists()
    (tiny / "training/label_2/000025.txt").write_text(CAR)
    changed = prepare_kitti(tiny, pictures=False)
    assert changed.rebuilt
    assert not stale.exists()
    assert len(load(tiny / "kitti_infos_train.pkl")["data_list"][2]["instances"]) == 1


def test_interrupted_run_leaves_no_infos_and_continues(tiny, monkeypatch):
    monkeypatch.setattr(kitti_prepare, "_CHUNK", 1)
    real, seen = kitti_prepare.build_frame, []

    def broken(frame):
        seen.append(frame.name)
        if frame.name == "000025":
            raise KeyboardInterrupt
        return real(frame)

    monkeypatch.setattr(kitti_prepare, "build_frame", broken)
    with pytest.raises(KeyboardInterrupt):
        prepare_kitti(tiny, pictures=False)
    assert not list(tiny.glob("*.pkl"))
    assert not (tiny / MANIFEST).exists()
    seen.clear()
    monkeypatch.setattr(kitti_prepare, "build_frame", lambda f: seen.append(f.name) or real(f))
    prepare_kitti(tiny, pictures=False)
    assert "000003" not in seen
    assert "000025" in seen
    assert not (tiny / ".kitti_prepare").exists()


def test_other_folder_leaves_the_source_alone_and_equals_in_place(tiny, tmp_path):
    before = snapshot(tiny)
    out = prepare_kitti(tiny, tmp_path / "out", pictures=False).out
    assert snapshot(tiny) == before
    prepare_kitti(tiny, pictures=False)
    for name in ("kitti_infos_trainval.pkl", "kitti_dbinfos_train.pkl"):
        assert (out / name).read_bytes() == (tiny / name).read_bytes()
    assert (out / "training/image_2/000003.png").is_file()


def test_no_testing_folder_and_no_test_list(tmp_path):
    root = make_kitti(tmp_path / "kitti")
    (root / "ImageSets/test.txt").unlink()
    prepare_kitti(root, pictures=False)
    assert load(root / "kitti_infos_test.pkl")["data_list"] == []


def test_three_frames_are_drawn(tiny):
    from PIL import Image

    done = prepare_kitti(tiny)
    assert [p.name for p in done.pictures if "bev" in p.name] == [
        "000003_bev.png",
        "000010_bev.png",
        "000031_bev.png",
    ]
    for path in done.pictures:
        assert Image.open(path).width > 300


def truncate(path, size):
    path.write_bytes(path.read_bytes()[:size])


def nan_point(path):
    points = np.fromfile(path, "<f4")
    points[5] = np.nan
    points.tofile(path)


def edit(path, old, new):
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("file", "break_it", "message"),
    [
        (
            "velodyne/000003.bin",
            os.remove,
            r"1 of 4 listed files are missing \(000003.bin\).*29 GB",
        ),
        ("velodyne/000003.bin", lambda p: truncate(p, 0), "1 of 4 listed files are empty"),
        ("velodyne/000003.bin", lambda p: truncate(p, 1001), "not a multiple of 16"),
        ("velodyne/000003.bin", nan_point, "1 of 5500 points are NaN"),
        ("image_2/000031.png", lambda p: truncate(p, 400), "not a whole image"),
        ("calib/000010.txt", lambda p: edit(p, "P2:", "P9:"), "000010.txt: no P2 of 3x4"),
        ("label_2/000003.txt", lambda p: edit(p, " -1.40", ""), "000003.txt:1: 14 columns"),
        ("label_2/000003.txt", lambda p: edit(p, "Cyclist", "Cyclst"), "did you mean 'Cyclist'"),
        ("label_2/000003.txt", lambda p: edit(p, "1.50 1.60", "0.00 1.60"), "not above zero"),
        ("../ImageSets/train.txt", lambda p: p.write_text("000003\n999999\n"), "999999.bin"),
        (
            "../ImageSets/train.txt",
            lambda p: p.write_text("000003\nx\n"),
            "train.txt:2: 'x' is not",
        ),
        ("../ImageSets/train.txt", lambda p: p.write_text("3\n000003\n"), "listed twice"),
        ("../ImageSets/train.txt", lambda p: p.write_text(""), "no frame in it"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tiny, file, break_it, message):
    break_it(tiny / "training" / file)
    before = snapshot(tiny)
    with pytest.raises(UserError, match=message) as error:
        prepare_kitti(tiny, pictures=False)
    assert "\n" not in str(error.value)
    assert snapshot(tiny) == before


def test_many_problems_are_counted(tiny):
    for path in (tiny / "training/label_2").iterdir():
        path.write_text("Car 1 2 3\n")
    with pytest.raises(UserError, match=r"4 problems: .*000003.txt:1.*000010.txt:1"):
        prepare_kitti(tiny, pictures=False)


def test_missing_folders_name_the_downloads(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        prepare_kitti(tmp_path / "nowhere")
    make_kitti(tmp_path / "a" / "kitti")
    with pytest.raises(UserError, match=r"did you mean --root .*a/kitti"):
        prepare_kitti(tmp_path / "a")
    (tmp_path / "b/training/calib").mkdir(parents=True)
    with pytest.raises(UserError, match=r"velodyne.zip \(29 GB\).*label_2.zip \(5 MB\).*cvlibs"):
        prepare_kitti(tmp_path / "b")


def test_without_lists_the_official_splits_count(tiny):
    for path in (tiny / "ImageSets").iterdir():
        path.unlink()
    (tiny / "ImageSets").rmdir()
    with pytest.raises(UserError, match=r"7477 of 7481 listed.*write ImageSets/"):
        prepare_kitti(tiny, pictures=False)
    sizes = {
        s: len(kitti_layout.read_ids(kitti_layout.OFFICIAL_SPLITS_DIR / f"{s}.txt"))
        for s in kitti_layout.OFFICIAL_FRAMES
    }
    assert sizes == kitti_layout.OFFICIAL_FRAMES


def test_counts_are_compared_with_the_official_data_set(tmp_path):
    source = kitti_layout.KittiSource(tmp_path, {}, official=True, simulated=False)
    infos = {s: [{"instances": []}] * kitti_layout.OFFICIAL_FRAMES[s] for s in kitti_layout.SPLITS}
    database = {name: [None] * n for name, n in OFFICIAL_TRAIN_BOXES.items()}
    summary = summarise(source, infos, database)
    assert summary["differences"] == []
    assert "all counts equal the official data set's" in format_summary(summary)
    database["Car"].pop()
    infos["val"] = infos["val"][1:]
    assert summarise(source, infos, database)["differences"] == [
        "3768 val frames, official 3769",
        "7480 trainval frames, official 7481",
        "14356 Car in train, official 14357",
    ]


def test_old_infos_are_recognised_and_kept(tiny):
    old = tiny / "kitti_infos_val.pkl"
    old.write_bytes(pickle.dumps([{"image": {"image_idx": 1}}]))
    assert info_format(old) == "v1"
    before = snapshot(tiny)
    with pytest.raises(UserError, match=r"made by mmdet3d < 1\.1"):
        prepare_kitti(tiny, pictures=False)
    assert snapshot(tiny) == before
    old.write_bytes(b"not a pickle")
    with pytest.raises(UserError, match="not an info file"):
        info_format(old)


def test_dont_care_need_not_come_last(tiny):
    path = tiny / "training/label_2/000003.txt"
    path.write_text(DONT_CARE + CAR)
    prepare_kitti(tiny, pictures=False)
    dont_care, car = load(tiny / "kitti_infos_train.pkl")["data_list"][0]["instances"]
    assert (dont_care["index"], dont_care["num_lidar_pts"]) == (-1, -1)
    assert car["index"] == 0
    assert car["num_lidar_pts"] > 20


@needs_shared
def test_real_reduced_clouds_equal_the_reference_bytes(tmp_path):
    real = SHARED / "real" / "kitti_frames"
    out = prepare_kitti(real, tmp_path / "out", pictures=False).out
    clouds = sorted((out / "training/velodyne_reduced").iterdir())
    assert len(clouds) == 10
    for path in clouds:
        assert path.read_bytes() == (real / "training/velodyne_reduced" / path.name).read_bytes()
