"""Small stock mmdet3d detectors and batches for tests."""

import copy

from kd3d.models.tiny import (
    POINTPILLARS,
    POINTRCNN,
    RANGE,
    batch,
    centerpoint,
    pointpillars,
    pointrcnn,
)

__all__ = [
    "FAMILIES",
    "POINTPILLARS",
    "POINTRCNN",
    "RANGE",
    "batch",
    "centerpoint",
    "loss",
    "pointpillars",
    "pointrcnn",
]
# A head of each kind; the contract tests run over every family and pair of kd3d.models.tiny.
FAMILIES = {"centerpoint": centerpoint, "pointpillars": pointpillars}


def unsure(detector, family):
    """A detector's config whose decoding keeps the boxes of random weights, and a score below them.

    The heads start with scores of 0.1 (centre head) and 0.01 (anchor head).
    """
    if family == "pointpillars":
        detector["test_cfg"]["score_thr"] = 0.0
    return detector, {"centerpoint": 0.05, "pointpillars": 0.005}[family]


def loss(model, data, train=True):
    """Preprocess as in training and return the dict of losses."""
    model.train(train)
    data = model.data_preprocessor(copy.deepcopy(data), True)
    return model(**data, mode="loss")


def total(losses):
    """Sum what mmengine's parse_losses would sum."""
    value = 0.0
    for key, item in losses.items():
        if "loss" in key:
            value = value + (sum(i.mean() for i in item) if isinstance(item, list) else item.mean())
    return value
