"""An exported detector: raw data in, boxes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd3d.deploy.runtime.boxes import decode
from kd3d.deploy.runtime.images import fit_image, image_inputs
from kd3d.deploy.runtime.lift import Lift, Rig
from kd3d.deploy.runtime.pillars import pillar_inputs

Arrays = dict[str, np.ndarray]
Graph = Callable[[Arrays], Arrays]


def open_graph(path: str | Path, outputs: Sequence[str], threads: int) -> Graph:
    """Return a function from named inputs to named outputs.

    Args:
        path: ``.onnx`` (onnxruntime on the CPU) or ``.pt`` (TorchScript; needs torch).
        outputs: Their names, in order.
        threads: Of the CPU.
    """
    if Path(path).suffix == ".pt":
        import torch

        module = torch.jit.load(str(path))

        def call(inputs: Arrays) -> Arrays:
            with torch.no_grad():
                made = module(*(torch.from_numpy(value) for value in inputs.values()))
            return {name: value.numpy() for name, value in zip(outputs, made)}

        return call
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda inputs: dict(zip(outputs, session.run(list(outputs), inputs)))


class Detector:
    """An exported folder, ready to run.

    Args:
        folder: With ``model.json``.
        threads: CPU threads of the graphs.
        int8: Run the quantised graphs, where the folder has them.

    Attributes:
        spec: What ``model.json`` says.
        classes: Names of the labels.
    """

    def __init__(self, folder: str | Path, threads: int = 1, int8: bool = False) -> None:
        folder = Path(folder)
        self.spec: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.classes: list[str] = self.spec["classes"]
        self.graphs = {
            name: open_graph(folder / part["int8" if int8 else "file"], part["outputs"], threads)
            for name, part in self.spec["graphs"].items()
        }
        self.anchors: list[np.ndarray] | None = None
        if self.spec["head"]["type"] == "anchors":
            with np.load(folder / "anchors.npz") as stored:
                self.anchors = [stored[f"level{i}"] for i in range(len(stored.files))]
        self._lift: tuple[bytes, Lift] | None = None

    def detect_points(self, points: np.ndarray) -> Arrays:
        """Return boxes, scores and labels of a cloud (N, C); see `boxes.decode`."""
        return self.finish(self.network(self.prepare_points(points)))

    def prepare_points(self, points: np.ndarray) -> Arrays:
        """Return the graph's inputs."""
        return pillar_inputs(points, self.spec["preprocess"])

    def network(self, inputs: Arrays) -> Arrays:
        """Return the head's raw outputs of a LiDAR model."""
        return self.graphs["model"](inputs)

    def detect_images(self, images: Sequence[np.ndarray], lidar2cam: Any, cam2img: Any) -> Arrays:
        """Return boxes, scores and labels of one shot of all cameras.

        Args:
            images: (H, W, 3) uint8 each, blue, green, red, as they were taken.
            lidar2cam: (4, 4) each, see `lift.Rig`.
            cam2img: (3, 3) each.
        """
        fitted = [fit_image(one, tuple(self.spec["preprocess"]["size"])) for one in images]
        rig = Rig.of(lidar2cam, cam2img, [matrix for _, matrix in fitted])
        return self.detect_fitted(np.stack([image for image, _ in fitted]), rig)

    def detect_fitted(self, images: np.ndarray, rig: Rig) -> Arrays:
        """As `detect_images`, of images (N, H, W, 3) that have the network's size already."""
        return self.finish(self.network_images(self.prepare_images(images, rig), rig))

    def prepare_images(self, images: np.ndarray, rig: Rig) -> Arrays:
        """Return the image graph's inputs."""
        inputs = {"images": image_inputs(images, self.spec["preprocess"])}
        if self.spec["preprocess"]["camera_numbers"]:
            inputs["cameras"] = rig.numbers()
        return inputs

    def network_images(self, inputs: Arrays, rig: Rig) -> Arrays:
        """Return the head's raw outputs of a camera model: image graph, lift, map graph."""
        made = self.graphs["image"](inputs)
        return self.graphs["bev"]({"bev": self.lift_of(rig).pool(made["depth"], made["context"])})

    def lift_of(self, rig: Rig) -> Lift:
        """Return the rig's lift; the last rig's is kept."""
        key = rig.lidar2cam.tobytes() + rig.cam2img.tobytes() + rig.img_aug.tobytes()
        if self._lift is None or self._lift[0] != key:
            self._lift = key, Lift.of(rig, self.spec["lift"])
        return self._lift[1]

    def finish(self, outputs: Arrays) -> Arrays:
        """Return the detections of the head's raw outputs."""
        return decode(outputs, self.spec["head"], self.anchors)
