"""The rules of `kd3d advise`: each can hold and fail, says its source, and moves the ranking."""

import dataclasses

import pytest
import yaml

from kd3d.advice.facts import Facts
from kd3d.advice.fit import Fit
from kd3d.advice.rank import rank
from kd3d.advice.record import Record, record_of
from kd3d.advice.rules import TABLE, read_rules, route_kind
from kd3d.errors import UserError
from kd3d.fileio import write_json
from kd3d.methods import cards

LIDAR = Facts("lidar to lidar", "same", "same", "same", "medium", 4.0, "all")
CAMERA = Facts("lidar to camera", "other", "same", "other", "small", 1.0, "all")
NOTHING = Record()
RULES = {rule.rule: rule for rule in read_rules()}
# rule -> facts, method and record with which it holds, and with which it does not
CASES = {
    "published for these sensors": ((LIDAR, "sparsekd"), (CAMERA, "sparsekd")),
    "published in 3D": ((CAMERA, "sparsekd"), (LIDAR, "fitnets")),
    "gained here": ((LIDAR, "nst", Record("seeds")), (LIDAR, "nst", Record("once"))),
    "gained here once": ((LIDAR, "nst", Record("once")), (LIDAR, "nst")),
    "no gain here": ((LIDAR, "ab", Record("worse")), (LIDAR, "ab")),
    "slow step": ((LIDAR, "ft", Record(step="slow")), (LIDAR, "ft")),
    "responses of equal heads": ((LIDAR, "kd"), (CAMERA, "kd")),
    "features across heads": (
        (dataclasses.replace(LIDAR, heads="other"), "fitnets"), (LIDAR, "fitnets"),
    ),
    "objects across sensors": ((CAMERA, "fitnets"), (CAMERA, "at")),
    "large capacity gap": (
        (dataclasses.replace(LIDAR, capacity="large"), "sp"), (LIDAR, "sp"),
    ),
    "stronger teacher": (
        (dataclasses.replace(LIDAR, capacity="large"), "dist"),
        (dataclasses.replace(LIDAR, capacity="large"), "kd"),
    ),
    "unlabelled frames": (
        (dataclasses.replace(LIDAR, labels="some"), "response"),
        (dataclasses.replace(LIDAR, labels="some"), "fitnets"),
    ),
    "teacher's labels": (
        (dataclasses.replace(LIDAR, labels="some"), "sparsekd"), (LIDAR, "sparsekd"),
    ),
    "verified against the authors": ((LIDAR, "kd"), (LIDAR, "irg")),
}  # fmt: skip


def holds(rule, facts, method, record=NOTHING):
    return RULES[rule].holds(facts, cards()[method], record)


def test_every_rule_has_a_case():
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize("rule", sorted(CASES))
def test_a_rule_holds_and_fails(rule):
    right, wrong = CASES[rule]
    assert holds(rule, *right)
    assert not holds(rule, *wrong)
    assert RULES[rule].source
    assert RULES[rule].why
    assert RULES[rule].points


def fit(name, reason=None):
    return Fit(name, {"type": name}, cards()[name], reason)


def test_the_ranking_follows_points_then_gain_then_name():
    fits = [fit(name) for name in ("fitnets", "kd", "sparsekd", "nst")] + [fit("ab", "no bev")]
    records = {"nst": Record("seeds", "usual", 6.4, "lidar/leading, nst")}
    found = rank(fits, LIDAR, lambda name: records.get(name, NOTHING))
    assert [(one.fit.name, one.points) for one in found] == [
        ("nst", 4.5), ("sparsekd", 4.5), ("kd", 1.5), ("fitnets", 0.5),
    ]  # fmt: skip
    to_camera = rank([fit("unidistill"), fit("sparsekd")], CAMERA, lambda name: NOTHING)
    assert to_camera[0].fit.name == "unidistill"
    assert [rule.rule for rule in to_camera[0].rules] == [
        "published for these sensors", "objects across sensors", "verified against the authors",
    ]  # fmt: skip
    rules = [dataclasses.replace(RULES["verified against the authors"], points=-9)]
    assert rank(fits, LIDAR, lambda name: NOTHING, rules)[-1].points == -9


def test_routes():
    known = cards()
    assert route_kind(known["unidistill"], "lidar to camera") == "pair"
    assert route_kind(known["unidistill"], "lidar to lidar") == "3d"
    assert route_kind(known["kd"], "lidar to camera") == "image"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(points=None), "it has no points"),
        (dict(source=None), "it has no source"),
        (dict(when=dict(gp="same")), "unknown key 'gp'"),
        (dict(method=dict(sorce="logit")), "did you mean 'source'"),
        (dict(pionts=1), "did you mean 'points'"),
    ],
)
def test_a_broken_table_is_refused(tmp_path, change, message):
    row = yaml.safe_load(TABLE.read_text())[0] | change
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump([row]))
    with pytest.raises(UserError, match=message):
        read_rules(path)


def test_records(tmp_path):
    def gain(arm, n, values, equal="iterations"):
        mean = sum(values) / len(values)
        ap = dict(n=n, mean=mean, se=None, ci95=None, values=values)
        return dict(arm=arm, over="baseline", equal=equal, scores=dict(car=ap))

    times = dict(baseline=0.1, kd=0.2, ft=0.5, nst=0.2, ab=0.2, at=0.2)
    write_json(tmp_path / "lidar/records/one.json", dict(
        metric="car",
        arms=[dict(arm=arm, step_time_s=dict(mean=s)) for arm, s in times.items()],
        gains=[
            gain("kd", 2, [1.0, 2.0]), gain("nst", 2, [-1.0, 5.0]), gain("ft", 1, [0.5]),
            gain("ab", 1, [-0.5]), gain("at", 1, [9.0], equal="time"),
        ],
        records=[
            dict(name=f"{arm}/student/seed0", method=arm, data=dict(simulated=True))
            for arm in times
        ],
    ))  # fmt: skip
    found = {name: record_of(name, "lidar", tmp_path) for name in times}
    assert found["kd"] == Record("seeds", "usual", 1.5, "lidar/one, kd")
    assert (found["nst"].measured, found["nst"].gain) == ("mixed", 2.0)
    assert (found["ft"].measured, found["ft"].step) == ("once", "slow")
    assert found["ab"].measured == "worse"
    assert found["at"] == NOTHING
    assert record_of("kd", "camera", tmp_path) == NOTHING
