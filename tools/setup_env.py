"""Build .venv step by step; `make setup` calls it. Standard library only, any Python 3.7+.

Each step leaves a stamp that names what it depended on, so a second run takes a moment and an
interrupted one goes on with the step it had reached. A failure is one line and exit code 1.
"""

import ctypes
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STATE = VENV / ".kd3d-setup"
CONSTRAINTS = ROOT / "constraints.txt"
PYTHONS = ((3, 10), (3, 11))
VERSION = "{}.{}".format(*sys.version_info[:2])
DISK_GB = 6.0  # .venv takes 3.7 GB with a CPU torch, and pip unpacks beside it
LIBRARIES = {  # what the wheels of open3d and opencv load from the system, and Debian's package
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libgomp.so.1": "libgomp1",
    "libudev.so.1": "libudev1",
    "libgthread-2.0.so.0": "libglib2.0-0",
}
OPS_PROBE = (
    "import torch; from mmcv.ops import nms_rotated; "
    "b = torch.tensor([[0., 0, 4, 2, .1], [0, 0, 4, 2, .1]]); "
    "assert len(nms_rotated(b, torch.tensor([.9, .8]), .5)[1]) == 1"
)
TROUBLE = {  # what pip's output shows: what to say
    r"No space left on device": "the disk is full -> free some space and run make setup again",
    r"NewConnectionError|name resolution|Network is unreachable|ProxyError|ConnectTimeout"
    r"|Connection refused|Max retries exceeded": "no network (pip cannot reach its index) -> "
    "connect, or set PIP_INDEX_URL to a mirror, and run make setup again",
    r"Killed signal|out of memory": "the compiler ran out of memory -> MAX_JOBS=1 make setup",
}
# CFLAGS replaces the default flags: without -O2 the operators would be many times slower
MMCV_ENV = {"MAX_JOBS": str(os.cpu_count() or 1), "CFLAGS": "-O2 -DNDEBUG -g0 -w"}
MMCV_ARGS = ["-v", "--no-build-isolation", "--no-binary", "mmcv", "mmcv==2.1.0"]
BUILD = ["setuptools<81", "wheel", "ninja", "numpy==1.26.4"]
DETECTORS = ["mmengine==0.10.7", "mmdet==3.3.0", "mmdet3d==1.4.0", "open3d==0.19.0"]
DETECTORS += ["spconv-cu120==2.3.6", "nuscenes-devkit==1.2.0", "numpy==1.26.4"]
TOOLS = ["pytest", "pytest-cov", "hypothesis", "ruff", "mypy", "shapely", "jinja2", "matplotlib"]
TOOLS += ["tensorboard", "typer", "rich", "zarr", "fsspec", "pyyaml", "pytest-xdist"]
TOOLS += ["mkdocs-material", "mkdocstrings-python"]
TOOLS += ["onnx==1.23.2", "onnxruntime==1.32.0"]


class SetupError(Exception):
    """One line for the user."""


class Step:
    """One pip call: a title, how long it usually takes, and its arguments."""

    def __init__(self, name, title, usual, args, env=None):
        self.name, self.title, self.usual = name, title, usual
        self.args, self.env = args, env or {}
        packages = [re.split("[=<]", arg)[0] for arg in args if not arg.startswith(("-", "/"))]
        self.packages = packages or [name]
        self.stamp, self.log = STATE / name, STATE / f"{name}.log"

    def key(self):
        """Return a hash of all that should make the step run again."""
        file = ROOT / "pyproject.toml" if self.name == "kd3d" else CONSTRAINTS
        text = repr((self.args, sorted(self.env), PYTHONS)) + file.read_text(encoding="utf-8")
        return hashlib.sha256(text.encode()).hexdigest()

    def done(self):
        """Return whether the stamp fits and the packages lie in .venv."""
        return self.stamp.exists() and self.stamp.read_text() == self.key() and not self.absent()

    def absent(self):
        """Return the packages that are not in .venv, by their metadata folders."""
        folders = VENV.glob("lib/python3.*/site-packages/*.dist-info")
        there = {folder.name.split("-")[0].lower() for folder in folders}
        return [name for name in self.packages if name.replace("-", "_").lower() not in there]


def steps():
    """Return the steps in the order the packages need."""
    env = {key: os.environ.get(key, value) for key, value in MMCV_ENV.items()}
    env["MMCV_WITH_OPS"] = "1"
    kd3d = ["--no-deps", "--no-build-isolation", "-e", str(ROOT)]
    mmcv = "mmcv 2.1.0 with its operators, compiled here"
    detectors = "mmdet3d 1.4.0, open3d, spconv, nuscenes-devkit"
    return [
        Step("torch", "torch 2.13.0", "half a minute", ["torch==2.13.0"]),
        Step("build", "what mmcv's build needs", "10 s", BUILD),
        Step("mmcv", mmcv, "8 to 9 minutes", MMCV_ARGS, env),
        Step("detectors", detectors, "1 to 2 minutes", DETECTORS),
        Step("tools", "tests, report and command line", "15 s", TOOLS),
        Step("kd3d", "kd3d itself, editable", "3 s", kd3d),
    ]


