"""The diagnostics hook in a training through the command line."""

import json
import math

import pytest
import torch

from tests.engine.tiny import DEMO, ONE_STEP, prepared, run, words

HOOK = dict(type="DiagnosticsHook", interval=2, patience=1)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """One distillation of three steps, plain and watched, with a weight that is far too large."""
    root = tmp_path_factory.mktemp("job")
    kitti = prepared(root / "kitti")
    config = root / "config.py"
    config.write_text(
        f"_base_ = {str(DEMO / 'distilled.py')!r}\n"
        "model = dict(\n"
        "    teachers=dict(teacher=dict(checkpoint=None)),\n"
        "    method=[dict(type='fitnets', weight=1e6)],\n"
        "    balance=dict(type='DWA', window=1))\n"
    )
    watched = root / "watched.py"
    watched.write_text(f"_base_ = './config.py'\ncustom_hooks = [{HOOK!r}]\n")
    for name, path in (("plain", config), ("watched", watched)):
        where = "--work-dir", root / name, "--data-root", kitti
        run(words("train", path, *where, options=ONE_STEP))
    return root


def test_figures_reach_the_curves_and_advice_the_log(job):
    (log,) = job.glob("watched/*/vis_data/scalars.json")
    last = json.loads(log.read_text().splitlines()[-1])
    for key in ("grad_ratio", "grad_cos", "coverage", "adapter_norm"):
        assert math.isfinite(last[f"kd.bev.{key}"])
    assert last["kd.bev.grad_ratio"] > 10
    assert "kd.bev.grad_ratio" not in json.loads(
        next(job.glob("plain/*/vis_data/scalars.json")).read_text().splitlines()[-1]
    )
    (text,) = job.glob("watched/*/*.log")
    told = [line for line in text.read_text().splitlines() if "x the task gradient" in line]
    assert len(told) == 1
    assert "WARNING - kd.bev is " in told[0]
    assert "model.balance='auto'" in told[0]


def test_trained_weights_and_balance_are_the_same_bits(job):
    states = []
    for name in ("plain", "watched"):
        (path,) = (job / name).glob("epoch_*.pth")
        states.append(torch.load(path, weights_only=False)["state_dict"])
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    factors = states[0]["kd.balance.factor"]
    assert factors.sum().item() == pytest.approx(2.0)
    assert factors[0] != 1
