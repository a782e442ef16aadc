"""Every config builds; every KITTI config trains through the runner; every method has one."""

import copy
import functools
import json
import math
import re

import pytest
import torch
import torch.nn.functional as F
from mmdet3d.registry import DATASETS
from mmdet3d.utils import register_all_modules
from mmengine.registry import MODELS

from kd3d.core.probe import point_channels
from kd3d.core.registry import METHODS
from kd3d.data.kitti_prepare import prepare_kitti
from kd3d.data.nuscenes_prepare import prepare_nuscenes
from kd3d.engine.register import register_all
from kd3d.engine.runner import load_config, train
from kd3d.engine.stages import read_stages, stage_config
from kd3d.methods import cards
from kd3d.models.shrink import shrink_model
from kd3d.models.source import build_detector, resolve_detector
from kd3d.simulation.kitti import simulate_kitti
from kd3d.simulation.nuscenes import simulate_nuscenes
from kd3d.models import tiny
from tests import toy
from tests.configs.tiny_detectors import (
    FEW_PROPOSALS,
    GRAPHS,
    SMALL_IMAGES,
    make_tiny,
    methods_of,
    teachers_of,
)
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
ELSEWHERE = ("_nus.py", "_nus-mini.py", "_waymo.py", "-mono3d.py")  # not clouds like KITTI's
CAMERA_DEMO = [name for name in NAMES if name.startswith("demo/camera/")]  # test_camera_demo.py
KITTI = [n for n in NAMES if not n.endswith(ELSEWHERE) and n not in CAMERA_DEMO]
SURROUND = [name for name in NAMES if re.search(r"/.*bev.*_nus(-mini)?\.py$", name)]
MONO = [name for name in NAMES if name.endswith("-mono3d.py")]
BASELINES = [name for name in NAMES if re.fullmatch(r"baseline/.+-\d+x_kitti\.py", name)]
FAMILIES = {  # values of a box in training
    "pointpillars": 7, "second": 7, "centerpoint-pillar": 9, "centerpoint-voxel": 9, "pointrcnn": 7,
}  # fmt: skip
NOISY = ("second", "centerpoint-voxel", "pointrcnn")  # their objects are moved one by one
ONE_EACH = [
    "response/pointpillars-16x_pointpillars_kitti.py",
    "pointdistiller/second-4x_second_kitti.py",
    "fgd/centerpoint-pillar-4x_centerpoint-pillar_kitti.py",
    "fitnets/centerpoint-voxel-4x_centerpoint-voxel_kitti.py",
]
AT_FULL_SIZE = [
    name
    for name in NAMES
    if not (name in [*SURROUND, *MONO, *CAMERA_DEMO] or "-mini" in name)
    and (name.startswith(("teachers/", "response/")) or name not in KITTI)
]


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """Four training frames and one for validation."""
    root = simulate_kitti(
        tmp_path_factory.mktemp("simulated") / "kitti", 5, 3, val_share=0.2, workers=1
    )
    prepare_kitti(root, pictures=False)
    return root


@pytest.fixture(scope="session")
def drives(tmp_path_factory):
    """Two drives of two key frames, one for training, with one turn of the LiDAR before each."""
    root = tmp_path_factory.mktemp("drives") / "nuscenes"
    simulate_nuscenes(root, scenes=2, samples=2, seed=3, sweeps=1, workers=1)
    prepare_nuscenes(root, pictures=False)
    return root


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    return tmp_path_factory.mktemp("teachers")


@pytest.fixture
def unformatted(monkeypatch):
    """Runs write their config several times; laying out its text takes longer than two steps."""
    monkeypatch.setattr("mmengine.config.config.FormatCode", lambda text, **_: (text, True))


@pytest.fixture(scope="module")
def kitti(tmp_path_factory):
    beside = CAR.replace(" 1.00 1.60 14.00", " 3.20 1.60 14.00")  # can be pasted next to CAR
    return prepared(tmp_path_factory.mktemp("kitti"), {"000025": beside})


@functools.cache
def read(name):
    """Return a config; do not change it."""
    return load_config(FOLDER / name)


def flat(losses):
    for value in losses.values():
        yield from value if isinstance(value, list) else [value]


def made_up(model, monkeypatch, seed):
    """A raw batch in the range, point format and box format of the student."""
    layer = getattr(model.student.data_preprocessor, "voxel_layer", None)
    if layer is not None:
        monkeypatch.setattr(tiny, "RANGE", list(layer.point_cloud_range))
    box_dim = 9 if type(model.student).__name__ in ("CenterPoint", "MVXFasterRCNN") else 7
    data = toy.batch(samples=1, seed=seed, box_dim=box_dim)
    more = point_channels(model.student) - 4
    data["inputs"]["points"] = [F.pad(p, (0, more)) for p in data["inputs"]["points"]]
    for key in {key for keys in model.data_preprocessor.keys.values() for key in keys.values()}:
        data["inputs"].setdefault(key, data["inputs"]["points"])  # another branch's cloud
    return data


