import json

import numpy as np
import pytest

from kd3d.data.kitti_files import CLASSES, read_label_dir, read_labels
from kd3d.errors import UserError
from kd3d.evaluation import kitti_selfcheck
from kd3d.evaluation.kitti_ap import evaluate_kitti
from kd3d.evaluation.kitti_naive import naive_curve
from kd3d.evaluation.kitti_rules import (
    METRICS,
    OVERLAPS,
    REPORTED,
    attainable,
    flag_detections,
    flag_ground_truth,
    min_overlap,
    recall_thresholds,
)
from kd3d.evaluation.kitti_selfcheck import self_check
from kd3d.evaluation.kitti_synthetic import simulated_frame
from tests.paths import GOLDEN

SETS = sorted((GOLDEN / "kitti_eval").glob("s*"))


def load(folder):
    labels = read_label_dir(folder / "label_2", scores=False)
    found = read_label_dir(folder / "pred", list(labels), scores=True)
    return list(labels.values()), list(found.values())


def assert_golden(result, folder):
    golden = json.loads((folder / "golden.json").read_text())["cpp_ap40"]
    for overlap in OVERLAPS:
        for name in CLASSES:
            for metric in REPORTED:
                wanted = golden[overlap][name][metric]
                for average, key in (("AP40", "from_curve"), ("AP11", "ap11_from_curve")):
                    got = result[name][metric][average][overlap]
                    np.testing.assert_allclose(
                        got, wanted[key], rtol=0, atol=1e-4, err_msg=f"{name} {metric} {average}"
                    )


