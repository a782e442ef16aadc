"""A killed and resumed training ends with the same bits; only whole and safe files are loaded."""

import json
import os
import random
import time

import pytest
import torch
from mmengine.config import Config

from kd3d.compat import load_checkpoint_file
from kd3d.engine.resume import is_whole, newest_checkpoint, settle
from kd3d.engine.runner import make_runner, set_data_root, train
from kd3d.engine.runner import test as evaluate
from kd3d.errors import UserError
from kd3d.teachers.frozen import Frozen
from tests import toy
from tests.engine.killed import EPOCHS, STEPS, Moment, Processes, config, result
from tests.engine.tiny import TEACHER, prepared

KILLED = -9


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Data, processes, and a training that nobody disturbed."""
    root = tmp_path_factory.mktemp("recovery")
    prepared(root / "kitti")
    processes = Processes()
    assert processes.train(config(root / "kitti", root / "straight")) == 0
    return root, processes


def same(root, work):
    first, second = result(root / "straight"), result(work)
    assert first.keys() == second.keys()
    assert len(first) > 500
    return all(torch.equal(first[key], second[key]) for key in first)


def test_killed_three_times_it_ends_with_the_same_bits(job, tmp_path):
    """While it writes a checkpoint, before it names one, and in a step; with workers, too."""
    root, processes = job
    settings = config(root / "kitti", tmp_path / "work", workers=2)
    assert processes.train(settings, Moment("write", 0.5)) == KILLED
    partial = tmp_path / "work/.partial-epoch_1.pth"
    assert partial.stat().st_size > 1000
    assert not list((tmp_path / "work").glob("epoch_*"))
    assert processes.train(settings, Moment("named")) == KILLED
    assert not partial.exists()
    assert not (tmp_path / "work/last_checkpoint").exists()
    assert is_whole(tmp_path / "work/epoch_1.pth")
    assert processes.train(settings, Moment("step", 2 * STEPS + 1)) == KILLED
    assert not (tmp_path / "work/student.pth").exists()
    assert processes.train(settings) == 0
    assert same(root, tmp_path / "work")


@pytest.mark.slow
def test_killed_twenty_times_it_ends_with_the_same_bits(job, tmp_path):
    """At random moments of a short training: steps, writing, naming and exporting included."""
    root, processes = job
    rng = random.Random(time.time_ns())
    (log,) = root.glob("straight/*/vis_data/scalars.json")
    seconds = sum(json.loads(line)["time"] for line in log.read_text().splitlines())
    kinds = dict.fromkeys(("time", "write", "named", "export"), 0)
    number = 0
    while sum(kinds.values()) < 20:
        number += 1
        work = tmp_path / f"work{number}"
        settings = config(root / "kitti", work, workers=rng.choice((0, 2)))
        while sum(kinds.values()) < 20:
            kind = rng.choice(("time", "time", "write", "named", "export"))
            value = {"time": rng.uniform(0, seconds * 0.8), "write": rng.random()}.get(kind, 0)
            code = processes.train(settings, Moment(kind, value))
            assert code in (0, KILLED), (kind, value)
            if code == 0:
                break
            kinds[kind] += 1
        assert processes.train(settings) == 0
        assert same(root, work), kinds
    print(f"{kinds} in {number} trainings")


def saved(folder, epoch, seed=0):
    """A checkpoint as far as the choice of one is concerned."""
    folder.mkdir(exist_ok=True)
    path = folder / f"epoch_{epoch}.pth"
    torch.save({"meta": {"seed": seed, "epoch": epoch}, "state_dict": {"a": torch.ones(99)}}, path)
    return path


def settings(folder, **changes):
    return Config(dict(work_dir=str(folder), **changes))


def named(folder, path):
    (folder / "last_checkpoint").write_text(str(path))
    return folder / "last_checkpoint"


def test_the_newest_whole_checkpoint_is_taken(tmp_path, capsys):
    paths = [saved(tmp_path, epoch) for epoch in (9, 10, 11)]
    last = tmp_path / "last_checkpoint"
    assert newest_checkpoint(tmp_path, last) == paths[2]  # not named by any file
    assert newest_checkpoint(tmp_path, named(tmp_path, paths[1])) == paths[2]
    assert newest_checkpoint(tmp_path, named(tmp_path, tmp_path / "gone.pth")) == paths[2]
    assert "gone.pth, which is not there" in capsys.readouterr().err
    paths[2].write_bytes(paths[2].read_bytes()[:-200])  # truncated
    data = bytearray(paths[1].read_bytes())
    place = data.index(torch.ones(99).numpy().tobytes())
    data[place + 100] ^= 1  # one bit
    paths[1].write_bytes(data)
    assert newest_checkpoint(tmp_path, named(tmp_path, paths[2])) == paths[0]
    told = capsys.readouterr().err
    assert "epoch_11.pth is not whole" in told
    assert "epoch_10.pth is not whole" in told
    paths[0].write_bytes(b"")
    with pytest.raises(UserError, match="none of 3 checkpoints is whole"):
        newest_checkpoint(tmp_path, last)
    assert newest_checkpoint(tmp_path / "empty", tmp_path / "empty/last_checkpoint") is None


def test_resume_settles_start_seed_and_leftovers(tmp_path):
    left = [tmp_path / name for name in (".partial-epoch_3.pth", ".last_checkpoint-ab12cd_9")]
    for path in left:
        path.write_bytes(b"half")
    path = saved(tmp_path, 2, seed=5)
    chosen = settings(tmp_path, load_from="pretrained.pth", randomness=dict(seed=None))
    settle(chosen, resume=True)
    assert (chosen.resume, chosen.load_from, chosen.randomness.seed) == (True, str(path), 5)
    assert not any(path.exists() for path in left)
    with pytest.raises(UserError, match="was trained with seed 5, the config says 6"):
        settle(settings(tmp_path, randomness=dict(seed=6)), resume=True)
    with pytest.raises(
        UserError, match=r"up to epoch_2\.pth, and would be overwritten -> .*--resume"
    ):
        settle(settings(tmp_path), resume=False)
    fresh = settings(tmp_path / "new", load_from="pretrained.pth")
    settle(fresh, resume=True)
    assert (fresh.resume, fresh.load_from) == (False, "pretrained.pth")


def test_a_checkpoint_of_another_model_is_not_resumed(job, tmp_path):
    root, _ = job
    other = config(root / "kitti", root / "straight")
    other.model.student = toy.centerpoint(width=0.5)
    with pytest.raises(UserError, match=rf"epoch_{EPOCHS}\.pth: belongs to another model .* shape"):
        train(other, resume=True)


class Command:
    """Runs a command when it is unpickled by the unsafe loader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Attribute(Command):
    """Gets at the globals of an allowed function by the one `getattr` of the allow-list."""

    def __reduce__(self):
        return getattr, (torch._utils._rebuild_tensor_v2, "__globals__")


