"""`kd3d stress` from run folders to numbers and page; it goes on where it was stopped."""

import pytest
import torch

from kd3d.engine import runner
from kd3d.engine.runner import load_config
from kd3d.fileio import read_json
from kd3d.models.stock import write_config
from kd3d.robustness import stress as module
from tests.deploy.test_parity import built
from tests.engine.tiny import DEMO, failure, prepared, run


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A data set and two run folders with the same weights under two names."""
    root = tmp_path_factory.mktemp("stress")
    kitti = prepared(root / "kitti")
    config = load_config(str(DEMO / "baseline.py"), data_root=kitti)
    model = built(lambda: config.model.student)
    for name in ("one", "two"):
        write_config(root / name / "config.py", config, "of a test")
        torch.save({"state_dict": model.state_dict()}, root / name / "student.pth")
    return root


def test_scores_are_those_of_kd3d_test_and_are_kept(job, monkeypatch):
    scored = []
    real = module.score

    def counted(*args, **named):
        scored.append(args[3].split(maxsplit=1)[1])
        if len(scored) == 3:
            raise KeyboardInterrupt
        return real(*args, **named)

    monkeypatch.setattr(module, "score", counted)
    given = ["stress", job / "one", f"other={job / 'two'}", "--out", job / "out"]
    given += ["--only", "beams,fog", "--severities", "5", "--metric", "Car_BEV_AP40_easy_loose"]
    with pytest.raises(AssertionError):  # exit code 130
        run(given)
    assert not (job / "out/stress.html").exists()
    printed = run(given)
    # the third was interrupted; "other" is the same model on the same data, so it is not run again
    assert scored == ["one, clean", "one, beams 5", "one, fog 5", "one, fog 5"]
    assert "fog, other: Car_BEV_AP40_easy_loose" in printed
    numbers = read_json(job / "out/stress.json")
    assert [one["name"] for one in numbers["corruptions"]] == ["beams", "fog"]
    config = load_config(str(job / "one/config.py"), work_dir=str(job / "work"))
    known = runner.test(config, job / "one/student.pth")
    (clean, *_) = [row for row in numbers["rows"] if row["corruption"] == "clean"]
    assert clean["metrics"] == pytest.approx(known)
    page = (job / "out/stress.html").read_text()
    for words in ("beam drop", "fog", "other", "<svg", "</html>"):
        assert words in page
    assert "http" not in page.replace("http://www.w3.org", "")

    run([*given, "--severities", "1,5"])
    assert scored[4:] == ["one, beams 1", "one, fog 1"]


def test_mistakes_are_one_line(job):
    out = ["--out", job / "none"]
    assert "changes nothing for models that read points" in failure(
        ["stress", job / "one", *out, "--only", "cameras"]
    )
    assert "no metric 'mAPP'" in failure(
        ["stress", job / "one", "--out", job / "out", "--only", "fog", "--severities", "5",
         "--metric", "mAPP"]
    )  # fmt: skip
    assert "two models are named 'one'" in failure(["stress", job / "one", job / "one", *out])
    assert "no severities" in failure(["stress", job / "one", *out, "--severities", "9"])
    assert not (job / "none").exists()