def main():
    """Run the steps that are not done."""
    check_python(sys.version_info[:2])
    absent = missing_packages()
    if sys.argv[1:] == ["--missing-packages"]:
        print(" ".join(absent))
        return
    plan = steps()
    todo = [step for step in plan if not step.done()]
    if not todo:
        print("setup: .venv is ready")
        return
    if absent:
        raise SetupError(f"this system lacks something -> apt-get install -y {' '.join(absent)}")
    check_disk(todo)
    make_venv()
    print("setup: times are those of 2 cores")
    for number, step in enumerate(plan, start=1):
        if step in todo:
            print(f"[{number}/{len(plan)}] {step.title} (usually {step.usual})", flush=True)
            run_step(step)
    print("setup: done; look with .venv/bin/kd3d doctor")


def check_python(version):
    """Refuse a Python for which some package has no build."""
    if tuple(version) not in PYTHONS:
        raise SetupError(
            f"Python {version[0]}.{version[1]} does not fit: needs 3.10 or 3.11 (tested: 3.11; "
            "spconv-cu120 2.3.6 has no build for later ones) -> PYTHON=python3.11 make setup"
        )


def missing_packages():
    """Return the Debian packages that hold what is not here: compiler, headers, venv, libraries."""
    absent = [package for name, package in LIBRARIES.items() if not loads(name)]
    if not shutil.which(os.environ.get("CXX", "g++")):
        absent.append("g++")
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        absent.append(f"python{VERSION}-dev")
    if not all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        absent.append(f"python{VERSION}-venv")
    return absent


def loads(name):
    """Return whether the dynamic loader finds a library."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def check_disk(todo):
    """Refuse to start what cannot end."""
    free = shutil.disk_usage(ROOT).free / 1e9
    need = DISK_GB if any(step.name in ("torch", "detectors") for step in todo) else 0.5
    if free < need:
        raise SetupError(f"{free:.1f} GB free in {ROOT}, setting up needs {need} GB -> free some")


def make_venv():
    """Create .venv, or keep it when its Python fits."""
    python = VENV / "bin" / "python"
    if python.exists():
        probe = [str(python), "-c", "import sys, pip; print(*sys.version_info[:2])"]
        found = run_quietly(probe)
        if found.returncode == 0 and tuple(map(int, found.stdout.split()[-2:])) in PYTHONS:
            STATE.mkdir(exist_ok=True)
            return
        raise SetupError(".venv is broken or of another Python -> make distclean setup")
    print(f".venv with Python {VERSION}", flush=True)
    made = run_quietly([sys.executable, "-m", "venv", str(VENV)])
    if made.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        last = (made.stdout.strip().splitlines() or ["no reason given"])[-1]
        raise SetupError(f"cannot make .venv with {sys.executable}: {last}")
    STATE.mkdir(exist_ok=True)


def run_quietly(command):
    """Run a program and keep its output."""
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_step(step):
    """Run one step, prove it, and leave its stamp."""
    started = time.monotonic()
    pip(step, [])
    if step.name == "mmcv" and not ops_work():
        print("    mmcv has no working operators (an old build?); compiling it again", flush=True)
        pip(step, ["--force-reinstall", "--no-deps", "--no-cache-dir"])
        if not ops_work():
            raise SetupError(f"mmcv was built without its operators -> see {step.log}")
    if step.absent():
        raise SetupError(f"pip ended well without {', '.join(step.absent())} -> see {step.log}")
    step.stamp.write_text(step.key())
    print(f"    done in {time.monotonic() - started:.0f} s", flush=True)


def ops_work():
    """Call one operator of mmcv in .venv."""
    return run_quietly([str(VENV / "bin" / "python"), "-c", OPS_PROBE]).returncode == 0


def pip(step, extra):
    """Run pip install with its output in a log and a sign of life every half minute."""
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "-c", str(CONSTRAINTS)]
    env = {**os.environ, **step.env, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    env.setdefault("PIP_RETRIES", "2")
    env.pop("PYTHONPATH", None)
    progress, done = {"file": ""}, threading.Event()
    threading.Thread(target=beat, args=(progress, done), daemon=True).start()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with (
        open(str(step.log), "w") as log,
        subprocess.Popen(
            [*command, *extra, *step.args], env=env, cwd=str(ROOT), errors="replace", **pipes
        ) as process,
    ):
        for line in process.stdout:
            log.write(line)
            count = re.match(r"\s*\[(\d+)/(\d+)\]", line)
            if count:
                progress["file"] = ", file {} of {}".format(*count.groups())
    done.set()
    if process.returncode:
        raise SetupError(explain(step.log.read_text(errors="replace"), step))


def beat(progress, done):
    """Print the seconds gone, and the file the compiler is at, every half minute."""
    started = time.monotonic()
    while not done.wait(30):
        print(f"    {time.monotonic() - started:.0f} s{progress['file']}", flush=True)


def explain(log, step):
    """Turn pip's output into one line."""
    for pattern, line in TROUBLE.items():
        if re.search(pattern, log):
            return line
    errors = [line for line in log.splitlines() if re.match(r"\s*error\b", line, re.I)]
    reason = errors[-1].strip() if errors else "pip gave no reason"
    return f"{step.title} failed: {reason} -> see {step.log}"


if __name__ == "__main__":
    try:
        main()
    except (SetupError, OSError) as error:
        sys.exit(f"setup: error: {error}")
    except KeyboardInterrupt:
        sys.exit("setup: interrupted; make setup goes on from here")
