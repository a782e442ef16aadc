"""`kd3d check`: good configs pass, and each fault is found and named."""

import json

import pytest
import torch
from mmengine.config import Config
from typer.testing import CliRunner

from kd3d.cli.main import build_app
from kd3d.core.registry import TERMS
from kd3d.core.term import Term
from kd3d.doctor import FAIL, healthy
from kd3d.engine.runner import load_config
from kd3d.inspection import check as module
from kd3d.models.source import build_detector, detector_config
from tests.configs.tiny_detectors import make_tiny
from tests.engine.tiny import DISTILLED, failure, prepared


@TERMS.register_module()
class BrokenTerm(Term):
    """What can go wrong in a term of one's own."""

    def __init__(self, *sides, fault, **options):
        super().__init__(*sides, **options)
        self.fault = fault
        self.spare = torch.nn.Parameter(torch.ones(3))

    def build(self, student, teacher):
        self.used = torch.nn.Parameter(torch.ones(()))

    def distance(self, student, teacher, context):
        value = self.used * student.abs().mean()
        if self.fault == "detached":
            return self.used * student.detach().abs().mean() + self.spare.sum() + student.sum() * 0
        if self.fault == "unused":
            return value
        return value / 0 + self.spare.sum()


@pytest.fixture(scope="module")
def kitti(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("check") / "kitti")


@pytest.fixture
def pair(kitti, tmp_path):
    """The demo's distillation with tiny detectors and weights for its teacher."""
    config = load_config(DISTILLED, ["train_dataloader.batch_size=2"], None, kitti)
    make_tiny(config.model, tmp_path)
    return config


def verdicts(config, **options):
    found = module.check(config, **options)
    assert found.seconds > 0
    assert found.peak_bytes > 1e8
    return {verdict.layer: verdict for verdict in found.verdicts}


def test_a_good_config_passes(pair):
    found = verdicts(pair)
    assert healthy(list(found.values())), [v for v in found.values() if v.status == FAIL]
    assert found["gradients student"].status == "ok"
    assert found["gradients adapters"].detail.endswith("all with gradients")
    assert "unchanged" in found["teachers"].detail
    assert "mask keeps" in found["term bev"].detail
    assert "the stock CenterPoint's keys" in found["checkpoint"].detail
    assert "task.loss" not in found["losses"].detail
    assert "kd.bev.loss" in found["losses"].detail


@pytest.mark.parametrize(
    ("fault", "layer", "words"),
    [
        ("detached", "term mine", "gives the student no gradient"),
        ("unused", "gradients adapters", "terms.mine.spare"),
        ("infinite", "losses", "not finite"),
    ],
)
def test_faults_of_a_term_are_found(pair, fault, layer, words):
    pair.model.method = None
    pair.model.terms = [
        dict(type="BrokenTerm", name="mine", student="student:bev", teacher="teacher:bev",
             fault=fault)
    ]  # fmt: skip
    found = verdicts(pair)
    assert found[layer].status == FAIL
    assert words in found[layer].detail


def test_a_mask_without_cells_is_found(pair):
    pair.model.method = dict(type="fitnets")
    pair.train_dataloader.dataset.pipeline.insert(
        -1, dict(type="ObjectRangeFilter", point_cloud_range=[40, 20, -3, 51, 25, 1])
    )
    pair.train_dataloader.dataset.filter_empty_gt = False
    found = verdicts(pair)
    assert found["term bev"].status == FAIL
    assert "its mask covers no cell" in found["term bev"].detail


def test_a_teacher_that_changes_and_frozen_parts_are_found(pair, monkeypatch):
    built = module.build_distiller

    def changed(*arguments):
        distiller = built(*arguments)
        distiller.student.pts_voxel_encoder.requires_grad_(False)
        teacher = distiller.teachers["teacher"].model
        distiller.after_step = lambda: next(teacher.parameters()).data.add_(1)
        return distiller

    monkeypatch.setattr(module, "build_distiller", changed)
    found = verdicts(pair)
    assert found["teachers"].status == FAIL
    assert found["teachers"].detail == "teacher.pts_voxel_encoder.pfn_layers.0.norm.weight changed"
    assert "are frozen" in found["gradients student"].detail


def test_the_command(pair, kitti, tmp_path):
    path = tmp_path / "pair.py"
    pair.dump(path)

    def run(*arguments):
        return CliRunner().invoke(build_app(), ["check", str(path), *arguments])

    done = run("--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["healthy"] is True
    weights = pair.model.teachers.teacher.checkpoint
    torch.save({"state_dict": build_detector(detector_config(pair.model.student)).state_dict()},
               weights)  # fmt: skip
    assert "another architecture" in failure(["check", path])
    done = run("--untrained")
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("OK\n")
    broken = Config.fromfile(path)
    broken.model.method = dict(type="fitnets", weight=1e39)
    broken.dump(path)
    done = run("--untrained")
    assert done.exit_code == 1
    assert "fail  losses" in done.stdout
    assert "not finite: kd.bev.loss" in done.stdout
    assert "file not found" in failure(["check", path, "--data-root", tmp_path / "nothing"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "fitnets/pointpillars-4x_pointpillars_kitti.py",
        "unidistill/bevdet-r18_centerpoint-pillar_nus.py",
    ],
)
def test_shipped_configs_on_simulated_data(name):
    done = CliRunner().invoke(
        build_app(),
        ["check", f"configs/{name}", "--simulated", "--untrained",
         "--cfg-options", "train_dataloader.batch_size=1"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
