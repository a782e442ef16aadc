"""What every teacher can do, and the teacher that is one detector off the module tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from kd3d.core.context import Context
from kd3d.core.probe import probe
from kd3d.core.run import run_teacher
from kd3d.core.spec import FeatureSpec
from kd3d.core.taps import TapSet
from kd3d.models.source import build_detector, preprocessor_config


class Teacher:
    """Fills taps.

    A teacher is no `torch.nn.Module` of the distiller, so the optimizer, the checkpoint, EMA
    copies, ``init_weights`` and ``train()`` never reach it; the distiller forwards device moves and
    saves what `state` returns under ``kd.teachers.<name>``. (`Online` peers are the exception: the
    distiller puts their model on its tree.)

    Attributes:
        name: Its name in taps.
        wanted: The taps that terms read; empty: it is never run.
    """

    follows_student = False  # built from the student's own config
    trains = False  # a peer: its model belongs on the module tree

    def __init__(self, name: str) -> None:
        self.name = name
        self.wanted: tuple[str, ...] = ()

    @property
    def branches(self) -> dict[str, nn.Module]:
        """Branch name -> detector: which preprocessed inputs it needs; empty for none."""
        return {}

    @property
    def preprocessors(self) -> dict[str, dict]:
        """Branch name -> config of the detector's data preprocessor."""
        return {}

    def tap(self, names: Iterable[str]) -> dict[str, FeatureSpec]:
        """Prepare the taps that terms read and return their specs."""
        raise NotImplementedError

    def detector(self, tap: str) -> Any:
        """Return the detector that alone gives a tap, None where there is none."""
        return None

    def __call__(
        self, inputs: dict[str, dict], data_samples: dict[str, list], context: Context
    ) -> dict[str, Any]:
        """Return tap name -> value for one batch.

        Args:
            inputs: Branch name -> preprocessed inputs; holds ``"student"`` and this teacher's own.
            data_samples: Branch name -> samples.
            context: The batch's ground truth.
        """
        raise NotImplementedError

    def begin(self, data_samples: dict[str, list]) -> None:
        """Told of a batch before the student runs; see `kd3d.teachers.cached`."""

    def attach(self, student: nn.Module) -> None:
        """Told once of the student; see `EMA`."""

    def after_step(self, student: nn.Module, progress: float) -> None:
        """Told of every optimizer step; see `EMA`."""

    def state(self) -> dict[str, Tensor]:
        """Return what must be saved to resume."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` returned."""

    def apply_to_tensors(self, function: Callable[[Tensor], Tensor]) -> None:
        """Follow the distiller to another device or precision."""
        for model in self.branches.values():
            model._apply(function)

    def __deepcopy__(self, memo: dict) -> Teacher:
        """Copies of the distiller (an EMA) share the teacher."""
        return self


class ModelTeacher(Teacher):
    """One mmdet3d detector in eval mode without gradients, run up to its last tap.

    Args:
        name: Its name in taps.
        detector: See `kd3d.models.source.build_detector`.
    """

    def __init__(self, name: str, detector: dict[str, Any]) -> None:
        super().__init__(name)
        self.config = detector
        self.model: Any = build_detector(detector, where=f"teacher {name}")
        self.taps: TapSet | None = None

    def freeze(self) -> None:
        """Put the model in eval mode (dropout and normalisation too) without gradients."""
        self.model.eval()
        self.model.requires_grad_(False)

    @property
    def branches(self) -> dict[str, nn.Module]:
        """One branch of its own name."""
        return {self.name: self.model}

    @property
    def preprocessors(self) -> dict[str, dict]:
        """The detector's."""
        return {self.name: preprocessor_config(self.config)}

    def detector(self, tap: str) -> Any:
        """Return the detector."""
        return self.model

    def tap(self, names: Iterable[str]) -> dict[str, FeatureSpec]:
        """Register the taps."""
        self.wanted = tuple(dict.fromkeys(names))
        self.taps = TapSet(self.model, self.wanted, stop=True)
        if self.wanted:
            probe(self.model, self.taps)
        return self.taps.specs

    @torch.no_grad()
    def __call__(
        self, inputs: dict[str, dict], data_samples: dict[str, list], context: Context
    ) -> dict[str, Any]:
        """Return tap name -> value; nothing after the last tap is computed."""
        self.model.eval()
        return self.run(inputs[self.name], data_samples[self.name])

    def run(self, inputs: dict[str, Any], data_samples: list) -> dict[str, Any]:
        """Run the model on its own inputs up to the last tap."""
        assert self.taps is not None, "tap() comes first"
        return run_teacher(self.model, self.taps, inputs, data_samples)