def check_steps(config, monkeypatch, every_class):
    """Two training steps and a prediction on made-up points, which have three classes."""
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    assert bool(model.terms) == bool(methods_of(config.model))
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
    assert all(losses[f"kd.{term}.loss"].abs() > 0 for term in model.terms)
    idle = (".vel.", ".roi_head.")  # not learnt; the first proposals may hold no point at all
    weights = {
        k: p
        for k, p in model.named_parameters()
        if "weight" in k and not any(part in k for part in idle)
    }
    assert all(p.grad is not None for p in weights.values())
    assert not [k for k, p in weights.items() if every_class and not p.grad.any()]
    model.eval()
    with torch.no_grad():
        data = model.data_preprocessor(made_up(model, monkeypatch, 2), False)
        found = model(**data, mode="predict")[0].pred_instances_3d
    assert len(found.bboxes_3d) == len(found.scores_3d) == len(found.labels_3d)
    assert torch.isfinite(found.bboxes_3d.tensor).all()


@pytest.mark.parametrize("name", NAMES)
def test_config_builds(name, weights):
    """Terms, taps and adapters fit the student and the teacher."""
    config = copy.deepcopy(read(name))
    make_tiny(config.model, weights)
    model = MODELS.build(config.model)
    assert bool(model.terms) == bool(methods_of(config.model))


@pytest.mark.slow
@pytest.mark.parametrize("name", AT_FULL_SIZE)
def test_detectors_train_and_predict_at_full_size(name, monkeypatch):
    config = copy.deepcopy(read(name))
    if "pointrcnn" in name:
        config.model.student.override = FEW_PROPOSALS
    for teacher in teachers_of(config.model):
        teacher.pop("checkpoint", None) and teacher.update(checkpoint=None)
    for method in methods_of(config.model):
        if method["type"] == "pointdistiller":
            method.update(GRAPHS)
    check_steps(config, monkeypatch, every_class=name in KITTI)


def train_two_steps(name, data, weights, work, *options, left_out=()):
    """Run a config through the runner on small detectors; return its logs, a list of dicts each."""
    quick = [
        "train_cfg.max_epochs=1",
        "train_dataloader.batch_size=2",
        "train_dataloader.num_workers=0",
        "train_dataloader.persistent_workers=False",
        "default_hooks.logger.interval=1",
        *options,
    ]
    config = load_config(FOLDER / name, quick, str(work), data)
    dataset = config.train_dataloader.dataset
    while "dataset" in dataset:
        dataset.update(times=1) if "times" in dataset else None
        dataset = dataset.dataset
    dataset.indices = 4
    dataset.pipeline = [step for step in dataset.pipeline if step.type not in left_out]
    validation = config.val_dataloader.dataset.pipeline if config.val_dataloader else []
    for step in [*dataset.pipeline, *validation]:
        step.update(SMALL_IMAGES.get(step.type, {}))
    make_tiny(config.model, weights)
    for override in (stage.get("override", {}) for stage in config.get("stages", [])):
        if "student" in override.get("model", {}):  # replaces the models whole
            replaced = override.model.teachers.pop("_delete_")
            make_tiny(override.model, weights)
            override.model.teachers["_delete_"] = replaced
        for key in ("train_cfg", "param_scheduler"):
            override.pop(key, None)
    assert train(config).is_file()
    logs = sorted(work.glob("**/vis_data/scalars.json"), key=lambda log: log.stat().st_mtime)
    assert len(logs) == len(config.get("stages", [None]))
    return [[json.loads(line) for line in log.read_text().splitlines()] for log in logs]


COMPILED = ("ObjectNoise",)  # numba takes ten seconds for it: slow tests have it
ONE_AT_A_TIME = [f"val_{part}=None" for part in ("dataloader", "cfg", "evaluator")] + [
    "train_dataloader.batch_size=1"  # two frames are two steps
]
VALIDATED = [
    "train_cfg.val_interval=1",
    *(f"val_dataloader.{key}" for key in ("num_workers=0", "persistent_workers=False")),
]
WITHOUT_VALIDATION = [f"val_{part}=None" for part in ("dataloader", "cfg", "evaluator")]


def check_log(name, logged, last=True):
    """Two finite steps; the last (or only) stage has the config's terms."""
    steps = [line for line in logged if "loss" in line]
    assert len(steps) == 2
    assert all(math.isfinite(value) for line in steps for value in line.values())
    terms = [key for key in steps[0] if re.fullmatch(r"kd\..+\.loss", key)]
    assert bool(terms) == bool(methods_of(read(name).model)) or not last


@pytest.mark.usefixtures("unformatted")
@pytest.mark.parametrize("name", ONE_EACH)
def test_a_config_of_each_family_trains_through_the_runner(name, simulated, weights, tmp_path):
    """Its pipeline, schedule, checkpoints and exported student; one of them with validation."""
    first = name == ONE_EACH[0]
    options = VALIDATED if first else WITHOUT_VALIDATION
    (logged,) = train_two_steps(name, simulated, weights, tmp_path, *options, left_out=COMPILED)
    check_log(name, logged)
    assert any("Car_3D_AP40_moderate_strict" in line for line in logged) == first


