"""Trained models that are looked at side by side, each with its config's test set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd3d.core.probe import inputs_of
from kd3d.engine.mistakes import check_data
from kd3d.engine.run_folder import find_run
from kd3d.engine.runner import load_config
from kd3d.engine.scoring import trained_detector
from kd3d.errors import UserError
from kd3d.fileio import read_json
from kd3d.report.record import RECORD_FILE, ROLES
from kd3d.teachers.certificate import file_sha256


@dataclass
class Subject:
    """One trained model with its test set.

    Attributes:
        name: Unique.
        role: Of its record, where it has one.
        config: Its own.
        weights: Its own.
        model: The stock detector, in eval mode.
        inputs: What it reads, ``"points"``, ``"img"`` or both.
        sha256: Of the weights.
    """

    name: str
    role: str | None
    config: Config
    weights: Path
    model: Any
    inputs: tuple[str, ...] = ()
    sha256: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, text: str, data_root: str | None = None, options: list[str] | None = None
    ) -> Subject:
        """Return what ``FOLDER``, ``CONFIG,CHECKPOINT`` or ``NAME=`` and one of both means.

        Raises:
            UserError: No such files, or a config without a test set.
        """
        name, _, rest = text.rpartition("=")
        run, _, checkpoint = rest.partition(",")
        path, weights = find_run(run, checkpoint or None)
        config = load_config(str(path), options, data_root=data_root)
        check_data(config, "test_dataloader")
        record = weights.parent / RECORD_FILE
        known = read_json(record) if record.is_file() and not checkpoint else {}
        role = known.get("role")
        dataset = config.test_dataloader.dataset
        annotations = Path(dataset.get("data_root") or "") / dataset["ann_file"]
        model = trained_detector(config, weights)
        return cls(
            name or str(known.get("name") or weights.parent.name),
            role if role in ROLES else None,
            config,
            weights,
            model,
            inputs_of(model),
            file_sha256(weights),
            {
                "root": str(dataset.get("data_root")),
                "annotations": file_sha256(annotations),
                "type": dataset["type"],
                "evaluator": _types(config.test_evaluator),
            },
        )

    def fingerprint(self, *facts: Any) -> str:
        """Return a hash of weights, test data, how they are read and scored, and `facts`."""
        dataset = self.config.test_dataloader.dataset.to_dict()
        text = repr((self.sha256, self.data, dataset.get("pipeline"), facts))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_subjects(
    texts: list[str], data_root: str | None = None, options: list[str] | None = None
) -> list[Subject]:
    """Return the models of some texts, see `Subject.of`.

    Raises:
        UserError: Two of one name, or models that are tested on different frames.
    """
    subjects = [Subject.of(text, data_root, options) for text in texts]
    names = [subject.name for subject in subjects]
    for name in names:
        if names.count(name) > 1:
            fix = f"name them: first={texts[0]} second={texts[-1]}"
            raise UserError(f"two models are named {name!r}", fix=fix)
    for subject in subjects[1:]:
        for key in ("annotations", "evaluator"):
            if subject.data[key] != subjects[0].data[key]:
                raise UserError(
                    f"{subject.name} and {subjects[0].name} have different {key} of the test set",
                    fix="name models that are tested alike, or give --data-root",
                )
    return subjects


def _types(evaluators: Any) -> list[str]:
    evaluators = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
    return [one["type"] for one in evaluators]
