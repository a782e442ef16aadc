"""Build .venv step by step; `make setup` calls it. Standard library only, any Python 3.7+.

Each step leaves a stamp that names what it depended on, so a second run takes a moment and an
interrupted one goes on with the step it had reached. A failure is one line and exit code 1.
"""

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STATE = VENV / ".kd3d-setup"
CONSTRAINTS = ROOT / "constraints.txt"
PYTHONS = ((3, 10), (3, 11))
DISK_GB = 6.0  # .venv takes 3.7 GB with a CPU torch, and pip unpacks beside it
LIBRARIES = {  # what the wheels of open3d and opencv load from the system
    "libGL.so.1": "libgl1", "libX11.so.6": "libx11-6", "libgomp.so.1": "libgomp1",
    "libudev.so.1": "libudev1", "libgthread-2.0.so.0": "libglib2.0-0",
}
OPS_PROBE = (
    "import torch; from mmcv.ops import nms_rotated; "
    "b = torch.tensor([[0., 0, 4, 2, .1], [0, 0, 4, 2, .1]]); "
    "assert len(nms_rotated(b, torch.tensor([.9, .8]), .5)[1]) == 1"
)
TROUBLE = (  # (pattern in pip's output, what to say)
    (r"No space left on device", "the disk is full -> free some space and run make setup again"),
    (
        r"NewConnectionError|name resolution|Network is unreachable|ProxyError|ConnectTimeout"
        r"|Connection refused|Max retries exceeded",
        "no network (pip cannot reach its index) -> connect, or set PIP_INDEX_URL to a mirror, "
        "and run make setup again",
    ),
    (r"Killed|out of memory|cc1plus.*fatal", "the compiler was killed: too little memory -> "
     "MAX_JOBS=1 make setup"),
    (r"Python\.h: No such file", "the Python headers are missing -> "
     "apt-get install python{v}-dev"),
)


class SetupError(Exception):
    """One line for the user."""


class Step:
    """One pip call: a title, how long it usually takes, the arguments and what must be there."""

    def __init__(self, name, title, usual, args, installs, env=None):
        self.name, self.title, self.usual = name, title, usual
        self.args, self.installs, self.env = args, installs, env or {}

    def key(self):
        """Return a hash of all that should make the step run again."""
        parts = [self.name, self.args, sorted(self.env), sys.version_info[:2]]
        text = CONSTRAINTS.read_text(encoding="utf-8")
        if self.name == "kd3d":
            text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        return hashlib.sha256((repr(parts) + text).encode()).hexdigest()

    def stamp(self):
        """Return the path of the stamp."""
        return STATE / self.name

    def done(self):
        """Return whether the stamp fits and the packages lie in .venv."""
        stamp = self.stamp()
        return stamp.exists() and stamp.read_text() == self.key() and not self.absent()

    def absent(self):
        """Return the packages that are not in .venv, by their metadata folders."""
        packages = next(iter(sorted(VENV.glob("lib/python3.*/site-packages"))), None)
        names = {p.name.split("-")[0].lower() for p in packages.glob("*.dist-info")} if packages else ()
        return [name for name in self.installs if name.replace("-", "_").lower() not in names]


def steps():
    """Return the steps in the order the packages need."""
    flags = {"MMCV_WITH_OPS": "1", "MAX_JOBS": str(os.cpu_count() or 1), "CFLAGS": "-g0 -w"}
    flags = {key: os.environ.get(key, value) for key, value in flags.items()}
    flags["MMCV_WITH_OPS"] = "1"
    tools = ["pytest", "pytest-cov", "hypothesis", "ruff", "mypy", "shapely", "jinja2",
             "matplotlib", "tensorboard", "typer", "rich"]
    detectors = ["mmengine==0.10.7", "mmdet==3.3.0", "mmdet3d==1.4.0", "open3d==0.19.0",
                 "spconv-cu120==2.3.6", "nuscenes-devkit==1.2.0", "numpy==1.26.4"]
    build = ["setuptools<81", "wheel", "ninja", "numpy==1.26.4"]
    return [
        Step("torch", "torch 2.13.0", "half a minute", ["torch==2.13.0"], ["torch"]),
        Step("build", "what mmcv's build needs", "10 s", build, ["setuptools", "wheel", "ninja"]),
        Step("mmcv", "mmcv 2.1.0 with its operators, compiled here", "6 to 9 minutes",
             ["-v", "--no-build-isolation", "--no-binary", "mmcv", "mmcv==2.1.0"], ["mmcv"], flags),
        Step("detectors", "mmdet3d 1.4.0, open3d, spconv, nuscenes-devkit", "1 to 2 minutes",
             detectors, [d.split("==")[0] for d in detectors]),
        Step("tools", "tests, report and command line", "half a minute", tools, tools),
        Step("kd3d", "kd3d itself, editable", "5 s",
             ["--no-deps", "--no-build-isolation", "-e", str(ROOT)], ["kd3d"]),
    ]


def main():
    """Run the steps that are not done."""
    check_python(sys.version_info[:2])
    plan = steps()
    todo = [step for step in plan if not step.done()]
    check_libraries()
    if not todo:
        print("setup: .venv is ready")
        return
    check_disk(todo)
    make_venv()
    for number, step in enumerate(plan, start=1):
        if step in todo:
            run_step(step, "[%d/%d] %s" % (number, len(plan), step.title))
    print("setup: done; look with .venv/bin/kd3d doctor")


