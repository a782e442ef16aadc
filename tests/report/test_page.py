"""The page: its numbers are the records', it needs no network, and nothing is dropped silently."""

import csv
import html.parser
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from kd3d.errors import UserError
from kd3d.report.benchmarks.kitti import ap
from kd3d.report.frames import common_frames, evenly_spaced, found_labels
from kd3d.report.page import write_report
from kd3d.report.record import RunRecord
from kd3d.report.scenes import Boxes
from kd3d.report.summary_png import write_summary_png
from tests.paths import ROOT
from tests.report.study import FRAMES

SECTIONS = {
    "verdict",
    "summary",
    "cost",
    "strata",
    "ap",
    "pr",
    "training",
    "frames",
    "teacher",
    "provenance",
    "notes",
}
HOSTILE = "<script>alert('x')</script> & \"$_{"


class Tags(html.parser.HTMLParser):
    """Collects tags with their attributes, and the text a reader sees."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.silent = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.silent = tag in ("style", "script")

    def handle_endtag(self, tag):
        self.silent = False

    def handle_data(self, data):
        self.text += "" if self.silent else data


def changed(folder, target, **changes):
    """Copy a run folder with changes in its record."""
    shutil.copytree(folder, target)
    record = json.loads((target / "record.json").read_text()) | changes
    (target / "record.json").write_text(json.dumps(record))
    return target


def test_numbers_of_json_and_page_are_the_records(study, page):
    numbers = json.loads(page.with_suffix(".json").read_text())
    records = [RunRecord.load(folder) for folder in study]
    assert numbers["runs"] == [record.to_dict() for record in records]
    _, baseline, distilled = records
    gain = numbers["comparisons"][0]["metrics"][0]["gain"]
    assert gain == ap(distilled.result, "Car") - ap(baseline.result, "Car")
    assert numbers["simulated"] is True
    log = [json.loads(line) for line in (study[2] / "scalars.json").read_text().splitlines()]
    weights = [row["kd.bev.weight"] for row in log if "iter" in row]
    assert numbers["scalars"]["distilled"]["kd.bev.weight"]["value"] == weights
    text = Tags(page.read_text()).text
    for record in records:
        for name in record.classes:
            for metric in ("3D", "BEV", "2D", "AOS"):
                for value in record.result[name][metric]["AP11"]["loose"]:
                    assert f"{value:.2f}" in text
        assert f"{ap(record.result, 'Car'):.2f}" in text
    assert re.sub("-", "\u2212", f"{gain:+.2f}") in text
    assert "The data are simulated." in text
    assert "A single seed (0) is shown" in text


def test_page_is_self_contained_and_whole(page):
    tags = Tags(page.read_text()).tags
    for tag, attributes in tags:
        for key in ("src", "href", "srcset", "data", "action"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
    assert not re.search(r"url\(|@import|https?://", page.read_text())
    assert {a.get("id") for tag, a in tags if tag == "section"} == SECTIONS
    images = [a for tag, a in tags if tag == "img"]
    shown = json.loads(page.with_suffix(".json").read_text())["frames"]["shown"]
    assert len(images) == len(shown) * 3 * 2  # three models, from above and in the camera
    assert all(image["alt"] for image in images)
    assert {FRAMES[0], FRAMES[-1]} <= set(shown)


def test_hostile_names_are_escaped(study, tmp_path):
    run = changed(study[2], tmp_path / "run", name=HOSTILE, command=HOSTILE, method=HOSTILE)
    log = (run / "scalars.json").read_text().replace("kd.bev", "kd.<b onclick=1>")
    (run / "scalars.json").write_text(log)
    write_report([study[1], run], tmp_path / "r.html", title=HOSTILE, frames=1)
    tags = Tags((tmp_path / "r.html").read_text())
    assert [tag for tag, _ in tags.tags].count("script") == 1  # the page's own
    assert not any(key.startswith("on") for _, attributes in tags.tags for key in attributes)
    assert tags.text.count(HOSTILE) > 5
    write_summary_png([study[1], run], tmp_path / "s.png")
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_missing_parts_are_said(study, tmp_path):
    run = changed(study[2], tmp_path / "run", teacher=None, macs=None, latency_ms=None)
    (run / "scalars.json").unlink()
    shutil.rmtree(run / "predictions")
    record = json.loads((run / "record.json").read_text())
    del record["result"]["curves"]
    (run / "record.json").write_text(json.dumps(record))
    json_path = write_report([run], tmp_path / "r.html")
    missing = json.loads(json_path.read_text())["missing"]
    for said in (
        "no scalars file", "no prediction files", "no baseline run", "no teacher run",
        "no precision-recall curves", "no teacher certificate",
    ):  # fmt: skip
        assert any(said in line for line in missing), said
    text = Tags((tmp_path / "r.html").read_text()).text
    assert all(line in text for line in missing)
    assert "No verdict" in text
    assert "not measured" in text


def test_data_that_moved_or_broke_is_said_and_does_not_stop_the_page(study, tmp_path):
    gone = {"root": str(tmp_path / "gone"), "simulated": False, "split": "val"}
    run = changed(study[1], tmp_path / "run", data=gone)
    path = write_report([run], tmp_path / "r.html")
    assert any("gone not found" in line for line in json.loads(path.read_text())["missing"])
    root = RunRecord.load(study[1]).data["root"]
    numbers = json.loads(write_report([run], tmp_path / "s.html", data_root=root).read_text())
    assert len(numbers["frames"]["frames"]) == len(FRAMES)
    assert "simulated data" not in Tags((tmp_path / "s.html").read_text()).text
    (run / "predictions" / f"{FRAMES[0]}.txt").write_text("Car 1 2\n")
    path = write_report([run], tmp_path / "t.html", data_root=root)
    assert any("3 columns" in line for line in json.loads(path.read_text())["missing"])


def test_unfair_runs_get_a_warning(study, tmp_path):
    run = changed(study[2], tmp_path / "run", iterations=1800)
    with pytest.raises(UserError, match="not comparable: iterations: distilled 1800"):
        write_report([*study[:2], run], tmp_path / "r.html", frames=0)
    assert not (tmp_path / "r.html").exists()
    write_report([*study[:2], run], tmp_path / "r.html", frames=0, allow_unequal=True)
    tags = Tags((tmp_path / "r.html").read_text())
    assert any(a.get("role") == "alert" for _, a in tags.tags)
    assert "iterations: distilled 1800, baseline 900" in tags.text
    assert "not comparable" in tags.text


def test_same_runs_same_bytes(study, page, tmp_path):
    from tests.report.conftest import SPREAD

    write_report(study, tmp_path / "again.html", "A study", spread=SPREAD, frames=2)
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_bad_runs_write_nothing(study, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    out = tmp_path / "out" / "r.html"
    for runs in ([], [empty], [study[0], study[0]]):
        with pytest.raises(UserError):
            write_report(runs, out)
    with pytest.raises(UserError, match="unknown kind of report"):
        write_report(study, out.with_suffix(".txt"))
    assert not out.parent.exists()


def test_command_line(study, tmp_path):
    command = [sys.executable, "-m", "kd3d.cli.main", "report"]

    def call(*words):
        return subprocess.run(
            [*command, *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
        )

    picture = tmp_path / "p.png"
    done = call(*study, "--out", tmp_path / "r.html", "--frames", 1, "--picture", picture)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / n) for n in ("r.html", "r.json", "p.png")]
    failed = call(tmp_path, "--out", tmp_path / "s.html")
    assert failed.returncode == 2
    assert len(failed.stderr.strip().splitlines()) == 1
    assert "record.json" in failed.stderr
    assert not (tmp_path / "s.html").exists()


def test_seeds_of_a_model_stand_together_with_their_interval(study, tmp_path):
    runs = list(study)
    for seed in (1, 2):
        runs += [
            changed(folder, tmp_path / f"{folder.name}{seed}", seed=seed) for folder in study[1:]
        ]
    better = json.loads((runs[-1] / "record.json").read_text())["result"]
    for levels in better["Car"]["3D"]["AP40"].values():
        levels[1] += 3.0
    (runs[-1] / "record.json").write_text(
        json.dumps(json.loads((runs[-1] / "record.json").read_text()) | {"result": better})
    )
    numbers = json.loads(write_report(runs, tmp_path / "r.html", frames=1).read_text())
    assert [model["seeds"] for model in numbers["models"]] == [[0], [0, 1, 2], [0, 1, 2]]
    (comparison,) = numbers["comparisons"]
    car = comparison["metrics"][0]
    assert car["n"] == 3
    gains = np.array(car["gains"])
    assert gains[2] == pytest.approx(gains[0] + 3.0)
    half = 4.302653 * gains.std(ddof=1) / 3**0.5  # Student's t, two degrees of freedom
    assert car["ci95"] == pytest.approx([gains.mean() - half, gains.mean() + half], rel=1e-5)
    assert car["verdict"] == comparison["verdict"] == "gain"
    text = Tags((tmp_path / "r.html").read_text()).text
    assert "3 seeds, paired" in text
    assert "seeds 0, 1, 2" in text
    assert len(numbers["runs"]) == 7


def test_a_single_seed_gets_an_interval_over_frames_and_tables_in_text(study, tmp_path):
    numbers = json.loads(write_report(study, tmp_path / "r.md").read_text())
    car = numbers["comparisons"][0]["metrics"][0]
    low, high = car["ci95"]
    assert low < car["gain"] < high
    assert car["verdict"] == "no evidence"
    assert "which says nothing of other seeds" in car["reason"]
    text = (tmp_path / "r.md").read_text()
    assert "| Car 3D AP |" in text
    assert "| distilled | baseline | Car 3D AP |" in text
    assert f"{car['gain']:+.2f}".replace("-", "\u2212") in text
    strata = numbers["frames"]["strata"]
    assert {row["group"] for row in strata} == {"distance", "occlusion", "class"}
    for group in ("distance", "occlusion", "class"):
        counted = sum(row["labels"] for row in strata if row["group"] == group)
        assert counted == sum(frame["labels"] for frame in numbers["frames"]["frames"].values())
    write_report(study, tmp_path / "r.csv", resamples=0)
    rows = list(csv.DictReader((tmp_path / "r.csv").open()))
    cell = next(r for r in rows if r["model"] == "distilled" and r["row"] == "Car 3D AP")
    assert float(cell["value"]) == car["distilled"]
    quiet = json.loads((tmp_path / "r.json").read_text())["comparisons"][0]["metrics"][0]
    assert quiet["ci95"] is None


def test_found_labels_are_counted_once_by_class_and_distance():
    def boxes(*rows):
        table = np.array([row[1:] for row in rows], dtype=float).reshape(-1, 3)
        full = np.column_stack([table[:, :2], np.ones((len(table), 5))])
        return Boxes(np.array([row[0] for row in rows], dtype=object), full, table[:, 2])

    truth = boxes(("Car", 10, 0, 0), ("Car", 10.8, 0, 0), ("Cyclist", 20, 0, 0))
    assert found_labels(truth, boxes(("Car", 10.1, 0, 0.9), ("Car", 10.2, 0, 0.8)), 1.0).sum() == 2
    others = boxes(("Pedestrian", 20, 0, 0.9), ("Cyclist", 21.1, 0, 0.9))
    assert found_labels(truth, others, 1.0).sum() == 0
    assert found_labels(truth, boxes(), 1.0).sum() == 0
    assert evenly_spaced(list("abcdefg"), 3) == ["a", "d", "g"]
    assert evenly_spaced(["a"], 3) == ["a"]
    assert common_frames([]) == []
    assert common_frames([["b", "a", "c"], ["c", "b"]]) == ["b", "c"]
