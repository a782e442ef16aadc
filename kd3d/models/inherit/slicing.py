"""A student's tensors cut out of a teacher's, along the student's declared graph."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from kd3d.errors import UserError
from kd3d.models.inherit.graph import Block, Layer
from kd3d.models.inherit.ranking import BN_SCALE, LEADING, best, bn_scales, filter_norms
from kd3d.models.kernels import arranged, canonical

Layers = dict[str, Layer]
State = dict[str, Tensor]
SPARSE = ("KRSC", "RSCK")


class Slicer:
    """Choose each layer's channels and cut its tensors.

    A student's layer takes the weights of the teacher's layer of the same name, so a shallower
    stage keeps the leading layers. The channels that a layer reads are those that its producer in
    the student kept. A layer outside `parts` is not copied, and counts as its leading channels.

    Args:
        student: The student's graph.
        teacher: The teacher's graph.
        state: The teacher's state dict.
        like: The student's state dict; only shapes are read.
        strategy: One of `kd3d.models.inherit.ranking.STRATEGIES`.
        parts: Which parts to copy; None: all.
        official_parity: As the authors' code: channels in order of importance, height planes as D
            blocks of C, and filters ranked by the inputs that it takes (`_official_inputs`).
        where: For messages.

    Attributes:
        kept: Layer name -> indices of the teacher's output channels.
        result: The student's tensors by their keys.

    Raises:
        UserError: A layer that the teacher lacks, or that no choice of channels makes fit.
    """

    def __init__(
        self,
        student: Layers,
        teacher: Layers,
        state: State,
        like: State,
        strategy: str = LEADING,
        parts: Iterable[str] | None = None,
        official_parity: bool = False,
        where: str = "model.inherit",
    ) -> None:
        self.student, self.teacher, self.state, self.like = student, teacher, state, like
        self.strategy, self.official, self.where = strategy, official_parity, where
        self.kept: dict[str, Tensor] = {}
        self.result: State = {}
        for layer in student.values():
            if parts is not None and layer.part not in parts:
                self.kept[layer.name] = torch.arange(layer.width)
                continue
            if layer.name not in teacher:
                shape = tuple(like[f"{layer.key}.weight"].shape)
                raise UserError(f"the teacher has no layer {layer.name}, here {shape}", where)
            twin = teacher[layer.name]
            inputs = self._inputs(layer, twin)
            self.kept[layer.name] = self._outputs(layer, twin, inputs)
            self._cut(layer, twin, inputs)

    def _inputs(self, layer: Layer, twin: Layer) -> Tensor:
        """Return the teacher's input channels that the student's layer reads, in its order."""
        mine, theirs = layer.inputs, twin.inputs
        if len(mine) != len(theirs) or any(a.planes != b.planes for a, b in zip(mine, theirs)):
            raise self._misfit(layer, twin, "what they read is put together otherwise")
        found, start = [], 0
        for block, wide in zip(mine, theirs):
            if block.producer is None and block.width != wide.width:
                raise self._misfit(layer, twin, "raw inputs are not cut")
            index = torch.arange(block.width)
            if block.producer is not None:
                index = self.kept[block.producer]
            if int(index.max()) >= wide.width:
                raise self._misfit(layer, twin, "the student is wider")
            found.append(start + unfolded(index, wide, self.official))
            start += wide.width * wide.planes
        return torch.cat(found)

    def _outputs(self, layer: Layer, twin: Layer, inputs: Tensor) -> Tensor:
        """Return the teacher's output channels that the student keeps."""
        every = torch.arange(twin.width)
        if layer.width > twin.width:
            raise self._misfit(layer, twin, "the student is wider")
        if layer.width < twin.width and layer.final:
            raise self._misfit(layer, twin, "predictions are not cut")
        if layer.width < twin.width and twin.across:
            raise self._misfit(layer, twin, f"{twin.norm} mixes the channels")
        if layer.joins is not None:
            return self.kept[layer.joins]
        if layer.width == twin.width or self.strategy == LEADING:
            return every[: layer.width]
        index = best(self._scores(layer, twin, inputs), layer.width)
        return index if self.official else index.sort().values

    def _scores(self, layer: Layer, twin: Layer, inputs: Tensor) -> Tensor:
        """Return the importance of the teacher's output channels, (C,).

        Channels that residual additions join are ranked by the sum over the joined layers, each
        with all its inputs.
        """
        joined = [other for other in self.teacher.values() if other.joins == twin.name]
        if joined:
            return torch.stack([self._score(one, None) for one in [twin, *joined]]).sum(0)
        if self.official:
            return self._score(twin, self._official_inputs(layer, twin, inputs))
        return self._score(twin, inputs)

    def _score(self, twin: Layer, inputs: Tensor | None) -> Tensor:
        if self.strategy == BN_SCALE:
            gamma = self.state.get(f"{twin.norm}.weight")
            if gamma is None:
                fix = "use FNAV2 or OFA"
                raise UserError(f"no BatchNorm with weights follows {twin.key}", self.where, fix)
            return bn_scales(gamma)
        return filter_norms(canonical(self.state[f"{twin.key}.weight"], twin.layout), inputs)

    def _official_inputs(self, layer: Layer, twin: Layer, inputs: Tensor) -> Tensor | None:
        """Return the inputs by which the authors' code ranks filters.

        Sparse kernels: all. The first map convolution: the channels kept by the layer before the
        last sparse one, repeated until the width is reached. Others: the inputs that are kept.
        """
        if twin.layout in SPARSE:
            return None
        folded = layer.inputs[0]
        if folded.planes == 1 or folded.producer is None:
            return inputs
        before = self.kept[self.student[folded.producer].inputs[0].producer or folded.producer]
        times = max(1, inputs.numel() // before.numel())
        total = sum(block.width * block.planes for block in twin.inputs)
        return torch.cat([before + step * (total // times) for step in range(times)])

    def _cut(self, layer: Layer, twin: Layer, inputs: Tensor) -> None:
        """Fill in the layer's and its normalisation's tensors."""
        outputs = self.kept[layer.name]
        weight = canonical(self.state[f"{twin.key}.weight"], twin.layout)
        same = layer.layout == twin.layout or {layer.layout, twin.layout} == set(SPARSE)
        if not same and weight[0, 0].numel() > 1:
            raise self._misfit(layer, twin, f"a {twin.layout} is no {layer.layout}")
        self._put(layer, twin, "weight", arranged(weight[outputs][:, inputs], layer.layout))
        for start, other in ((layer.key, twin.key), (layer.norm, twin.norm)):
            names = sorted({*_under(self.like, start), *_under(self.state, other)})
            for name in names:
                if (start, name) == (layer.key, "weight"):
                    continue
                value = self.state.get(f"{other}.{name}")
                if value is None or f"{start}.{name}" not in self.like:
                    owner = "teacher" if value is None else "student"
                    raise self._misfit(layer, twin, f"the {owner} has no {start or other}.{name}")
                cut = value[outputs] if value.ndim else value.clone()
                self._put(layer, twin, f"{start}.{name}", cut)

    def _put(self, layer: Layer, twin: Layer, name: str, value: Tensor) -> None:
        key = f"{layer.key}.weight" if name == "weight" else name
        if value.shape != self.like[key].shape:
            raise self._misfit(layer, twin, "the kernels differ")
        self.result[key] = value

    def _misfit(self, layer: Layer, twin: Layer, why: str) -> UserError:
        mine = tuple(self.like[f"{layer.key}.weight"].shape)
        theirs = tuple(self.state[f"{twin.key}.weight"].shape)
        return UserError(
            f"{layer.key}.weight {mine} cannot be cut out of the teacher's {twin.key}.weight "
            f"{theirs}: {why}",
            self.where,
            "name other parts",
        )


def unfolded(index: Tensor, block: Block, official_parity: bool = False) -> Tensor:
    """Return the inputs that the channels `index` of a producer have in the layer that reads it.

    Args:
        index: Channels c in 0..C-1.
        block: With the producer's C channels and D planes.
        official_parity: Input d * C + c, instead of c * D + d.
    """
    planes = torch.arange(block.planes)
    if official_parity:
        return (index + planes[:, None] * block.width).flatten()
    return (index[:, None] * block.planes + planes).flatten()


def _under(state: State, start: str | None) -> list[str]:
    """Return the names of the tensors right under a path."""
    if start is None:
        return []
    return [key[len(start) + 1 :] for key in state if key.startswith(f"{start}.")]
