"""Which weights a teacher may have."""

import pytest
import torch

from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.models.source import build_detector
from kd3d.teachers.certificate import check_certificate, write_certificate
from kd3d.teachers.frozen import Frozen
from tests import toy

register_all()


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "teacher.pth"
    model = build_detector(toy.centerpoint())
    torch.save({"state_dict": model.state_dict(), "meta": {"mmdet3d_version": "1.4.0"}}, path)
    return path


def test_weights_load_strictly(weights):
    teacher = Frozen(str(weights), model=toy.centerpoint(), allow_uncertified=True)
    saved = torch.load(weights, weights_only=True)["state_dict"]
    assert all(torch.equal(v, saved[k]) for k, v in teacher.model.state_dict().items())
    with pytest.raises(UserError, match=r"another architecture .* shape"):
        Frozen(str(weights), model=toy.centerpoint(width=0.5))
    with pytest.raises(UserError, match="missing"):
        Frozen(str(weights), model=toy.pointpillars())


@pytest.mark.parametrize(
    "meta", [{"mmdet3d_version": "0.17.1"}, {"config": "mmdet3d_version = '0.18.0'"}]
)
def test_old_yaw_convention_is_refused(weights, meta):
    checkpoint = torch.load(weights, weights_only=True)
    torch.save(checkpoint | {"meta": meta}, weights)
    with pytest.raises(UserError, match=r"before 1\.0"):
        Frozen(str(weights), model=toy.centerpoint())


def test_hostile_and_truncated_files_are_refused(weights, tmp_path):
    class Hostile:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save({"state_dict": {}, "meta": Hostile()}, tmp_path / "bad.pth")
    with pytest.raises(UserError, match="not safe to load"):
        Frozen(str(tmp_path / "bad.pth"), model=toy.centerpoint())
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="not a readable checkpoint"):
        Frozen(str(weights), model=toy.centerpoint())


def test_certificate_binds_the_score_to_the_file(weights):
    assert check_certificate(weights, None, required=False) is None
    with pytest.raises(UserError, match="no certificate"):
        Frozen(str(weights), model=toy.centerpoint())
    assert Frozen(str(weights), model=toy.centerpoint(), allow_uncertified=True).model
    write_certificate(weights, {"Car_3D": 55.0}, data="simulated")
    assert check_certificate(weights, {"Car_3D": 50}, required=True)["data"] == "simulated"
    with pytest.raises(UserError, match=r"Car_3D = 55\.00, below the stated minimum 60"):
        Frozen(str(weights), model=toy.centerpoint(), minimum={"Car_3D": 60})
    with pytest.raises(UserError, match="does not state"):
        check_certificate(weights, {"Other": 1}, required=True)
    with open(weights, "ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match="other weights"):
        check_certificate(weights, None, required=True)
