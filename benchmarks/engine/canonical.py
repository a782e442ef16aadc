"""How far knowledge that is moved with the scene is from what the live teacher would say.

A canonical cache stores a frame once and replays the training's augmentation on what it stored. A
convolutional teacher is not equivariant: on the moved cloud it would say something else. Measured
here, for a trained teacher and augmentations of one kind at a time:

- ``heatmap``: mean |score moved - score live| over cells where the live score is above 0.1;
- ``feature``: |moved - live| / |live| of the BEV feature under the boxes' Gaussians, after
  standardising both by the live map's moments;
- ``unmoved``: the same two for the stored values left where they are, for scale.
"""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.engine import setups


def _turn(angle_rad: float, scale: tuple[float, float] = (1.0, 1.0)) -> dict[str, Any]:
    return dict(
        type="GlobalRotScaleTrans", rot_range=[-angle_rad, angle_rad], scale_ratio_range=list(scale)
    )


FLIP = dict(type="RandomFlip3D", flip_ratio_bev_horizontal=1.0)
AUGMENTATIONS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "flip": [FLIP],
    "scale 0.95..1.05": [_turn(0.0, (0.95, 1.05))],
    "turn 0.35 rad": [_turn(0.35)],
    "turn 0.785 rad": [_turn(0.785)],
    "flip, turn 0.35 rad, scale": [FLIP, _turn(0.35, (0.95, 1.05))],
}


def run(checkpoint: str, data: str, frames: int = 24, seed: int = 0) -> dict[str, Any]:
    """Measure a trained demo teacher on prepared KITTI frames.

    Args:
        checkpoint: Weights of ``configs/demo/teacher.py``.
        data: A prepared KITTI folder.
        frames: How many training frames.
        seed: Of the augmentation.

    Returns:
        Augmentation -> errors of moved and unmoved values.
    """
    from kd3d.core.probe import probe
    from kd3d.core.taps import TapSet
    from kd3d.models.source import build_detector, load_weights

    setups.register()
    model = build_detector(dict(config="kd3d::demo/teacher.py"))
    load_weights(model, checkpoint)
    model.eval()
    taps = TapSet(model, ["bev", "head"])
    probe(model, taps)
    still = _dataset(data, [], seed)
    count = min(frames, len(still))
    made: dict[str, Any] = {}
    for name, steps in AUGMENTATIONS.items():
        moving = _dataset(data, steps, seed)
        rows = [_errors(model, taps, still.sample(i), moving.sample(i)) for i in range(count)]
        made[name] = {
            kind: {k: sum(r[kind][k] for r in rows) / count for k in ("heatmap", "feature")}
            for kind in ("moved", "unmoved")
        }
    return made


def _dataset(data: str, steps: list[dict[str, Any]], seed: int) -> Any:
    from mmengine.config import Config

    from kd3d.cache.pipeline import canonical
    from kd3d.data.views import SeededViews
    from kd3d.engine.runner import set_data_root
    from kd3d.models.source import config_path

    config = Config.fromfile(config_path("kd3d::demo/distilled.py"))
    set_data_root(config, data)
    dataset = config.train_dataloader.dataset.to_dict()
    pipeline = canonical(dataset["pipeline"])
    dataset["pipeline"] = [*pipeline[:2], *steps, *pipeline[2:]]
    dataset["filter_cfg"] = dict(filter_empty_gt=False)
    return SeededViews(dataset, seed)


@torch.no_grad()
def _errors(model: Any, taps: Any, still: dict, moving: dict) -> dict[str, dict[str, float]]:
    from mmengine.dataset import pseudo_collate

    from kd3d.cache.geometry import Motion, moved
    from kd3d.core.run import run_until_taps

    values, samples = [], []
    for sample in (still, moving):
        batch = model.data_preprocessor(pseudo_collate([sample]), True)
        values.append(run_until_taps(model, taps, batch["inputs"], batch["data_samples"]))
        samples.append(batch["data_samples"][0])
    motion = Motion.of(samples[1].metainfo)
    stored, live = values
    replayed = {tap: moved(v, taps.specs[tap], [motion], True) for tap, v in stored.items()}
    boxes = samples[1].gt_instances_3d.bboxes_3d.tensor
    return {
        "moved": _distance(replayed, live, boxes, taps.specs["bev"]),
        "unmoved": _distance(stored, live, boxes, taps.specs["bev"]),
    }


def _distance(value: Any, live: Any, boxes: torch.Tensor, spec: Any) -> dict[str, float]:
    from kd3d.core.foreground import Foreground
    from kd3d.losses.feature.standardise import channel_moments, standardise_rows
    from kd3d.masks.boxes import gaussian_mask

    ours, theirs = (v["head"][0][0]["heatmap"].sigmoid() for v in (value, live))
    sure = theirs > 0.1
    heat = (ours - theirs).abs()[sure].mean() if sure.any() else torch.zeros(())
    mask = gaussian_mask([boxes], spec.extent_m, spec.shape)
    moments = channel_moments(live["bev"])
    cells = live["bev"][0, 0].numel()
    rows = [
        standardise_rows(Foreground.of(v["bev"], mask, None).rows, moments, cells)
        for v in (value, live)
    ]
    feature = (rows[0] - rows[1]).norm() / rows[1].norm() if len(rows[1]) else torch.zeros(())
    return {"heatmap": float(heat), "feature": float(feature)}
