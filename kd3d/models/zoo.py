"""mmdet3d's own model zoo: its index, and checkpoints by name.

``checkpoint='mmdet3d::<name>'`` stands for the weights that the index of the installed mmdet3d
gives for that name. They lie where torch and mmengine keep downloaded weights,
``<torch.hub.get_dir()>/checkpoints``, and are fetched when they are first read.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch

from kd3d.console import say
from kd3d.errors import UserError, did_you_mean

ZOO = "mmdet3d"
DETECTION = "3D Object Detection"
_HASH = re.compile(r"-([0-9a-f]{8,64})\.pth$")
_CAMERA = ("fcos3d", "imvoxelnet", "monoflex", "pgd", "smoke")  # folders of configs
_FUSION = ("imvotenet", "mvxnet")


@dataclass(frozen=True)
class ZooModel:
    """An entry of the index.

    Attributes:
        name: Of the entry.
        config: ``"mmdet3d::<family>/<file>.py"``, as `kd3d.models.source.config_path` reads it.
        weights: Address of the checkpoint, empty where there is none.
        modality: ``lidar``, ``camera`` or ``lidar+camera``; clouds of indoor scenes are ``lidar``.
        metrics: Data set -> published metrics, of 3D detection.
    """

    name: str
    config: str
    weights: str
    modality: str
    metrics: dict[str, dict[str, Any]]

    @property
    def file(self) -> Path:
        """Where its weights lie on this machine, once they are there."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.weights.rsplit("/", 1)[-1]


def index_folder() -> Path:
    """Return the folder of mmdet3d's ``model-index.yml``.

    Raises:
        UserError: mmdet3d is not installed, or without its index.
    """
    spec = importlib.util.find_spec(ZOO)
    places = list(spec.submodule_search_locations or []) if spec else []
    for place in places:
        for folder in (Path(place) / ".mim", Path(place).parent):
            if (folder / "model-index.yml").is_file():
                return folder
    raise UserError("mmdet3d with its model index is not installed", ZOO, "make setup")


def read_index(folder: Path) -> dict[str, ZooModel]:
    """Return name -> detector of 3D boxes with weights, in the order of the index.

    Args:
        folder: Holds ``model-index.yml`` and the metafiles that it imports.
    """
    import yaml

    found = {}
    index = yaml.safe_load((folder / "model-index.yml").read_text(encoding="utf-8"))
    for relative in index["Import"]:
        metafile = yaml.safe_load((folder / relative).read_text(encoding="utf-8"))
        models = metafile["Models"] if isinstance(metafile, dict) else metafile
        for entry in models:
            metrics = {
                result["Dataset"]: dict(result["Metrics"])
                for result in entry.get("Results") or []
                if result.get("Task") == DETECTION
            }
            if metrics and str(entry.get("Weights", "")).endswith(".pth"):
                found[entry["Name"]] = _model(entry, metrics)
    return found


def _model(entry: dict[str, Any], metrics: dict[str, dict[str, Any]]) -> ZooModel:
    config = str(entry["Config"]).removeprefix("configs/")
    family = config.split("/")[0]
    kinds = dict.fromkeys(_CAMERA, "camera") | dict.fromkeys(_FUSION, "lidar+camera")
    modality = kinds.get(family, "lidar")
    return ZooModel(entry["Name"], f"{ZOO}::{config}", entry["Weights"], modality, metrics)


@functools.cache
def zoo() -> dict[str, ZooModel]:
    """Return the index of the installed mmdet3d."""
    return read_index(index_folder())


def zoo_model(reference: str | Path) -> ZooModel | None:
    """Return the model that ``"mmdet3d::<name>"`` names; None for anything else.

    Raises:
        UserError: The index has no such name with weights.
    """
    package, separator, name = str(reference).partition("::")
    if not separator:
        return None
    known = zoo() if package == ZOO else {}
    if name not in known:
        hint = did_you_mean(name, known) if package == ZOO else "mmdet3d::<name>"
        raise UserError("no such weights in the model zoo", reference, f"{hint} kd3d list teachers")
    return known[name]


def checkpoint_file(reference: str | Path) -> Path:
    """Return the file of a checkpoint, a path or ``"mmdet3d::<name>"``; nothing is fetched."""
    model = zoo_model(reference)
    return Path(reference) if model is None else model.file


def fetched(reference: str | Path) -> Path:
    """Return the file of a checkpoint; one of the zoo is downloaded where it is not there yet.

    The file is whole or not there: it is downloaded beside its place, compared with the hash in
    its name, and moved.

    Raises:
        UserError: No such name, no network, or a file with another hash.
    """
    model = zoo_model(reference)
    if model is None:
        return Path(reference)
    if not model.file.is_file():
        _download(model, str(reference))
    return model.file


def _download(model: ZooModel, reference: str) -> None:
    named = _HASH.search(model.file.name)
    checked = "" if named else " (its name holds no hash, so it is not checked)"
    say(f"{reference}: fetching {model.weights}{checked}")
    model.file.parent.mkdir(parents=True, exist_ok=True)
    by_hand = f"fetch {model.weights} and put it at {model.file}"
    try:
        torch.hub.download_url_to_file(
            model.weights, str(model.file), named[1] if named else None, progress=True
        )
    except RuntimeError as error:
        if "hash" not in str(error):
            raise
        raise UserError(f"what came has another hash ({error})", reference, by_hand) from error
    except (URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"it cannot be fetched ({reason})", reference, by_hand) from error
