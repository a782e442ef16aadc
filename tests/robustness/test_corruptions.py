"""Each corruption alone: what it does, by how much, and that a seed fixes it."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from mmdet3d.registry import TRANSFORMS
from mmdet3d.structures import LiDARPoints

from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.models import tiny_bev
from kd3d.robustness.page import write_page
from kd3d.robustness.pipeline import corrupted_pipeline
from kd3d.robustness.severities import KINDS, LEVELS, beams_of, chosen_kinds, corruption
from kd3d.robustness.summary import summarise
from tests.browser import needs_browser, told
from tests.paths import ROOT

register_all()
BEAMS = 16


def cloud(turns=400):
    """Beams of a spinning LiDAR: (N, 5) with the beam's number in the last column."""
    azimuth = np.linspace(0, 2 * np.pi, turns, endpoint=False)
    rows = []
    for beam, elevation in enumerate(np.deg2rad(np.linspace(-20, 5, BEAMS))):
        distance = 5 + 40 * np.random.default_rng(beam).random(turns)
        flat = distance * np.cos(elevation)
        rows.append(
            np.stack(
                [
                    flat * np.cos(azimuth),
                    flat * np.sin(azimuth),
                    distance * np.sin(elevation),
                    np.zeros(turns),
                    np.full(turns, beam),
                ],
                1,
            )
        )
    return np.concatenate(rows)


def frame(name="000001.bin"):
    """A pipeline's results with a cloud and three images."""
    rng = np.random.default_rng(5)
    rig = tiny_bev.rig()
    return dict(
        rig,
        lidar_points=dict(lidar_path=f"/somewhere/{name}"),
        points=LiDARPoints(torch.from_numpy(cloud()).float(), points_dim=5),
        img=[rng.integers(0, 256, (40, 60, 3), dtype=np.uint8) for _ in range(3)],
    )


def spoilt(kind, amount, results=None, seed=0, **options):
    made = TRANSFORMS.build(dict(type=kind, amount=amount, seed=seed, **options))
    return made(frame() if results is None else results)


def content(results):
    """All that a corruption may change, as one array."""
    parts = [results["points"].tensor.numpy().ravel(), *(one.ravel() for one in results["img"])]
    return np.concatenate([*parts, *(one.ravel() for one in results["lidar2cam"])])


@pytest.mark.parametrize("name", KINDS)
def test_seed_and_frame_decide_and_the_input_is_left_alone(name):
    kind, amount = KINDS[name].transform, KINDS[name].amounts[2]
    before = frame()
    untouched = content(before).copy()
    first = content(spoilt(kind, amount, before))
    np.testing.assert_array_equal(content(before), untouched)
    np.testing.assert_array_equal(first, content(spoilt(kind, amount)))
    assert not np.array_equal(first, untouched)
    if kind not in ("ImageBlur", "CameraDrop"):  # of 3 cameras 3 fail; a blur has no draws
        other = content(spoilt(kind, amount, frame("000002.bin")))
        assert not np.array_equal(first, other)
        assert not np.array_equal(first, content(spoilt(kind, amount, seed=1)))


@pytest.mark.parametrize("name", [n for n in KINDS if KINDS[n].reads == "points"])
def test_what_a_light_corruption_removes_a_heavy_one_removes_too(name):
    left = []
    for level in LEVELS:
        made = corruption(name, level, seed=3, beams=BEAMS)
        kept = TRANSFORMS.build(made)(frame())["points"].tensor
        left.append({tuple(row) for row in kept.tolist()})
    for lighter, heavier in pairwise(left):
        assert heavier < lighter


def test_whole_beams_are_missing():
    kept = spoilt("BeamDrop", 0.5, beams=BEAMS)["points"].tensor[:, 4].long()
    counts = torch.bincount(kept, minlength=BEAMS)
    assert sorted(counts.tolist()) == [0] * 8 + [400] * 8


def test_points_are_missing_evenly():
    beam = spoilt("PointDrop", 0.3)["points"].tensor[:, 4].long()
    share = torch.bincount(beam, minlength=BEAMS) / 400
    assert abs(share.mean() - 0.7) < 4 * (0.21 / 6400) ** 0.5  # four standard errors
    assert (share - 0.7).abs().max() < 4.5 * (0.21 / 400) ** 0.5


