"""Scores of resampled frames equal those of the whole evaluation on the same frames."""

import copy
import json

import numpy as np
import pytest

from kd3d.evaluation import kitti_resample, nuscenes_resample
from kd3d.evaluation.kitti_ap import evaluate_kitti
from kd3d.evaluation.nuscenes_score import devkit_evaluation, evaluate_nuscenes
from tests.paths import GOLDEN
from tests.report.study import detections, labels_of

NUS = GOLDEN / "nus_eval"
CASES = ("n01_good", "n03_perfect", "n05_empty_samples")


def test_kitti_frames_drawn_again_score_as_if_they_were_other_frames():
    truth = [labels_of(frame) for frame in range(30)]
    found = [detections(labels, 0.25, 0.8, frame) for frame, labels in enumerate(truth)]
    score = kitti_resample.scorer(truth, found)
    for drawn in (np.arange(30), np.array([4, 4, 0, 29, 7, 7, 7, 12, 3, 3, 21, 22, 23])):
        got = score(drawn)
        wanted = evaluate_kitti([truth[i] for i in drawn], [found[i] for i in drawn])
        for name in ("Car", "Pedestrian", "Cyclist"):
            for metric, overlap in kitti_resample.SCORED:
                value = got[name][metric]["AP40"][overlap][1]
                assert value == pytest.approx(wanted[name][metric]["AP40"][overlap][1], abs=1e-12)
    assert got["Car"]["3D"]["AP40"]["strict"][1] > 0


@pytest.mark.parametrize("case", CASES)
def test_all_nuscenes_samples_score_as_by_the_devkit(case):
    path = NUS / case / "results_nusc.json"
    wanted = evaluate_nuscenes(path, NUS / "db", "v1.0-mini")
    evaluation = devkit_evaluation(path, NUS / "db", "v1.0-mini")
    tokens = list(evaluation.sample_tokens)
    got = nuscenes_resample.scorer(evaluation, tokens)(np.arange(len(tokens)))
    for key in ("nd_score", "mean_ap"):
        assert got[key] == pytest.approx(wanted[key], abs=1e-12)
    for key in ("tp_errors", "mean_dist_aps"):
        assert got[key] == pytest.approx(wanted[key], abs=1e-12)


def test_a_sample_drawn_twice_counts_as_two():
    """Samples under two names, scored by the devkit, equal samples drawn twice."""
    path = NUS / CASES[0] / "results_nusc.json"
    evaluation = devkit_evaluation(path, NUS / "db", "v1.0-mini")
    tokens = list(evaluation.sample_tokens)
    drawn = np.concatenate([np.arange(len(tokens)), [0, 1, 1]])
    got = nuscenes_resample.scorer(evaluation, tokens)(drawn)
    for number, i in enumerate(drawn[len(tokens) :]):
        for boxes in (evaluation.gt_boxes, evaluation.pred_boxes):
            again = copy.deepcopy(boxes[tokens[i]])
            for box in again:
                box.sample_token = f"again{number}"
            boxes.add_boxes(f"again{number}", again)
    metrics, _ = evaluation.evaluate()
    wanted = json.loads(json.dumps(metrics.serialize()))
    assert got["nd_score"] == pytest.approx(wanted["nd_score"], abs=1e-12)
    assert got["mean_dist_aps"] == pytest.approx(wanted["mean_dist_aps"], abs=1e-12)
