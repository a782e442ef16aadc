"""Gradients of single losses on the parameters that they share, without touching training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from kd3d.errors import UserError


@dataclass
class TermStep:
    """What one term gave in one step.

    Attributes:
        value: The unweighted scalar, attached to the graph.
        weight: What it is multiplied with in this step, a scalar.
        student: The learner's tapped value: a tensor, or a head's nested outputs.
        teacher: The teacher's.
        branch: The learner, whose task shares parameters with the term.
    """

    value: Tensor
    weight: Tensor
    student: Any
    teacher: Any
    branch: str


@dataclass
class Comparison:
    """A term's gradient against the task's on their shared parameters.

    Attributes:
        term: Norm of the term's gradient.
        task: Norm of the task's gradient.
        dot: Their scalar product.
        shared: How many values the shared parameters hold; 0 where the two meet in none.
    """

    term: float
    task: float
    dot: float
    shared: int

    @property
    def ratio(self) -> float:
        """Norm of the term's gradient over the task's; infinite where the task's is 0."""
        return self.term / self.task if self.task > 0 else float("inf")

    @property
    def cosine(self) -> float:
        """Cosine of the angle between the two; 0 where one of them is 0."""
        norms = self.term * self.task
        return self.dot / norms if norms > 0 else 0.0


def tensors(value: Any) -> list[Tensor]:
    """Return the tensors in a tensor, dict, list or tuple, in order."""
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value
    if not isinstance(value, (dict, list, tuple)):
        return []
    return [tensor for item in items for tensor in tensors(item)]


def task_total(losses: dict[str, Any]) -> Tensor:
    """Return the sum that the runner would train: every entry whose name holds ``loss``."""
    found = [t.mean() for key, item in losses.items() if "loss" in key for t in tensors(item)]
    if not found:
        raise UserError(f"the student gave no loss, only {sorted(losses)}", "model.student")
    return torch.stack(found).sum()


def last_parameters(tap: Any) -> list[Tensor]:
    """Return the parameters nearest before a tapped value.

    From the value the graph is followed backwards along every path up to and including the first
    parameter of two dimensions or more (the weight of a convolution or linear layer), so a neck
    that concatenates three branches gives the last convolution and normalisation of each. The
    gradient there costs a small part of a backward pass.

    Args:
        tap: A tensor attached to the graph, or nested ones.

    Returns:
        Leaf tensors, each once, in the order of the walk.
    """
    found: dict[int, Tensor] = {}
    seen: set[Any] = set()
    queue = [tensor.grad_fn for tensor in tensors(tap) if tensor.grad_fn is not None]
    while queue:
        node = queue.pop(0)
        if node in seen:
            continue
        seen.add(node)
        inputs = [parent for parent, _ in node.next_functions if parent is not None]
        leaves = [_leaf(parent) for parent in inputs]
        found |= {id(leaf): leaf for leaf in leaves if leaf is not None}
        if not any(leaf is not None and leaf.dim() > 1 for leaf in leaves):
            queue += [parent for parent, leaf in zip(inputs, leaves) if leaf is None]
    return list(found.values())


def _leaf(node: Any) -> Tensor | None:
    """Return the parameter behind a chain of casts and transpositions, None for anything else."""
    while not hasattr(node, "variable"):
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        if len(parents) != 1:
            return None
        node = parents[0]
    return node.variable


def gradients(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor | None]:
    """Return the gradient on each parameter, None where the loss does not reach it.

    Nothing is accumulated into ``.grad`` and the graph is kept for the step's own backward pass.

    Raises:
        UserError: The graph cannot be walked twice.
    """
    if not loss.requires_grad or not parameters:
        return [None] * len(parameters)
    try:
        return list(
            torch.autograd.grad(loss, list(parameters), retain_graph=True, allow_unused=True)
        )
    except RuntimeError as error:
        if "use_reentrant" not in str(error):
            raise
        raise UserError(
            "gradients of single losses cannot pass a reentrant activation checkpoint",
            "model.balance, DiagnosticsHook",
            "use non-reentrant checkpoints, or leave them out",
        ) from error


def compare(task: list[Tensor | None], term: list[Tensor | None]) -> Comparison:
    """Compare two gradients on the parameters that both reach.

    In data-parallel training the gradients are averaged over the ranks first, so every rank gets
    the same figures: those of the gradient that the optimizer will see.
    """
    pairs = [(a, b) for a, b in zip(task, term) if a is not None and b is not None]
    if not pairs:
        return Comparison(0.0, 0.0, 0.0, 0)
    flat = torch.stack([torch.cat([p[i].flatten().float() for p in pairs]) for i in (0, 1)])
    all_reduce(flat, "mean")
    flat = flat.double()
    term_norm, task_norm = flat[1].norm().item(), flat[0].norm().item()
    return Comparison(term_norm, task_norm, torch.dot(flat[0], flat[1]).item(), flat.shape[1])


def compare_terms(
    tasks: dict[str, Tensor], steps: dict[str, TermStep], weighted: bool = True
) -> dict[str, Comparison]:
    """Compare every term with the task of its branch, each at its own tap.

    The task's gradient is taken once a branch, on the parameters of all its terms.

    Args:
        tasks: Branch -> its summed task losses.
        steps: Term name -> its step.
        weighted: Multiply a term's gradient by its weight.

    Returns:
        Term name -> comparison.
    """
    places = {name: last_parameters(step.student) for name, step in steps.items()}
    found: dict[str, Comparison] = {}
    for branch, task in tasks.items():
        names = [name for name, step in steps.items() if step.branch == branch]
        union = {id(p): p for name in names for p in places[name]}
        of_task = dict(zip(union, gradients(task, list(union.values()))))
        for name in names:
            step, place = steps[name], places[name]
            value = step.value * step.weight if weighted else step.value
            own = gradients(value, place)
            found[name] = compare([of_task[id(p)] for p in place], own)
    return {name: found[name] for name in steps}
