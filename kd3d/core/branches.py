"""What each model of a distiller is allowed to see."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseDataPreprocessor
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from kd3d.core.probe import inputs_of
from kd3d.core.taps import on_points
from kd3d.errors import UserError, did_you_mean

STUDENT = "student"
UNREAD = "/unread"  # no branch can have this name


class BranchPreprocessor(BaseDataPreprocessor):
    """Give the student and each teacher its own inputs and its own data samples.

    Training batches become ``inputs={"student": {...}, <teacher>: {...}}``, each made by that
    model's own preprocessor (so voxel sizes, ranges and modalities may differ) from the same
    augmented raw inputs. Other batches are the student's alone. Branches whose preprocessors have
    equal configs share the voxelisation, so rows correspond; tensors are copied, because stock
    modules write into them (``PillarFeatureNet`` with ``legacy=True``, ``extract_img_feat``).
    A model gets what it reads and nothing else: a LiDAR student no images.

    Args:
        models: Branch name -> detector, with its own data preprocessor; holds ``"student"``.
        configs: Branch name -> config of that preprocessor, to see which are equal.
        keys: Branch name -> {input name in the model: input name in the batch}, where a model sees
            other inputs than ``points`` and ``img``, e.g. ``{"points": "points_dense"}``. What is
            not named keeps its own name.

    Raises:
        UserError: `keys` names a branch that is not there, or an input its model does not read.
    """

    def __init__(
        self,
        models: dict[str, Any],
        configs: dict[str, dict],
        keys: dict[str, dict[str, str]] | None = None,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleDict({n: model.data_preprocessor for n, model in models.items()})
        self.configs = configs
        self.keys = {name: {key: key for key in inputs_of(m)} for name, m in models.items()}
        self.on_points = {name for name, model in models.items() if on_points(model)}
        for name, changed in (keys or {}).items():
            _check_keys(name, changed, self.keys)
            self.keys[name] |= changed

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Preprocess a collated batch.

        Args:
            data: ``inputs`` (name -> list of tensors) and ``data_samples`` (list).
            training: Whether the teachers' branches are wanted.

        Returns:
            ``inputs`` and the student's ``data_samples``; in training `inputs` maps branch name to
            that branch's inputs, and `UNREAD` to those that are packed but no model reads;
            ``data_samples`` maps branch name to its samples.

        Raises:
            UserError: A sample without points in a model's range, samples of unequal numbers of
                points for a network that stacks them, or a missing input.
        """
        if not training:
            batch = self._branch(STUDENT, data, False)
            return {"inputs": batch["inputs"], "data_samples": batch["data_samples"]}
        inputs: dict[str, Any] = {}
        samples: dict[str, list] = {}
        for name in self.branches:
            same = next((n for n in inputs if self._equal(n, name)), None)
            if same is None:
                batch = self._branch(name, data, True)
                inputs[name], samples[name] = batch["inputs"], batch["data_samples"]
            else:
                inputs[name] = copied(inputs[same])
                samples[name] = copied(samples[same])
        read = {key for keys in self.keys.values() for key in keys.values()}
        inputs[UNREAD] = {k: value for k, value in data["inputs"].items() if k not in read}
        return {"inputs": inputs, "data_samples": samples}

    def _equal(self, first: str, second: str) -> bool:
        return (self.configs[first], self.keys[first]) == (self.configs[second], self.keys[second])

    def _branch(self, name: str, data: dict[str, Any], training: bool) -> dict[str, Any]:
        raw, samples = data["inputs"], data["data_samples"]
        raw = {ours: _take(raw, theirs, name) for ours, theirs in self.keys[name].items()}
        own = {"inputs": raw, "data_samples": [_renewed(sample) for sample in samples]}
        if name in self.on_points:
            _refuse_uneven(name, raw["points"])
        batch = self.branches[name](own, training)
        _refuse_empty(name, batch, samples)
        return batch


def _check_keys(branch: str, changed: dict[str, str], known: dict[str, dict[str, str]]) -> None:
    where = f"model.branches.{branch}"
    if branch not in known:
        raise UserError(f"no model {branch!r} has inputs", where, did_you_mean(branch, known))
    for key in changed:
        if key not in known[branch]:
            raise UserError(
                f"this model reads no input {key!r}", where, did_you_mean(key, known[branch])
            )


def _take(raw: dict[str, Any], key: str, branch: str) -> Any:
    if key not in raw:
        raise UserError(
            f"the batch has no input {key!r}, only {sorted(raw)}",
            f"branch {branch}",
            f"let the pipeline load it and PackBranches pack it (keys=[..., {key!r}])",
        )
    return raw[key]


def copied(value: Any) -> Any:
    """Return a batch, or a part of one, whose tensors are copies and whose samples are new."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return _renewed(value) if isinstance(value, BaseDataElement) else value


def _renewed(sample: BaseDataElement) -> BaseDataElement:
    """Return a copy whose annotations are copies: PointRCNN replaces the boxes in its own."""
    new = sample.new()
    for key, value in list(new.items()):
        if isinstance(value, BaseDataElement):
            setattr(new, key, value.new())
    return new


def _refuse_uneven(branch: str, clouds: list[Tensor]) -> None:
    counts = [len(cloud) for cloud in clouds]
    if min(counts) != max(counts) or not counts[0]:
        raise UserError(
            f"clouds of {min(counts)} to {max(counts)} points; this network stacks them and needs "
            "equally many, at least one",
            f"branch {branch}",
            "add dict(type='PointSample', num_points=16384) to both pipelines",
        )


def _refuse_empty(branch: str, batch: dict[str, Any], samples: list[Any]) -> None:
    """Refuse a sample without voxels: mmdet3d would take the batch for a smaller one."""
    voxels = batch["inputs"].get("voxels")
    if voxels is None:
        return
    present = set(voxels["coors"][:, 0].unique().tolist())
    for i, sample in enumerate(samples):
        if i not in present:
            name = sample.metainfo.get("lidar_path") or sample.metainfo.get("sample_idx", i)
            raise UserError(
                f"no point of this frame lies in the range of the {branch}",
                name,
                "check the cloud and point_cloud_range, or leave the frame out",
            )
