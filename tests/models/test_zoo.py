"""Weights by name: the index, the download with its hash, and what is said without a network."""

import hashlib
import http.server
import threading

import pytest
import torch

from kd3d.errors import UserError
from kd3d.models import zoo as module
from kd3d.models.source import build_detector, config_path, load_weights
from kd3d.models.tiny import pointpillars
from kd3d.models.zoo import ZooModel, checkpoint_file, fetched, index_folder, read_index
from kd3d.teachers.certificate import certificate_path, file_sha256
from kd3d.teachers.frozen import Frozen


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def served(tmp_path, monkeypatch, hub):
    """The weights of a tiny detector on a local server, under a name with their hash."""
    torch.manual_seed(3)
    model = build_detector(pointpillars())
    folder = tmp_path / "served"
    folder.mkdir()
    torch.save({"state_dict": model.state_dict(), "meta": {}}, folder / "new.pth")
    digest = hashlib.sha256((folder / "new.pth").read_bytes()).hexdigest()
    right, wrong = folder / f"tiny-{digest[:8]}.pth", folder / "tiny-01234567.pth"
    (folder / "new.pth").rename(right)
    wrong.write_bytes(right.read_bytes())

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"

    def entry(name, weights):
        return ZooModel(name, "mmdet3d::x.py", weights, "lidar", {})

    known = {
        "tiny": entry("tiny", f"{address}/{right.name}"),
        "tampered": entry("tampered", f"{address}/{wrong.name}"),
        "gone": entry("gone", f"{address}/gone-89abcdef.pth"),
        "offline": entry("offline", f"http://127.0.0.1:9/{right.name}"),
    }
    monkeypatch.setattr(module, "zoo", lambda: known)
    yield model
    server.shutdown()


def test_the_index_of_the_installed_mmdet3d():
    known = read_index(index_folder())
    second = known["second_hv_secfpn_8xb6-80e_kitti-3d-3class"]
    assert second.metrics == {"KITTI": {"mAP": 65.3}}
    assert second.weights.endswith("-b086d0a3.pth")
    assert config_path(second.config).name == "second_hv_secfpn_8xb6-80e_kitti-3d-3class.py"
    assert second.modality == "lidar"
    assert {m.modality for m in known.values() if "smoke" in m.name} == {"camera"}
    assert not any("cylinder3d" in name for name in known)  # no detector of boxes
    with pytest.raises(UserError, match="did you mean 'second_hv_secfpn_8xb6-80e_kitti-3d-3class"):
        checkpoint_file("mmdet3d::second_hv_secfpn_8xb6-80e_kitti-3d-3clas")
    with pytest.raises(UserError, match="no such weights"):
        checkpoint_file("mmdet::x")


def test_weights_are_fetched_checked_and_loaded(served, hub, capfd):
    path = fetched("mmdet3d::tiny")
    assert path.parent == hub
    assert "100%" in capfd.readouterr().err
    other = build_detector(pointpillars())
    load_weights(other, "mmdet3d::tiny")
    assert all(torch.equal(v, served.state_dict()[k]) for k, v in other.state_dict().items())
    assert capfd.readouterr().err == ""  # it is there
    assert certificate_path("mmdet3d::tiny") == path.with_name(path.name + ".certificate.json")
    assert file_sha256("mmdet3d::tiny") == hashlib.sha256(path.read_bytes()).hexdigest()
    teacher = Frozen("mmdet3d::tiny", allow_uncertified=True, model=pointpillars())
    assert torch.equal(
        teacher.model.bbox_head.conv_cls.weight, served.state_dict()["bbox_head.conv_cls.weight"]
    )
    with pytest.raises(UserError, match="no certificate"):
        Frozen("mmdet3d::tiny", model=pointpillars())


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("tampered", "another hash"),
        ("gone", r"cannot be fetched \(File not found\)"),
        ("offline", r"cannot be fetched \(.*Connection refused"),
    ],
)
def test_what_cannot_be_had_is_said_with_the_way_by_hand(served, hub, name, why):
    model = module.zoo()[name]
    with pytest.raises(UserError, match=why) as error:
        fetched(f"mmdet3d::{name}")
    assert error.value.fix == f"fetch {model.weights} and put it at {model.file}"
    assert not list(hub.glob("*"))  # nothing half-written


def test_weights_put_there_by_hand_are_taken(hub):
    model = module.zoo()["point-rcnn_8xb2_kitti-3d-3class"]
    hub.mkdir(parents=True)
    model.file.write_bytes(b"weights")
    assert fetched(f"mmdet3d::{model.name}") == model.file
