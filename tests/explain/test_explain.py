"""`kd3d explain`: facts agree with the distiller, the graph and the page show them all."""

import re
import shutil
import subprocess

import pytest
from mmengine.config import Config
from typer.testing import CliRunner

from kd3d.cli.main import build_app
from kd3d.errors import UserError
from kd3d.explain.flow import flow_of
from kd3d.explain.mermaid import mermaid
from kd3d.explain.page import write_page
from kd3d.methods import cards
from kd3d.models.tiny import PAIRS

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
PROBE = """<script>addEventListener("load", () => {
  const wide = document.documentElement.scrollWidth - innerWidth;
  const flows = [...document.querySelectorAll(".flow")];
  const stacked = flows.filter(f => getComputedStyle(f).gridTemplateColumns.split(" ").length == 1);
  document.body.setAttribute("data-probe",
    `wide ${wide} flows ${flows.length} stacked ${stacked.length}`);
});</script>"""


def config(**changes):
    student, teacher = PAIRS["centerpoint finer"].detectors()
    model = dict(
        type="Distiller",
        student=dict(model=student),
        teachers=dict(
            teacher=dict(type="Frozen", checkpoint="nowhere.pth", model=teacher),
            average=dict(type="EMA"),
        ),
        method=[
            dict(type="fitnets", weight=dict(type="cosine", start=5.0, end=0.0)),
            dict(type="crosskd", teacher="average"),
        ],
        terms=[
            dict(name="plain", student="student:stage0", teacher="average:stage0", weight=0.5)
        ],
        labels=dict(teacher="teacher", score=0.5),
    )  # fmt: skip
    return Config(dict(model=model | changes))


@pytest.fixture(scope="module")
def flow():
    return flow_of(config())


def test_facts(flow):
    models = {model.name: model for model in flow.models}
    assert list(models) == ["student", "teacher", "average"]
    assert models["student"].trained == models["student"].parameters > 0
    assert models["teacher"].trained == models["average"].trained == 0
    assert models["teacher"].parameters > models["student"].parameters
    assert models["student"].reads == ["lidar"]
    terms = {term.name: term for term in flow.terms}
    bev = terms["bev"]
    assert (bev.method, bev.equation) == ("fitnets", cards()["fitnets"].equation)
    assert bev.weight == "cosine (start 5.0, end 0.0)"
    assert bev.mask == "gaussian of the labelled boxes"
    assert bev.loss == "squared error"
    assert re.fullmatch(r"1x1 convolution \d+ to \d+ channels", bev.adapter)
    assert bev.resample == "resampled to the student's cells"
    assert bev.trained > 0
    assert terms["plain"].method == ""
    assert terms["plain"].mask == "none"
    assert terms["plain"].adapter == "as it is"
    assert any(term.method == "crosskd" for term in flow.terms)
    assert flow.labels == ["boxes of teacher with scores above 0.5 join the labels of student"]
    for term in flow.terms:
        assert term.student[1] in models[term.student[0]].taps
        assert term.teacher[1] in models[term.teacher[0]].taps
    assert "cells of 0.8x0.8 m" in models["student"].taps["bev"]


def test_a_student_alone_and_a_peer():
    alone = flow_of(config(teachers=None, method=None, terms=None, labels=None))
    assert [model.name for model in alone.models] == ["student"]
    assert alone.terms == []
    student, _ = PAIRS["centerpoint"].detectors()
    peers = flow_of(
        config(
            teachers=dict(peer=dict(type="Online", model=student)),
            method=dict(type="fitnets", teacher="peer"), terms=None, labels=None,
        )
    )  # fmt: skip
    assert [(t.name, t.method) for t in peers.terms] == [
        ("bev", "fitnets"), ("bev_to_peer", "fitnets"),
    ]  # fmt: skip
    assert peers.models[1].trained == peers.models[1].parameters
    members = {name: dict(checkpoint="nowhere.pth", model=student) for name in ("one", "two")}
    both = flow_of(
        config(
            teachers=dict(both=dict(type="Ensemble", members=members)),
            method=dict(type="response", teacher="both"), terms=None, labels=None,
        )
    )  # fmt: skip
    assert both.models[1].detectors == ["CenterPoint", "CenterPoint"]
    assert both.terms[0].teacher == ("both", "head")
    assert "center_head" in both.models[1].taps["head"]


def test_the_graph_has_every_part_once(flow):
    text = mermaid(flow)
    assert text.startswith("flowchart LR\n")
    assert text.count("subgraph") == text.count("\n  end\n") == len(flow.models)
    nodes = set(re.findall(r"\b(?:tap|term|adapter|mask|m|label)_\w+", text))
    declared = set(re.findall(r"\b((?:tap|term|adapter|mask|m|label)_\w+)[\[({>]", text))
    assert nodes == declared
    assert text.count(" --> total\n") == len(flow.terms)
    for line in text.splitlines():
        assert line.count('"') % 2 == 0
    assert "follows the student" in text


def test_the_command(tmp_path):
    path = tmp_path / "pair.py"
    config().dump(path)

    def run(*more):
        done = CliRunner().invoke(build_app(), ["explain", str(path), *map(str, more)])
        if done.exception is not None:
            raise done.exception
        return done.stdout

    printed = run()
    run("--mermaid", tmp_path / "flow.mmd", "--html", tmp_path / "flow.html")
    assert (tmp_path / "flow.mmd").read_text() == printed
    assert "<h1>Data flow of" in (tmp_path / "flow.html").read_text()
    with pytest.raises(UserError, match="an HTML file"):
        run("--html", tmp_path / "flow.txt")
    assert not (tmp_path / "flow.txt").exists()


@pytest.mark.skipif(BROWSER is None, reason="no chromium here (apt-get install chromium)")
@pytest.mark.parametrize("width", [1280, 500])
def test_the_page_in_chromium(flow, tmp_path, width):
    path = tmp_path / "flow.html"
    write_page(flow, path)
    text = path.read_text()
    assert not re.findall(r"(?:src|href)=", text)  # nothing is fetched
    path.write_text(text.replace("</body>", PROBE + "</body>"))
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--disable-background-networking", "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},1200",
            "--virtual-time-budget=3000", "--dump-dom", path.as_uri(),
        ],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    wide, flows, stacked = map(int, re.findall(
        r'data-probe="wide (-?\d+) flows (\d+) stacked (\d+)"', done.stdout)[0])  # fmt: skip
    assert wide <= 0
    assert flows == len(flow.terms)
    assert stacked == (flows if width == 500 else 0)
