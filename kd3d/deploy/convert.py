"""Writing a part of a detector as a graph file."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from kd3d.deploy.graphs import Part
from kd3d.errors import UserError
from kd3d.fileio import atomic_path

OPSET = 17
SUFFIX = {"onnx": "onnx", "torchscript": "pt"}


def write_graph(part: Part, folder: Path, form: str) -> Path:
    """Write ``<part>.onnx`` or ``<part>.pt`` and return its path.

    The number of pillars, or of cameras, is free in it; everything else has the size of the
    example. ONNX is written by torch's exporter of traced graphs, which needs no package but torch.

    Args:
        part: What to write.
        folder: Where to.
        form: ``"onnx"`` or ``"torchscript"``.
    """
    path = folder / f"{part.name}.{SUFFIX[form]}"
    example = tuple(part.example.values())
    with atomic_path(path) as temporary, _quiet(), torch.no_grad():
        if form == "torchscript":
            torch.jit.trace(part.module, example, check_trace=False).save(str(temporary))
        else:
            torch.onnx.export(
                part.module,
                example,
                str(temporary),
                input_names=list(part.example),
                output_names=part.outputs,
                dynamic_axes=part.free,
                opset_version=OPSET,
                dynamo=False,
            )
    if form == "onnx":
        check_onnx(path)
    return path


def check_onnx(path: Path) -> None:
    """Let onnx check a file's structure and shapes."""
    need_onnx()
    import onnx

    onnx.checker.check_model(str(path), full_check=True)


def need_onnx() -> None:
    """Refuse to start where onnx or onnxruntime is missing.

    Raises:
        UserError: With the command that installs them.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"the package {error.name} is not installed",
            "--format onnx",
            "make setup, or pip install 'kd3d[deploy]'; --format torchscript needs neither",
        ) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what tracing says: the sizes it fixes are those that are meant to be fixed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*legacy TorchScript-based ONNX export.*")
        warnings.filterwarnings("ignore", message=".*dynamic_axes.*")
        yield
