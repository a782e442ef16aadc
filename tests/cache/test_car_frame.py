"""Stored maps of a teacher in the car's frame, replayed in the LiDAR's."""

import copy
import json

import numpy as np
import pytest
import torch
from mmengine.config import Config

from kd3d.cache.fill import fill
from kd3d.cache.geometry import Motion, moved_from_car
from kd3d.cache.pipeline import GEOMETRIC
from kd3d.core.spec import FeatureSpec
from kd3d.data.augmentation import augmentation_matrix
from kd3d.data.nuscenes_prepare import prepare_nuscenes
from kd3d.engine.runner import load_config, train
from kd3d.models.source import build_detector
from kd3d.simulation.nuscenes import simulate_nuscenes
from kd3d.teachers.car_frame import CarFrame
from tests.cache.test_geometry import AUGMENTATIONS, augmented
from tests.paths import ROOT
from tests.teachers.test_car_frame import LIDAR2EGO

CAR = FeatureSpec(3, "map", (44, 60), (-10.4, -8.8, 13.6, 8.8))  # of 0.4 m, off the middle


class Sample:
    def __init__(self, **meta):
        self.metainfo = meta


def field(x, y):
    """A smooth map of metres in the LiDAR's frame, without augmentation."""
    return torch.stack([torch.sin(x / 3) * torch.cos(y / 2), x / 10, (x * y) / 50])


def centres(spec):
    (x_min, y_min, _, _), (rows, columns), (cell_x, cell_y) = spec.extent_m, spec.shape, spec.cell_m
    y = y_min + (torch.arange(rows).double() + 0.5) * cell_y
    x = x_min + (torch.arange(columns).double() + 0.5) * cell_x
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([x, y], -1)


def of_scene(places, matrix):
    """The field at places of a frame to which `matrix` (4, 4) moves the LiDAR's."""
    back = torch.linalg.inv(torch.from_numpy(matrix)[[0, 1, 3]][:, [0, 1, 3]])
    x, y = (places @ back[:2, :2].t() + back[:2, 2]).unbind(-1)
    return field(x, y).float()


@pytest.mark.parametrize("name", [None, *AUGMENTATIONS])
def test_a_stored_map_equals_the_live_teachers(name):
    """Both read a field bilinearly on 0.4 m cells: at most twice h^2/8 times its curvature apart.

    The live teacher's map is of the augmented cloud in the car's frame, the stored one of the plain
    cloud there.
    """
    meta = {} if name is None else augmented(name)[1]
    scene = augmentation_matrix(meta)
    live = of_scene(centres(CAR), LIDAR2EGO @ scene)[None]
    stored = of_scene(centres(CAR), LIDAR2EGO)[None]
    car, sample = CarFrame("t", {"bev": CAR}), Sample(lidar2ego=LIDAR2EGO, **meta)
    wanted, target = car({"bev": live}, [sample])["bev"], car.specs["bev"]
    motions = [Motion.of(meta)]
    found = moved_from_car(stored, CAR, target, car.matrices([sample]), motions)
    assert found.shape == wanted.shape == (1, 3, *target.shape)
    if name is None:
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    back = torch.linalg.inv(torch.from_numpy(scene)[[0, 1, 3]][:, [0, 1, 3]])
    plain = torch.cat([centres(target), torch.ones(*target.shape, 1).double()], -1) @ back.t()
    there = plain @ torch.from_numpy(LIDAR2EGO)[[0, 1, 3]][:, [0, 1, 3]].t()
    x_min, y_min, x_max, y_max = CAR.extent_m
    x, y, _ = there.unbind(-1)
    inside = (x > x_min + 0.4) & (x < x_max - 0.4) & (y > y_min + 0.4) & (y < y_max - 0.4)
    assert inside.float().mean() > 0.6
    bound = 0.16 / 8 * (1 / 9 + 1 / 4 + 0.1)
    assert (found - of_scene(centres(target), scene)[None])[..., inside].abs().max() < bound
    assert (found - wanted)[..., inside].abs().max() < 2 * bound