def scene(seed, frames=12):
    """Simulated frames made nasty: score ties, negative scores, heights at the limits."""
    rng = np.random.default_rng(seed)
    pairs = [simulated_frame(rng) for _ in range(frames)]
    for truth, found in pairs:
        found.score = np.round(found.score, 1) - 0.6
        for rows in (truth, found):
            at_limit = rng.random(len(rows)) < 0.3
            height = rng.choice([25.0, 40.0, 24.99, 40.01], len(rows))
            rows.bbox[at_limit, 3] = rows.bbox[at_limit, 1] + height[at_limit]
        truth.truncated[: len(truth) // 3] = 0.3
    return [truth for truth, _ in pairs], [found for _, found in pairs]


@pytest.mark.parametrize("folder", SETS, ids=lambda folder: folder.name)
def test_equal_to_the_official_program(folder):
    assert len(SETS) == 6
    assert_golden(evaluate_kitti(*load(folder)), folder)


def test_order_of_frames_and_an_empty_first_frame_do_not_matter():
    folder = GOLDEN / "kitti_eval" / "s05_empty_frames_30f"
    labels, found = load(folder)
    bare = [i for i in range(30) if set(labels[i].name) <= {"DontCare"} and len(found[i]) == 0]
    for i in bare:  # without detections a DontCare area changes nothing
        labels[i] = labels[i][:0]
    order = bare + [i for i in reversed(range(30)) if i not in bare]
    assert len(bare) == 4
    assert_golden(evaluate_kitti([labels[i] for i in order], [found[i] for i in order]), folder)


def test_curves_equal_the_official_ones():
    folder = GOLDEN / "kitti_eval" / "s01_mixed_20f"
    curves = evaluate_kitti(*load(folder), curves=True)["curves"]
    golden = json.loads((folder / "golden_curves.json").read_text())
    assert curves["recall"][::40] == [0.0, 1.0]
    for overlap in OVERLAPS:
        for name in CLASSES:
            for metric in REPORTED:
                np.testing.assert_allclose(
                    curves[name][metric][overlap], golden[overlap][name][metric], atol=2e-9
                )


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_plain_loops_on_ties_negative_scores_and_limits(seed):
    labels, found = scene(seed)
    fast = evaluate_kitti(labels, found, curves=True)["curves"]
    scored = 0
    for name in CLASSES:
        for metric in METRICS:
            for overlap in OVERLAPS:
                limit = min_overlap(metric, overlap, name)
                for row in range(3):
                    precision, similarity = naive_curve(labels, found, name, metric, row, limit)
                    got = fast[name][metric][overlap][row]
                    np.testing.assert_allclose(got, precision, atol=1e-9)
                    scored += sum(got) > 0
                    if metric == "2D":
                        got = fast[name]["AOS"][overlap][row]
                        np.testing.assert_allclose(got, similarity, atol=1e-9)
    assert scored > 25


def test_only_the_order_of_scores_matters():
    labels, found = load(SETS[0])
    before = evaluate_kitti(labels, found)
    for frame in found:
        frame.score = frame.score * 3 - 50.0
    assert evaluate_kitti(labels, found) == before


def test_flags_at_the_limits():
    labels, found = scene(0, frames=1)
    labels, found = labels[0][:1], found[0][:1]
    for rows in (labels, found):
        rows.name[:], rows.occluded[:], rows.truncated[:] = "Car", 1, 0.3
    for height, label_flag, detection_flag in ((25.0, 1, 0), (25.01, 0, 0), (24.99, 1, 1)):
        for rows in (labels, found):
            rows.bbox[0] = [10.0, 0.0, 60.0, height]
        assert flag_ground_truth(labels, "Car", "moderate").tolist() == [label_flag]
        assert flag_detections(found, "Car", "moderate").tolist() == [detection_flag]
    labels.bbox[0, 3] = 80.0
    assert flag_ground_truth(labels, "Car", "easy").tolist() == [1]
    labels.truncated[0] = 0.31
    assert flag_ground_truth(labels, "Car", "moderate").tolist() == [1]
    assert flag_ground_truth(labels, "Cyclist", "hard").tolist() == [-1]
    labels.name[0] = "Van"
    assert flag_ground_truth(labels, "Car", "hard").tolist() == [1]
    found.bbox[0, 3] = 5.0
    assert flag_detections(found, "Cyclist", "hard").tolist() == [1]


def test_missing_classes_and_orientations_are_zero_and_noted():
    labels, found = load(SETS[0])
    found = [frame[frame.name != "Cyclist"] for frame in found]
    labels = [frame[frame.name != "Pedestrian"] for frame in labels]
    found[3].alpha[:] = -10.0
    result = evaluate_kitti(labels, found)
    for name in ("Cyclist", "Pedestrian"):
        values = [
            result[name][m][a][o] for m in REPORTED for a in ("AP40", "AP11") for o in OVERLAPS
        ]
        assert np.abs(values).max() == 0.0
    assert result["Car"]["2D"]["AP40"]["strict"][1] > 0
    assert result["Car"]["AOS"]["AP40"]["strict"] == [0.0, 0.0, 0.0]
    notes = " ".join(result["notes"])
    assert "Cyclist: no detections" in notes
    assert "Pedestrian: no labels" in notes
    assert "AOS is 0" in notes


def test_nothing_detected_at_all():
    labels, found = load(SETS[0])
    result = evaluate_kitti(labels, [frame[:0] for frame in found])
    assert result["Car"]["3D"]["AP40"]["loose"] == [0.0, 0.0, 0.0]
    assert sum("no detections" in note for note in result["notes"]) == 3


def test_bad_input():
    labels, found = load(SETS[0])
    with pytest.raises(UserError, match="no frames"):
        evaluate_kitti([], [])
    with pytest.raises(ValueError, match="19 detection frames"):
        evaluate_kitti(labels, found[1:])
    with pytest.raises(UserError, match="no score"):
        evaluate_kitti(labels, labels)


def test_ceiling_of_few_labels_follows_from_the_sampling_rule():
    for count in (1, 2, 7, 39, 40, 41, 42, 500):
        points = len(recall_thresholds(np.ones(count), count))
        assert points == min(count, 41)
        assert attainable(count)["AP40"] == pytest.approx(100 * (points - 1) / 40)
    assert attainable(0) == {"AP40": 0.0, "AP11": 0.0}


@pytest.mark.parametrize("folder", SETS, ids=lambda folder: folder.name)
def test_labels_as_predictions_get_what_the_rules_allow(folder):
    report = self_check(load(folder)[0])
    assert report["ok"]
    assert report["blocked"] == []
    if folder.name.startswith("s06"):
        assert report["result"]["Car"]["3D"]["AP40"]["strict"][1:] == [100.0, 100.0]


def test_self_check_can_fail(monkeypatch):
    original = kitti_selfcheck.labels_as_predictions

    def shifted(labels):
        rows = original(labels)
        rows.location = rows.location + [0.0, 0.0, 1.0]
        return rows

    monkeypatch.setattr(kitti_selfcheck, "labels_as_predictions", shifted)
    report = self_check(load(SETS[0])[0])
    assert not report["ok"]
    assert any("Car 3D" in line for line in report["failures"])
    assert not any(" 2D " in line for line in report["failures"])


def test_a_label_that_takes_anothers_prediction_is_blocked_not_failed():
    labels, _ = load(SETS[0])
    index, frame = next((i, f) for i, f in enumerate(labels) if (f.name == "Car").any())
    car = np.flatnonzero(flag_ground_truth(frame, "Car", "hard") == 0)[:1]
    doubled = frame[np.concatenate([car, np.arange(len(frame))])]
    doubled.name[0] = "Van"
    labels[index] = doubled
    report = self_check(labels)
    assert report["ok"]
    assert any("Car 3D AP40 hard" in line for line in report["blocked"])


def test_read_label_dir_equals_read_labels():
    for folder in SETS:
        for sub, scores in (("label_2", False), ("pred", True)):
            for frame, rows in read_label_dir(folder / sub, scores=scores).items():
                single = read_labels(folder / sub / f"{frame}.txt", scores=scores)
                for column, value in vars(single).items():
                    np.testing.assert_array_equal(getattr(rows, column), value)
                    assert getattr(rows, column).dtype == value.dtype


ROW = "Car 0.00 0 -1.5 100 100 200 200 1.5 1.6 3.9 1 1.7 20 -1.5"


@pytest.mark.parametrize(
    ("text", "scores", "message"),
    [
        (f"{ROW} 0.5\n{ROW}\n", True, "b.txt:2: 15 columns"),
        (f"{ROW} 0.5 7\n", None, "b.txt:1: 17 columns"),
        (f"{ROW} nan\n", None, "b.txt:1: a value is not finite"),
        (f"{ROW[:-4]}inf\n", None, "b.txt:1: a value is not finite"),
        (f"{ROW} x\n", None, "b.txt:1: could not convert"),
        (f"{ROW.replace('Car', 'Cra')}\n", None, "did you mean 'Car'"),
    ],
)
def test_read_label_dir_names_the_line(tmp_path, text, scores, message):
    (tmp_path / "a.txt").write_text(f"{ROW} 0.5\n\n")
    (tmp_path / "b.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_label_dir(tmp_path, scores=scores)


def test_read_label_dir_names_missing_frames(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_label_dir(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no \.txt files"):
        read_label_dir(tmp_path)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(UserError, match="2 of 3 frames have no file: b, c"):
        read_label_dir(tmp_path, ["a", "b", "c"])
    assert len(read_label_dir(tmp_path, ["a"])["a"]) == 0
