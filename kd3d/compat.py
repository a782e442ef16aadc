"""The only file that handles differences between versions and devices of the host stack."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kd3d.errors import UserError


def _allowed_globals() -> list[Any]:
    """Return what an mmengine checkpoint holds besides tensors: log buffers, schedules, numpy."""
    from mmengine.logging import HistoryBuffer
    from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

    dtypes = [
        type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool", "uint32")
    ]
    multiarray: Any = np.core.multiarray
    allowed = [HistoryBuffer, OneCycleParamScheduler, (_method_of_mmengine, "builtins.getattr")]
    allowed += [multiarray._reconstruct, multiarray.scalar, np.ndarray, np.dtype]
    return allowed + dtypes


def _method_of_mmengine(owner: Any, name: str) -> Any:
    """Stand in for `getattr` in checkpoints, which mmengine uses to name functions of two classes.

    `HistoryBuffer` keeps its statistics' functions, the one-cycle schedule its annealing function.
    """
    functions = {
        "HistoryBuffer": ("min", "max", "current", "mean"),
        "OneCycleParamScheduler": ("_annealing_cos", "_annealing_linear"),
    }
    known = isinstance(owner, type) and owner.__module__.startswith("mmengine.")
    if not known or name not in functions.get(owner.__name__, ()):
        raise pickle.UnpicklingError(f"getattr({owner!r}, {name!r}) is not allowed")
    return getattr(owner, name)


def allow_resume() -> None:
    """Let mmengine 0.10 load its own checkpoints under torch >= 2.6.

    There ``torch.load`` defaults to ``weights_only=True`` and refuses mmengine's HistoryBuffer. An
    allow-list of precisely these classes is registered; everything else stays refused.
    """
    torch.serialization.add_safe_globals(_allowed_globals())


def load_checkpoint_file(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU with the safe loader.

    Raises:
        UserError: Missing or truncated file, or one that holds objects outside the allow-list.
    """
    try:
        allow_resume()
        value = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError):
        raise UserError("file not found", path, "train it first, or correct the path") from None
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0][:160]
        raise UserError(
            f"not safe to load ({reason})", path, "export plain tensors first"
        ) from None
    except (RuntimeError, EOFError, ValueError) as error:
        reason = str(error).split("\n")[0][:160]
        raise UserError(f"not a readable checkpoint ({reason})", path, "copy it again") from None
    if not isinstance(value, dict):
        raise UserError(f"holds a {type(value).__name__}, not a state dict", path)
    return value


def restore_numpy_names() -> None:
    """Give numpy 1.24 to 1.26 the name ``np.long``, which mmdet3d's ``ObjectSample`` uses."""
    if "long" not in vars(np):
        vars(np)["long"] = np.int64


def use_available_device(model: nn.Module) -> nn.Module:
    """Make spconv layers run without CUDA: their default algorithms exist for CUDA alone."""
    if torch.cuda.is_available():
        return model
    for module in model.modules():
        if type(module).__module__.startswith("spconv."):
            from spconv.core import ConvAlgo

            if hasattr(module, "algo"):
                module.algo = ConvAlgo.Native
    return model


def turn_sparse_weights(model: nn.Module, state: Any) -> None:
    """Give the weights of spconv's layers their present layout (out, *kernel, in), in place.

    Older ones are (*kernel, in, out). mmdet3d's loader tells them by a version in the state dict's
    metadata, which is often lost; here their shapes tell.

    Args:
        model: The detector that will load them.
        state: An ordered state dict with ``_metadata``.
    """
    for name, module in model.named_modules():
        weight = state.get(f"{name}.weight")
        if weight is None or not type(module).__module__.startswith("spconv."):
            continue
        turned = weight.permute(weight.dim() - 1, *range(weight.dim() - 1))
        if weight.shape != module.weight.shape and turned.shape == module.weight.shape:
            state[f"{name}.weight"] = turned
        state._metadata[name] = {"version": 2}
