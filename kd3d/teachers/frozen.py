"""A trained teacher that never changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from kd3d.core.registry import TEACHERS
from kd3d.core.run import probe, run_until_taps
from kd3d.core.spec import FeatureSpec
from kd3d.core.taps import TapSet
from kd3d.models.source import build_detector, load_weights


@TEACHERS.register_module()
class Frozen:
    """An mmdet3d detector in eval mode, off the module tree, run up to its last tap.

    It is no `torch.nn.Module` of the distiller, so the optimizer, the checkpoint, EMA copies,
    ``init_weights`` and ``train()`` never reach it; the distiller forwards device moves.

    Args:
        checkpoint: Path of its weights, or None for a randomly initialised teacher (tests).
        name: Its name in taps.
        allow_uncertified: Accept weights without a certificate beside them. A certificate that is
            there is always checked against the file.
        **detector: Its detector, see `kd3d.models.source.build_detector`: ``config=...`` with
            optional ``shrink=...``, or a stock model dict.

    Raises:
        UserError: Weights of another architecture or coordinate convention, or a certificate that
            belongs to another file or is below the stated minimum.
    """

    def __init__(
        self,
        checkpoint: str | None,
        name: str = "teacher",
        allow_uncertified: bool = True,
        minimum: dict[str, float] | None = None,
        **detector: Any,
    ) -> None:
        self.name = name
        self.model: Any = build_detector(detector, where=f"teacher {name}")
        if checkpoint is not None:
            from kd3d.teachers.certificate import check_certificate

            load_weights(self.model, checkpoint, where=f"teacher {name}")
            check_certificate(checkpoint, minimum, required=not allow_uncertified)
        else:
            self.model.init_weights()
        self.model.eval()
        self.model.requires_grad_(False)
        self.taps: TapSet | None = None

    def tap(self, names: Iterable[str]) -> dict[str, FeatureSpec]:
        """Register the taps that terms read and return their specs."""
        self.taps = TapSet(self.model, names, stop=True)
        probe(self.model, self.taps)
        return self.taps.specs

    @torch.no_grad()
    def __call__(self, inputs: dict[str, Any], data_samples: list[Any]) -> dict[str, Any]:
        """Return tap name -> value for one batch of this teacher's branch."""
        assert self.taps is not None, "tap() comes first"
        self.model.eval()
        return run_until_taps(self.model, self.taps, inputs, data_samples)

    def apply_to_tensors(self, function: Callable[[Tensor], Tensor]) -> None:
        """Follow the distiller to another device or precision."""
        self.model._apply(function)

    def __deepcopy__(self, memo: dict) -> Frozen:
        """Copies of the distiller (an EMA) share the teacher."""
        return self
