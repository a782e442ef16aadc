"""Records and training logs: written, read back, and refused in clear words."""

import json
import math

import pytest

from kd3d.errors import UserError
from kd3d.report.benchmarks.kitti import ap, mean_ap
from kd3d.report.record import RunRecord
from kd3d.report.scalars import read_scalars


def values(study, **changes):
    return RunRecord.load(study[1]).to_dict() | changes


def test_round_trip(study, tmp_path):
    record = RunRecord.load(study[2])
    record.save(tmp_path)
    again = RunRecord.load(tmp_path)
    assert again.to_dict() == record.to_dict()
    assert again.folder == tmp_path
    assert ap(again.result, "Car") == record.result["Car"]["3D"]["AP40"]["strict"][1]
    three = [ap(record.result, name) for name in ("Car", "Pedestrian", "Cyclist")]
    assert mean_ap(record.result) == pytest.approx(sum(three) / 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"role": "techer"}, "did you mean 'teacher'"),
        ({"itertions": 3}, "did you mean 'iterations'"),
        ({"name": " "}, "name is empty"),
        ({"seed": "0"}, "seed is '0'"),
        ({"params": True}, "params is True"),
        ({"step_time_s": math.nan}, "step_time_s is not finite"),
        ({"data": {"root": "x", "split": "val"}}, "data.simulated"),
        ({"latency_ms": {"median": 3.0}}, "median and threads"),
        ({"result": {"notes": []}}, "no class"),
        ({"result": {"Car": {"3D": [1, 2, 3]}}}, "result.Car.3D"),
        ({"result": {"Car": {"3D": {"AP40": {"strict": [1, 2]}}}}}, "three APs"),
        ({"result": {"Car": {"3D": {"AP40": {"strict": [1, 2, 101]}}}}}, "three APs"),
    ],
)
def test_a_bad_record_names_the_file_and_the_field(study, tmp_path, changes, said):
    (tmp_path / "record.json").write_text(json.dumps(values(study, **changes)))
    with pytest.raises(UserError, match=said.replace("(", r"\(")) as error:
        RunRecord.load(tmp_path)
    assert "record.json" in str(error.value)


def test_missing_fields_folders_and_files(study, tmp_path):
    short = values(study)
    del short["seed"], short["result"]
    with pytest.raises(UserError, match="missing: result, seed"):
        RunRecord.from_dict(short)
    with pytest.raises(UserError, match=r"no record\.json in it"):
        RunRecord.load(tmp_path)
    with pytest.raises(UserError, match="no such run folder"):
        RunRecord.load(tmp_path / "nowhere")
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        RunRecord.load(tmp_path)


def test_scalars_of_a_resumed_and_interrupted_run(tmp_path):
    path = tmp_path / "scalars.json"
    rows = [
        {"loss": 3.0, "task.loss_cls": 2.0, "kd.bev.loss": 1.0, "kd.bev.weight": 5.0, "iter": 10},
        {"loss": math.nan, "task.loss_cls": 1.5, "lr": 0.1, "time": 0.2, "iter": 20},
        {"Car/AP": 5.0, "step": 20},
        {"loss": 2.0, "task.loss_cls": 1.0, "iter": 20},  # step 20 again after resuming
        {"loss": math.nan, "task.loss_cls": 1.0, "iter": 30},
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + '\n{"loss": 1')
    log = read_scalars(path)
    assert log.series["task.loss_cls"] == ([10, 20, 30], [2.0, 1.0, 1.0])
    assert log.series["loss"][1][:2] == [3.0, 2.0]
    assert (log.names("kd"), log.names("weight")) == (["kd.bev.loss"], ["kd.bev.weight"])
    assert "time" not in log.series
    assert len(log.notes) == 2  # the cut line, the value that is not finite
    path.write_text('{"loss": 1, "iter": 1}\nnonsense\n{"loss": 1, "iter": 2}\n')
    with pytest.raises(UserError, match=r"scalars\.json:2"):
        read_scalars(path)
