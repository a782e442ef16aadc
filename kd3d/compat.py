"""The only file that handles differences between versions and devices of the host stack."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import pickle
import sys
from collections.abc import Callable, Iterator
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
    """Make a detector run without CUDA: spconv's algorithms, mmcv's operations on points."""
    install_point_ops()
    if torch.cuda.is_available():
        return model
    for module in model.modules():
        if type(module).__module__.startswith("spconv."):
            from spconv.core import ConvAlgo

            if hasattr(module, "algo"):
                module.algo = ConvAlgo.Native
    return model


@contextlib.contextmanager
def cuda_calls_stay() -> Iterator[None]:
    """Let ``tensor.cuda()`` return the tensor itself where there is no CUDA.

    mmdet3d's nuScenes metric moves camera boxes there to suppress overlaps, which mmcv can do on
    any device.
    """
    if torch.cuda.is_available():
        yield
        return
    stock = torch.Tensor.cuda
    torch.Tensor.cuda = lambda tensor, *args, **named: tensor  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.Tensor.cuda = stock  # type: ignore[method-assign]


@contextlib.contextmanager
def no_progress_bars() -> Iterator[None]:
    """Let ``mmengine.track_iter_progress`` show nothing.

    It writes to the standard output of the time when it was imported, so redirecting does not help.
    """
    import mmengine

    stock = mmengine.track_iter_progress
    mmengine.track_iter_progress = lambda tasks, *args, **named: iter(tasks)
    try:
        yield
    finally:
        mmengine.track_iter_progress = stock


# mmcv.ops module, autograd function in it, operation; those with a gradient have <name>_backward.
_POINT_FUNCTIONS = (
    ("furthest_point_sample", "FurthestPointSampling", "furthest_point_sample"),
    (
        "furthest_point_sample",
        "FurthestPointSamplingWithDist",
        "furthest_point_sample_with_dist",
    ),
    ("ball_query", "BallQuery", "ball_query"),
    ("knn", "KNN", "knn"),
    ("three_nn", "ThreeNN", "three_nn"),
    ("gather_points", "GatherPoints", "gather_points"),
    ("group_points", "GroupingOperation", "group_points"),
    ("three_interpolate", "ThreeInterpolate", "three_interpolate"),
    ("roipoint_pool3d", "RoIPointPool3dFunction", "roipoint_pool3d"),
)
_BOX_FUNCTIONS = {  # mmcv.ops module -> plain functions
    "points_in_boxes": ("points_in_boxes_part", "points_in_boxes_all"),
    "nms": ("nms_rotated",),
    "iou3d": ("boxes_overlap_bev", "boxes_iou3d", "nms3d", "nms3d_normal"),
}
_stock_methods: list[tuple[type, str, Any]] = []
_stock_functions: dict[Callable, Callable] = {}  # ours -> mmcv's


def install_point_ops() -> None:
    """Give mmcv's CUDA-only operations on points and boxes a CPU path; see `models.point_ops`.

    Tensors on other devices, and the stacked forms of ball query and grouping, go to mmcv as
    before. Calling it again changes nothing.
    """
    if _stock_methods:
        return
    from kd3d.models import point_ops

    for module, name, operation in _POINT_FUNCTIONS:
        function = getattr(importlib.import_module(f"mmcv.ops.{module}"), name)
        forward = getattr(point_ops, operation)
        backward = getattr(point_ops, f"{operation}_backward", None)
        arguments = 1 + len(inspect.signature(forward).parameters)
        if backward is None:
            _replace(function, "forward", functools.partial(_forward, forward), arguments)
        else:
            _replace(function, "forward", functools.partial(_remember, forward), arguments)
            _replace(function, "backward", functools.partial(_backward, backward), 2)
    for module, names in _BOX_FUNCTIONS.items():
        for name in names:
            stock = getattr(importlib.import_module(f"mmcv.ops.{module}"), name)
            _stock_functions[_by_device(stock, getattr(point_ops, name), 3)] = stock
    _rebind({stock: ours for ours, stock in _stock_functions.items()})


def remove_point_ops() -> None:
    """Undo `install_point_ops`."""
    while _stock_methods:
        function, name, stock = _stock_methods.pop()
        setattr(function, name, stock)
    _rebind(_stock_functions)
    _stock_functions.clear()


def _replace(function: type, name: str, on_cpu: Callable, arguments: int) -> None:
    stock = vars(function)[name]
    _stock_methods.append((function, name, stock))
    setattr(function, name, staticmethod(_by_device(stock.__func__, on_cpu, arguments)))


def _by_device(stock: Callable, on_cpu: Callable, arguments: int) -> Callable:
    """Return a function that calls `on_cpu` where its first tensor is on the CPU, else `stock`."""

    @functools.wraps(stock)
    def call(*args: Any, **named: Any) -> Any:
        given = (*args, *named.values())
        tensor = next(a for a in given if isinstance(a, torch.Tensor))
        ours = tensor.device.type == "cpu" and len(given) <= arguments
        return (on_cpu if ours else stock)(*args, **named)

    return call


def _rebind(names: dict[Callable, Callable]) -> None:
    """Replace functions in every loaded module of mmcv and mmdet3d that imported them by name."""
    for title, module in list(sys.modules.items()):
        if title.split(".")[0] in ("mmcv", "mmdet3d") and module is not None:
            for name, value in list(vars(module).items()):
                if inspect.isfunction(value) and value in names:
                    setattr(module, name, names[value])


def _forward(operation: Callable, ctx: Any, *args: Any) -> Any:
    return operation(*args)


def _remember(operation: Callable, ctx: Any, features: torch.Tensor, *rest: torch.Tensor) -> Any:
    ctx.on_cpu = (*rest, features.shape[2])
    return operation(features, *rest)


def _backward(operation: Callable, ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
    return operation(grad, *ctx.on_cpu), *(None for _ in ctx.on_cpu[:-1])
