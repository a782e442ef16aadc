"""The metric on a simulated set: the ground truth scores 1, nothing scores 0, camera boxes work."""

import pickle

import numpy as np
import pytest
import torch

pytest.importorskip("open3d")

from mmdet3d.registry import METRICS
from mmdet3d.structures import LiDARInstance3DBoxes

import kd3d.evaluation.nuscenes_metric  # noqa: F401
from kd3d.errors import UserError
from kd3d.evaluation.nuscenes_score import evaluate_nuscenes
from tests import nuscenes_tiny as tiny

CLASSES = (
    "car",
    "truck",
    "trailer",
    "bus",
    "construction_vehicle",
    "bicycle",
    "motorcycle",
    "pedestrian",
    "traffic_cone",
    "barrier",
)


def metric(**options):
    built = METRICS.build(
        dict(
            type="NuScenesAP",
            data_root=str(tiny.simulated()),
            ann_file=str(tiny.prepared() / "nuscenes_infos_val.pkl"),
            **options,
        )
    )
    built.dataset_meta = dict(classes=CLASSES, version="v1.0-trainval")
    return built


def truth():
    """The validation split's boxes as a LiDAR detector would give them."""
    samples = []
    data = pickle.loads((tiny.prepared() / "nuscenes_infos_val.pkl").read_bytes())["data_list"]
    for info in data:
        seen = [e for e in info["instances"] if e["bbox_label_3d"] >= 0 and e["bbox_3d_isvalid"]]
        rows = [[*e["bbox_3d"], *np.nan_to_num(e["velocity"])] for e in seen]
        labels = [e["bbox_label_3d"] for e in seen]
        boxes = LiDARInstance3DBoxes(torch.tensor(rows), box_dim=9, origin=(0.5, 0.5, 0.5))
        found = dict(
            bboxes_3d=boxes, labels_3d=torch.tensor(labels), scores_3d=torch.ones(len(rows))
        )
        samples.append(
            dict(pred_instances_3d=found, pred_instances={}, sample_idx=info["sample_idx"])
        )
    return samples


def test_the_ground_truth_scores_one(tmp_path):
    built = metric(result_file=str(tmp_path / "r.json"), json_file=str(tmp_path / "s.json"))
    built.process(None, truth())
    values = built.evaluate(tiny.SAMPLES)
    counts = built.last_result["boxes"]["ground_truth_by_class"]
    present = [name for name, count in counts.items() if count >= 3]
    assert len(present) >= 4
    for name in present:
        assert values[f"{name}_AP"] == pytest.approx(1.0, abs=1e-6)
        errors = built.last_result["label_tp_errors"][name]
        assert errors["trans_err"] < 0.01
        assert errors["scale_err"] < 0.01
        assert errors["orient_err"] is None or errors["orient_err"] < 0.02
        assert errors["vel_err"] is None or errors["vel_err"] < 0.2
    again = evaluate_nuscenes(tmp_path / "r.json", tiny.simulated(), "v1.0-mini")
    assert again == built.last_result
    assert (tmp_path / "s.json").is_file()


def test_nothing_found_does_not_stop_a_training():
    built = metric()
    samples = truth()
    for sample in samples:
        found = sample["pred_instances_3d"]
        sample["pred_instances_3d"] = {key: value[:0] for key, value in found.items()}
    built.process(None, samples)
    values = built.evaluate(tiny.SAMPLES)
    assert values["mAP"] == 0
    assert values["NDS"] == 0


def test_more_than_500_boxes_keep_the_best():
    built, samples = metric(), truth()
    found = samples[0]["pred_instances_3d"]
    count = len(found["scores_3d"])
    times = 600 // count + 1
    many = torch.cat([found["bboxes_3d"].tensor] * times)
    scores = torch.cat([found["scores_3d"], torch.full((count * (times - 1),), 0.1)])
    samples[0]["pred_instances_3d"] = dict(
        bboxes_3d=LiDARInstance3DBoxes(many, box_dim=9),
        labels_3d=torch.cat([found["labels_3d"]] * times),
        scores_3d=scores,
    )
    built.process(None, samples)
    kept = built.results[0]["pred_instances_3d"]["scores_3d"]
    assert len(kept) == 500
    assert (kept == 1).sum() == count
    assert built.evaluate(tiny.SAMPLES)["car_AP"] > 0.9


def test_bad_predictions_and_parts_of_a_split_are_refused(tmp_path):
    built, samples = metric(), truth()
    samples[0]["pred_instances_3d"]["bboxes_3d"].tensor[0, 0] = float("nan")
    with pytest.raises(UserError, match="not finite"):
        built.process(None, samples)
    built = metric()
    built.process(None, truth()[:1])
    with pytest.raises(UserError, match="2 of 3 samples of the evaluated set have no entry"):
        built.evaluate(1)
    with pytest.raises(UserError, match="no such info file"):
        METRICS.build(dict(type="NuScenesAP", data_root="x", ann_file="nowhere.pkl"))
    built = metric()
    built.dataset_meta = dict(classes=("cars",))
    built.process(None, truth())
    with pytest.raises(UserError, match="no class 'cars'"):
        built.evaluate(tiny.SAMPLES)


def test_camera_boxes_score_without_cuda():
    """The pictures' own boxes, as a monocular detector gives them: 6 images a sample."""
    from mmdet3d.structures import CameraInstance3DBoxes

    built = metric()
    data = pickle.loads((tiny.prepared() / "nuscenes_infos_val.pkl").read_bytes())["data_list"]
    samples = []
    for info in data:
        for number, entries in enumerate(info["cam_instances"].values()):
            rows = [[*e["bbox_3d"], *np.nan_to_num(e["velocity"])] for e in entries]
            boxes = torch.tensor(rows, dtype=torch.float32).reshape(-1, 9)
            found = dict(
                bboxes_3d=CameraInstance3DBoxes(boxes, box_dim=9, origin=(0.5, 0.5, 0.5)),
                labels_3d=torch.tensor([e["bbox_label_3d"] for e in entries], dtype=torch.long),
                scores_3d=torch.full((len(rows),), 0.9),
                attr_labels=torch.tensor([e["attr_label"] for e in entries], dtype=torch.long),
            )
            samples.append(
                dict(
                    pred_instances_3d=found,
                    pred_instances={},
                    sample_idx=6 * info["sample_idx"] + number,
                )
            )
    built.process(None, samples)
    values = built.evaluate(len(samples))
    assert values["car_AP"] > 0.7
    assert built.last_result["label_tp_errors"]["car"]["trans_err"] < 0.5