def test_samples_move_each_on_its_own():
    metas = [augmented(name)[1] for name in ("y", "turn")]
    car = CarFrame("t", {"bev": CAR})
    frames = car.matrices([Sample(lidar2ego=LIDAR2EGO)] * 2)
    value = torch.randn(2, 3, *CAR.shape)
    both = moved_from_car(value, CAR, car.specs["bev"], frames, [Motion.of(m) for m in metas])
    for i, meta in enumerate(metas):
        own = slice(i, i + 1)
        alone = moved_from_car(value[own], CAR, car.specs["bev"], frames[own], [Motion.of(meta)])
        assert torch.equal(both[own], alone)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Two drives, and what makes the config of a run with a teacher in the car's frame."""
    root = tmp_path_factory.mktemp("car")
    simulate_nuscenes(root / "nuscenes", scenes=2, samples=2, seed=3, sweeps=0, workers=1)
    prepare_nuscenes(root / "nuscenes", pictures=False)
    demo = {
        name: Config.fromfile(ROOT / f"configs/_base_/models/{file}.py").model.to_dict()
        for name, file in dict(
            student="bevdet_small_demo", teacher="centerpoint_pillar04_nusdemo"
        ).items()
    }
    torch.manual_seed(0)
    teacher = build_detector(copy.deepcopy(demo["teacher"]))
    torch.save(dict(state_dict=teacher.state_dict(), meta={}), root / "teacher.pth")

    def config(work, **given):
        options = [
            "train_cfg.max_epochs=1",
            "train_dataloader.batch_size=2",
            "train_dataloader.num_workers=0",
            "train_dataloader.persistent_workers=False",
            "default_hooks.logger.interval=1",
            *[f"val_{part}=None" for part in ("dataloader", "cfg", "evaluator")],
        ]
        name = ROOT / "configs/unidistill/bevdet-r18_centerpoint-pillar_nus.py"
        made = load_config(name, options, str(root / work), root / "nuscenes")
        made.model.student = Config(demo["student"])._cfg_dict
        own = dict(model=demo["teacher"], checkpoint=str(root / "teacher.pth"), frame="ego")
        made.model.teachers = Config(
            dict(teacher=own | dict(allow_uncertified=True) | given)
        )._cfg_dict
        made.model.method = Config(dict(type="fitnets"))._cfg_dict
        made.model.branches = Config(dict(teacher=dict(points="points_ego")))._cfg_dict
        pipeline = made.train_dataloader.dataset.pipeline
        for step in pipeline:
            step.update(dict(LoadSurroundImages=dict(size=(96, 256))).get(step.type, {}))
            step.update(dict(DepthMaps=dict(stride=8)).get(step.type, {}))
        split = dict(type="SplitPoints", key="points_ego", transforms=[dict(type="PointsToEgo")])
        pipeline.insert(-1, Config(split)._cfg_dict)
        pipeline[-1]["keys"] = [*pipeline[-1]["keys"], "points_ego"]
        return made

    return root, config


def features(work):
    (path,) = work.glob("*/vis_data/scalars.json")
    return [json.loads(line)["kd.bev.loss"] for line in path.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["replay", "canonical"])
def test_a_run_from_the_store_is_that_of_the_live_teacher(job, mode):
    """In replay with augmentation, in canonical exactly without it, and finite with it."""
    root, config = job
    given = dict(type="Cached", store=str(root / f"{mode}.zarr"), mode=mode)
    (done,) = fill(config(f"{mode}-fill", **given))
    assert done.records == 2
    runs = {}
    for name, one in (("live", dict(type="Frozen")), ("cached", given)):
        made = config(f"{mode}-{name}", **one)
        if mode == "canonical":
            pipeline = made.train_dataloader.dataset.pipeline
            pipeline[:] = [step for step in pipeline if step.type not in GEOMETRIC]
        train(made)
        runs[name] = features(root / f"{mode}-{name}")
    assert runs["live"][0] > 1e-3
    assert runs["cached"] == pytest.approx(runs["live"], rel=1e-5)
    if mode == "canonical":
        train(config("moved", **given))
        assert np.isfinite(features(root / "moved")).all()