def test_fog_leaves_what_beer_and_lambert_leave():
    extinction, distances = 0.03, np.array([5.0, 15.0, 30.0])
    xyz = np.repeat(distances, 4000)[:, None] * np.array([0.6, 0.0, 0.8, 0.0, 0.0])
    results = frame() | {"points": LiDARPoints(torch.from_numpy(xyz).float(), points_dim=5)}
    left = spoilt("FogLoss", extinction, results)["points"].tensor[:, :3].norm(dim=1)
    for distance in distances:
        wanted = np.exp(-2 * extinction * distance)
        share = float(((left - distance).abs() < 0.1).sum()) / 4000
        assert abs(share - wanted) < 4 * (wanted * (1 - wanted) / 4000) ** 0.5


def test_a_cloud_is_never_empty():
    assert len(spoilt("PointDrop", 1.0)["points"]) == 1


def test_cameras_are_black_and_nested():
    black = [
        {i for i, one in enumerate(spoilt("CameraDrop", n)["img"]) if not one.any()}
        for n in range(4)
    ]
    assert [len(one) for one in black] == [0, 1, 2, 3]
    assert black[1] < black[2]


def test_noise_has_the_deviation_it_says():
    grey = frame() | {"img": [np.full((200, 200, 3), 128, dtype=np.uint8)] * 2}
    first, second = spoilt("ImageNoise", 0.08, grey)["img"]
    for image in (first, second):
        assert image.dtype == np.uint8
        assert image.std() / 255 == pytest.approx(0.08, rel=0.02)
        assert image.mean() == pytest.approx(128, abs=0.5)
    assert not np.array_equal(first, second)


def test_blur_is_a_gaussian():
    image = np.zeros((41, 41, 3), dtype=np.uint8)
    image[20, 20] = 255
    made = spoilt("ImageBlur", 1.0, frame() | {"img": [image]})["img"][0][:, :, 0]
    offset = np.arange(41) - 20
    bell = np.exp(-(offset**2) / 2) / np.exp(-(offset**2) / 2).sum()
    np.testing.assert_allclose(made, 255 * np.outer(bell, bell), atol=1.01)
    same = spoilt("ImageBlur", 0, frame())["img"][0]
    np.testing.assert_array_equal(same, frame()["img"][0])


def test_mounts_are_off_by_what_it_says():
    angles, shifts = [], []
    for i in range(150):
        results = spoilt("CalibrationNoise", 2.0, frame(f"{i}.bin"))
        for before, after, image, matrix in zip(
            tiny_bev.rig()["lidar2cam"], results["lidar2cam"], results["lidar2img"],
            results["cam2img"],
        ):  # fmt: skip
            np.testing.assert_allclose(after[:3, :3] @ after[:3, :3].T, np.eye(3), atol=1e-12)
            np.testing.assert_allclose(image, matrix @ after)
            step = after @ np.linalg.inv(before)
            angles.append(np.degrees(np.arccos((np.trace(step[:3, :3]) - 1) / 2)))
            shifts.append(np.linalg.norm(step[:3, 3]))
    assert np.sqrt(np.mean(np.square(angles)) / 3) == pytest.approx(2.0, rel=0.1)
    assert np.sqrt(np.mean(np.square(shifts)) / 3) == pytest.approx(0.2, rel=0.1)
    same = spoilt("CalibrationNoise", 0)["lidar2cam"]
    np.testing.assert_allclose(same, tiny_bev.rig()["lidar2cam"], atol=1e-12)


def test_corruptions_come_after_the_loaders():
    loads = ["LoadPointsFromFile", "LoadSweeps", "LoadSurroundImages", "PackBranches"]
    pipeline = [dict(type=name) for name in loads]
    for name, place in (("fog", 2), ("noise", 3)):
        made = corrupted_pipeline(pipeline, name, dict(type="X"), "a.py")
        assert [step["type"] for step in made].index("X") == place
    assert len(pipeline) == 4
    with pytest.raises(UserError, match=r"a\.py: .*LoadSurroundImages"):
        corrupted_pipeline(pipeline[:2], "noise", dict(type="X"), "a.py")
    with pytest.raises(UserError, match=r"CameraDrop: the frame has no 'img'"):
        spoilt("CameraDrop", 1, dict(points=None))


