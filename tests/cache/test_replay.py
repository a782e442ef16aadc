"""A run from the cache is the run with the live teacher; anything else is refused by name."""

import shutil

import numpy as np
import pytest
import torch

import kd3d.core.run
from kd3d.cache.fill import fill
from kd3d.cache.pipeline import GEOMETRIC
from kd3d.cache.store import CacheStore
from kd3d.data.transforms import PadVelocity
from kd3d.engine.runner import train
from kd3d.errors import UserError
from tests.cache.tiny import cached_config, live_config, losses, make_teacher, without_pasting
from tests.engine.tiny import prepared

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def kitti(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("kitti"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return make_teacher(tmp_path_factory.mktemp("teacher") / "teacher.pth")


@pytest.fixture(scope="module")
def filled(kitti, teacher, tmp_path_factory):
    """A complete store of two views, made with another batch size than the training's."""
    folder = tmp_path_factory.mktemp("cache")
    config = cached_config(
        kitti, teacher, folder / "s.zarr", folder, "train_dataloader.batch_size=3", views=2
    )
    (done,) = fill(config)
    assert (done.records, done.made) == (6, 6)
    return folder / "s.zarr"


@pytest.fixture
def store(filled, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(filled, tmp_path / "s.zarr")


def chunk(store, view, index):
    return store / "records" / "c" / str(view) / str(index)


def test_losses_equal_those_of_the_live_teacher(kitti, teacher, filled, tmp_path, monkeypatch):
    train(live_config(kitti, teacher, tmp_path / "live"))

    def never(*_, **__):
        pytest.fail("the teacher was run")

    monkeypatch.setattr(kd3d.core.run, "run_teacher", never)
    monkeypatch.setattr("kd3d.teachers.base.run_teacher", never)
    train(cached_config(kitti, teacher, filled, tmp_path / "cached", views=2))
    live, cached = losses(tmp_path / "live"), losses(tmp_path / "cached")
    assert len(live) == len(cached) == 4  # two epochs of a batch of 2 and a batch of 1
    for one, other in zip(live, cached):
        assert (
            set(one) == set(other) >= {"kd.bev.loss", "kd.response.loss", "task.task0.loss_heatmap"}
        )
        assert one["kd.bev.loss"] > 1e-3
        assert one["kd.response.loss"] > 1e-3
        for key, value in one.items():
            assert other[key] == pytest.approx(value, rel=1e-5, abs=1e-5), key
    assert live[0]["kd.bev.loss"] != pytest.approx(live[2]["kd.bev.loss"], rel=1e-3)


def test_further_taps_are_stored_too(kitti, teacher, tmp_path):
    """Terms that also read the teacher's proposals, and one that reads its head whole."""
    short = ("train_cfg.max_epochs=1", "param_scheduler.total_steps=1")
    method = [dict(type="lidar_distillation"), dict(type="rdd", features=0.1)]
    live = live_config(kitti, teacher, tmp_path / "live", *short)
    cached = cached_config(kitti, teacher, tmp_path / "s.zarr", tmp_path / "cached", *short)
    for config in (live, cached):
        config.model.method = method
    fill(cached)
    train(live)
    train(cached)
    live, cached = losses(tmp_path / "live"), losses(tmp_path / "cached")
    assert len(live) == len(cached) == 2
    for one, other in zip(live, cached):
        for key in ("kd.beams.loss", "kd.disparity.loss"):
            assert one[key] > 1e-3
            assert other[key] == pytest.approx(one[key], rel=1e-5, abs=1e-5)


OTHER_ORIGINS = {
    "teacher weights": lambda config, other: config.model.teachers.teacher.update(
        checkpoint=str(other)
    ),
    "teacher model": lambda config, other: config.model.teachers.teacher.update(
        override=dict(pts_bbox_head=dict(norm_bbox=False))
    ),
    "teacher model ": lambda config, other: config.model.teachers.teacher.update(
        precision="bfloat16"
    ),
    "augmentation": lambda config, other: config.train_dataloader.dataset.pipeline[3].update(
        flip_ratio_bev_horizontal=0.4
    ),
    "data": lambda config, other: config.train_dataloader.dataset.update(
        ann_file="kitti_infos_val.pkl"
    ),
    "seed": lambda config, other: config.randomness.update(seed=1),
    "dtype": lambda config, other: config.model.teachers.teacher.update(dtype="float16"),
    "mode": lambda config, other: config.model.teachers.teacher.update(mode="canonical", views=1),
}


@pytest.mark.parametrize("what", OTHER_ORIGINS)
def test_store_of_other_origin_is_refused(what, kitti, teacher, filled, tmp_path):
    config = cached_config(kitti, teacher, filled, tmp_path / "work", views=2)
    OTHER_ORIGINS[what](config, make_teacher(tmp_path / "other.pth", seed=1))
    if what == "mode":
        config.train_dataloader.dataset.pipeline.pop(2)  # pasting is refused before
    with pytest.raises(UserError, match=f"{what.strip()} \\("):
        train(config)
    assert not (tmp_path / "work").exists()
    with pytest.raises(UserError, match=f"{what.strip()} \\("):
        fill(config)


def test_more_views_than_stored_or_unseeded_data_are_refused(kitti, teacher, filled, tmp_path):
    own = ("train_cfg.max_epochs=3", "param_scheduler.total_steps=3")
    with pytest.raises(UserError, match="shows 3 views of every sample, 2 are stored"):
        train(cached_config(kitti, teacher, filled, tmp_path, *own, views=2))
    with pytest.raises(UserError, match="seeded data"):
        train(cached_config(kitti, teacher, filled, tmp_path, "seeded_data=False", views=2))


def test_term_that_reads_other_cells_is_refused(kitti, teacher, filled, tmp_path):
    config = cached_config(kitti, teacher, filled, tmp_path, views=2)
    config.model.method[1].mask = dict(type="box")
    with pytest.raises(UserError, match=r"cells of .*gaussian.* this term reads .*'box'"):
        train(config)
    config.model.method[1].update(tap="stage0", teacher_tap="stage0")
    with pytest.raises(UserError, match="no tap 'stage0'"):
        train(config)


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


BROKEN = {
    "is missing": lambda path: path.unlink(),
    "is corrupted": damage,
    "is corrupted (": lambda path: path.write_bytes(path.read_bytes()[:100]),
}


@pytest.mark.parametrize("words", BROKEN)
def test_broken_chunk_is_named_and_mended(words, kitti, teacher, store, tmp_path):
    whole = chunk(store, 1, 2).read_bytes()
    BROKEN[words](chunk(store, 1, 2))
    with pytest.raises(UserError, match=r"sample 2, view 1.*chunk is .*kd3d cache") as error:
        CacheStore.open(str(store)).read([(1, 0), (1, 2), (0, 0)])
    assert words in str(error.value)
    (done,) = fill(cached_config(kitti, teacher, store, tmp_path, views=2))
    assert done.made == 1
    assert chunk(store, 1, 2).read_bytes() == whole


def test_sample_that_looks_otherwise_is_refused(kitti, teacher, filled, tmp_path, monkeypatch):
    """Data that changed behind the config's back: as another version of a transform would."""
    pad = PadVelocity.transform

    def shifted(self, results):
        results["gt_bboxes_3d"].tensor[:, 0] += 0.01
        return pad(self, results)

    monkeypatch.setattr(PadVelocity, "transform", shifted)
    with pytest.raises(UserError, match="boxes or augmentation are other than when it was stored"):
        train(cached_config(kitti, teacher, filled, tmp_path, views=2))


def test_killed_fill_is_incomplete_and_resumes(kitti, teacher, filled, tmp_path, monkeypatch):
    config = cached_config(kitti, teacher, tmp_path / "s.zarr", tmp_path / "work", views=2)
    write, written = CacheStore.write, []

    def dies(self, view, index, data):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append((view, index))
        write(self, view, index, data)

    monkeypatch.setattr(CacheStore, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        fill(config)
    monkeypatch.undo()
    with pytest.raises(UserError, match="not complete"):
        train(config)
    (done,) = fill(config)
    assert done.made == 2
    assert CacheStore.open(str(tmp_path / "s.zarr")).manifest["complete"]
    for view in (0, 1):
        for index in range(3):
            assert chunk(tmp_path / "s.zarr", view, index).exists()
    (again,) = fill(config)
    assert again.made == 0


@pytest.mark.slow
def test_canonical_store_is_exact_without_augmentation(kitti, teacher, tmp_path):
    """And it runs with augmentation; how it then differs: benchmarks/engine/canonical.py."""
    still = (
        "train_cfg.max_epochs=1",
        "param_scheduler.total_steps=1",
        "train_dataloader.batch_size=3",
    )
    live = without_pasting(live_config(kitti, teacher, tmp_path / "live", *still))
    cached = cached_config(
        kitti, teacher, tmp_path / "s.zarr", tmp_path / "cached", *still, mode="canonical"
    )
    with pytest.raises(UserError, match="ObjectSample cannot be replayed"):
        fill(cached)
    without_pasting(cached)
    (done,) = fill(cached)
    assert done.records == 3
    train(cached)
    assert all(np.isfinite(v) for row in losses(tmp_path / "cached") for v in row.values())
    for config, name in ((live, "live"), (cached, "again")):
        pipeline = config.train_dataloader.dataset.pipeline
        pipeline[:] = [s for s in pipeline if s["type"] not in (*GEOMETRIC, "PointShuffle")]
        config.work_dir = str(tmp_path / name)
        train(config)
    for one, other in zip(losses(tmp_path / "live"), losses(tmp_path / "again"), strict=True):
        assert other == pytest.approx(one, rel=1e-5, abs=1e-5)


def test_size_is_told_and_dry_run_writes_nothing(kitti, teacher, tmp_path, capsys):
    config = cached_config(kitti, teacher, tmp_path / "s.zarr", tmp_path, views=2)
    (done,) = fill(config, dry_run=True)
    assert done.bytes_each > 10_000
    assert "3 of 3 samples" not in capsys.readouterr().out
    assert not (tmp_path / "s.zarr").exists()
