"""Every config builds, trains and predicts on made-up points in its own range, at full size."""

import pytest
import torch
from mmdet3d.registry import DATASETS
from mmdet3d.utils import register_all_modules
from mmengine.registry import MODELS

from kd3d.engine.register import register_all
from kd3d.engine.runner import load_config, train
from kd3d.engine.stages import read_stages, stage_config
from kd3d.models.source import build_detector
from tests import toy
from tests.data.kitti_tiny import CAR
from tests.engine.tiny import prepared
from tests.paths import ROOT

register_all_modules(init_default_scope=False)
register_all()
FOLDER = ROOT / "configs"
NAMES = sorted(
    str(path.relative_to(FOLDER))
    for path in FOLDER.rglob("*.py")
    if not str(path.relative_to(FOLDER)).startswith("_") and not path.stem.startswith("_")
)
FAMILIES = {"pointpillars": 7, "centerpoint-pillar": 9, "pointrcnn": 7}  # values of a box
METHODS_OF = {"pointrcnn": ("pointdistiller",)}  # of the others: all three
TIMES = {"pointrcnn": (8, 16)}  # fewer parameters, of the others: 4 and 16
FEW_PROPOSALS = dict(  # PointRCNN's second stage at full width
    roi_head=dict(bbox_roi_extractor=dict(roi_layer=dict(num_sampled_points=32))),
    train_cfg=dict(rcnn=dict(sampler=dict(num=8))),
    test_cfg=dict(rpn=dict(nms_cfg=dict(nms_post=8))),
)


@pytest.fixture(scope="module")
def kitti(tmp_path_factory):
    beside = CAR.replace(" 1.00 1.60 14.00", " 3.20 1.60 14.00")  # can be pasted next to CAR
    return prepared(tmp_path_factory.mktemp("kitti"), {"000025": beside})


def flat(losses):
    for value in losses.values():
        yield from value if isinstance(value, list) else [value]


def build(name):
    """The config's distiller; its teacher has random weights, its graphs are few and small."""
    config = load_config(FOLDER / name).model
    for teacher in (config.get("teachers") or {}).values():
        for one in teacher.get("members", {"": teacher}).values():
            if "checkpoint" in one:
                one.checkpoint = None
    if name.startswith("pointdistiller/"):
        config.method.update(queries=100, neighbours=8)
    if "pointrcnn" in name:
        config.student.override = FEW_PROPOSALS
    torch.manual_seed(0)
    return MODELS.build(config)


def made_up(model, monkeypatch, seed):
    layer = getattr(model.student.data_preprocessor, "voxel_layer", None)
    if layer is not None:
        monkeypatch.setattr(toy, "RANGE", list(layer.point_cloud_range))
    box_dim = 9 if type(model.student).__name__ == "CenterPoint" else 7
    data = toy.batch(samples=1, seed=seed, box_dim=box_dim)
    for key in {key for keys in model.data_preprocessor.keys.values() for key in keys.values()}:
        data["inputs"].setdefault(key, data["inputs"]["points"])  # another branch's cloud
    return data


def marked(name):
    """One config of PointRCNN holds its teacher and a student; the others may wait."""
    wait = "pointrcnn" in name and not name.startswith("pointdistiller/pointrcnn-8x")
    return pytest.param(name, marks=[pytest.mark.slow] * wait)


