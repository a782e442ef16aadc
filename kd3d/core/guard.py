"""Steps that are not finite: skipped and counted, their cause named, a hopeless training ended."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.logging import print_log
from torch import Tensor

from kd3d.core.branches import STUDENT
from kd3d.errors import UserError

SKIPPED = "guard.skipped"


class Guard:
    """Keeps non-finite losses, features and gradients away from the learners.

    A skipped step leaves weights, optimizer state and buffers (BatchNorm statistics) as they were;
    teachers that follow the student do not move. With data parallelism all processes skip
    together. With gradient accumulation a bad batch is left out of its window, and the window is
    skipped when its gradient is bad or nothing is left. Loss scaling (``AmpOptimWrapper``) looks
    for its scale by overflowing: gradients that it rejects are counted, but end the training only
    once its scale is down to 1.

    Args:
        max_in_row: End the training after so many skipped steps in a row.

    Attributes:
        skipped: Steps skipped since the process began; logged as ``guard.skipped``.
        seen: Branch -> tap -> value of the current step, until its losses are known to be finite;
            None between steps.
    """

    def __init__(self, max_in_row: int = 10) -> None:
        if max_in_row < 1:
            raise UserError(f"{max_in_row} is below 1", "model.guard.max_in_row", "guard=None: off")
        self.max_in_row = max_in_row
        self.skipped = self.in_row = 0
        self.seen: dict[str, dict[str, Any]] | None = None
        self.accumulated = False  # a finite backward pass since the last update
        self.buffers: list[Tensor] = []
        self.copies: list[Tensor] = []

    def remember(self, distiller: Any) -> None:
        """Copy the buffers before the forward pass of a step."""
        self.seen = {}
        self.buffers = [buffer.detach() for buffer in distiller.buffers()]
        if list(map(_kind, self.buffers)) != list(map(_kind, self.copies)):
            self.copies = [buffer.clone() for buffer in self.buffers]
        elif self.buffers:
            torch._foreach_copy_(self.copies, self.buffers)

    def note(self, features: dict[str, dict[str, Any]]) -> None:
        """Keep branch -> tap -> value while a step is under way."""
        if self.seen is not None:
            self.seen = features

    def update(
        self,
        distiller: Any,
        batch: dict[str, Any],
        total: Tensor,
        shown: dict[str, Tensor],
        optim_wrapper: Any,
    ) -> tuple[bool, dict[str, Tensor]]:
        """Do what ``optim_wrapper.update_params(total)`` does, or skip.

        Args:
            distiller: The `Distiller`.
            batch: The preprocessed batch, to look for the cause.
            total: The sum of the losses.
            shown: Name -> value of everything that is logged.
            optim_wrapper: mmengine's.

        Returns:
            Whether the optimizer took a step, and what is logged (finite values only).

        Raises:
            UserError: `max_in_row` steps in a row were skipped; it names the cause.
        """
        shown = {name: value.detach() for name, value in shown.items()}
        bad: list[str] = []
        if not _finite(list(shown.values())):
            bad = [name for name, value in shown.items() if not _finite([value])]
        problem = None
        if _any_process(bool(bad), total):
            problem = diagnose(distiller, batch, shown, bad, self.seen or {})
            optim_wrapper._inner_count += 1  # as its backward() would
        else:
            self.seen = None
            optim_wrapper.backward(optim_wrapper.scale_loss(total))
            self.accumulated = True
        self.seen = None
        stepped, hopeless = False, True
        if optim_wrapper.should_update():
            if self.accumulated:
                stepped, hopeless, cause = self._step(distiller, optim_wrapper, total)
                problem = problem or cause
            optim_wrapper.zero_grad()
            self.accumulated = False
        if problem is None:
            self.in_row = 0
        else:
            self._skip(distiller, problem, hopeless)
            shown = {name: value for name, value in shown.items() if _finite([value])}
        if self.skipped:
            shown = {**shown, SKIPPED: torch.tensor(float(self.skipped))}
        return stepped, shown

    def _step(
        self, distiller: Any, optim_wrapper: Any, total: Tensor
    ) -> tuple[bool, bool, tuple[str, str] | None]:
        """Step if the gradient is finite; return stepped, hopeless, problem."""
        scaler = getattr(optim_wrapper, "loss_scaler", None)
        groups = optim_wrapper.optimizer.param_groups
        gradients = [p.grad for group in groups for p in group["params"] if p.grad is not None]
        if not _any_process(not _finite(gradients), total):
            optim_wrapper.step()
            return True, True, None
        problem = _gradient_problem(distiller)
        if scaler is None or not scaler.is_enabled():
            return False, True, problem
        hopeless = scaler.get_scale() <= 1.0
        optim_wrapper.step()  # the scaler steps over it, too, and lowers its scale
        return False, hopeless, problem

    def _skip(self, distiller: Any, problem: tuple[str, str], hopeless: bool) -> None:
        if self.buffers:
            torch._foreach_copy_(self.buffers, self.copies)
        self.skipped += 1
        self.in_row += hopeless
        what, fix = problem
        print_log(f"step skipped ({self.skipped} so far): {what}", "current", logging.WARNING)
        if self.in_row >= self.max_in_row:
            raise UserError(
                f"{self.in_row} steps in a row were not finite; {what}",
                f"training, {distiller.progress:.1%} done",
                f"{fix}; the last checkpoint is not affected",
            )


def diagnose(
    distiller: Any,
    batch: dict[str, Any],
    shown: dict[str, Tensor],
    bad: list[str],
    seen: dict[str, dict[str, Any]],
) -> tuple[str, str]:
    """Say why losses are not finite, and what helps.

    Looks at the inputs, the learners' weights, then at the features of all terms that are bad: the
    one with the fewest bad values is the nearest to the cause, as they spread from layer to layer.

    Args:
        distiller: The `Distiller`.
        batch: The preprocessed batch.
        shown: Name -> value of the losses.
        bad: Names of those that are not finite; empty when they are on another process.
        seen: Branch -> tap -> value of the step.
    """
    if not bad:
        return "a loss on another process is not finite", "read that process's log"
    names = [name for name in bad if name != "loss"] or bad
    told = ", ".join(f"{name} is {shown[name].item():g}" for name in names[:3])
    told += f" and {len(names) - 3} more" if len(names) > 3 else ""
    for branch, inputs in batch["inputs"].items():
        if not _finite(list(_tensors(inputs))):
            return f"{told}: the inputs of the {branch} are not finite", "check the data set"
    for name, parameter in distiller.named_parameters():
        if not _finite([parameter]):
            return f"{told}: the weight {name} is not finite", "start from an earlier checkpoint"
    terms = [term for term in distiller.terms.values() if f"kd.{term.name}.loss" in bad]
    found = []
    for term in terms:
        for branch, tap in (
            (term.teacher_branch, term.teacher_tap),
            (term.student_branch, term.student_tap),
        ):
            count, size = _count(seen.get(branch, {}).get(tap))
            if count:
                side = "student" if branch == STUDENT else "teacher"
                what = (
                    f"the {side}'s feature {branch}:{tap} has {count} of {size} values not finite"
                )
                found.append((count / size, what, _FIXES[side]))
    if found:
        _, what, fix = min(found)
        return f"{told}: {what}", fix
    if terms:
        name = terms[0].name
        what = f"both features of the term {name} are finite, its adapter or loss is not"
        return f"{told}: {what}", f"lower the weight of {name}, or check its options"
    return f"{told}: no term is the cause, the student's own loss is", _FIXES["student"]


_FIXES = {
    "student": "lower the learning rate, or clip gradients (optim_wrapper.clip_grad)",
    "teacher": "measure the teacher: kd3d test; run it in float32",
}


def _gradient_problem(distiller: Any) -> tuple[str, str]:
    names = [
        name
        for name, parameter in distiller.named_parameters()
        if parameter.grad is not None and not _finite([parameter.grad])
    ]
    if not names:
        return "a gradient on another process is not finite", "read that process's log"
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    what = f"all losses are finite, but not the gradient of {names[0]}{more}"
    return what, _FIXES["student"]


def _kind(tensor: Tensor) -> tuple:
    return tensor.shape, tensor.dtype, tensor.device


def _finite(tensors: list[Tensor]) -> bool:
    """Return whether all values are finite; one synchronisation for the whole list."""
    local = [t.to_local() if hasattr(t, "to_local") else t for t in tensors]  # FSDP's shards
    floats = [t.detach() for t in local if t.is_floating_point() and t.numel()]
    floats = [t.float() if t.dtype is torch.float16 else t for t in floats]  # norms overflow
    norms = torch._foreach_norm(floats) if floats else []
    return not norms or bool(torch.stack([norm.float() for norm in norms]).isfinite().all())


def _any_process(flag: bool, like: Tensor) -> bool:
    """Return whether the flag is set on any process."""
    value = torch.tensor(float(flag), device=like.device)
    all_reduce(value, "max")
    return bool(value)


def _count(value: Any) -> tuple[int, int]:
    """Return how many values of a feature are not finite, and how many there are."""
    tensors = list(_tensors(value))
    wrong = sum(int((~t.isfinite()).sum()) for t in tensors)
    return wrong, sum(t.numel() for t in tensors)


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the floating-point tensors in a nest of dicts, lists and dataclasses."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, dict) or dataclasses.is_dataclass(value):
        items = value if isinstance(value, dict) else vars(value)
        for item in items.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
