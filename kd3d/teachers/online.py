"""Peers that learn together: mutual learning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from kd3d.core.registry import TEACHERS
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError
from kd3d.models.source import build_detector, load_weights, preprocessor_config
from kd3d.teachers.base import Teacher

UPDATES = ("synchronous", "alternating")


@TEACHERS.register_module()
class Online(Teacher):
    """A full student of its own, trained beside the first one; each teaches the other.

    Y. Zhang, T. Xiang, T. Hospedales, H. Lu, "Deep mutual learning", CVPR 2018. The peer has its
    own detection losses ``task.<name>.*``; every term between student and peer is mirrored. Its
    model lies on the distiller's tree (``peers.<name>``), is trained by the same optimizer and
    exported to ``<name>.pth``.

    Args:
        name: Its name in taps.
        update: ``synchronous``: all peers take one step from the same predictions.
            ``alternating`` (the paper's algorithm 1): the student steps first, then the peer learns
            from the student's new predictions, which it gives in eval mode like any teacher.
        checkpoint: Weights to start from; None: random, other than the student's.
        **detector: Its detector, see `kd3d.models.source.build_detector`.
    """

    trains = True

    def __init__(
        self,
        name: str = "peer",
        update: str = "synchronous",
        checkpoint: str | None = None,
        **detector: Any,
    ) -> None:
        super().__init__(name)
        if update not in UPDATES:
            raise UserError(f"unknown update {update!r}", f"teacher {name}", " or ".join(UPDATES))
        self.update, self.config, self.checkpoint = update, detector, checkpoint
        self.model: Any = build_detector(detector, where=f"teacher {name}")

    @property
    def branches(self) -> dict[str, nn.Module]:
        """One branch of its own name."""
        return {self.name: self.model}

    @property
    def preprocessors(self) -> dict[str, dict]:
        """The detector's."""
        return {self.name: preprocessor_config(self.config)}

    def init_weights(self) -> None:
        """Initialise the peer, as stock mmdet3d does or from its checkpoint."""
        self.model.init_weights()
        if self.checkpoint is not None:
            load_weights(self.model, self.checkpoint, where=f"teacher {self.name}")

    def detector(self, tap: str) -> Any:
        """Return the peer's detector."""
        return self.model

    def tap(self, names: Iterable[str]) -> dict[str, FeatureSpec]:
        """Not used: the distiller taps peers like the student."""
        raise TypeError("a peer is tapped by the distiller")
