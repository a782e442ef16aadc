"""One training step of a distiller, alone or inside a data-parallel wrapper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from kd3d.core.branches import copied
from kd3d.errors import UserError


def train_step(
    distiller: Any,
    wrapper: nn.Module,
    run: Callable[[dict], dict[str, Tensor]],
    data: dict[str, Any],
    optim_wrapper: Any,
) -> dict[str, Tensor]:
    """Preprocess, then for every turn of learners: losses, backward, update.

    Args:
        distiller: The `Distiller`.
        wrapper: The distiller itself or the data-parallel module around it.
        run: Calls `wrapper` on a preprocessed batch in mode ``loss``.
        data: A collated batch.
        optim_wrapper: mmengine's.

    Returns:
        What is logged.

    Raises:
        UserError: Alternating peers together with data parallelism or gradient accumulation.
    """
    if len(distiller.turns) > 1:
        _refuse_turns(distiller is not wrapper, optim_wrapper)
    with optim_wrapper.optim_context(wrapper):
        data = distiller.data_preprocessor(data, True)
    logs: dict[str, Tensor] = {}
    stepped = False
    for i, turn in enumerate(distiller.turns):
        distiller.turn = turn
        last = i == len(distiller.turns) - 1
        batch = data if last else copied(data)  # stock modules write into their inputs
        if distiller.guard is not None:
            distiller.guard.remember(distiller)
        with optim_wrapper.optim_context(wrapper):
            losses = run(batch)
        total, shown = distiller.parse_losses(losses)
        if distiller.guard is not None:
            done, shown = distiller.guard.update(distiller, batch, total, shown, optim_wrapper)
        else:
            optim_wrapper.update_params(total)
            done = optim_wrapper.should_update()
        stepped = stepped or done
        logs |= shown
    if stepped:
        distiller.after_step()
    return logs


def _refuse_turns(wrapped: bool, optim_wrapper: Any) -> None:
    accumulated = getattr(optim_wrapper, "_accumulative_counts", 1) > 1
    if wrapped or accumulated:
        raise UserError(
            "alternating peers need one process and no gradient accumulation",
            "model.teachers",
            "use update='synchronous'",
        )
