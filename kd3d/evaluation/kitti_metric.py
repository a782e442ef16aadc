"""KITTI average precision as an mmengine metric, with no CUDA.

In a config::

    custom_imports = dict(imports=['kd3d.evaluation.kitti_metric'])
    val_evaluator = dict(type='KittiAP', label_dir='data/kitti/training/label_2')
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet3d.registry import METRICS
from mmdet3d.structures import CameraInstance3DBoxes, LiDARInstance3DBoxes
from mmengine.evaluator import BaseMetric

from kd3d.data.kitti_files import (
    CLASSES,
    KNOWN_TYPES,
    Labels,
    read_calibration,
    read_label_dir,
    write_labels,
)
from kd3d.errors import UserError, did_you_mean
from kd3d.evaluation.kitti_ap import evaluate_kitti
from kd3d.evaluation.kitti_results import (
    FrameGeometry,
    image_size,
    lidar_to_camera_boxes,
    result_rows,
)
from kd3d.evaluation.kitti_rules import DIFFICULTIES, OVERLAPS, REPORTED
from kd3d.fileio import write_json


@METRICS.register_module()
class KittiAP(BaseMetric):
    """2D, BEV, 3D AP and AOS of a detector on KITTI frames.

    The labels are read from `label_dir` for the frames that were predicted. Calibration comes
    from the folder ``calib`` beside it; without one, from the samples' ``lidar2cam`` and
    ``cam2img``. The image size comes from the samples' ``ori_shape``, or from the folder
    ``image_2`` beside the labels, or from `image_size`.

    Reports AP40 as ``<class>_<3D|BEV|2D|AOS>_AP40_<difficulty>_<strict|loose>`` for the classes of
    the data set, and their strict means ``mAP_<3D|BEV|2D|AOS>_<difficulty>``, in percent. The
    whole result of `evaluate_kitti`, curves included, is in ``last_result`` (main process).

    Args:
        label_dir: The data set's ``label_2`` folder.
        prediction_dir: Also write the detections there, a KITTI text file a frame. The files
            round coordinates to centimetres and centipixels; the metric does not.
        json_file: Also write the whole result there.
        image_size: (width, height) in pixels, where no image tells it.
        collect_device: See `mmengine.evaluator.BaseMetric`.
        prefix: See `mmengine.evaluator.BaseMetric`.
        collect_dir: See `mmengine.evaluator.BaseMetric`.

    Raises:
        UserError: No label folder; later, a frame without label, calibration or image size, a
            class KITTI does not know, or a box that is not finite.
    """

    default_prefix = ""

    def __init__(
        self,
        label_dir: str,
        prediction_dir: str | None = None,
        json_file: str | None = None,
        image_size: tuple[int, int] | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.label_dir = Path(label_dir)
        if not self.label_dir.is_dir():
            raise UserError("no such folder", label_dir, "point label_dir at training/label_2")
        self.prediction_dir = Path(prediction_dir) if prediction_dir else None
        self.json_file = json_file
        self.image_size = image_size
        self.last_result: dict[str, Any] | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Turn each sample's 3D boxes into KITTI rows and keep them."""
        for sample in data_samples:
            frame = _frame_name(sample)
            self.results.append((frame, self._rows(sample, frame)))

    def compute_metrics(self, results: list[tuple[str, Labels]]) -> dict[str, float]:
        """Evaluate the frames of the set; runs on the main process only."""
        found = dict(results)
        labels = read_label_dir(self.label_dir, sorted(found))
        result = evaluate_kitti(
            list(labels.values()), [found[frame] for frame in labels], curves=True
        )
        self.last_result = result
        if self.prediction_dir:
            for frame, rows in found.items():
                write_labels(self.prediction_dir / f"{frame}.txt", rows)
        if self.json_file:
            write_json(self.json_file, result)
        return self._summary(result)

    def _summary(self, result: dict[str, Any]) -> dict[str, float]:
        names = [name for name in CLASSES if name in self._classes()]
        out: dict[str, float] = {}
        for metric in REPORTED:
            for row, difficulty in enumerate(DIFFICULTIES):
                for overlap in OVERLAPS:
                    for name in names:
                        value = result[name][metric]["AP40"][overlap][row]
                        out[f"{name}_{metric}_AP40_{difficulty}_{overlap}"] = value
                strict = [result[name][metric]["AP40"]["strict"][row] for name in names]
                out[f"mAP_{metric}_{difficulty}"] = float(np.mean(strict))
        return out

    def _classes(self) -> tuple[str, ...]:
        names = tuple((self.dataset_meta or {}).get("classes", ()))
        if not set(names) & set(CLASSES):
            raise UserError(
                f"the data set's classes are {names}, none is evaluated on KITTI",
                "metainfo",
                f"give metainfo=dict(classes=[...]) with some of {', '.join(CLASSES)}",
            )
        for name in names:
            if name not in KNOWN_TYPES:
                raise UserError(
                    f"KITTI has no class {name!r}", "metainfo", did_you_mean(name, KNOWN_TYPES)
                )
        return names

    def _rows(self, sample: dict, frame: str) -> Labels:
        """Return the KITTI rows of one sample's ``pred_instances_3d``."""
        instances = sample["pred_instances_3d"]
        boxes = instances["bboxes_3d"]
        tensor = boxes.tensor.detach().cpu().double().numpy()
        scores = instances["scores_3d"].detach().cpu().double().numpy()
        if not (np.isfinite(tensor).all() and np.isfinite(scores).all()):
            raise UserError(
                "the detector's boxes or scores are not finite", f"frame {frame}",
                "has the training diverged? look at its losses",
            )  # fmt: skip
        geometry = self._geometry(sample, frame)
        if isinstance(boxes, LiDARInstance3DBoxes):
            camera_boxes = lidar_to_camera_boxes(tensor, geometry.lidar_to_camera)
        elif isinstance(boxes, CameraInstance3DBoxes):
            camera_boxes = tensor[:, :7]
        else:
            raise UserError(
                f"boxes are {type(boxes).__name__}, KITTI needs LiDAR or camera boxes",
                f"frame {frame}",
            )
        known = np.array(self._classes(), dtype=object)
        labels = instances["labels_3d"].detach().cpu().numpy()
        return result_rows(camera_boxes, known[labels], scores, geometry)

    def _geometry(self, sample: dict, frame: str) -> FrameGeometry:
        """Return the calibration and image size of a frame; see the class for the sources."""
        path = self.label_dir.parent / "calib" / f"{frame}.txt"
        if path.parent.is_dir():
            calibration = read_calibration(path)
            to_camera, to_image = calibration.lidar_to_rect, calibration.p2
        else:
            to_camera = _matrix(sample, "lidar2cam", path)
            to_image = _matrix(sample, "cam2img", path)[:3]
        size = self._image_size(sample, frame)
        return FrameGeometry(to_camera, to_image, *size)

    def _image_size(self, sample: dict, frame: str) -> tuple[int, int]:
        if sample.get("ori_shape") is not None:
            height, width = sample["ori_shape"][:2]
            return int(width), int(height)
        folder = self.label_dir.parent / "image_2"
        size = image_size(folder, frame) or self.image_size
        if size is None:
            raise UserError(
                f"no image {frame}.png tells the image size", folder,
                "give the metric image_size=(1242, 375)",
            )  # fmt: skip
        return size


def _frame_name(sample: dict) -> str:
    """Return the frame's id from its file's name; mmengine makes ``sample_idx`` a position."""
    for key in ("lidar_path", "img_path"):
        if isinstance(sample.get(key), str):
            return Path(sample[key]).stem
    raise UserError(
        "a sample has neither lidar_path nor img_path",
        "KittiAP",
        "keep them in the meta_keys of Pack3DDetInputs",
    )


def _matrix(sample: dict, key: str, missing: Path) -> np.ndarray:
    """Return a 3x4 or 4x4 matrix of the sample as (4, 4)."""
    value = sample.get(key)
    array = np.empty(0) if value is None else np.asarray(value, dtype=np.float64)
    if array.shape not in ((3, 4), (4, 4)):
        raise UserError(
            f"no calibration file, and the sample has no single {key} matrix", missing,
            "put the calib folder beside label_2",
        )  # fmt: skip
    return np.vstack([array[:3], [0.0, 0.0, 0.0, 1.0]])
