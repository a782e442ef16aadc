"""The declared graph of a detector: its layers in running order, and what each one reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd3d.errors import UserError
from kd3d.models.kernels import layout_of, widths


@dataclass(frozen=True)
class Block:
    """Input channels of a layer that come from one place.

    Attributes:
        producer: Name of the layer that makes them; None: raw inputs, which are never cut.
        width: Channels C of the producer.
        planes: D height planes folded into the channels: channel c of plane d is input c * D + d.
    """

    producer: str | None
    width: int
    planes: int = 1


Flow = tuple[Block, ...]  # one tensor: its channels, in order
RAW: Flow = (Block(None, 0),)  # as many as the layer reads
ANY = 0  # planes: as many as the layer reads


@dataclass(frozen=True)
class Layer:
    """One weight with the normalisation behind it.

    Attributes:
        name: Its name in every detector, ``backbone.blocks.0.3``.
        part: The first word of it.
        key: Its path in the state dict, ``pts_backbone.blocks.0.3``.
        layout: See `kd3d.models.kernels.AXES`.
        width: Output channels.
        inputs: What it reads.
        norm: Path of the normalisation, or None.
        across: The normalisation mixes channels (GroupNorm), so that none can be cut.
        final: Its outputs are predictions and are never cut.
        joins: The layer whose output is added to this one's: both keep the same channels.
    """

    name: str
    key: str
    layout: str
    width: int
    inputs: Flow
    norm: str | None = None
    across: bool = False
    final: bool = False
    joins: str | None = None

    @property
    def part(self) -> str:
        """The detector's part that it belongs to."""
        return self.name.split(".")[0]

    def keys(self, state: Iterable[str]) -> list[str]:
        """Return the entries of a state dict that are this layer's."""
        own = tuple(f"{start}." for start in (self.key, self.norm) if start)
        return [key for key in state if key.startswith(own)]


class Graph(dict[str, Layer]):
    """Layer name -> layer, in running order.

    Args:
        prefix: Of the detector's parts, ``"pts_"`` in the multi-modal family.
    """

    def __init__(self, prefix: str = "") -> None:
        super().__init__()
        self.prefix = prefix

    def add(
        self,
        name: str,
        module: Any,
        flow: Flow,
        norm: tuple[str, nn.Module] | None = None,
        final: bool = False,
        joins: str | None = None,
    ) -> Flow:
        """Append a layer that reads `flow` and return what it makes.

        Args:
            name: Without the prefix.
            module: The convolution or linear layer.
            flow: What it reads.
            norm: Name and module of the normalisation.
            final: See `Layer`.
            joins: See `Layer`.

        Raises:
            UserError: `flow` does not have the channels that the module reads.
        """
        layout, (inputs, outputs) = layout_of(module), widths(module)
        assert layout is not None, name
        across = norm is not None and not isinstance(norm[1], _BatchNorm)
        self[name] = Layer(
            name=name,
            key=self.prefix + name,
            layout=layout,
            width=outputs,
            inputs=_resolved(flow, inputs, name),
            norm=None if norm is None else self.prefix + norm[0],
            across=across,
            final=final,
            joins=joins,
        )
        return (Block(name, outputs),)

    def add_module(self, name: str, module: Any, flow: Flow) -> Flow:
        """Append mmcv's ``ConvModule`` of a convolution and perhaps a normalisation."""
        norm = (f"{name}.{module.norm_name}", module.norm) if module.with_norm else None
        return self.add(f"{name}.conv", module.conv, flow, norm)

    def add_sequence(self, name: str, sequence: nn.Module, flow: Flow, final: bool = False) -> Flow:
        """Append the layers of a sequence, each with the normalisation right behind it.

        Args:
            name: The sequence's, without the prefix.
            sequence: Convolutions, normalisations and activations, or mmcv's ``ConvModule``.
            flow: What the first layer reads.
            final: The last layer predicts.
        """
        children = list(sequence.named_children())
        for place, (child_name, child) in enumerate(children):
            path = f"{name}.{child_name}"
            if hasattr(child, "conv") and hasattr(child, "with_norm"):
                flow = self.add_module(path, child, flow)
            elif layout_of(child) is not None:
                after = children[place + 1 : place + 2]
                norm = next(((f"{name}.{n}", m) for n, m in after if is_norm(m)), None)
                last = place + 1 == len(children)
                flow = self.add(path, child, flow, norm, final=final and last)
        return flow


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalises."""
    return isinstance(module, (_BatchNorm, nn.GroupNorm, nn.LayerNorm)) or (
        "Norm" in type(module).__name__
    )


def _resolved(flow: Flow, inputs: int, name: str) -> Flow:
    """Return `flow` with open widths and planes filled in from what the layer reads."""
    if flow == RAW:
        return (Block(None, inputs),)
    if any(block.planes == ANY for block in flow):
        width = sum(block.width for block in flow)
        flow = tuple(replace(block, planes=inputs // width) for block in flow)
    made = sum(block.width * block.planes for block in flow)
    if made != inputs:
        raise UserError(f"reads {inputs} channels where {made} are made", name)
    return flow
