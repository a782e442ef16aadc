"""The engine's benchmarks: pairing, processes, memory, exactness. Nothing is timed."""

import contextlib
import json

import pytest
import torch
from mmengine.logging import MMLogger
from typer.testing import CliRunner

from benchmarks.engine import harness, memory, overhead, pointdistiller, setups
from benchmarks.engine.harness import Arm, interleave, ratio, spread
from benchmarks.engine.peak import in_fresh_process
from kd3d.cli import bench_engine
from kd3d.cli.main import build_app
from kd3d.errors import UserError
from kd3d.evaluation.peak import in_use_bytes, peak_bytes
from tests import toy

MB = 2**20


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when a test moves it."""
    state = {"now": 0.0}
    monkeypatch.setattr(harness.time, "perf_counter", lambda: state["now"])
    monkeypatch.setattr(harness.time, "process_time", lambda: state["now"] / 2)
    return state


def test_arms_take_turns_and_noise_cancels(clock):
    order = []

    def arm(name, cost):
        def prepare(repeat):
            clock["now"] += 100  # untimed
            return repeat

        def step(repeat):
            order.append(name)
            clock["now"] += cost * (10 if repeat == 1 else 1)  # a disturbed round

        return Arm(name, step, prepare)

    times = interleave([arm("a", 2.0), arm("b", 1.0), arm("c", 3.0)], repeats=3, warmup=1)
    assert "".join(order) == "cababcbcacab"
    assert times["wall"] == {"a": [2, 20, 2], "b": [1, 10, 1], "c": [3, 30, 3]}
    assert times["cpu"]["a"] == [1, 10, 1]
    found = ratio(times, ["c"], ["a", "b"])
    assert (found["median"], found["q25"], found["q75"], found["n"]) == (1, 1, 1, 3)


def test_spread_states_median_and_quartiles():
    assert spread([4, 1, 2, 3, 100]) == {"median": 3, "q25": 2, "q75": 4, "n": 5}
    assert spread([7.0])["q75"] == 7
    with pytest.raises(ValueError):
        spread([])


def needs(megabytes, kept):
    """Return the peak of a step that holds two blocks one after the other, or both at once."""

    def step():
        first = torch.ones(megabytes * MB // 4)
        if not kept:
            del first
        return torch.ones(megabytes * MB // 4)

    before = in_use_bytes()
    return peak_bytes(step) - before


@pytest.mark.parametrize("kept, blocks", [(False, 1), (True, 2)])
def test_a_peak_is_what_is_alive_at_once(kept, blocks):
    found = in_fresh_process(f"{__name__}:needs", megabytes=64, kept=kept)
    assert 64 * blocks <= found / MB < 64 * blocks + 16


def test_a_process_without_result_is_an_error():
    with pytest.raises(RuntimeError, match="exit code"):
        in_fresh_process(f"{__name__}:no_such_function")


def test_memory_is_compared_on_the_cautious_side():
    found = [dict(peak=1500, teacher=300, taps=100), dict(peak=1470, teacher=300, taps=100)]
    row = memory.compare([1100, 1030], found)
    assert row["ratio"] == pytest.approx(1500 / 1430)
    assert row["met"]
    assert not memory.compare([1100, 1000], found)["met"]


def test_our_loss_equals_the_edge_tensor_and_an_error_would_show(monkeypatch):
    monkeypatch.setattr(pointdistiller, "QUERIES", 60)
    monkeypatch.setattr(pointdistiller, "NEIGHBOURS", 16)

    def found():
        given = dict(channels=8, rows=300, seed=0)
        error = {name: pointdistiller.errors(name, **given) for name in pointdistiller.ARMS}
        error["ours64"] = pointdistiller.errors("ours", **given, dtype=torch.float64)
        return error

    assert pointdistiller.agree(found())
    right, search = pointdistiller.ours, pointdistiller.nearest_rows
    with monkeypatch.context() as patch:
        patch.setitem(pointdistiller.ARMS, "ours", lambda *given: (1 + 1e-7) * right(*given))
        wrong = found()
        assert wrong["ours64"]["gradient"] == pytest.approx(1e-7, rel=0.01)
        assert not pointdistiller.agree(wrong)
    monkeypatch.setattr(pointdistiller, "nearest_rows", lambda *a, **k: (search(*a, **k) + 1) % 300)
    wrong = found()
    assert wrong["ours"]["search"] > 1e-2
    assert not pointdistiller.agree(wrong)


@pytest.fixture
def tiny(monkeypatch):
    """A detector of a second or so in the place of the stock ones, on made-up clouds."""
    logger = MMLogger.get_instance("mmengine")
    level = logger.level
    setups.register()
    monkeypatch.setitem(setups.DETECTORS, "tiny", dict(model=toy.pointpillars()))
    small = dict(type="pointdistiller", queries=40, neighbours=8)
    monkeypatch.setattr(
        setups,
        "METHODS",
        {
            "fitnets": {"tiny": dict(type="fitnets")},
            "response": {"tiny": dict(type="response")},
            "pointdistiller": {"tiny": small},
        },
    )

    def batches(root, size, count, seed):
        return [toy.batch(size, seed=seed + i, box_dim=7) for i in range(count)]

    monkeypatch.setattr(setups, "batches", batches)
    monkeypatch.setattr(setups, "prepared_data", lambda *_: contextlib.nullcontext("nowhere"))
    yield
    logger.setLevel(level)


@pytest.mark.usefixtures("tiny")
def test_overhead_counts_every_arm():
    result = overhead.run(["tiny"], list(setups.METHODS), repeats=2)
    json.dumps(result, allow_nan=False)
    assert [(row["method"], row["batch_size"]) for row in result["rows"]] == [
        ("fitnets", 2),
        ("response", 2),
        (None, 2),
        ("pointdistiller", 6),
        (None, 6),
    ]
    assert all(row["ratio"]["n"] == 2 for row in result["rows"])
    assert set(result["rows"][0]["seconds"]["wall"]) == {
        "fitnets",
        "student",
        "teacher for fitnets",
    }
    assert {"machine", "threads", "versions", "commit", "seed", "command", "wall_s", "gpu"} <= set(
        result
    )
    assert len(overhead.lines(result)) == 6


@pytest.mark.usefixtures("tiny")
def test_the_student_alone_is_the_stock_detector_and_teachers_are_counted():
    alone, distilled = (setups.distiller("tiny", name, 0) for name in (None, "response"))
    for model in (setups.stock("tiny", 0), distilled.student):
        for ours, theirs in zip(alone.student.parameters(), model.parameters()):
            assert torch.equal(ours, theirs)
    copies = list(memory._tapped(distilled, toy.batch(2, box_dim=7)))
    head = 2 * 24 * 16 * (18 + 42 + 12) * 4  # bytes of (B, H, W, channels), float32
    assert sum(t.nbytes for t in copies) == 2 * head


def test_commands_refuse_unknown_names_and_a_missing_folder(monkeypatch, tmp_path):
    def failure(*words):
        with pytest.raises(UserError) as caught:
            CliRunner().invoke(build_app(), ["bench", *words], catch_exceptions=False)
        return str(caught.value)

    assert "pointpillars" in failure("overhead", "--detector", "pointpilars")
    assert "fitnets" in failure("memory", "--method", "fitnet")
    assert "--clock" in failure("pointdistiller", "--clock", "sun")
    monkeypatch.setattr("kd3d.__file__", str(tmp_path / "kd3d" / "__init__.py"))
    assert "checkout" in failure("overhead")


def test_a_missed_bound_is_a_negative_verdict(monkeypatch):
    class Fake:
        @staticmethod
        def run(**arguments):
            assert arguments == dict(seed=3, clock="cpu", steps=2)
            return {"met": False}

        @staticmethod
        def lines(result):
            return ["one", "two"]

    monkeypatch.setattr(bench_engine, "load", lambda name: Fake)
    words = ["bench", "cache", "--seed", "3", "--clock", "cpu", "--repeats", "2"]
    done = CliRunner().invoke(build_app(), words)
    assert done.exit_code == 1
    assert done.stdout == "one\ntwo\n"
