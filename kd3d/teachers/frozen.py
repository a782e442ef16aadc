"""A trained teacher that never changes."""

from __future__ import annotations

from typing import Any

from kd3d.core.registry import TEACHERS
from kd3d.models.source import load_weights
from kd3d.teachers.base import ModelTeacher


@TEACHERS.register_module()
class Frozen(ModelTeacher):
    """An mmdet3d detector with trained weights: offline distillation.

    Args:
        checkpoint: Path of its weights, or None for a randomly initialised teacher (tests).
        name: Its name in taps.
        allow_uncertified: Accept weights without a certificate beside them (``kd3d certify``). A
            certificate that is there is always checked against the file.
        minimum: Metric -> lowest value in the certificate that is accepted.
        **detector: Its detector, see `kd3d.models.source.build_detector`: ``config=...`` with
            optional ``shrink=...``, or a stock model dict.

    Raises:
        UserError: Weights of another architecture or coordinate convention, no certificate, or one
            that belongs to another file or is below the stated minimum.
    """

    def __init__(
        self,
        checkpoint: str | None,
        name: str = "teacher",
        allow_uncertified: bool = False,
        minimum: dict[str, float] | None = None,
        **detector: Any,
    ) -> None:
        super().__init__(name, detector)
        self.checkpoint = checkpoint
        if checkpoint is not None:
            from kd3d.teachers.certificate import check_certificate

            load_weights(self.model, checkpoint, where=f"teacher {name}")
            check_certificate(checkpoint, minimum, not allow_uncertified, detector.get("config"))
        else:
            self.model.init_weights()
        self.freeze()
