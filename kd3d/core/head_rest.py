"""Points in the middle of a detection head, and what comes after them as a fixed function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from kd3d.errors import UserError
from kd3d.losses.logit.head_response import BOX_MAPS

COMPARED = ("heatmap", *BOX_MAPS)
MID, BRANCHES = "head_mid", "head_branches"


def middle_taps(head: nn.Module | None, path: str) -> dict[str, list[str]]:
    """Return the name of each point in a head -> the paths of the features there.

    ``head_mid``: a centre head's shared convolution; an anchor head has nothing but 1x1 predictors,
    so its point is its input, the neck's map. ``head_branches``: the first convolution of every
    branch of a centre head that losses compare (all but the velocity), task by task. Convolutions
    are read before their activation.

    Args:
        head: CenterHead or Anchor3DHead; any other head has no points.
        path: Its module path.
    """
    if is_center(head):
        found = {MID: [f"{path}.shared_conv.{_before_activation(head.shared_conv)}"]}  # type: ignore[union-attr]
        branches = _branches(head)
        if branches and all(len(layers) > 1 for *_, layers in branches):
            found[BRANCHES] = [
                f"{path}.task_heads.{task}.{name}.0.{_before_activation(layers[0])}"
                for task, name, layers in branches
            ]
        return found
    if is_anchor(head):
        return {MID: [path.removesuffix("bbox_head") + "neck.0"]}
    return {}


def is_center(head: nn.Module | None) -> bool:
    """Whether it is built like CenterHead: a shared convolution, then branches in tasks."""
    return hasattr(head, "shared_conv") and hasattr(head, "task_heads")


def is_anchor(head: nn.Module | None) -> bool:
    """Whether it is built like Anchor3DHead: two or three predictors on one map."""
    return hasattr(head, "conv_cls") and hasattr(head, "conv_reg")


class HeadRest:
    """What comes after a point of a head: from features there to the head's raw output.

    The head's parameters are constants here, so gradients pass to the features only, also where the
    head itself is being trained; its buffers are not written.

    Args:
        head: CenterHead or Anchor3DHead.
        point: ``head_mid`` or ``head_branches``, see `middle_taps`.
        where: For messages.

    Raises:
        UserError: The head has no such point.
    """

    def __init__(self, head: nn.Module | None, point: str, where: str) -> None:
        if point not in middle_taps(head, "bbox_head"):
            raise UserError(
                f"a {type(head).__name__} has no {point}", where, "cross another point, or none"
            )
        self.head: Any = head
        self.point = point

    def __call__(self, features: Sequence[Tensor]) -> Any:
        """Return the raw output, nested as the head's own, for features (B, C, H, W) at the point.

        After ``head_branches`` it holds the maps of those branches only.

        Args:
            features: In the order of `middle_taps`, before the activation.
        """
        head = self.head
        if is_anchor(head):
            parts = [head.conv_cls, head.conv_reg, getattr(head, "conv_dir_cls", None)]
            return tuple([None if p is None else constant(p, features[0])] for p in parts)
        if self.point == MID:
            shared = _activated(head.shared_conv, features[0])
            return tuple([constant(task, shared)] for task in head.task_heads)
        made: list[dict[str, Tensor]] = [{} for _ in head.task_heads]
        for (task, name, layers), feature in zip(_branches(head), features):
            made[task][name] = constant(layers[1:], _activated(layers[0], feature))
        return tuple([one] for one in made)


def constant(module: nn.Module, value: Tensor) -> Any:
    """Run a module with its parameters as constants, on copies of its buffers."""
    state = {name: parameter.detach() for name, parameter in module.named_parameters()}
    state |= {name: buffer.clone() for name, buffer in module.named_buffers()}
    return functional_call(module, state, (value,))


def _branches(head: Any) -> list[tuple[int, str, Any]]:
    """Return task, name and layers of the branches compared; empty where a task has none."""
    if not all(hasattr(task, "heads") for task in head.task_heads):
        return []
    return [
        (i, name, getattr(task, name))
        for i, task in enumerate(head.task_heads)
        for name in task.heads
        if name in COMPARED
    ]


def _before_activation(layer: Any) -> str:
    """Return the tap of what mmcv's ConvModule computes before its activation.

    It is copied on capture, since the activation works in place.
    """
    return f"{layer.norm_name if layer.with_norm else 'conv'}+clone"


def _activated(layer: Any, feature: Tensor) -> Tensor:
    """Apply the activation of mmcv's ConvModule, without changing its input."""
    return layer.activate(feature.clone()) if layer.with_activation else feature
