"""A teacher in the car's frame gives maps in the LiDAR's."""

import copy

import numpy as np
import pytest
import torch

from kd3d.core.distiller import Distiller
from kd3d.core.registry import TEACHERS
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.models import tiny_bev

register_all()
# Car x is LiDAR y, car y is LiDAR -x, as in nuScenes; some degrees more, and a metre.
LIDAR2EGO = np.eye(4)
LIDAR2EGO[:2, :2] = [[0.0349, 0.9994], [-0.9994, 0.0349]]
LIDAR2EGO[:3, 3] = 0.94, 0.1, 1.84
AT = np.array([14.0, 9.0, -1.0])  # in the +x, +y quadrant of the LiDAR's frame


def teacher(**options):
    found = TEACHERS.build(
        dict(type="Frozen", name="t", model=tiny_bev.centerpoint(), checkpoint=None, **options)
    )
    return found


def run(one, xyz, matrix=LIDAR2EGO):
    batch = tiny_bev.batch(samples=1)
    cloud = torch.zeros(30, 5)
    cloud[:, :3] = torch.from_numpy(xyz).float() + 0.1 * torch.randn(30, 3)
    batch["inputs"] = dict(points=[cloud])
    batch["data_samples"][0].set_metainfo(dict(lidar2ego=matrix))
    data = one.model.data_preprocessor(batch, False)
    return one({"t": data["inputs"]}, {"t": data["data_samples"]}, None)


def centre(spec, value):
    """Metres of the cell with most in it."""
    row, column = divmod(int(value[0].abs().sum(0).argmax()), value.shape[-1])
    (x_min, y_min, _, _), (cell_x, cell_y) = spec.extent_m, spec.cell_m
    return np.array([x_min + (column + 0.5) * cell_x, y_min + (row + 0.5) * cell_y])


def test_an_object_lies_where_the_lidar_sees_it():
    torch.manual_seed(0)
    plain, turned = teacher(), teacher(frame="ego")
    spec = plain.tap(["bev_in"])["bev_in"]
    np.testing.assert_allclose(centre(spec, run(plain, AT)["bev_in"]), AT[:2], atol=0.8)

    spec = turned.tap(["bev_in"])["bev_in"]
    assert spec.extent_m == pytest.approx((-25.6 + 2.4, -25.6 + 2.4, 19.2 - 2.4, 38.4 - 2.4))
    assert spec.shape == (80 - 6, 56 - 6)
    moved = LIDAR2EGO[:3, :3] @ AT + LIDAR2EGO[:3, 3]
    value = run(turned, moved)["bev_in"]
    assert value.shape[-2:] == spec.shape
    np.testing.assert_allclose(centre(spec, value), AT[:2], atol=0.8)


def test_a_distiller_reads_it_in_metres():
    given = dict(type="Frozen", model=tiny_bev.centerpoint(), checkpoint=None, frame="ego")
    distiller = Distiller(
        student=tiny_bev.bevdet(),
        teachers=dict(teacher=given),
        branches=dict(teacher=dict(points="points_ego")),
        method=dict(type="fitnets"),
    )
    batch = tiny_bev.batch()
    clouds = batch["inputs"]["points"]
    matrix = torch.from_numpy(LIDAR2EGO).float()
    batch["inputs"]["points_ego"] = [
        torch.cat([c[:, :3] @ matrix[:3, :3].T + matrix[:3, 3], c[:, 3:]], 1) for c in clouds
    ]
    for sample in batch["data_samples"]:
        sample.set_metainfo(dict(lidar2ego=LIDAR2EGO))
    data = distiller.data_preprocessor(copy.deepcopy(batch), True)
    losses = distiller(**data, mode="loss")
    value = next(v for k, v in losses.items() if k.startswith("kd.") and k.endswith(".loss"))
    assert torch.isfinite(value)
    assert value > 0


def test_what_cannot_be_turned_is_refused():
    with pytest.raises(UserError, match="unknown frame 'car'"):
        teacher(frame="car")
    with pytest.raises(UserError, match="only maps are read"):
        teacher(frame="ego").tap(["head"])
    one = teacher(frame="ego")
    one.tap(["bev"])
    with pytest.raises(UserError, match="turns by 0 degrees"):
        run(one, AT, np.eye(4))
    with pytest.raises(UserError, match="no lidar2ego"):
        run(one, AT, None)
