"""A trained teacher that never changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from kd3d.core.registry import TEACHERS
from kd3d.core.run import decoded, run_until_taps
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError, did_you_mean
from kd3d.losses.precision import in_float32
from kd3d.models.source import load_weights
from kd3d.teachers.base import ModelTeacher
from kd3d.teachers.car_frame import CarFrame

FRAMES = ("lidar", "ego")
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@TEACHERS.register_module()
class Frozen(ModelTeacher):
    """An mmdet3d detector with trained weights: offline distillation.

    Args:
        checkpoint: Path of its weights, ``"mmdet3d::<name>"`` for those of mmdet3d's model zoo (see
            `kd3d.models.zoo`), or None for a randomly initialised teacher (tests).
        name: Its name in taps.
        allow_uncertified: Accept weights without a certificate beside them (``kd3d certify``). A
            certificate that is there is always checked against the file.
        minimum: Metric -> lowest value in the certificate that is accepted.
        precision: Of its forward pass: ``float32``, or ``bfloat16`` or ``float16`` for autocast,
            which is faster where the hardware has it. Terms and decoding see float32. The
            certificate was measured in float32.
        frame: ``"lidar"``, or ``"ego"`` for one that was trained in the car's frame and is given
            its points there (``PointsToEgo``): its maps are read in the LiDAR's, see `CarFrame`.
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
        precision: str = "float32",
        frame: str = "lidar",
        **detector: Any,
    ) -> None:
        if frame not in FRAMES:
            hint = did_you_mean(frame, FRAMES)
            raise UserError(f"unknown frame {frame!r}", f"teacher {name}", hint)
        if precision not in PRECISIONS:
            hint = did_you_mean(precision, PRECISIONS)
            raise UserError(f"unknown precision {precision!r}", f"teacher {name}", hint)
        super().__init__(name, detector)
        self.precision = PRECISIONS[precision]
        self.frame: CarFrame | None = None
        self.in_car = frame == "ego"
        self.checkpoint = checkpoint
        if checkpoint is not None:
            from kd3d.teachers.certificate import check_certificate

            load_weights(self.model, checkpoint, where=f"teacher {name}")
            check_certificate(checkpoint, minimum, not allow_uncertified, detector.get("config"))
        else:
            self.model.init_weights()
        self.freeze()

    def run(self, inputs: dict[str, Any], data_samples: list) -> dict[str, Any]:
        """Run in its precision; maps are turned to the LiDAR's frame."""
        values = self._run(inputs, data_samples)
        return values if self.frame is None else self.frame(values, data_samples)

    def tap(self, names: Iterable[str]) -> dict[str, FeatureSpec]:
        """Register the taps."""
        specs = super().tap(names)
        if self.in_car:
            self.frame = CarFrame(self.name, specs)
            specs = self.frame.specs
        return specs

    def leave_in_car(self) -> bool:
        """Give maps as they are from now on, in the car's frame, and say whether they are there."""
        self.frame = None
        return self.in_car

    def _run(self, inputs: dict[str, Any], data_samples: list) -> dict[str, Any]:
        if self.precision is None:
            return super().run(inputs, data_samples)
        assert self.taps is not None
        device = next(self.model.parameters()).device.type
        with torch.autocast(device, dtype=self.precision):
            values = run_until_taps(self.model, self.taps, inputs, data_samples)
        return decoded(self.model, in_float32(values), data_samples)
