"""`kd3d shrink`: the file that it writes, and what it refuses."""

import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from kd3d.models.source import build_detector
from tests import toy
from tests.engine.tiny import failure, prepared, run
from tests.models import families


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, beside it a small stock config and a frame."""
    config = Config(dict(model=families.small("second"), voxel_size=[0.2, 0.2, 0.1], lr=0.1))
    (tmp_path / "stock.py").write_text(config.pretty_text)
    points = np.random.default_rng(0).uniform([0, -6, -2, 0, 0], [19, 6, 0, 1, 1], (2000, 5))
    points.astype("<f4").tofile(tmp_path / "frame.bin")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


FRAME = ["--frame", "../frame.bin", "--columns", "5"]
HALF = [*FRAME, "--width", "0.5"]
DYNAMIC = "mmdet3d::dynamic_voxelization/second_dv_secfpn_8xb2-cosine-80e_kitti-3d-3class.py"
REGNET = "mmdet3d::regnet/pointpillars_hv_regnet-400mf_secfpn_sbn-all_8xb4-2x_nus-3d.py"
POINTRCNN = "mmdet3d::point_rcnn/point-rcnn_8xb2_kitti-3d-3class.py"


def test_the_written_config_is_stock_and_smaller(here):
    printed = run(["shrink", "../stock.py", *FRAME, "--params", "0.25", "--voxel", "0.4"])
    assert printed.splitlines()[-1] == "stock_shrunk.py"
    assert "on ../frame.bin" in printed
    share = float(re.search(r"all .*?([\d.]+)%", printed).group(1))
    assert share == pytest.approx(25, abs=2)
    config = Config.fromfile("stock_shrunk.py")
    assert config.voxel_size == [0.4, 0.4, 0.1]
    assert config.lr == 0.1
    assert "custom_imports" not in config
    model = build_detector(config.model)
    toy.total(toy.loss(model, families.batch("second"))).backward()
    model.eval()
    with torch.no_grad():
        data = model.data_preprocessor(families.batch("second"), False)
        assert len(model(**data, mode="predict")) == 2


def test_a_students_config_names_what_it_needs_of_kd3d(here):
    config = "kd3d::demo/distilled.py"
    printed = run(["shrink", config, "--width", "0.5", "--out", "deep/small.py"])
    assert "on simulated frame, seed 0" in printed
    written = Config.fromfile("deep/small.py", import_custom_modules=False)
    needed = ["kd3d.data.transforms", "kd3d.evaluation.kitti_metric"]
    assert written.custom_imports.imports == needed
    assert written.model.type == "CenterPoint"
    assert written.model.pts_backbone.out_channels == [8, 16, 32]  # a half of a half of the teacher
    build_detector(written.model)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nothing.py", "--width", "0.5"], "nothing.py: no such config"),
        (["mmdet3d::nothing.py", "--width", "0.5"], "no such config"),
        (["../stock.py", *FRAME], "nothing to change"),
        (["../stock.py", *FRAME, "--width", "2"], "wanted a factor"),
        (["../stock.py", *FRAME, "--params", "0"], "wanted a share"),
        (["../stock.py", *FRAME, "--voxel", "0.3"], "multiples of the stride 16"),
        (["../stock.py", "--frame", "no.bin", "--width", "0.5"], "no.bin: file not found"),
        (["../stock.py", *HALF, "--columns", "7"], "not a multiple of 28"),
        (["../stock.py", *HALF, "--columns", "2"], "--columns: 2, wanted 3 or more"),
        (["../stock.py", *HALF, "--out", "small"], "wanted the name of a .py file"),
        (["../stock.py", *HALF, "--out", "../stock.py"], "the config itself"),
        ([POINTRCNN, *HALF], "FLOPs of a PointRCNN are not counted"),
        ([REGNET, *HALF], "cannot shrink a NoStemRegNet"),
        ([DYNAMIC, *HALF], "dynamic voxels run on CUDA only"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(here, arguments, message):
    before = (here.parent / "stock.py").read_bytes()
    assert message in failure(["shrink", *arguments])
    assert not list(here.iterdir())
    assert (here.parent / "stock.py").read_bytes() == before


@pytest.mark.slow
def test_a_shrunk_stock_config_trains_in_plain_mmdet3d(tmp_path, monkeypatch):
    """mmengine's own runner on mmdet3d's own data, without anything of kd3d."""
    kitti = prepared(tmp_path / "kitti")
    monkeypatch.chdir(tmp_path)
    run(["shrink", toy.POINTPILLARS, "--flops", "0.1", "--out", "small.py"])
    config = Config.fromfile("small.py")
    loader, dataset = config.train_dataloader, config.train_dataloader.dataset.dataset
    loader.update(batch_size=2, num_workers=0, persistent_workers=False)
    dataset.data_root = str(kitti)
    # mmdet3d's pasting of objects fails where a class has none, as here
    dataset.pipeline = [step for step in dataset.pipeline if step.type != "ObjectSample"]
    config.merge_from_dict({"train_cfg.max_epochs": 1, "work_dir": str(tmp_path / "work")})
    for unused in ("val_dataloader", "val_cfg", "val_evaluator"):
        config[unused] = None
    for unused in ("test_dataloader", "test_cfg", "test_evaluator"):
        config[unused] = None
    with DefaultScope.overwrite_default_scope("mmdet3d"):
        Runner.from_cfg(config).train()
    assert (tmp_path / "work" / "epoch_1.pth").is_file()