def test_what_is_chosen():
    assert chosen_kinds([], ("points",)) == ["beams", "points", "fog"]
    assert len(chosen_kinds([], ("img", "points"))) == len(KINDS)
    with pytest.raises(UserError, match="did you mean 'fog'"):
        chosen_kinds(["fogg"], ("points",))
    with pytest.raises(UserError, match="image blur changes nothing for models that read points"):
        chosen_kinds(["blur"], ("points",))
    assert beams_of("KittiDataset", None) == 64
    with pytest.raises(UserError, match="give --beams"):
        beams_of("LyftDataset", None)


def row(model, corruption, level, value):
    """A result, as `kd3d stress` keeps it."""
    return dict(model=model, corruption=corruption, level=level, metrics={"NDS": value})


def test_rates_of_made_up_results():
    rows = [row("a", "clean", 0, 0.5), row("a", "fog", 1, 0.4), row("a", "fog", 5, 0.1),
            row("b", "clean", 0, 0.0), row("b", "fog", 1, 0.0), row("b", "fog", 5, 0.0),
            row("a", "blur", 1, 0.2)]  # fmt: skip
    fog, blur = summarise(rows, ["fog", "blur"], "NDS")["corruptions"]
    assert fog["amounts"] == [0.005, 0.06]
    assert fog["models"]["a"]["values"] == [0.4, 0.1]
    assert fog["models"]["a"]["kept"] == pytest.approx(0.5)
    assert fog["models"]["b"]["kept"] is None
    assert set(blur["models"]) == {"a"}


PAGE_PROBE = """<script>addEventListener("load", () => setTimeout(() => {
  document.querySelectorAll("details").forEach(d => d.open = true);
  const lines = document.querySelectorAll("figure svg .line").length;
  const wide = document.documentElement.scrollWidth - innerWidth;
  const sections = [...document.querySelectorAll("section")];
  const seen = sections.every(s => s.getBoundingClientRect().height);
  parent.postMessage([innerWidth, lines, wide, seen].join(","), "*");
}, 50));</script>"""


@needs_browser
def test_page_in_chromium(tmp_path):
    """Wide and narrow at once: curves of what is read, no error, no request, no sideways scroll."""
    rows = [row("a", "clean", 0, 0.5), row("b", "clean", 0, 0.4)]
    rows += [row(model, "fog", level, 0.3 / level) for model in "ab" for level in LEVELS]
    rows += [row("a", "blur", level, 0.2) for level in LEVELS]
    models = [
        dict(name=name, role=None, config="c.py", weights="w.pth", sha256="0" * 64,
             reads=["points"], data="d", simulated=True)
        for name in "ab"
    ]  # fmt: skip
    origin = dict(commit="c", dirty=False, versions={"torch": "2"}, command="kd3d stress",
                  machine=dict(cpu="x", cores=2))  # fmt: skip
    numbers = summarise(rows, ["fog", "blur"], "NDS")
    facts = dict(models=models, frames=3, seed=0, provenance=origin)
    write_page(tmp_path / "made.html", numbers | facts)
    text = (tmp_path / "made.html").read_text()
    assert "not read" in text
    assert "simulated data" in text
    for _, lines, wide, seen in told(tmp_path, text, PAGE_PROBE):
        assert (int(lines), seen) == (3, "true")  # fog of both, blur of one
        assert int(wide) <= 0


def test_the_page_of_the_docs_has_the_same_amounts():
    lines = (ROOT / "docs/deploy.md").read_text().splitlines()
    for name, kind in KINDS.items():
        (row,) = [line for line in lines if line.startswith(f"| `{name}` |")]
        amounts = ", ".join(f"{amount:g}" for amount in kind.amounts)
        assert amounts in row or (name == "cameras" and "1 to 5" in row)
