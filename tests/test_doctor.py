import importlib
import json

import pytest
from typer.testing import CliRunner

from kd3d import doctor
from kd3d.cli.main import build_app

PACKAGES = {
    "numpy": "numpy",
    "torch": "torch",
    "mmcv ops": "mmcv.ops",
    "mmengine, mmdet, mmdet3d": "mmdet3d",
    "numba": "numba",
    "spconv": "spconv.pytorch",
    "open3d": "open3d",
    "nuscenes-devkit": "nuscenes.eval.detection.evaluate",
}


@pytest.fixture
def without(monkeypatch):
    """Make the import of some packages fail."""
    real = importlib.import_module

    def forbid(*names, error=ImportError):
        def fake(name, package=None):
            if name in names:
                raise error(f"cannot load {name}\nsecond line")
            return real(name, package)

        monkeypatch.setattr(doctor.importlib, "import_module", fake)

    return forbid


def by_layer(folder):
    return {verdict.layer: verdict for verdict in doctor.examine(folder)}


def test_every_layer_is_well_here_and_data_sets_are_found(tmp_path):
    found = by_layer(tmp_path)
    assert {v.layer: v.detail for v in found.values() if v.status == "fail"} == {}
    assert found["data sets"].status == "warn"
    assert "simulate" in found["data sets"].fix
    (tmp_path / "data/kitti/training").mkdir(parents=True)
    (tmp_path / "data/toy").mkdir()
    (tmp_path / "data/toy/simulated.json").write_text("{}")
    verdict = by_layer(tmp_path)["data sets"]
    assert verdict.detail == "data/kitti (not prepared), data/toy (simulated)"
    assert verdict.fix == ""


def test_each_missing_package_fails_its_layer_with_a_command(tmp_path, without, monkeypatch):
    for layer, package in PACKAGES.items():
        check = [entry for entry in doctor.CHECKS if entry[0] == layer]
        monkeypatch.setattr(doctor, "CHECKS", tuple(check))
        without(package)
        verdicts = doctor.examine(tmp_path)
        assert [(v.layer, v.status) for v in verdicts] == [(layer, "fail")]
        assert verdicts[0].detail == f"ImportError: cannot load {package}"
        assert verdicts[0].fix
        assert not doctor.healthy(verdicts)
        monkeypatch.undo()


def test_nothing_installed_is_all_verdicts_and_no_crash(tmp_path, without):
    without(*{name for p in PACKAGES.values() for name in (p, p.split(".")[0])}, error=OSError)
    verdicts = by_layer(tmp_path)
    assert {layer for layer, v in verdicts.items() if v.status == "fail"} == set(PACKAGES)


def test_operators_that_do_not_run_fail(tmp_path, monkeypatch):
    import mmcv.ops

    monkeypatch.setattr(
        mmcv.ops, "nms_rotated", lambda *a: (None, importlib.import_module("torch").arange(3))
    )
    verdict = by_layer(tmp_path)["mmcv ops"]
    assert verdict.status == "fail"
    assert "uninstall -y mmcv" in verdict.fix


@pytest.mark.parametrize(("free_gb", "status"), [(0.5, "fail"), (5, "warn"), (50, "ok")])
def test_disk(tmp_path, monkeypatch, free_gb, status):
    usage = type("Usage", (), {"free": free_gb * 1e9})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    assert doctor._disk(tmp_path)[0] == status


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("warn", 0), ("fail", 1)])
def test_command_prints_json_and_its_exit_code_tells(monkeypatch, status, code):
    monkeypatch.setattr(doctor, "CHECKS", (("disk", lambda folder: (status, "x"), "do y"),))
    result = CliRunner().invoke(build_app(), ["doctor", "--json"])
    assert result.exit_code == code
    assert json.loads(result.stdout) == {
        "healthy": code == 0,
        "layers": [
            {
                "layer": "disk",
                "status": status,
                "detail": "x",
                "fix": "" if status == "ok" else "do y",
            }
        ],
    }
    text = CliRunner().invoke(build_app(), ["doctor"]).stdout
    assert text.startswith(f"{status:5} disk")
