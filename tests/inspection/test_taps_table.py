"""`kd3d taps`: the table says what the taps of a distiller hold, in metres."""

import json

import pytest
from typer.testing import CliRunner

from kd3d.cli.main import build_app
from kd3d.core.probe import probe
from kd3d.core.taps import TapSet, aliases
from kd3d.errors import UserError
from kd3d.inspection.detectors import one_frame, reads
from kd3d.inspection.trace import trace
from kd3d.models import tiny_bev
from kd3d.models.source import build_detector
from kd3d.models.tiny import FAMILIES, RANGE

UNREAD = ("boxes", "proposals")  # the head's output, decoded


def rows_of(detector, everything=False):
    model = build_detector(detector)
    return model, trace(model, one_frame(model, None), everything)


@pytest.mark.parametrize("family", ["centerpoint", "pointpillars", "second", "pointrcnn"])
def test_rows_are_the_taps(family):
    model, rows = rows_of(FAMILIES[family]())
    found = {alias: row for row in rows for alias in row.aliases}
    assert set(aliases(model)) <= set(found) | {"bev_in"}  # SECOND's is a sparse encoder's map
    names = [name for name in aliases(model) if name in found and name not in UNREAD]
    taps = TapSet(model, names)
    probe(model, taps)
    for name in names:
        assert found[name].spec == taps.specs[name], name
    assert all(row.ms > 0 for row in rows)
    assert [row.ms for row in rows] == sorted(row.ms for row in rows)


def test_metres_strides_and_shapes():
    _, rows = rows_of(FAMILIES["centerpoint"]())
    found = {alias: row for row in rows for alias in row.aliases}
    bev = found["bev"]
    assert bev.path == "pts_neck.0"
    assert bev.stride * 0.4 == pytest.approx(bev.spec.cell_m[0])
    assert bev.spec.extent_m == (RANGE[0], RANGE[1], RANGE[3], RANGE[4])
    assert found["stage1"].stride == 2 * found["stage0"].stride
    assert found["bev_in"].shape.endswith(" x 32 x 48")
    assert found["pillars"].spec.layout == "rows"
    assert found["head_mid"].path.startswith("pts_bbox_head.shared_conv")
    _, everything = rows_of(FAMILIES["centerpoint"](), everything=True)
    assert len(everything) > 2 * len(rows)


def test_a_camera_detector():
    model, rows = rows_of(tiny_bev.bevdet())
    found = {alias: row for row in rows for alias in row.aliases}
    assert found["image"].spec.layout == "image"
    assert found["image"].stride is None
    assert found["bev"].spec.cell_m == pytest.approx((1.6, 1.6))
    assert reads(model) == "camera"
    assert reads(build_detector(tiny_bev.bevfusion())) == "lidar+camera"


def test_the_command(tmp_path):
    config = tmp_path / "pair.py"
    config.write_text(
        "model = dict(type='Distiller', "
        f"student=dict(model={FAMILIES['centerpoint']()!r}), "
        f"teachers=dict(big=dict(type='Frozen', checkpoint=None, "
        f"model={FAMILIES['pointpillars']()!r})))"
    )

    def run(*more):
        done = CliRunner().invoke(build_app(), ["taps", str(config), *more])
        if done.exception is not None:
            raise done.exception
        return done.output

    found = json.loads(run("--json"))
    assert set(found) == {"student", "big"}
    (neck,) = [row for row in found["big"] if "bev" in row["alias"]]
    assert neck["path"] == "neck.0"
    assert neck["range_m"] == [RANGE[0], RANGE[1], RANGE[3], RANGE[4]]
    table = run("--model", "big")
    assert "anchor_head" in table
    assert "center_head" not in table
    with pytest.raises(UserError, match="did you mean 'student'"):
        run("--model", "studnt")
