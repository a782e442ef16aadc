"""Automatic weights: resume, evaluation, several processes, mistakes."""

import copy
import io
from types import SimpleNamespace

import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch import nn

from kd3d.core.balancers import build_balance
from kd3d.errors import UserError
from tests.core.balanced import SETTINGS, Toy, batch, total, train


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s["type"])
def test_resumed_training_ends_with_the_same_bits(setting):
    straight, stopped = Toy(setting), Toy(setting)
    train(straight, range(9), torch.optim.Adam(straight.parameters(), lr=0.02))
    optimizer = train(stopped, range(5), torch.optim.Adam(stopped.parameters(), lr=0.02))
    file = io.BytesIO()
    torch.save((stopped.state_dict(), optimizer.state_dict()), file)
    file.seek(0)
    state, moments = torch.load(file, weights_only=True)
    resumed = Toy(setting)
    resumed.load_state_dict(state)
    optimizer = torch.optim.Adam(resumed.parameters(), lr=0.02)
    optimizer.load_state_dict(moments)
    train(resumed, range(5, 9), optimizer)
    wanted, got = straight.state_dict(), resumed.state_dict()
    assert all(torch.equal(wanted[key], got[key]) for key in wanted)
    assert not torch.equal(straight.balance.factors(), torch.ones(3))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s["type"])
def test_nothing_is_measured_without_gradients(setting):
    model = Toy(setting)
    train(model, range(5))
    before = copy.deepcopy(model.balance.state_dict())
    with torch.no_grad():
        model(batch(0))
    model.eval()
    model(batch(0))
    assert all(torch.equal(v, before[k]) for k, v in model.balance.state_dict().items())


def _rank(rank, store, results):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2
    )
    found = []
    for setting in SETTINGS:
        model = nn.parallel.DistributedDataParallel(Toy(setting), find_unused_parameters=False)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for seed in range(6):
            optimizer.zero_grad()
            total(model(batch(seed)[rank::2])[0]).backward()
            optimizer.step()
        found.append(model.module.balance.factors().tolist())
    results[rank] = found
    torch.distributed.destroy_process_group()


def test_two_processes_agree_with_one_that_has_the_whole_batch(tmp_path):
    with multiprocessing.Manager() as manager:
        results = manager.dict()
        multiprocessing.spawn(_rank, (str(tmp_path / "store"), results), nprocs=2)
        found = dict(results)
    assert found[0] == found[1]
    for setting, factors in zip(SETTINGS, found[0]):
        whole = Toy(setting)
        train(whole, range(6), torch.optim.SGD(whole.parameters(), lr=0.05))
        assert factors == pytest.approx(whole.balance.factors().tolist(), rel=1e-4), setting


@pytest.mark.parametrize(
    "config, message",
    [
        (dict(type="GradNrom"), "GradNorm"),
        (dict(type="DWA", windw=3), "windw"),
        ("automatic", "'auto'"),
        (dict(type="GradientRatio", ratio=dict(c=1.0)), "no term 'c'"),
        (dict(type="GradientRatio", ratio=dict(a=1.0)), "each term"),
        (dict(type="GradientRatio", ratio=-1.0), "positive"),
        (dict(type="GradientRatio", interval=0), "interval"),
    ],
)
def test_mistakes_are_named(config, message):
    term = SimpleNamespace(schedule=lambda p: 1.0, student_branch="student")
    distiller = SimpleNamespace(terms={"a": term, "b": term}, turns=[("student",)])
    with pytest.raises(UserError, match=message):
        build_balance(config, distiller)
    with pytest.raises(UserError, match="no term to balance"):
        build_balance("auto", SimpleNamespace(terms={}, turns=[("student",)]))
    with pytest.raises(UserError, match="alternate"):
        build_balance("auto", SimpleNamespace(terms={"a": term}, turns=[("student",), ("p",)]))