@pytest.mark.parametrize("name", map(marked, NAMES))
def test_config_trains_and_predicts(name, monkeypatch):
    model = build(name)
    assert bool(model.terms) == bool(model.teachers)
    model.init_weights()
    model.set_progress(0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for step in range(2):
        losses = toy.loss(model, made_up(model, monkeypatch, step))
        assert all(torch.isfinite(value).all() for value in flat(losses)), losses
        optimizer.zero_grad()
        toy.total(losses).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert all(losses[f"kd.{term}.loss"] > 0 for term in model.terms)
    idle = (".vel.", ".roi_head.")  # not learnt; the first proposals may hold no point at all
    weights = {
        k: p
        for k, p in model.named_parameters()
        if "weight" in k and not any(part in k for part in idle)
    }
    assert not [k for k, p in weights.items() if p.grad is None or not p.grad.any()]
    model.eval()
    with torch.no_grad():
        data = model.data_preprocessor(made_up(model, monkeypatch, 2), False)
        found = model(**data, mode="predict")[0].pred_instances_3d
    assert len(found.bboxes_3d) == len(found.scores_3d) == len(found.labels_3d)
    assert torch.isfinite(found.bboxes_3d.tensor).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_students_have_the_parameters_that_their_names_say(family):
    def count(name):
        model = build_detector(load_config(FOLDER / name).model.student)
        return sum(parameter.numel() for parameter in model.parameters())

    teacher = count(f"teachers/{family}_kitti.py")
    for times in TIMES.get(family, (4, 16)):
        student = count(f"baseline/{family}-{times}x_kitti.py")
        assert teacher / student == pytest.approx(times, rel=0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_names_say_what_a_config_holds(family):
    """<method>/<student>_<teacher>_kitti.py: that method, that student, that teacher."""
    for method in METHODS_OF.get(family, ("response", "fitnets", "pointdistiller")):
        for times in TIMES.get(family, (4, 16)):
            config = load_config(FOLDER / method / f"{family}-{times}x_{family}_kitti.py")
            baseline = load_config(FOLDER / "baseline" / f"{family}-{times}x_kitti.py")
            assert config.model.method.type == method
            assert config.model.student == baseline.model.student
            assert config.model.teachers.teacher.config == f"kd3d::teachers/{family}_kitti.py"
            for key in ("optim_wrapper", "param_scheduler", "train_cfg", "train_dataloader"):
                assert config[key] == baseline[key], key


NOISE = pytest.param("pointrcnn", 7, marks=pytest.mark.slow)  # numba compiles ObjectNoise


@pytest.mark.parametrize(
    "family, box_dim", [f for f in FAMILIES.items() if f[0] != "pointrcnn"] + [NOISE]
)
def test_training_data_of_a_real_config(family, box_dim, kitti):
    """The whole augmentation runs, with objects pasted from the data base."""
    config = load_config(FOLDER / f"teachers/{family}_kitti.py", data_root=kitti)
    with DATASETS.switch_scope_and_registry("mmdet3d") as registry:
        dataset = registry.build(config.train_dataloader.dataset)
    assert len(dataset) == 6  # three frames, repeated twice
    samples = [dataset[i] for i in range(len(dataset))]
    boxes = [s["data_samples"].gt_instances_3d.bboxes_3d.tensor for s in samples]
    assert all(b.shape[1] == box_dim for b in boxes)
    assert max(len(b) for b in boxes) == 3  # a car, a cyclist, and a car of the other frame


def test_stages_of_lidar_distillation_see_their_beams(kitti):
    """Pasted objects included, the student's points are some of the teacher's, as are its tests'."""
    name = "lidar_distillation/pointpillars-16beams_pointpillars_kitti.py"
    config, before, beams = load_config(FOLDER / name, data_root=kitti), None, []
    for stage in read_stages(config):
        own = stage_config(config, stage, before)
        before = stage, own
        with DATASETS.switch_scope_and_registry("mmdet3d") as registry:
            dataset = registry.build(own.train_dataloader.dataset)
            tested = registry.build(own.test_dataloader.dataset)
        assert len(dataset) == 3
        inputs = dataset[0]["inputs"]
        clouds = [{tuple(p) for p in inputs[k].tolist()} for k in ("points_teacher", "points")]
        assert clouds[1] < clouds[0]
        beams.append((*map(len, clouds), len(tested[0]["inputs"]["points"])))
    (dense, half, test_half), (half_again, quarter, test_quarter) = beams
    assert 0.35 < half / dense < 0.65
    assert 0.35 < quarter / half_again < 0.65
    assert 0.35 < test_quarter / test_half < 0.65


def test_a_real_config_trains_through_the_runner(kitti, tmp_path):
    """Its schedule, validation and checkpoints as they are, for two short epochs."""
    options = [
        "model.teachers.teacher.checkpoint=None",
        "train_cfg.max_epochs=2",
        "train_dataloader.dataset.times=1",
        "train_dataloader.dataset.dataset.indices=2",
        "train_dataloader.batch_size=2",
        "train_dataloader.num_workers=0",
        "train_dataloader.persistent_workers=False",
        "val_dataloader.num_workers=0",
        "val_dataloader.persistent_workers=False",
    ]
    name = "response/pointpillars-16x_pointpillars_kitti.py"
    config = load_config(FOLDER / name, options, str(tmp_path), kitti)
    student = train(config)
    assert student.is_file()
    assert (tmp_path / "epoch_2.pth").is_file()
    (scalars,) = tmp_path.glob("*/vis_data/scalars.json")
    assert "Car_3D_AP40_moderate_strict" in scalars.read_text()
