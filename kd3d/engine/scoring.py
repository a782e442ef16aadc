"""Any predictor on a config's test set, measured by the config's own evaluator."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData

from kd3d.console import quiet_logs, track
from kd3d.engine.certify import device_evaluators, without_files
from kd3d.engine.export import exported_detector
from kd3d.engine.mistakes import building, check_data
from kd3d.engine.register import register_all
from kd3d.engine.runner import load_student
from kd3d.models.source import build_detector

Boxes = dict[str, Any]  # boxes (N, 7 or 9), scores (N,), labels (N,)
Predictor = Callable[[dict[str, Any]], Boxes]


def trained_detector(config: Config, checkpoint: Any) -> Any:
    """Build the stock detector of a config (its student), load weights, in eval mode."""
    register_all()
    model = build_detector(exported_detector(config))
    load_student(model, checkpoint)
    return model.eval()


def test_frames(config: Config, pipeline: list[dict] | None = None) -> Any:  # noqa: PT028
    """Build the config's test set, with another pipeline on request.

    Raises:
        UserError: No such data.
    """
    from mmdet3d.registry import DATASETS
    from mmdet3d.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    register_all()
    device_evaluators(config)
    check_data(config, "test_dataloader")
    dataset = copy.deepcopy(config.test_dataloader.dataset)
    if pipeline is not None:
        dataset.pipeline = pipeline
    with building(config), quiet_logs(), DATASETS.switch_scope_and_registry("mmdet3d") as registry:
        return registry.build(dataset)


def frame(dataset: Any, index: int) -> dict[str, Any]:
    """Return a frame of a data set as a collated batch of one."""
    return pseudo_collate([dataset[index]])


def copied(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch that a model may write into."""
    samples = [sample.new() for sample in batch["data_samples"]]
    return {"inputs": dict(batch["inputs"]), "data_samples": samples}


def torch_predictor(model: Any) -> Predictor:
    """Return a stock detector's whole prediction: preprocessing, network, boxes."""

    @torch.no_grad()
    def predict(batch: dict[str, Any]) -> Boxes:
        made = model.data_preprocessor(copied(batch), False)
        found = model(made["inputs"], made["data_samples"], mode="predict")[0].pred_instances_3d
        boxes = found.bboxes_3d.tensor
        return {"boxes": boxes, "scores": found.scores_3d, "labels": found.labels_3d}

    return predict


def score(
    config: Config,
    dataset: Any,
    predict: Predictor,
    label: str,
    frames: Sequence[int] | None = None,
) -> dict[str, float]:
    """Return the evaluator's metrics of a predictor.

    Args:
        config: Names the evaluators.
        dataset: See `test_frames`.
        predict: From a collated batch of one frame to its boxes.
        label: For the progress.
        frames: Places of the frames; None: all.

    Raises:
        UserError: The evaluator refuses what it is given.
    """
    from mmdet3d.registry import METRICS

    with METRICS.switch_scope_and_registry("mmdet3d") as registry:
        metrics = [registry.build(without_files(one)) for one in device_evaluators(config)]
    evaluator = Evaluator(metrics)
    evaluator.dataset_meta = dataset.metainfo
    chosen = range(len(dataset)) if frames is None else frames
    for index in track(chosen, label):
        batch = frame(dataset, index)
        evaluator.process([with_boxes(batch["data_samples"][0], predict(batch))], batch)
    return {name: float(value) for name, value in evaluator.evaluate(len(chosen)).items()}


def with_boxes(sample: Any, found: Boxes) -> Any:
    """Return a copy of a data sample that holds detections, as mmdet3d's detectors leave it."""
    result = sample.new()
    boxes = torch.as_tensor(found["boxes"]).float()
    kind = sample.metainfo["box_type_3d"]
    result.pred_instances_3d = InstanceData(
        bboxes_3d=kind(boxes, box_dim=boxes.shape[1]),
        scores_3d=torch.as_tensor(found["scores"]).float(),
        labels_3d=torch.as_tensor(found["labels"]).long(),
    )
    result.pred_instances = InstanceData()
    return result


_HEADLINE = re.compile(r"NDS|mAP|mAP_(3D|BEV)_moderate|\w+_3D_AP40_moderate_strict|\w+_AP")


def headline(metrics: dict[str, float]) -> dict[str, float]:
    """Return the metrics that a table has room for; all where none of them is known."""
    chosen = {name: value for name, value in metrics.items() if _HEADLINE.fullmatch(name)}
    return chosen or metrics
