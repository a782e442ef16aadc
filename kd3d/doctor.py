"""Checks, layer by layer, that this machine can run kd3d; each check is on its own.

A check imports what it examines by itself and really calls it, so that a missing or half-built
package is one verdict with the command that mends it, never a crash.
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

OK, WARN, FAIL = "ok", "warn", "fail"
DISK_WARN_GB, DISK_FAIL_GB = 10.0, 1.0


@dataclass(frozen=True)
class Verdict:
    """What one check found.

    Attributes:
        layer: What was examined.
        status: "ok", "warn" (kd3d works, something is worth knowing) or "fail".
        detail: What was found, in one line.
        fix: The command that mends it; empty when ok.
    """

    layer: str
    status: str
    detail: str
    fix: str = ""


def examine(folder: Path) -> list[Verdict]:
    """Run every check; `folder` is where data sets and free space are looked for.

    What the packages print while they are imported goes to standard error; warnings are dropped.
    """
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [_run(layer, check, fix, folder) for layer, check, fix in CHECKS]


def healthy(verdicts: list[Verdict]) -> bool:
    """Return whether no layer fails."""
    return all(verdict.status != FAIL for verdict in verdicts)


def lines(verdicts: list[Verdict]) -> list[str]:
    """Return the verdicts as text, each with what mends it below."""
    width = max([26, *(len(verdict.layer) for verdict in verdicts)])
    found = []
    for verdict in verdicts:
        found.append(f"{verdict.status:5} {verdict.layer:{width}} {verdict.detail}")
        if verdict.fix:
            found.append(f"{'':5} {'':{width}} -> {verdict.fix}")
    return found


def as_json(verdicts: list[Verdict]) -> dict[str, Any]:
    """Return the verdicts as plain data."""
    return {"healthy": healthy(verdicts), "layers": [asdict(v) for v in verdicts]}


def _run(layer: str, check: Callable[[Path], tuple[str, str]], fix: str, folder: Path) -> Verdict:
    try:
        status, detail = check(folder)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        detail = f"{type(error).__name__}: {lines[0]}"
        return Verdict(layer, FAIL, detail, fix)
    return Verdict(layer, status, detail, "" if status == OK else fix)


def _python(folder: Path) -> tuple[str, str]:
    found = "{}.{}.{}".format(*sys.version_info[:3])
    if sys.version_info[:2] in ((3, 10), (3, 11)):
        return OK, f"{found} at {sys.prefix}"
    return FAIL, f"{found}, wanted 3.10 or 3.11"


def _numpy(folder: Path) -> tuple[str, str]:
    numpy = importlib.import_module("numpy")
    return (OK if numpy.__version__.startswith("1.") else FAIL), f"{numpy.__version__} (< 2 needed)"


def _torch(folder: Path) -> tuple[str, str]:
    torch = importlib.import_module("torch")
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU only"
    value = (torch.ones(2, 2, device=_device()) @ torch.ones(2, 2, device=_device())).sum().item()
    return (
        OK if value == 8 else FAIL
    ), f"{torch.__version__}, {device}, {torch.get_num_threads()} threads"


def _mmcv_ops(folder: Path) -> tuple[str, str]:
    torch, mmcv = importlib.import_module("torch"), importlib.import_module("mmcv")
    nms_rotated = importlib.import_module("mmcv.ops").nms_rotated
    boxes = torch.tensor(
        [[0.0, 0, 4, 2, 0.1], [0, 0, 4, 2, 0.1], [9, 9, 4, 2, 0]], device=_device()
    )
    _, kept = nms_rotated(boxes, torch.tensor([0.9, 0.8, 0.7], device=_device()), 0.5)
    right = sorted(kept.tolist()) == [0, 2]
    return (
        OK if right else FAIL
    ), f"{mmcv.__version__}, nms_rotated on {_device()} keeps {len(kept)} of 3"


def _openmmlab(folder: Path) -> tuple[str, str]:
    names = ("mmengine", "mmdet", "mmdet3d")
    found = {name: importlib.import_module(name).__version__ for name in names}
    right = found["mmdet3d"].startswith("1.4.") and found["mmdet"].startswith("3.3.")
    return (OK if right else FAIL), ", ".join(
        f"{name} {version}" for name, version in found.items()
    )


def _numba(folder: Path) -> tuple[str, str]:
    numba = importlib.import_module("numba")
    double = numba.njit(lambda x: 2 * x)
    return (OK if double(21) == 42 else FAIL), f"{numba.__version__}, compiles"


def _spconv(folder: Path) -> tuple[str, str]:
    """A 3x3x3 submanifold convolution, forward and backward."""
    torch, spconv = importlib.import_module("torch"), importlib.import_module("spconv")
    layers, core = importlib.import_module("spconv.pytorch"), importlib.import_module("spconv.core")
    device = _device()
    algorithm = core.ConvAlgo.Native if device == "cpu" else None
    layer = layers.SubMConv3d(2, 3, 3, padding=1, algo=algorithm).to(device)
    places = torch.tensor(
        [[0, 1, 1, 1], [0, 1, 1, 2], [0, 3, 3, 3]], dtype=torch.int32, device=device
    )
    values = torch.ones(3, 2, device=device, requires_grad=True)
    layer(layers.SparseConvTensor(values, places, [5, 5, 5], 1)).features.sum().backward()
    right = values.grad is not None and bool(values.grad.abs().sum() > 0)
    return (OK if right else FAIL), f"{spconv.__version__}, forward and backward on {device}"


def _open3d(folder: Path) -> tuple[str, str]:
    open3d, numpy = importlib.import_module("open3d"), importlib.import_module("numpy")
    scene = open3d.t.geometry.RaycastingScene()
    corners = numpy.array([[-1, -1, 5], [1, -1, 5], [0, 1, 5]], dtype=numpy.float32)
    scene.add_triangles(corners, numpy.array([[0, 1, 2]], dtype=numpy.uint32))
    hit = scene.cast_rays(numpy.array([[0, 0, 0, 0, 0, 1]], dtype=numpy.float32))["t_hit"].numpy()[
        0
    ]
    return (OK if abs(hit - 5) < 1e-4 else FAIL), f"{open3d.__version__}, casts rays"


def _nuscenes(folder: Path) -> tuple[str, str]:
    importlib.import_module("nuscenes.eval.detection.evaluate")
    version = importlib.import_module("importlib.metadata").version("nuscenes-devkit")
    return OK, version


def _disk(folder: Path) -> tuple[str, str]:
    free = shutil.disk_usage(folder).free / 1e9
    status = FAIL if free < DISK_FAIL_GB else WARN if free < DISK_WARN_GB else OK
    return status, f"{free:.1f} GB free in {folder.resolve()}"


def _data(folder: Path) -> tuple[str, str]:
    found = []
    for name, part, made in (
        ("kitti", "training", "kitti_prepare.json"),
        ("nuscenes", "samples", "nuscenes_infos_train.pkl"),
    ):
        place = folder / "data" / name
        if (place / part).is_dir():
            found.append(f"data/{name}" + ("" if (place / made).exists() else " (not prepared)"))
    simulated = [*folder.glob("data/*/simulated.json"), *folder.glob("work_dirs/**/simulated.json")]
    found += [f"{path.parent.relative_to(folder)} (simulated)" for path in sorted(simulated)[:5]]
    return (OK, ", ".join(found)) if found else (WARN, "none found")


def _device() -> str:
    return "cuda" if importlib.import_module("torch").cuda.is_available() else "cpu"


_SETUP = "make setup"
CHECKS: tuple[tuple[str, Callable[[Path], tuple[str, str]], str], ...] = (
    ("python", _python, "make distclean && PYTHON=python3.11 make setup"),
    ("numpy", _numpy, ".venv/bin/pip install -c constraints.txt numpy==1.26.4"),
    ("torch", _torch, _SETUP),
    ("mmcv ops", _mmcv_ops, ".venv/bin/pip uninstall -y mmcv && make setup"),
    ("mmengine, mmdet, mmdet3d", _openmmlab, _SETUP),
    ("numba", _numba, _SETUP),
    ("spconv", _spconv, _SETUP),
    ("open3d", _open3d, "apt-get install -y libgl1 libgomp1 libx11-6 libudev1 && make setup"),
    ("nuscenes-devkit", _nuscenes, _SETUP),
    ("disk", _disk, "free some space"),
    (
        "data sets",
        _data,
        "kd3d simulate kitti --out data/simulated --frames 100, or datasets/kitti/README.md",
    ),
)