def check_python(version):
    """Refuse a Python for which some package has no build."""
    if tuple(version) not in PYTHONS:
        raise SetupError(
            "Python %d.%d does not fit: kd3d needs 3.10 or 3.11 (tested: 3.11; spconv-cu120 2.3.6 "
            "has no build for others) -> PYTHON=python3.11 make setup" % tuple(version)
        )


def check_libraries():
    """Name the system libraries that the wheels would fail to load."""
    absent = [package for name, package in LIBRARIES.items() if not loads(name)]
    if absent:
        raise SetupError("system libraries are missing -> apt-get install -y " + " ".join(absent))


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
    heavy = any(step.name in ("torch", "detectors") for step in todo)
    need = DISK_GB if heavy else 0.5
    if free < need:
        raise SetupError("%.1f GB free in %s, setting up needs %.1f GB -> free some space"
                         % (free, ROOT, need))


def make_venv():
    """Create .venv, or keep it when its Python fits."""
    python = VENV / "bin" / "python"
    if python.exists():
        out = subprocess.run([str(python), "-c", "import sys, pip; print(*sys.version_info[:2])"],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if out.returncode == 0 and tuple(map(int, out.stdout.split())) in PYTHONS:
            STATE.mkdir(exist_ok=True)
            return
        print("setup: the .venv here is broken or of another Python; building it anew", flush=True)
        shutil.rmtree(VENV)
    print("[0] .venv with Python %d.%d" % sys.version_info[:2], flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if made.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        version = "%d.%d" % sys.version_info[:2]
        if "No space left" in made.stdout:
            raise SetupError(TROUBLE[0][1])
        raise SetupError("%s cannot make a virtual environment -> apt-get install python%s-venv"
                         % (sys.executable, version))
    STATE.mkdir(exist_ok=True)


def run_step(step, title):
    """Run one step, prove it, and leave its stamp."""
    print("%s (usually %s on 2 cores)" % (title, step.usual), flush=True)
    started = time.monotonic()
    if step.name == "mmcv":
        check_compiler()
    pip(step, [])
    if step.name == "mmcv" and not ops_work():
        print("    mmcv has no working operators (an old build?); compiling it again", flush=True)
        pip(step, ["--force-reinstall", "--no-deps", "--no-cache-dir"])
        if not ops_work():
            raise SetupError("mmcv was built without its operators -> see %s, then: "
                             ".venv/bin/pip uninstall -y mmcv; make setup" % log_of(step))
    if step.absent():
        raise SetupError("pip ended well but %s is not there -> see %s"
                         % (", ".join(step.absent()), log_of(step)))
    step.stamp().write_text(step.key())
    print("    done in %.0f s" % (time.monotonic() - started), flush=True)


def check_compiler():
    """mmcv's operators need a C++ compiler and Python's headers."""
    compiler = os.environ.get("CXX", "g++")
    if not shutil.which(compiler):
        raise SetupError("no C++ compiler (%s) for mmcv's operators -> apt-get install g++ make"
                         % compiler)
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not headers.exists():
        raise SetupError("Python's headers are missing (%s) -> apt-get install python%d.%d-dev"
                         % ((headers,) + sys.version_info[:2]))


def ops_work():
    """Call one operator of mmcv in .venv."""
    probe = subprocess.run([str(VENV / "bin" / "python"), "-c", OPS_PROBE],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return probe.returncode == 0


def log_of(step):
    """Return the path of the step's log."""
    return (STATE / (step.name + ".log")).relative_to(ROOT)


def pip(step, extra):
    """Run pip install with its output in a log and a sign of life every half minute."""
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check",
               "-c", str(CONSTRAINTS), *extra, *step.args]
    env = dict(os.environ, **step.env)
    env.setdefault("PIP_RETRIES", "2")
    env.pop("PYTHONPATH", None)
    started = shown = time.monotonic()
    files = ""
    with open(ROOT / log_of(step), "w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, errors="replace", env=env, cwd=str(ROOT))
        for line in process.stdout:
            log.write(line)
            count = re.match(r"\s*\[(\d+)/(\d+)\]", line)
            files = ", file %s of %s" % count.groups() if count else files
            if time.monotonic() - shown > 30:
                shown = time.monotonic()
                print("    %.0f s%s" % (shown - started, files), flush=True)
        process.wait()
    if process.returncode:
        raise SetupError(explain((ROOT / log_of(step)).read_text(errors="replace"), step))


def explain(log, step):
    """Turn pip's output into one line."""
    for pattern, line in TROUBLE:
        if re.search(pattern, log):
            return line.replace("{v}", "%d.%d" % sys.version_info[:2])
    errors = [line for line in log.splitlines() if re.match(r"\s*(ERROR|error)\b", line)]
    return "%s failed: %s -> see %s" % (
        step.title, errors[-1].strip() if errors else "pip gave no reason", log_of(step))


if __name__ == "__main__":
    try:
        main()
    except SetupError as error:
        sys.exit("setup: error: %s" % error)
    except OSError as error:
        sys.exit("setup: error: %s" % error)
    except KeyboardInterrupt:
        sys.exit("setup: interrupted; make setup goes on from here")
