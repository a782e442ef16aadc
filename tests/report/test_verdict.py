"""The verdict: what counts as a gain, and what makes a comparison unfair."""

import copy

import pytest

from kd3d.errors import UserError
from kd3d.report.record import RunRecord
from kd3d.report.verdict import check_spread, compare


def run(role, car=50.0, **changes):
    aps = {"AP40": {"strict": [car + 5, car, car - 5]}}
    values = {
        "name": role,
        "role": role,
        "result": {"Car": {"3D": aps, "BEV": aps}},
        "data": {"root": "d", "simulated": True, "split": "val", "train_frames": 300},
        "seed": 0,
        "iterations": 900,
        "batch_size": 4,
        "params": 51_000,
        "supervision": "3D boxes",
    }
    return RunRecord.from_dict(copy.deepcopy(values | changes))


def spread(sd):
    return {"car_3d_moderate": {"sd": sd, "n": 5, "source": "measured"}}


@pytest.mark.parametrize(
    ("after", "sd", "verdict"),
    [
        (53.0, 1.0, "gain"),
        (51.9, 1.0, "no evidence"),
        (52.0, 1.0, "no evidence"),  # exactly two standard deviations is not beyond them
        (48.1, 1.0, "no evidence"),
        (47.0, 1.0, "loss"),
        (60.0, None, "no evidence"),
    ],
)
def test_a_gain_must_exceed_the_spread(after, sd, verdict):
    runs = [run("teacher", 70.0), run("baseline"), run("distilled", after)]
    (comparison,) = compare(runs, spread(sd) if sd else None)
    metric = comparison["metrics"][0]
    assert comparison["verdict"] == metric["verdict"] == verdict
    assert metric["gain"] == pytest.approx(after - 50)
    assert metric["retention_distilled"] == pytest.approx(after / 70)
    assert comparison["unfair"] == []
    assert comparison["metrics"][1]["verdict"] == "no evidence"  # no spread is stated for BEV


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"iterations": 1300}, "iterations: distilled 1300, baseline 900"),
        ({"batch_size": 8}, "batch_size"),
        ({"seed": 3}, "seed"),
        ({"supervision": "3D boxes, depth"}, "supervision"),
        ({"params": 90_000}, "params"),
        ({"recipe": {"test_pipeline": "b"}}, "recipe.test_pipeline: distilled 'b', baseline 'a'"),
        (
            {"data": {"root": "d", "simulated": True, "split": "val", "train_frames": 600}},
            "data.train_frames: distilled 600, baseline 300",
        ),
    ],
)
def test_unequal_runs_get_no_verdict(changes, said):
    recipe = {"test_pipeline": "a"}
    distilled = run("distilled", 90.0, **({"recipe": recipe} | changes))
    (comparison,) = compare([run("baseline", recipe=recipe), distilled], spread(0.1))
    assert comparison["verdict"] == "not comparable"
    assert len(comparison["unfair"]) == 1
    assert said in comparison["unfair"][0]


def test_each_distilled_run_meets_the_baseline_of_its_seed():
    runs = [run("baseline", name="b0"), run("baseline", 40.0, name="b1", seed=1)]
    runs += [run("distilled", 44.0, name="d1", seed=1), run("distilled", 55.0)]
    pairs = [(c["distilled"], c["baseline"], c["metrics"][0]["gain"]) for c in compare(runs)]
    assert pairs == [("d1", "b1", 4.0), ("distilled", "b0", 5.0)]
    assert compare([run("teacher"), run("distilled")]) == []


@pytest.mark.parametrize(
    "bad",
    [
        [],
        {"car_3d": {"sd": 1, "n": 5, "source": ""}},
        {"car_3d_moderate": {"sd": 1, "n": 5}},
        {"car_3d_moderate": {"sd": 1, "n": 1, "source": ""}},
        {"car_3d_moderate": {"sd": float("nan"), "n": 5, "source": ""}},
        {"car_3d_moderate": {"sd": "1", "n": 5, "source": ""}},
    ],
)
def test_a_bad_spread_is_refused(bad):
    with pytest.raises(UserError):
        check_spread(bad)