class Statistic(Command):
    """Asks an allowed class for what is not allowed."""

    def __reduce__(self):
        from mmengine.logging import HistoryBuffer

        return getattr, (HistoryBuffer, "__init__")


class Numpy(Command):
    """Loads by numpy's own, unsafe unpickling."""

    def __reduce__(self):
        import numpy as np

        return np.load, (str(self.path), None, True)


def hostile(folder, kind):
    path = saved(folder, 1)
    torch.save(torch.load(path) | {"message_hub": kind(folder / "executed")}, path)
    assert is_whole(path)  # so it must be refused for what it holds
    return path


@pytest.mark.parametrize("kind", [Command, Attribute, Statistic, Numpy])
def test_a_hostile_file_is_refused(tmp_path, kind):
    path = hostile(tmp_path, kind)
    with pytest.raises(UserError, match=r"epoch_1\.pth: not safe to load"):
        load_checkpoint_file(path)
    with pytest.raises(UserError, match=r"epoch_1\.pth: not safe to load"):
        settle(settings(tmp_path), resume=True)
    assert not (tmp_path / "executed").exists()


def test_a_hostile_file_is_refused_by_everything_that_loads(job, tmp_path):
    root, _ = job
    path = hostile(tmp_path, Command)
    runner = make_runner(config(root / "kitti", tmp_path / "other"))
    stock = Config.fromfile(TEACHER)
    set_data_root(stock, root / "kitti")
    stock.work_dir = str(tmp_path / "tested")
    uses = (
        lambda: train(config(root / "kitti", tmp_path), resume=True),
        lambda: runner.load_checkpoint(str(path)),  # load_from
        lambda: Frozen(str(path), model=toy.centerpoint()),
        lambda: evaluate(stock, path),
    )
    for use in uses:
        with pytest.raises(UserError, match=r"epoch_1\.pth: not safe to load"):
            use()
    assert not (tmp_path / "executed").exists()
    with pytest.raises(UserError, match="download it"):
        runner.load_checkpoint("https://example.org/a.pth")
