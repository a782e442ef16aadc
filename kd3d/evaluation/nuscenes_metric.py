"""nuScenes detection score as an mmengine metric, for v1.0-mini too and without CUDA.

In a config::

    val_evaluator = dict(
        type='NuScenesAP',
        data_root='data/nuscenes',
        ann_file='data/nuscenes/nuscenes_infos_val.pkl',
    )
"""

from __future__ import annotations

import contextlib
import io
import pickle
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet3d.evaluation.metrics import NuScenesMetric
from mmdet3d.registry import METRICS

from kd3d.compat import cuda_calls_stay, no_progress_bars
from kd3d.data.nuscenes_tables import ERRORS, check_version
from kd3d.errors import UserError, did_you_mean
from kd3d.evaluation.nuscenes_score import evaluate_nuscenes
from kd3d.fileio import write_json

MAX_BOXES = 500
_FIX = "kd3d prepare nuscenes --data-root DIR --version v1.0-mini"


@METRICS.register_module()
class NuScenesAP(NuScenesMetric):
    """mAP, NDS and the five errors on a version's validation split, by the devkit.

    The boxes are written as mmdet3d's ``NuScenesMetric`` writes them and scored by
    `kd3d.evaluation.nuscenes_score`. What differs from that metric: the version is read from the
    info file (mmdet3d takes v1.0-trainval unless the data set's ``metainfo`` says otherwise);
    a detector without any box scores 0 instead of stopping the training; camera boxes need no
    CUDA; of more than 500 boxes a sample those of the highest scores are kept, as the devkit
    allows no more; nothing is rounded.

    Reports ``mAP``, ``NDS``, ``mATE``, ``mASE``, ``mAOE``, ``mAVE``, ``mAAE``, and for the data
    set's classes ``<class>_AP`` (the mean over the distances 0.5, 1, 2 and 4 m), each from 0 to 1
    or in metres, radians and m/s. The whole result is in ``last_result`` (main process).

    Args:
        data_root: Folder with the version's tables.
        ann_file: The info file of the validation split, all of it.
        result_file: Also write the boxes there, in the submission format.
        json_file: Also write the whole result there.
        modality: What the submission's ``meta`` says; by default camera and LiDAR both False.
        collect_device: See `mmengine.evaluator.BaseMetric`.
        prefix: See `mmengine.evaluator.BaseMetric`.

    Raises:
        UserError: No info file or one without a version; later, an unknown class, boxes that are
            not finite, or a data set that is not the whole split.
    """

    def __init__(
        self,
        data_root: str,
        ann_file: str,
        result_file: str | None = None,
        json_file: str | None = None,
        modality: dict | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(
            data_root=data_root,
            ann_file=ann_file,
            modality=modality or {"use_camera": False, "use_lidar": False},
            collect_device=collect_device,
        )
        self.prefix = prefix
        self.result_file, self.json_file = result_file, json_file
        if not Path(ann_file).is_file():
            raise UserError("no such info file", ann_file, _FIX)
        self.last_result: dict[str, Any] | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep each sample's boxes, at most 500."""
        for sample in data_samples:
            found = sample["pred_instances_3d"]
            scores, boxes = found["scores_3d"], found["bboxes_3d"].tensor
            if not (torch.isfinite(boxes).all() and torch.isfinite(scores).all()):
                raise UserError(
                    "the detector's boxes or scores are not finite",
                    f"sample {sample['sample_idx']}",
                    "has the training diverged? look at its losses",
                )
            if len(scores) > MAX_BOXES:
                best = scores.topk(MAX_BOXES).indices
                sample["pred_instances_3d"] = {name: found[name][best] for name in found}
        super().process(data_batch, data_samples)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Write the boxes, score them; runs on the main process only."""
        classes = self._classes()
        infos = pickle.loads(Path(self.ann_file).read_bytes())
        version = infos.get("metainfo", {}).get("version")
        if version is None:
            raise UserError("the info file has no metainfo.version", self.ann_file, _FIX)
        self.data_infos = infos["data_list"]
        with tempfile.TemporaryDirectory() as folder:
            quiet = contextlib.redirect_stdout(io.StringIO())
            with cuda_calls_stay(), no_progress_bars(), quiet:
                written, _ = self.format_results(results, classes, folder)
            path = written["pred_instances_3d"]
            values = evaluate_nuscenes(path, self.data_root, check_version(version))
            if self.result_file:
                Path(self.result_file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, self.result_file)
        self.last_result = values
        if self.json_file:
            write_json(self.json_file, values)
        summary = {"NDS": values["nd_score"], "mAP": values["mean_ap"]}
        summary.update({short: values["tp_errors"][name] for name, short in ERRORS.items()})
        summary.update({f"{name}_AP": values["mean_dist_aps"][name] for name in classes})
        return summary

    def _classes(self) -> list[str]:
        from nuscenes.eval.detection.constants import DETECTION_NAMES

        names = list((self.dataset_meta or {}).get("classes", ()))
        for name in names:
            if name not in DETECTION_NAMES:
                raise UserError(
                    f"nuScenes has no class {name!r}",
                    "metainfo",
                    did_you_mean(name, DETECTION_NAMES),
                )
        return names
