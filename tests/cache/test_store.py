"""What goes into a store comes out again, whatever the layout and the place."""

import numpy as np
import pytest
import torch

from kd3d.cache import manifest, plan, record, values
from kd3d.cache.store import CacheStore
from kd3d.core.context import Context
from kd3d.core.distiller import Distiller
from kd3d.core.foreground import Foreground
from kd3d.core.spec import FeatureSpec, LevelsSpec
from kd3d.engine.contract import build
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.losses.feature.standardise import channel_moments, standardise_rows, standardised
from tests import toy

register_all()


def through_bytes(parts):
    return [record.decode(record.encode(part)) for part in parts]


def assert_same(one, other):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif one is None:
        assert other is None
    else:
        assert len(one) == len(other)
        for a, b in zip(one, other):
            assert_same(a, b)


@pytest.mark.parametrize("family", toy.FAMILIES)
def test_live_values_come_back(family):
    """Rows, maps, heads of both kinds and boxes of a live teacher, two samples of one batch."""
    make = toy.FAMILIES[family]
    model = Distiller(
        make(),
        dict(teacher=dict(type="Frozen", checkpoint=None, model=make())),
        [dict(type="fitnets"), dict(type="response"), dict(type="pointdistiller", queries=4)],
    )
    teacher = model.teachers["teacher"]
    specs = teacher.tap(["pillars", "bev", "head", "boxes", "stages"])
    data = model.data_preprocessor(toy.batch(box_dim=9), True)
    context = Context.from_batch(data["inputs"], data["data_samples"]["student"], 0.0)
    found = teacher(data["inputs"], data["data_samples"], context)
    sample = data["inputs"]["teacher"]["voxels"]["coors"][:, 0].long()
    rows = torch.bincount(sample).tolist()
    for tap, value in found.items():
        parts = values.split(value, specs[tap].layout, 2, rows)
        assert len(parts) == 2
        back = values.join(through_bytes(parts), specs[tap].layout, values.skeleton_of(value))
        assert_same(value, back)
        assert manifest.tap_spec(manifest.tap_entry(specs[tap], None, None)) == specs[tap]
    layouts = {specs[tap].layout for tap in found}
    assert layouts >= {"rows", "map", "boxes", "levels"}


def test_plan_stores_several_taps_but_no_head_that_is_run():
    assert plan._reads(build(dict(type="reviewkd"), "centerpoint"), "teacher", "replay") == {
        "stages": None
    }
    with pytest.raises(UserError, match="live teacher"):
        plan._reads(build(dict(type="crosskd"), "centerpoint"), "teacher", "replay")
    model = build(dict(type="reviewkd"), "centerpoint")
    specs = model.teachers["teacher"].taps.specs
    specs["stages"] = LevelsSpec.of([FeatureSpec(4, "rows"), *specs["stages"].each])
    with pytest.raises(UserError, match="cannot be stored: rows of 4 channels"):
        plan._reads(model, "teacher", "replay")


def test_foreground_comes_back_with_an_empty_sample():
    feature, mask = torch.randn(3, 5, 4, 6), torch.zeros(3, 1, 4, 6)
    mask[0, 0, 1, 2], mask[2, 0, 3, 5] = 0.5, 1.0
    live = Foreground.of(feature, mask, channel_moments(feature))
    back = values.join(through_bytes(values.split(live, "foreground", 3)), "foreground", None)
    for key in ("cells", "weight", "rows", "moments"):
        assert_same(getattr(live, key), getattr(back, key))
    whole = standardised(feature)
    cells = standardise_rows(back.rows, back.moments, 24)
    assert torch.allclose(cells[1], whole[2, :, 3, 5], atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 7), (9, 3)])
def test_standardised_is_the_textbook_formula(shape):
    feature = 100 + 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    axes = [a for a in range(len(shape)) if a != 1]
    exact = feature.double()
    mean, variance = exact.mean(axes, keepdim=True), exact.var(axes, keepdim=True, unbiased=False)
    wanted = (exact - mean) / (variance + 1e-5).sqrt()
    assert torch.allclose(standardised(feature).double(), wanted, atol=1e-4)


def test_float16_spares_boxes_and_moments_and_refuses_what_it_cannot_hold():
    made = values.narrowed(
        {
            k: np.full(2, 0.1, np.float32)
            for k in ("value/0/0/heatmap", "features", "boxes", "mean")
        },
        "float16",
        "tap",
    )
    kinds = {key: array.dtype.name for key, array in made.items()}
    assert kinds == {
        "value/0/0/heatmap": "float16",
        "features": "float16",
        "boxes": "float32",
        "mean": "float32",
    }
    assert values.join([{"value": made["features"]}], "map", "value").dtype == torch.float32
    with pytest.raises(UserError, match="too large for float16"):
        values.narrowed({"features": np.array([7e4], np.float32)}, "float16", "tap")
    with pytest.raises(UserError, match="not finite"):
        values.narrowed({"features": np.array([np.nan], np.float32)}, "float32", "tap")


@pytest.mark.parametrize("place", ["{}/s.zarr", "file://{}/s.zarr", "memory://{}/s.zarr"])
def test_stores_at_paths_and_urls(place, tmp_path):
    url = place.format(tmp_path)
    assert CacheStore.open(url) is None
    CacheStore.create(url, 2, 3, {"complete": False})
    store, data = CacheStore.open(url, write=True), {"a": np.arange(7.0)}
    store.write(1, 2, record.encode(data))
    store.finish()
    again = CacheStore.open(url)
    assert again.manifest == {"complete": True}
    assert np.array_equal(again.read([(1, 2)])[0]["a"], data["a"])
    with pytest.raises(UserError, match="sample 0, view 1: the chunk is missing"):
        again.read([(1, 2), (1, 0)])
    if not place.startswith("memory"):
        assert (tmp_path / "s.zarr/records/c/1/2").is_file()


def test_what_is_no_store_is_refused(tmp_path):
    (tmp_path / "s.zarr").mkdir()
    (tmp_path / "s.zarr/zarr.json").write_text("{")
    with pytest.raises(UserError, match="no teacher cache can be read"):
        CacheStore.open(str(tmp_path / "s.zarr"))
    with pytest.raises(UserError, match="no teacher cache can be read"):
        CacheStore.open("nowhere://bucket/s.zarr")


@pytest.mark.parametrize("data", [b"", b"\x05\0\0\0[]", record.encode({"a": np.zeros(3)})[:-1]])
def test_bytes_that_are_no_record_are_refused(data):
    with pytest.raises(ValueError, match="no record"):
        record.decode(data)
