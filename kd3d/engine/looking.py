"""What the viewer asks of trained models: their boxes, and where their features are strong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from kd3d.console import track
from kd3d.core.probe import probe
from kd3d.core.spec import Extent
from kd3d.core.taps import TapSet, aliases
from kd3d.data.frames import Boxes, FrameFolder, open_folder
from kd3d.engine.scoring import frame, test_frames, torch_predictor
from kd3d.engine.subjects import Subject
from kd3d.errors import UserError, did_you_mean
from kd3d.masks.boxes import box_mask, gaussian_mask
from kd3d.report.frames import evenly_spaced
from kd3d.viz.viewer.scene import TRUTH, GroundMap, Scene, scene_of

BRIGHTEST = 0.995  # quantile of the energy that is shown as 1
_LOWEST = 0.05  # score below which boxes are not even written into the page


class Looker:
    """One model, watched at its bird's-eye-view features.

    Args:
        subject: The model with its test set.
    """

    def __init__(self, subject: Subject) -> None:
        self.name, model = subject.name, subject.model
        self.predict = torch_predictor(model)
        self.dataset = test_frames(subject.config)
        self.classes = [str(name) for name in self.dataset.metainfo["classes"]]
        self.taps: TapSet | None = None
        if "bev" in aliases(model):
            self.taps = TapSet(model, ["bev"])
            probe(model, self.taps)

    def add_to(self, scene: Scene, index: int) -> None:
        """Add the model's boxes to a scene, and the energy of its features."""
        if self.taps is not None:
            self.taps.arm()
        found = self.predict(frame(self.dataset, index))
        scores = found["scores"].numpy()
        enough = scores >= _LOWEST
        boxes = found["boxes"].numpy()[enough]
        labels = found["labels"].numpy()[enough]
        names = np.array([self.classes[label] for label in labels], dtype=object)
        scene.groups[self.name] = Boxes(names, boxes, scores[enough])
        if self.taps is None:
            return
        spec, value = self.taps.specs["bev"], self.taps.pop()["bev"]
        if spec.is_bev:
            energy = feature_energy(value)
            scene.maps[f"{self.name}: feature energy"] = GroundMap(energy, spec.grid[0])
            add_masks(scene, spec.grid)


def feature_energy(value: torch.Tensor) -> np.ndarray:
    """Return (H, W) of 0 to 1: the mean square over the channels of a map (1, C, H, W).

    As S. Zagoruyko, N. Komodakis, "Paying more attention to attention", ICLR 2017, section 3.1,
    sums them; 1 is the `BRIGHTEST` quantile.
    """
    energy = value[0].float().pow(2).mean(0)
    most = torch.quantile(energy.flatten(), BRIGHTEST).clamp(min=1e-12)
    return (energy / most).clamp(max=1).numpy()


def add_masks(scene: Scene, grid: tuple[Extent, tuple[int, int]]) -> None:
    """Add the masks that terms make of the labels on a map's cells: boxes, and Gaussians."""
    truth = scene.groups.get(TRUTH)
    if truth is None or not len(truth.box):
        return
    boxes = [torch.from_numpy(truth.box.astype(np.float32))]
    extent, shape = grid
    size = f"{shape[0]} x {shape[1]} cells"
    for name, mask in (("boxes", box_mask), ("Gaussians", gaussian_mask)):
        title = f"mask of {name}, {size}"
        if title not in scene.maps:
            values = mask(boxes, extent, shape)[0, 0].numpy()
            scene.maps[title] = GroundMap(values, extent)


def look(subjects: list[Subject], ids: list[str], count: int, root: Path | None) -> list[Scene]:
    """Return scenes of the models' test set with labels, pictures, boxes, energies and masks.

    Args:
        subjects: Models that are tested on the same frames.
        ids: Names of frames; none: evenly spaced ones.
        count: How many of those.
        root: The data set's folder, instead of the config's.

    Raises:
        UserError: No such frames, or a folder of another layout.
    """
    lookers = [Looker(subject) for subject in subjects]
    stated = subjects[0].config.test_dataloader.dataset
    folder = open_folder(root or Path(stated.data_root), stated.ann_file)
    known = frame_names(lookers[0].dataset)
    scenes = []
    for name in track(chosen_frames(known, ids, count), "looking"):
        scene = scene_of(folder, name)
        for looker in lookers:
            looker.add_to(scene, known.index(name))
        scenes.append(scene)
    return scenes


def folder_scenes(folder: FrameFolder, ids: list[str], count: int) -> list[Scene]:
    """Return scenes of a data set's folder, without any model."""
    chosen = chosen_frames(folder.names, ids, count)
    return [scene_of(folder, name) for name in track(chosen, "reading")]


def chosen_frames(known: list[str], ids: list[str], count: int) -> list[str]:
    """Return the named frames, or evenly spaced ones.

    Raises:
        UserError: No frame of that name.
    """
    for name in ids:
        if name not in known:
            raise UserError(f"no frame {name!r}", "--ids", did_you_mean(name, known))
    return ids or evenly_spaced(known, count)


def frame_names(dataset: Any) -> list[str]:
    """Return the names of a data set's frames as `kd3d.data.frames` gives them.

    Raises:
        UserError: A data set of another kind.
    """
    kind = type(dataset).__name__
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    if kind == "KittiDataset":
        return [Path(info["lidar_points"]["lidar_path"]).stem for info in infos]
    if kind == "NuScenesDataset":
        return [str(info["token"]) for info in infos]
    raise UserError(f"frames of a {kind} cannot be shown", "view", "KITTI's and nuScenes' can")