@pytest.mark.slow
@pytest.mark.usefixtures("unformatted")
@pytest.mark.parametrize("name", [name for name in KITTI if name not in ONE_EACH])
def test_every_kitti_config_trains_through_the_runner(name, simulated, weights, tmp_path):
    options = [] if "stages" in read(name) else WITHOUT_VALIDATION  # stages override it
    logs = train_two_steps(name, simulated, weights, tmp_path, *options)
    for logged in logs:
        check_log(name, logged, last=logged is logs[-1])


@pytest.mark.usefixtures("unformatted")
def test_a_camera_student_trains_through_the_runner(drives, weights, tmp_path):
    name = "unidistill/bevdet-r18_centerpoint-pillar_nus.py"
    (logged,) = train_two_steps(name, drives, weights, tmp_path, *ONE_AT_A_TIME)
    check_log(name, logged)


@pytest.mark.slow
@pytest.mark.usefixtures("unformatted")
@pytest.mark.parametrize(
    "name", [*SURROUND, *(f"teachers/centerpoint-pillar_nus{end}.py" for end in ("", "-mini"))]
)
def test_every_surround_config_trains_through_the_runner(name, drives, weights, tmp_path):
    logs = train_two_steps(name, drives, weights, tmp_path, *ONE_AT_A_TIME)
    for logged in logs:
        check_log(name, logged, last=logged is logs[-1])


@pytest.mark.usefixtures("unformatted")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name.startswith("pkd/") else pytest.mark.slow)
        for name in MONO
    ],
)
def test_every_config_of_single_images_trains_through_the_runner(name, request, weights, tmp_path):
    data = request.getfixturevalue("drives" if "_nus" in name else "simulated")
    scored = name.startswith("pkd/")
    options = VALIDATED if scored else WITHOUT_VALIDATION
    (logged,) = train_two_steps(name, data, weights, tmp_path, *options)
    check_log(name, logged)
    assert any("Car_3D_AP40_moderate_strict" in line for line in logged) == scored


def test_every_method_has_a_config():
    used = {m["type"] for name in NAMES for m in methods_of(read(name).model)}
    missing = sorted(set(cards()) - used)
    assert not missing, (
        f"no config uses {', '.join(missing)}: add configs/<method>/<student>_<teacher>_kitti.py"
    )


@pytest.mark.parametrize("name", [n for n in NAMES if n.split("/")[0] in METHODS.module_dict])
def test_names_say_what_a_config_holds(name):
    """<method>/<student>_<teacher>_<dataset>.py: that method, student, teacher and budget."""
    method, student, teacher, dataset = re.fullmatch(r"(.+)/(.+)_(.+)_(.+)\.py", name).groups()
    config = read(name)
    assert method in {m["type"] for m in methods_of(config.model)}
    baseline = f"baseline/{student}_{dataset}.py"
    if name not in KITTI or "stages" in config:
        return
    assert baseline in NAMES, f"{name} has no {baseline} to compare with"
    alone = read(baseline)
    assert resolve_detector(config.model.student) == resolve_detector(alone.model.student)
    assert config.model.teachers.teacher.config == f"kd3d::teachers/{teacher}_{dataset}.py"
    own = (FOLDER / name).read_text()
    for key in ("optim_wrapper", "param_scheduler", "train_cfg", "train_dataloader"):
        assert config[key] == alone[key] or key in own, f"{key} differs, which {name} does not say"


@pytest.mark.parametrize("name", BASELINES)
def test_students_have_the_share_of_parameters_that_their_names_say(name):
    def count(path):
        model = build_detector(read(path).model.student)
        return sum(parameter.numel() for parameter in model.parameters())

    family, times = re.fullmatch(r"baseline/(.+)-(\d+)x_kitti\.py", name).groups()
    share = count(f"teachers/{family}_kitti.py") / count(name)
    assert share == pytest.approx(int(times), rel=0.05)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "pointrcnn"])
def test_grids_agree_with_range_and_voxels(family):
    """Setting a detector's voxels to what they are changes none of the sizes derived from them."""
    config = read(f"teachers/{family}_kitti.py")
    model = resolve_detector(config.model.student)
    layer = model["data_preprocessor"]["voxel_layer"]
    again = shrink_model(model, voxel_m=layer["voxel_size"][0])
    assert json.dumps(again, sort_keys=True) == json.dumps(model, sort_keys=True)
    for pipeline in (
        config.train_dataloader.dataset.dataset.pipeline,
        config.test_dataloader.dataset.pipeline,
    ):
        limits = [s["point_cloud_range"] for s in pipeline if "point_cloud_range" in s]
        assert limits
        assert all(one == layer["point_cloud_range"] for one in limits)


@pytest.mark.parametrize(
    "family, box_dim",
    [
        pytest.param(*item, marks=pytest.mark.slow if item[0] in NOISY else ())
        for item in FAMILIES.items()
    ],
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
