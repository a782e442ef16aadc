"""The declared graphs of mmdet3d's parts: two encoders, SECOND, its neck, two heads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from kd3d.errors import UserError, did_you_mean
from kd3d.models.inherit.graph import ANY, RAW, Flow, Graph

PARTS = ("voxel_encoder", "middle_encoder", "backbone", "neck", "bbox_head")
Flows = list[Flow]  # several maps


def declare(model: Any, where: str = "model.inherit") -> Graph:
    """Return the graph of a detector of the SECOND kind: pillars or voxels, anchors or centres.

    Args:
        model: An mmdet3d detector.
        where: For messages.

    Raises:
        UserError: A part whose graph is not declared here.
    """
    prefix = "pts_" if hasattr(model, "pts_backbone") else ""
    graph, flows = Graph(prefix), [RAW]
    for part in PARTS:
        module = getattr(model, prefix + part, None)
        kind = type(module).__name__
        if kind not in DECLARED:
            raise UserError(
                f"{prefix}{part} is a {kind}, whose channels are not declared "
                f"({did_you_mean(kind, DECLARED)})",
                where,
                "use type='handover' for parts that have the teacher's shapes",
            )
        flows = DECLARED[kind](graph, part, module, flows)
    return graph


def _unchanged(graph: Graph, name: str, module: Any, flows: Flows) -> Flows:
    """A mean of points, or a scatter into a map: no weights."""
    return flows


def _pillar_net(graph: Graph, name: str, module: Any, flows: Flows) -> Flows:
    """The first layer reads decorated points; the next ones [the point's, the pillar's maximum]."""
    (flow,) = flows
    for place, pfn in enumerate(module.pfn_layers):
        path = f"{name}.pfn_layers.{place}"
        made = graph.add(f"{path}.linear", pfn.linear, flow, (f"{path}.norm", pfn.norm))
        flow = made if pfn.last_vfe else made + made
    return [flow]


def _sparse_encoder(graph: Graph, name: str, module: Any, flows: Flows) -> Flows:
    """Its output (B, C, D, H, W) becomes (B, C * D, H, W): channel c of plane d is c * D + d."""
    (flow,) = flows
    flow = graph.add_sequence(f"{name}.conv_input", module.conv_input, flow)
    for stage_name, stage in module.encoder_layers.named_children():
        for block_name, block in stage.named_children():
            path = f"{name}.encoder_layers.{stage_name}.{block_name}"
            if hasattr(block, "conv1"):
                flow = _residual(graph, path, block, flow)
            else:
                flow = graph.add_sequence(path, block, flow)
    (out,) = graph.add_sequence(f"{name}.conv_out", module.conv_out, flow)
    return [(replace(out, planes=ANY),)]


def _residual(graph: Graph, name: str, block: Any, flow: Flow) -> Flow:
    """The input is added to the second convolution's output: both keep the same channels."""
    if hasattr(block, "conv3") or block.downsample is not None:
        raise UserError("only residual blocks of two convolutions are declared", name)
    norms = [(f"{name}.{n}", getattr(block, n)) for n in (block.norm1_name, block.norm2_name)]
    inner = graph.add(f"{name}.conv1", block.conv1, flow, norms[0])
    first = flow[0].producer
    joins = graph[first].joins or first if first is not None else None
    return graph.add(f"{name}.conv2", block.conv2, inner, norms[1], joins=joins)


def _second(graph: Graph, name: str, module: Any, flows: Flows) -> Flows:
    (flow,) = flows
    stages = []
    for place, block in enumerate(module.blocks):
        flow = graph.add_sequence(f"{name}.blocks.{place}", block, flow)
        stages.append(flow)
    return stages


def _second_fpn(graph: Graph, name: str, module: Any, flows: Flows) -> Flows:
    """Each stage is resampled; the results are concatenated."""
    made = [
        graph.add_sequence(f"{name}.deblocks.{place}", deblock, flow)
        for place, (deblock, flow) in enumerate(zip(module.deblocks, flows, strict=True))
    ]
    return [tuple(block for flow in made for block in flow)]


def _anchor_head(graph: Graph, name: str, module: Any, flows: Flows) -> Flows:
    (flow,) = flows
    for child_name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            graph.add(f"{name}.{child_name}", child, flow, final=True)
    return []


def _center_head(graph: Graph, name: str, module: Any, flows: Flows) -> Flows:
    (flow,) = flows
    flow = graph.add_module(f"{name}.shared_conv", module.shared_conv, flow)
    for task, separate in enumerate(module.task_heads):
        if type(separate).__name__ != "SeparateHead":
            raise UserError(f"a {type(separate).__name__} is not declared", f"{name}.task_heads")
        for branch in separate.heads:
            path = f"{name}.task_heads.{task}.{branch}"
            graph.add_sequence(path, getattr(separate, branch), flow, final=True)
    return []


DECLARED: dict[str, Callable[[Graph, str, Any, Flows], Flows]] = {
    "HardSimpleVFE": _unchanged,
    "DynamicSimpleVFE": _unchanged,
    "PointPillarsScatter": _unchanged,
    "PillarFeatureNet": _pillar_net,
    "SparseEncoder": _sparse_encoder,
    "SECOND": _second,
    "SECONDFPN": _second_fpn,
    "Anchor3DHead": _anchor_head,
    "CenterHead": _center_head,
}
