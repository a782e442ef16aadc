"""`kd3d list` and `kd3d show`: the rows are those of the packages, and filters filter."""

import inspect
import json

import pytest
from typer.testing import CliRunner

from kd3d.advice.record import record_of
from kd3d.catalogue import defaults, results
from kd3d.catalogue.methods import chosen, method_rows
from kd3d.cli.main import build_app
from kd3d.core.registry import METHODS
from kd3d.core.schedules import SCHEDULES
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.methods import cards
from kd3d.models.zoo import zoo
from tests.paths import ROOT

register_all()


def run(*arguments):
    done = CliRunner().invoke(build_app(), list(arguments))
    if done.exception is not None:
        raise done.exception
    return done.output


def listed(kind, *filters):
    return json.loads(run("list", kind, "--json", *filters))


def test_every_kind_is_listed():
    assert [row["name"] for row in listed("methods")] == list(cards())
    assert {row["name"] for row in listed("schedules")} == set(SCHEDULES)
    assert [row["name"] for row in listed("teachers")] == list(zoo())
    losses = {row["name"]: row for row in listed("losses")}
    assert losses["squared_error"]["config"] == "loss='squared_error'"
    assert losses["channel_wise_divergence"]["methods"] == ["cwd"]
    assert {row["source"][0] for row in losses.values()} > {"logit", "feature", "similarity"}
    masks = {row["name"]: row["config"] for row in listed("masks")}
    assert masks["gaussian_mask"] == "mask=dict(type='gaussian')"
    assert {"FeatureAdapter", "MetricResample"} <= {row["name"] for row in listed("adapters")}
    table = run("list", "methods")
    assert all(name in table for name in cards())
    assert "mmdet3d::second_hv_secfpn_8xb6-80e_kitti-3d-3class" in run("list", "teachers")


def test_filters_agree_with_the_cards():
    def names(*filters):
        return {row["name"] for row in listed("methods", *filters)}

    known = cards()
    assert names("--source", "similarity") == {
        n for n, c in known.items() if "similarity" in c.source
    }
    to_camera = names("--modality", "lidar to camera")
    assert {"unidistill", "bevdistill", "tigbev"} <= to_camera
    assert "sparsekd" not in to_camera
    assert names("--modality", "radar") == {"crkd", "radardistill"}
    assert names("--needs", "head", "--without", "gt_boxes") == {
        n for n, c in known.items() if "head" in c.needs and "gt_boxes" not in c.needs
    }
    both = names("--source", "feature", "--algorithm", "contrastive", "--scheme", "online")
    assert both == {"crd"}
    assert {row["modality"][0] for row in listed("teachers", "--modality", "camera")} == {
        "camera", "lidar+camera",
    }  # fmt: skip
    with pytest.raises(UserError, match="did you mean 'contrastive'"):
        run("list", "methods", "--algorithm", "contrast")
    with pytest.raises(UserError, match="--source: these have no such column"):
        run("list", "masks", "--source", "logit")


def test_a_row_must_meet_every_filter():
    rows = method_rows([cards()[name] for name in ("fitnets", "kd")])
    assert chosen(rows, {"needs": ["bev", "gt_boxes"], "source": []}) == rows[:1]
    assert chosen(rows, {"without": ["bev"]}) == rows[1:]


@pytest.mark.parametrize("method", sorted(cards()))
def test_every_card_is_filled(method):
    card = cards()[method]
    assert card.routes
    for route in card.routes:
        sides = route.split(" to ")
        assert len(sides) == 2
        assert {s for side in sides for s in side.split("+")} <= {
            "lidar", "camera", "radar", "image",
        }  # fmt: skip
    function = METHODS.get(method)
    options = {row["name"]: row for row in defaults.options(method)}
    assert list(options) == list(inspect.signature(function).parameters)
    assert all(row["meaning"] for row in options.values())


def test_defaults_say_whose_they_are():
    (term,) = defaults.terms("fitnets")
    rows = {row["name"]: row for row in term["settings"]}
    assert rows["loss"]["source"] == "the authors"
    assert rows["normalise_teacher"] == {
        "name": "normalise_teacher", "default": True, "source": "kd3d", "published": None,
    }  # fmt: skip
    weights = {term["name"]: term["settings"][0] for term in defaults.terms("unidistill")}
    assert weights["relation"]["default"] == 1.0
    assert weights["relation"]["published"] == 40.0


def test_results_are_those_of_the_files(tmp_path):
    (entry,) = results.published("sparsekd")
    assert entry["rows"][0]["distilled"] == 64.25
    found = {(one["benchmark"], one["arm"]): one for one in results.measured("nst")}
    recorded = json.loads((ROOT / "benchmarks/lidar/records/leading.json").read_text())
    (row,) = [
        r for r in recorded["gains"] if r["arm"] == "sparsekd-nst" and r["over"] == "baseline"
    ]
    assert found["lidar/leading", "sparsekd-nst"]["methods"] == ["sparsekd", "nst"]
    assert any(
        one["gain"] == row["scores"]["car_3d_moderate"] and one["over"] == "baseline"
        for one in results.measured("nst")
    )
    begun = [one for one in results.measured("bevdistill") if one["benchmark"] == "camera/inherit"]
    assert [one["methods"] for one in begun] == [["bevdistill", results.INHERIT]]
    assert "inherit" not in record_of("bevdistill", "camera").where  # not its own gain
    assert results.measured("nst", tmp_path) == results.published("nst", tmp_path) == []


def test_the_card_on_the_command_line():
    card = cards()["sparsekd"]
    shown = run("show", "sparsekd")
    assert card.venue in shown
    assert all(line[:40] in shown for line in card.differences)
    assert "CenterPoint-voxel S" in shown
    assert "lidar/leading, sparsekd: " in shown
    found = json.loads(run("show", "irg", "--json"))
    assert found["equation"] == cards()["irg"].equation
    assert found["both_models"] == ["as many backbone stages"]
    with pytest.raises(UserError, match="did you mean 'fitnets'"):
        run("show", "fitnet")
