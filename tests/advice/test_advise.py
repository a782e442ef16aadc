"""`kd3d advise` end to end: facts in metres, reasons, a config that passes its check."""

import dataclasses
import json

import pytest
import torch
from mmengine.config import Config
from typer.testing import CliRunner

from kd3d.advice.advise import lacking_evaluator
from kd3d.advice.config import adapted, checkpoint_of
from kd3d.advice.facts import Facts, Side
from kd3d.advice.fit import fit_of, fits
from kd3d.advice.shared import inherit_hint, shared_parts
from kd3d.cli.main import build_app
from kd3d.engine.contract import not_allowed
from kd3d.engine.runner import load_config
from kd3d.methods import cards
from kd3d.models import tiny_bev
from kd3d.models.source import build_detector
from kd3d.models.tiny import PAIRS
from kd3d.teachers.certificate import write_certificate
from tests.configs.tiny_detectors import make_tiny
from tests.engine.tiny import DEMO, failure, prepared


@pytest.fixture(scope="module")
def kitti(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("advise") / "kitti")


def sides(pair):
    return [Side.of(build_detector(one)) for one in PAIRS[pair].detectors()]


def test_facts_and_reasons_in_metres():
    student, teacher = sides("centerpoint finer")
    facts = Facts.of(student, teacher, "all")
    assert (facts.route, facts.gap, facts.heads, facts.grids) == (
        "lidar to lidar", "same", "same", "other",
    )  # fmt: skip
    assert facts.ratio == teacher.parameters / student.parameters > 2
    found = {one.name: one for one in fits(cards().values(), student.offer, teacher.offer)}
    for name, card in cards().items():
        allowed = any(not_allowed(f, "centerpoint finer") is None for _, f in card.forms.values())
        assert (found[name].reason is None) == allowed, name
    assert found["itkd"].reason == (
        "it needs heads of one grid (the student's head: center_head of 3 channels, 16x24 cells of "
        "0.8x0.8 m over x 0..19.2, y -6.4..6.4 m; the teacher's: center_head of 3 channels, 32x48 "
        "cells of 0.4x0.4 m over x 0..19.2, y -6.4..6.4 m)"
    )
    without_voxels = dataclasses.replace(student.offer, voxels=None)
    variant = fit_of(cards()["pointdistiller"], student.offer, without_voxels)
    assert variant.method == {"type": "pointdistiller", "variant": "bev"}
    assert variant.reason is None
    camera = Side.of(build_detector(tiny_bev.bevdet()))
    assert Facts.of(camera, student).route == "lidar to camera"


@pytest.mark.parametrize(
    ("student", "teacher", "parts"),
    [
        ("bevdet_shared_demo", "centerpoint_pillar08_nusdemo", ["backbone", "neck", "bbox_head"]),
        ("bevdet_small_demo", "centerpoint_pillar04_nusdemo", ["bbox_head"]),  # an encoder of 0.8 m
        ("bevdet_small_demo", "centerpoint_pillar04_demo", []),
    ],
)
def test_parts_that_the_student_can_begin_with_are_named(student, teacher, parts):
    names = (f"kd3d::_base_/models/{name}.py" for name in (student, teacher))
    models = [build_detector(dict(config=name)) for name in names]
    found = shared_parts(*models, *map(Side.of, models))
    assert list(found) == parts
    assert f"parts={parts})" in inherit_hint(found)


def test_what_stops_a_stock_config_is_replaced():
    stock = load_config_of_mmdet3d()
    config, done = adapted(stock)
    assert config.test_evaluator == dict(type="KittiAP", label_dir="data/kitti/training/label_2")
    pastes = [t for t in config.train_dataloader.dataset.dataset.pipeline if "db_sampler" in t]
    assert [step.use_ground_plane for step in pastes] == [False]
    assert len(done) == 3
    assert adapted(config)[1] == []
    assert stock.test_evaluator.type == "KittiMetric"  # a copy was changed
    name = "pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class"
    assert checkpoint_of(f"mmdet3d::pointpillars/{name}.py") == f"mmdet3d::{name}"
    assert checkpoint_of("kd3d::teachers/second_kitti.py") is None


def load_config_of_mmdet3d():
    from kd3d.models.source import config_path

    name = "mmdet3d::pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py"
    return load_config(config_path(name))


@pytest.fixture
def pair(kitti, tmp_path):
    """Whole configs of a tiny student and a tiny teacher, and the teacher's weights."""
    paths = []
    for name in ("baseline", "teacher"):
        config = load_config(DEMO / f"{name}.py", ["train_dataloader.batch_size=2"], None, kitti)
        make_tiny(config.model, tmp_path)
        path = tmp_path / f"{name}.py"
        config.dump(path)
        paths.append(path)
    weights = tmp_path / "teacher.pth"
    model = build_detector(Config.fromfile(paths[1]).model.student)
    torch.save({"state_dict": model.state_dict()}, weights)
    return *paths, weights


def run(*arguments):
    done = CliRunner().invoke(build_app(), list(map(str, arguments)))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_the_command(pair, tmp_path, kitti):
    student, teacher, weights = pair
    ranked = json.loads(run("advise", student, teacher, "--dry-run", "--json").stdout)
    best = ranked["ranked"][0]
    assert best["points"] == max(one["points"] for one in ranked["ranked"])
    assert all(one["rules"] for one in ranked["ranked"][:3])
    assert ranked["config"] is None
    out = tmp_path / "advised.py"
    done = run("advise", student, teacher, "--checkpoint", weights, "--out", out)
    assert done.exit_code == 0, done.output
    written = Config.fromfile(out).model
    assert written.method == best["method"]
    assert f"start:  kd3d train {out}" in done.stdout
    assert "a step on this machine:" in done.stdout
    assert "steps take about" in done.stdout
    assert f"note: a teacher needs a certificate: kd3d certify {teacher} {weights}" in done.stdout
    refused = run("check", out)
    assert refused.exit_code == 1
    assert "fail  certificate teacher" in refused.stdout
    write_certificate(weights, {"mAP": 50.0})
    again = run("check", out)
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize(
    ("teacher", "ours"),
    [
        ("mmdet3d::second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py", "type='KittiAP'"),
        (
            "mmdet3d::centerpoint/centerpoint_pillar02_second_secfpn_8xb4-cyclic-20e_nus-3d.py",
            "type='NuScenesAP'",
        ),
    ],
)
def test_a_stock_teacher_first_needs_an_evaluator(teacher, ours):
    (note,) = lacking_evaluator(teacher)
    assert ours in note
    assert lacking_evaluator(str(DEMO / "teacher.py")) == []


def test_what_it_cannot_advise_on(pair, tmp_path):
    student, teacher, _ = pair
    alone = tmp_path / "model.py"
    Config(dict(model=Config.fromfile(student).model.student.model)).dump(alone)
    assert "this config has no training data" in failure(["advise", alone, teacher])
    camera = tmp_path / "camera.py"
    Config(dict(model=tiny_bev.bevdet())).dump(camera)
    out = tmp_path / "advised.py"
    assert "the pipeline packs no 'img'" in failure(["advise", student, camera, "--out", out])
    assert not out.exists()
