"""Who may import whom (docs/design.md, "Direction of imports")."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGE = ROOT / "kd3d"
LIGHT = {"torch", "numpy"}
# for each folder: the parts of kd3d and the third-party packages it may import
RULES = {
    "losses": ({"errors", "losses"}, {"torch"}),
    "masks": ({"errors", "masks"}, {"torch"}),
    "adapters": ({"errors", "adapters", "core.spec"}, {"torch"}),
    "core": (
        {"errors", "core", "losses", "masks", "adapters", "compat", "models.source"},
        LIGHT | {"mmengine"},
    ),
    "deploy/runtime": ({"deploy.runtime"}, {"numpy", "onnxruntime", "cv2", "torch"}),
    "methods": (
        {"errors", "core", "losses", "masks", "adapters", "methods"},
        LIGHT | {"scipy"},
    ),
}
MMDET3D_HOMES = (
    "core/run.py",
    "core/probe.py",
    "compat.py",
    "models/",
    "data/",
    "deploy/",
    "evaluation/",
    "simulation/",
    "engine/",
    "robustness/",
    "teachers/",
    "cli/",
)
NO_MMDET3D = ("simulation/",)


def imports(path: Path) -> set[str]:
    """Return the full names a file imports anywhere in it, TYPE_CHECKING blocks left out."""
    found = set()
    stack: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            stack += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        stack += ast.iter_child_nodes(node)
    return found


def breaches(folder: str, names: set[str]) -> list[str]:
    """Return the imports that the folder's rule does not allow."""
    own, foreign = RULES[folder]
    bad = []
    for name in sorted(names):
        top = name.split(".")[0]
        if top == "kd3d":
            rest = name.removeprefix("kd3d.")
            allowed = any(rest == part or rest.startswith(part + ".") for part in own)
        else:
            allowed = top in sys.stdlib_module_names or top in foreign
        if not allowed:
            bad.append(name)
    return bad


def files() -> list[tuple[str, Path]]:
    return [(p.relative_to(PACKAGE).as_posix(), p) for p in sorted(PACKAGE.rglob("*.py"))]


@pytest.mark.parametrize("folder", sorted(RULES))
def test_folder_imports_only_what_it_may(folder):
    for name, path in files():
        if name.startswith(folder + "/"):
            names = imports(path)
            if name in MMDET3D_HOMES:
                names = {n for n in names if not n.startswith("mmdet3d")}
            assert breaches(folder, names) == [], name


def test_mmdet3d_stays_in_its_homes():
    for name, path in files():
        tops = {n.split(".")[0] for n in imports(path)}
        if not name.startswith(MMDET3D_HOMES) or name.startswith(NO_MMDET3D):
            assert not tops & {"mmdet3d", "mmdet", "mmcv"}, name


def test_the_rules_can_fail():
    assert breaches("losses", {"kd3d.core.term.Term", "torch.nn", "math.pi"}) == [
        "kd3d.core.term.Term"
    ]
    assert breaches("adapters", {"kd3d.core.spec.FeatureSpec", "kd3d.core.specs.X"}) == [
        "kd3d.core.specs.X"
    ]
    assert breaches("methods", {"mmengine.Config", "kd3d.masks"}) == ["mmengine.Config"]


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import kd3d", {"torch", "mmengine", "mmcv", "mmdet", "mmdet3d", "open3d"}),
        (
            "import kd3d.cli.main as m; m.build_app()",
            {"torch", "mmengine", "mmcv", "mmdet", "mmdet3d", "open3d"},
        ),
        (
            "import kd3d.deploy.runtime.detector",
            {"torch", "cv2", "onnxruntime", "mmengine", "mmcv", "mmdet", "mmdet3d", "open3d"},
        ),
        (
            "import kd3d.losses, kd3d.masks, kd3d.adapters",
            {"mmengine", "mmcv", "mmdet", "mmdet3d", "open3d"},
        ),
    ],
)
def test_light_imports_stay_light(statement, heavy):
    code = f"{statement}; import sys; print(*sorted({heavy!r} & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert run.stdout.split() == []
