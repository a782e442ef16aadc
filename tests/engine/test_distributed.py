"""Two gloo processes train like one: same weights everywhere, and those of the whole batch."""

import os
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config

from kd3d.core.portable import key_report, student_state
from kd3d.engine import distributed
from kd3d.errors import UserError
from kd3d.models.source import build_detector
from tests import toy
from tests.engine import ranks, tiny
from tests.paths import ROOT

# float32 sums in another order; the steps themselves move weights by 1e-3 and more
CLOSE = dict(rtol=1e-4, atol=2e-6)
CONFIG = tiny.DISTILLED
TEACHER = ["model.teachers.teacher.checkpoint=None"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return ranks.run_two(tmp_path_factory.mktemp("ranks"))


def alone(family, batches):
    """Train in this process on whole batches."""
    model = ranks.distiller(family)
    logs = ranks.train(model, ranks.sgd(model, family), batches)
    return ranks.all_state(model), logs


def different(first, second):
    assert list(first) == list(second)
    return [key for key in first if not torch.equal(first[key], second[key])]


def assert_close(found, wanted):
    assert list(found) == list(wanted)
    far = [key for key in wanted if not torch.allclose(found[key], wanted[key], **CLOSE)]
    assert far == []


@pytest.mark.parametrize("family", ["centerpoint", "pointpillars"])
def test_two_processes_are_one_with_the_doubled_batch(results, family):
    first, second = (result[family] for result in results)
    assert different(first["state"], second["state"]) == []
    dim = 9 if family == "centerpoint" else 7
    batches = [ranks.whole_batch(step, dim) for step in range(ranks.STEPS)]
    state, logs = alone(family, batches)
    start = ranks.all_state(ranks.distiller(family))
    moved = max(float((state[key] - start[key]).abs().max()) for key in state)
    assert moved > 100 * CLOSE["atol"]
    assert_close(first["state"], state)
    for name in ("kd.response.loss", "kd.bev.loss"):
        mean = (first["logs"][name] + second["logs"][name]) / 2
        torch.testing.assert_close(mean, logs[name], rtol=1e-4, atol=0.0)
        assert first["logs"][name] != second["logs"][name]


def test_batchnorm_statistics_and_a_following_teacher_are_the_same_everywhere(results):
    first, second = (result["following"]["state"] for result in results)
    assert any(key.startswith("kd.teachers.teacher.") for key in first)
    assert any(key.endswith("running_var") for key in first)
    assert different(first, second) == []


def test_a_process_without_foreground_neither_hangs_nor_weighs(results):
    first, second = (result["empty"] for result in results)
    assert different(first["state"], second["state"]) == []
    assert second["logs"]["kd.bev.loss"] == 0.0
    _, logs = alone("centerpoint", [ranks.without_boxes(ranks.whole_batch(0), 1)])
    mean = (first["logs"]["kd.bev.loss"] + second["logs"]["kd.bev.loss"]) / 2
    torch.testing.assert_close(mean, logs["kd.bev.loss"], rtol=1e-5, atol=0.0)


def test_a_bad_batch_in_one_process_is_skipped_in_both(results):
    for result in (result["bad"] for result in results):
        assert different(result["before"], result["skipped"]) == []
        assert different(result["skipped"], result["after"])
    assert different(results[0]["bad"]["after"], results[1]["bad"]["after"]) == []


def test_sharded_training_is_data_parallel_training(results):
    first, second = (result["sharded"] for result in results)
    assert different(first["state"], second["state"]) == []
    assert_close(first["state"], results[0]["centerpoint"]["state"])
    total = sum(p.numel() for p in ranks.distiller().parameters())
    assert 0.4 * total < first["shards"] < 0.7 * total


def test_a_sharded_training_saves_what_a_whole_one_resumes(results):
    result = results[0]["sharded"]
    assert different(result["state"], result["resumed"]) == []
    state, optimizer = result["saved"]
    stock = build_detector(ranks.without_batch_statistics(toy.centerpoint()))
    assert key_report(stock.state_dict(), student_state(state)) is None
    model = ranks.distiller()
    optim = ranks.sgd(model)
    model.load_state_dict(state)
    optim.load_state_dict(optimizer)
    ranks.train(model, optim, [ranks.whole_batch(step) for step in range(1, ranks.STEPS)])
    assert_close(ranks.all_state(model), result["state"])
    assert torch.isfinite(result["boxes"]).all()


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (dict(launcher="pytorch"), "no launcher started this process"),
        (dict(launcher="slurm"), "srun did not start this process"),
        (dict(launcher="mpi"), "without CUDA there is no launcher 'mpi'"),
        (dict(launcher="pytorch", find_unused_parameters=True), "every parameter is used"),
    ],
)
def test_processes_that_cannot_meet_are_told_so(config, line, monkeypatch):
    for name in list(os.environ):
        if name in ("RANK", "LOCAL_RANK", "WORLD_SIZE") or name.startswith("SLURM_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=line):
        distributed.set_up(Config(config))


def test_slurm_names_the_processes(tmp_path, monkeypatch):
    command = tmp_path / "scontrol"
    command.write_text("#!/bin/sh\n[ $3 = 'node[7-8]' ] && printf 'node7\\nnode8\\n'\n")
    command.chmod(0o755)
    names = dict(PROCID="3", NTASKS="4", NODELIST="node[7-8]", LOCALID="1")
    for name, value in names.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # restored afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    distributed._name_slurm_processes()
    found = [os.environ[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR")]
    assert found == ["3", "1", "4", "node7"]


def script(name, *arguments, options):
    """Run a script of tools/ in two processes; return what it prints."""
    words = ["--cfg-options", *options]
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    environment["PORT"] = str(ranks.free_port())
    done = subprocess.run(
        [str(ROOT / "tools" / name), *map(str, arguments), *words],
        capture_output=True, text=True, cwd=ROOT, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


@pytest.mark.slow
def test_the_scripts_train_and_test_in_two_processes_without_a_gpu(tmp_path):
    """Sharded or not, resumed across: one result; evaluation is that of one process."""
    kitti = tiny.prepared(tmp_path / "kitti")
    options = [*tiny.QUICK, "train_dataloader.batch_size=1", "seeded_data=True"]
    options += ["test_dataloader.batch_size=1", "default_hooks.checkpoint.max_keep_ckpts=5"]
    shard = "model_wrapper_cfg.type=FullyShard"
    folders = {name: tmp_path / name for name in ("whole", "sharded", "resumed")}

    def train(name, *more, resume=()):
        places = ["--work-dir", folders[name], "--data-root", kitti, *resume]
        printed = script("dist_train.sh", CONFIG, 2, *places, options=[*options, *more])
        assert printed == [str(folders[name] / "student.pth")]
        return torch.load(folders[name] / "student.pth", weights_only=True)["state_dict"]

    whole = train("whole", *TEACHER)
    assert_close(train("sharded", *TEACHER, shard), whole)
    folders["resumed"].mkdir()
    (folders["sharded"] / "epoch_1.pth").rename(folders["resumed"] / "epoch_1.pth")
    (folders["resumed"] / "last_checkpoint").write_text(str(folders["resumed"] / "epoch_1.pth"))
    assert_close(train("resumed", *TEACHER, resume=["--resume"]), whole)

    places = ["--work-dir", tmp_path / "test", "--data-root", kitti]
    student = folders["whole"] / "student.pth"
    predictions = f"test_evaluator.prediction_dir={tmp_path / 'two'}"
    printed = script("dist_test.sh", CONFIG, student, 2, *places, options=[*options, predictions])
    predictions = f"test_evaluator.prediction_dir={tmp_path / 'one'}"
    words = tiny.words("test", CONFIG, student, *places, options=[*options, predictions])
    assert tiny.run(words).split() == printed
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_text() == (tmp_path / "two" / name).read_text()
    assert len(names) == 1
