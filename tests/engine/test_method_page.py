"""The page of all methods agrees with the registry."""

import pytest
from typer.testing import CliRunner

from kd3d.cli.main import build_app
from kd3d.core.card import MethodCard
from kd3d.core.compatibility import agreements
from kd3d.engine import method_page
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.methods import cards
from kd3d.models.tiny import PAIRS
from tests.paths import ROOT

register_all()


def run(*arguments):
    return CliRunner().invoke(build_app(), ["list", "methods", *arguments])


def card(**changes):
    known = vars(cards()["kd"]) | dict(same=None, heads=()) | changes
    return MethodCard(**known)


def test_the_page_is_that_of_the_registry():
    found = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert found == method_page.page(list(cards().values())), (
        "kd3d list methods --markdown docs/methods.md"
    )


def test_the_matrix_follows_the_cards():
    cells = method_page.matrix([card(), card(name="feature", needs=("bev",)), card(name="rows")])
    assert cells["feature"].pop("pointrcnn") == "the student has no bev"
    assert set(cells["feature"].values()) == {"runs"}
    assert cells["kd"]["pointpillars"] == cells["kd"]["voxels to pillars"] == "runs"
    assert cells["kd"]["centerpoint finer"] == "it needs heads of one grid"
    assert "one kind" in cells["kd"]["anchors to centres"]
    assert agreements(card(needs=("pillars", "stages"))) == ("stages", "voxels")
    (row,) = method_page.matrix([card(heads=("Anchor3DHead",))]).values()
    assert row["centerpoint"] == "the student's head is a CenterHead"


def test_a_card_that_says_otherwise_than_the_method_does_is_told(monkeypatch):
    chosen = {name: PAIRS[name] for name in ("centerpoint", "second", "centerpoint finer")}
    monkeypatch.setattr(method_page, "PAIRS", chosen)
    assert method_page.try_all([cards()["kd"]]) == []
    wrong = method_page.try_all([card(name="pointdistiller", needs=("bev",))])
    assert [line.split(":")[0] for line in wrong] == [
        "pointdistiller on second",
        "pointdistiller on centerpoint finer",
    ]
    (line,) = method_page.try_all([card(name="fitnets", needs=("pillars",), same=())])
    assert line == "fitnets on second: runs, although the student has no pillars"


def test_the_page_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setattr(method_page, "PAIRS", {"centerpoint": PAIRS["centerpoint"]})
    monkeypatch.setattr("kd3d.methods.cards", lambda: {"kd": cards()["kd"]})
    page = tmp_path / "methods.md"
    assert run("--markdown", str(page)).exit_code == 0
    assert "| `kd` | · |" in page.read_text(encoding="utf-8")
    monkeypatch.setattr("kd3d.methods.cards", lambda: {"kd": card(needs=("image",))})
    with pytest.raises(UserError, match="although the student has no image"):
        raise run("--markdown", str(page)).exception
    with pytest.raises(UserError, match="about all methods"):
        raise run("--markdown", str(page), "--source", "logit").exception
