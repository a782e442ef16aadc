"""The parts of a detector that become graphs: all that has weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kd3d.core.taps import head_of
from kd3d.deploy.refusals import PILLARS, part_of


@dataclass
class Part:
    """One graph.

    Attributes:
        name: ``"model"``, or ``"image"`` and ``"bev"``.
        module: In eval mode; takes tensors, returns a tuple of tensors.
        example: Input name -> a value of the right shape.
        free: Input and output name -> its axes whose length may differ, with a name.
        outputs: Names, in the module's order; by default those of the head.
        meaning: Name -> what the tensor holds, for people.
    """

    name: str
    module: nn.Module
    example: dict[str, Tensor]
    free: dict[str, dict[int, str]]
    outputs: list[str] = field(default_factory=list)
    meaning: dict[str, str] = field(default_factory=dict)

    @torch.no_grad()
    def __post_init__(self) -> None:
        self.module.eval()
        self.sizes = [tuple(value.shape) for value in self.module(*self.example.values())]
        self.outputs = self.outputs or list(self.module.trunk.names)  # type: ignore[union-attr, arg-type]


class PillarGraph(nn.Module):
    """Pillars to head outputs: pillar network, scatter, backbone, neck, head; one frame.

    The scatter is in the graph (ScatterND of ONNX): rows of features are written to their cells.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.layers = part_of(model, "voxel_encoder").pfn_layers
        scatter = part_of(model, "middle_encoder")
        self.rows, self.columns = int(scatter.ny), int(scatter.nx)
        self.trunk = _Trunk(model)

    def forward(self, pillars: Tensor, cells: Tensor) -> tuple[Tensor, ...]:
        """Return the head's outputs.

        Args:
            pillars: (P, M, D) decorated points.
            cells: (P,) int64.
        """
        for layer in self.layers:
            pillars = layer(pillars)
        rows = pillars.squeeze(1)
        canvas = rows.new_zeros((self.rows * self.columns, rows.shape[1]))
        canvas = canvas.index_put((cells,), rows)
        canvas = canvas.t().reshape(1, -1, self.rows, self.columns)
        return self.trunk(canvas)


class ImageGraph(nn.Module):
    """Images to depth and context, a camera each: backbone, neck, depth network."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone, self.neck = model.img_backbone, getattr(model, "img_neck", None)
        self.depth_net, self.level = model.img_depth_net, model.level

    def forward(self, images: Tensor, cameras: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return (N, D, H', W') probabilities and (N, C, H', W') features.

        Args:
            images: (N, 3, H, W), normalised.
            cameras: (N, 34), for a network that knows the cameras.
        """
        features = self.backbone(images)
        if self.neck is not None:
            features = self.neck(features)
        logits, context = self.depth_net(features[self.level], _Numbers(cameras))
        return logits.softmax(1), context


class BevGraph(nn.Module):
    """The lifted map to head outputs: BEV backbone, neck, head; one frame."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.trunk = _Trunk(model)

    def forward(self, bev: Tensor) -> tuple[Tensor, ...]:
        """Return the head's outputs of a map (1, Z C, Y, X)."""
        return self.trunk(bev)


class _Trunk(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone, self.neck = part_of(model, "backbone"), part_of(model, "neck")
        self.head: Any = head_of(model)
        self.names: list[str] = []  # of the outputs of the last call

    def forward(self, bev: Tensor) -> tuple[Tensor, ...]:
        maps = self.backbone(bev)
        maps = maps if self.neck is None else self.neck(maps)
        named = named_outputs(self.head(maps))
        self.names = [name for name, _ in named]
        return tuple(value for _, value in named)


class _Numbers:
    """Stands in for the cameras, of which a depth network asks their numbers alone."""

    def __init__(self, values: Tensor | None) -> None:
        self.values = values

    def numbers(self) -> Tensor:
        assert self.values is not None
        return self.values


def named_outputs(raw: Any) -> list[tuple[str, Tensor]]:
    """Return (name, map) of a head's raw output.

    ``task<t>_<heatmap, reg, height, dim, rot, vel>`` of a centre head, ``level<i>_<cls, box, dir>``
    of an anchor head.
    """
    if isinstance(raw[0][0], dict):
        return [(f"task{t}_{k}", v) for t, task in enumerate(raw) for k, v in task[0].items()]
    return [
        (f"level{i}_{name}", value)
        for i, level in enumerate(zip(*raw))
        for name, value in zip(("cls", "box", "dir"), level)
    ]


def make_parts(model: Any, kind: str, image_size: tuple[int, int] | None) -> list[Part]:
    """Return the graphs of a detector.

    Args:
        model: In eval mode on the CPU.
        kind: See `kd3d.deploy.refusals.kind_of`.
        image_size: (H, W) of a camera detector's padded images.
    """
    if kind == PILLARS:
        layer = model.data_preprocessor.voxel_layer
        width = part_of(model, "voxel_encoder").pfn_layers[0].linear.in_features
        example = {
            "pillars": torch.zeros(7, layer.max_num_points, width),
            "cells": torch.arange(7),
        }
        free = {"pillars": {0: "pillars"}, "cells": {0: "pillars"}}
        meaning = {
            "pillars": "(P, M, D) points of each pillar, decorated",
            "cells": "(P,) row * columns + column of each pillar",
        }
        return [Part("model", PillarGraph(model), example, free, meaning=meaning)]
    assert image_size is not None, "a camera detector's images have a size"
    example = {"images": torch.zeros(2, 3, *image_size)}
    aware = hasattr(model.img_depth_net, "depth_gate")
    if aware:
        example["cameras"] = torch.zeros(2, 34)
    outputs = ["depth", "context"]
    image = Part(
        "image",
        ImageGraph(model),
        example,
        {name: {0: "cameras"} for name in (*example, *outputs)},
        outputs,
        {
            "images": "(N, 3, H, W) normalised images",
            "cameras": "(N, 34) calibration and image augmentation",
            "depth": "(N, D, H', W') probabilities of the depth bins",
            "context": "(N, C, H', W') features that are lifted",
        },
    )
    channels = model.view_transform.grid.count[2] * image.sizes[1][1]
    bev = torch.zeros(1, channels, *model.view_transform.grid.shape)
    meaning = {"bev": "(1, Z C, Y, X) the lifted map"}
    return [image, Part("bev", BevGraph(model), {"bev": bev}, {}, meaning=meaning)]
