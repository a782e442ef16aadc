"""The set-up script's decisions, without installing anything."""

import importlib.util
import re
import subprocess
import sys

import pytest

from tests.paths import ROOT


@pytest.fixture
def setup_env(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("setup_env", ROOT / "tools" / "setup_env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    venv = tmp_path / ".venv"
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", venv)
    monkeypatch.setattr(module, "STATE", venv / ".kd3d-setup")
    monkeypatch.setattr(module, "CONSTRAINTS", tmp_path / "constraints.txt")
    (tmp_path / "constraints.txt").write_text("torch==2.13.0\n")
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.setattr(sys, "argv", ["setup_env.py"])
    return module


@pytest.fixture
def fake_pip(setup_env, monkeypatch):
    """Pretend to install: make the metadata folders and note the order."""
    calls = []
    packages = setup_env.VENV / "lib/python3.11/site-packages"

    def install(step, extra):
        calls.append((step.name, *extra))
        for name in step.packages:
            (packages / f"{name.replace('-', '_')}-1.0.dist-info").mkdir(
                parents=True, exist_ok=True
            )

    monkeypatch.setattr(setup_env, "pip", install)
    monkeypatch.setattr(setup_env, "ops_work", lambda: True)
    monkeypatch.setattr(setup_env, "missing_packages", list)
    monkeypatch.setattr(
        setup_env, "make_venv", lambda: setup_env.STATE.mkdir(parents=True, exist_ok=True)
    )
    return calls


def test_order_then_nothing_then_only_what_is_gone(setup_env, fake_pip):
    setup_env.main()
    order = ["torch", "build", "mmcv", "detectors", "tools", "kd3d"]
    assert [name for name, *_ in fake_pip] == order
    fake_pip.clear()
    setup_env.main()
    assert fake_pip == []
    next(setup_env.VENV.rglob("open3d-*.dist-info")).rmdir()
    setup_env.main()
    assert [name for name, *_ in fake_pip] == ["detectors"]
    fake_pip.clear()
    setup_env.CONSTRAINTS.write_text("torch==2.14.0\n")
    setup_env.main()
    assert [name for name, *_ in fake_pip] == order[:-1]


def test_interrupted_run_goes_on_with_the_step_it_had_reached(setup_env, fake_pip, monkeypatch):
    install = setup_env.pip

    def interrupted(step, extra):
        if step.name == "mmcv":
            raise KeyboardInterrupt
        install(step, extra)

    monkeypatch.setattr(setup_env, "pip", interrupted)
    with pytest.raises(KeyboardInterrupt):
        setup_env.main()
    monkeypatch.setattr(setup_env, "pip", install)
    fake_pip.clear()
    setup_env.main()
    assert [name for name, *_ in fake_pip] == ["mmcv", "detectors", "tools", "kd3d"]


def test_mmcv_without_operators_is_built_again_then_refused(setup_env, fake_pip, monkeypatch):
    monkeypatch.setattr(setup_env, "ops_work", lambda: False)
    with pytest.raises(setup_env.SetupError, match="built without its operators"):
        setup_env.main()
    assert fake_pip[-1] == ("mmcv", "--force-reinstall", "--no-deps", "--no-cache-dir")
    assert not (setup_env.STATE / "mmcv").exists()


@pytest.mark.parametrize("version", [(3, 8), (3, 9), (3, 12), (3, 14)])
def test_wrong_python(setup_env, version):
    with pytest.raises(
        setup_env.SetupError, match=r"needs 3.10 or 3.11.*PYTHON=python3.11 make setup"
    ):
        setup_env.check_python(version)


def test_missing_system_parts_are_named_as_packages(setup_env, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setitem(setup_env.LIBRARIES, "libnosuch.so.7", "libnosuch7")
    monkeypatch.setattr(setup_env.sysconfig, "get_paths", lambda: {"include": "/nowhere"})
    monkeypatch.setattr(setup_env.importlib.util, "find_spec", lambda name: None)
    version = setup_env.VERSION
    assert setup_env.missing_packages()[-4:] == [
        "libnosuch7",
        "g++",
        f"python{version}-dev",
        f"python{version}-venv",
    ]


def test_small_disk(setup_env, monkeypatch):
    usage = type("Usage", (), {"free": 2e9})
    monkeypatch.setattr(setup_env.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(setup_env.SetupError, match=r"2.0 GB free.*needs 6.0 GB"):
        setup_env.check_disk(setup_env.steps())


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("x\nOSError: [Errno 28] No space left on device\n", "the disk is full"),
        ("Temporary failure in name resolution'\nERROR: No matching distribution", "no network"),
        ("c++: fatal error: Killed signal terminated program cc1plus", "MAX_JOBS=1"),
        (
            "ERROR: a\nERROR: No matching distribution found for torch==9\n",
            "found for torch==9 -> see",
        ),
    ],
)
def test_pips_output_becomes_one_line(setup_env, log, line):
    text = setup_env.explain(log, setup_env.steps()[0])
    assert line in text
    assert "\n" not in text


def test_a_failing_pip_is_one_line_and_leaves_a_log(setup_env, monkeypatch):
    python = setup_env.VENV / "bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho ERROR: Could not find torch\nexit 1\n")
    python.chmod(0o755)
    setup_env.STATE.mkdir()
    with pytest.raises(
        setup_env.SetupError, match=r"Could not find torch -> see .*/.kd3d-setup/torch.log"
    ):
        setup_env.pip(setup_env.steps()[0], [])


def test_mmcv_is_compiled_here_with_operators_and_optimised(setup_env, monkeypatch):
    monkeypatch.delenv("CFLAGS", raising=False)
    step = next(s for s in setup_env.steps() if s.name == "mmcv")
    assert {"--no-build-isolation", "--no-binary", "mmcv==2.1.0"} <= set(step.args)
    assert step.env["MMCV_WITH_OPS"] == "1"
    assert "-O2" in step.env["CFLAGS"]


def test_constraints_agree_with_the_steps():
    text = (ROOT / "constraints.txt").read_text()
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.M))
    source = (ROOT / "tools/setup_env.py").read_text()
    for name, version in re.findall(r'"([\w-]+)==([\d.]+)"', source):
        assert pins[name] == version
    assert not re.search(r"\+cpu|^nvidia|file:|/", text.split("\n\n", 1)[1], re.M)


def test_links_between_documents_resolve_and_a_broken_one_is_found(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "tools/check_links.py"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    spec = importlib.util.spec_from_file_location("check_links", ROOT / "tools" / "check_links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "a.md").write_text(
        "[b](b.md) [c](#c) ![p](https://x/y.png)\n```\n[d](d.md)\n```\n[e](a.md#f)"
    )
    assert module.broken_links(tmp_path) == ["a.md:1: b.md"]
