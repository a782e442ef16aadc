"""`kd3d export` from a checkpoint to a folder that runs without torch, mmdet3d and kd3d."""

import json
import os
import subprocess
import sys

import onnx
import pytest
import torch

from kd3d.engine.runner import load_config
from kd3d.fileio import read_json
from kd3d.models import tiny
from kd3d.models.stock import write_config
from tests.deploy.test_parity import built
from tests.engine.tiny import DEMO, failure, prepared, run

STANDALONE = """
import sys, numpy
from runtime.detector import Detector
found = Detector(sys.argv[1]).detect_points(numpy.fromfile(sys.argv[2], dtype='<f4').reshape(-1, 4))
print(len(found['scores']), sorted({'torch', 'mmdet3d', 'kd3d', 'cv2'} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A tiny data set and a run folder: the demo's baseline with weights nobody trained."""
    root = tmp_path_factory.mktemp("export")
    kitti = prepared(root / "kitti")
    config = load_config(str(DEMO / "baseline.py"), data_root=kitti)
    model = built(lambda: config.model.student)
    folder = root / "run"
    write_config(folder / "config.py", config, "of a test")
    torch.save({"state_dict": model.state_dict()}, folder / "student.pth")
    return root


def test_a_run_becomes_a_folder_that_runs_alone(job):
    out = job / "out"
    printed = run(["export", job / "run", "--out", out, "--frames", "1", "--int8", "static"])
    assert printed == f"{out}\n"
    report = read_json(out / "report.json")
    boxes = report["parity"]["detections"]
    assert boxes["torch"] == boxes["exported"] == boxes["same"] > 0
    assert report["latency"]["exported"] > 0
    assert report["int8"]["calibration_frames"] == 3
    metrics = report["int8"]["cost"]["metrics"]
    assert set(metrics["float32"]) == set(metrics["int8"])
    assert "mAP_3D_moderate" in metrics["int8"]
    names = {node.op_type for node in onnx.load(str(out / "model-int8.onnx")).graph.node}
    assert {"QuantizeLinear", "ScatterND", "MatMul"} <= names  # the pillar network is left whole
    sizes = report["int8"]["bytes"]
    assert sizes["after"] < 0.7 * sizes["before"]
    card = (out / "README.md").read_text()
    for words in ("## Use", "`pillars`", "## 8 bits", "sha256", "Pedestrian"):
        assert words in card

    cloud = job / "kitti/training/velodyne/000031.bin"
    alone = {**os.environ, "PYTHONPATH": ""}
    found = subprocess.run(
        [sys.executable, "-c", STANDALONE, ".", cloud], cwd=out, env=alone, check=True,
        capture_output=True, text=True,
    ).stdout.split(maxsplit=1)  # fmt: skip
    assert int(found[0]) > 0
    assert found[1].strip() == "[]"
    lines = subprocess.run(
        [sys.executable, "-m", "runtime", ".", cloud, "--score", "0"], cwd=out, env=alone,
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert len(lines) == int(found[0])
    assert set(json.loads(lines[0])) == {"class", "score", "box"}

    # an earlier export is replaced; nothing of it is left
    run(["export", job / "run", "--out", out, "--frames", "1", "--format", "torchscript"])
    assert (out / "model.pt").is_file()
    assert not list(out.glob("*.onnx"))


def test_mistakes_are_one_line_and_leave_nothing(job, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "mine.txt").write_text("x")
    given = ["export", job / "run", "--out"]
    assert "holds something else" in failure([*given, folder])
    assert "unknown format 'tflite'" in failure([*given, tmp_path / "a", "--format", "tflite"])
    assert "unknown way 'int4'" in failure([*given, tmp_path / "a", "--int8", "int4"])
    line = failure([*given, tmp_path / "a", "--format", "torchscript", "--int8", "static"])
    assert "only ONNX is quantised" in line
    assert "weights are missing" in failure(
        ["export", DEMO / "baseline.py", "--out", tmp_path / "a"]
    )
    second = tmp_path / "second.py"
    second.write_text(f"model = {tiny.second()!r}")
    torch.save({"state_dict": built_second().state_dict()}, tmp_path / "s.pth")
    line = failure(["export", second, tmp_path / "s.pth", "--out", tmp_path / "a"])
    assert "sparse convolutions" in line
    assert "student on pillars" in line
    assert not (tmp_path / "a").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes", "s.pth", "second.py"]


def built_second():
    from kd3d.models.source import build_detector

    return build_detector(tiny.second())
