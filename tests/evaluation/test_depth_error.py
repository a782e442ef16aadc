"""Errors of a depth distribution: against loops, and of a known distribution by the command."""

import json
import math
import subprocess
import sys

import pytest
import torch

from kd3d.evaluation.depth_error import DepthError
from kd3d.models.bev.frustum import DepthBins
from tests.paths import ROOT


def test_errors_equal_loops():
    bins, generator = DepthBins([1.0, 9.0, 2.0]), torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 4, 5, generator=generator)
    depth = torch.rand(3, 4, 5, generator=generator) * 10
    depth[0, 0, :3] = 0.0
    objects = torch.randint(0, 2, (3, 4, 5), generator=generator)
    errors = DepthError(bins)
    for image in range(3):  # gathered over batches
        part = slice(image, image + 1)
        errors.add(logits[part], depth[part], objects[part])
    rows = {"all": [], "objects": []}
    for b, v, u in torch.cartesian_prod(*map(torch.arange, depth.shape)).tolist():
        z = depth[b, v, u].item()
        if not 1 <= z < 9:
            continue
        p = logits[b, :, v, u].exp() / logits[b, :, v, u].exp().sum()
        mean = sum(p[k].item() * (2 + 2 * k) for k in range(4))
        ratio = max(mean / z, z / mean)
        row = abs(mean - z), (mean - z) ** 2, ratio < 1.25, -math.log(p[int((z - 1) // 2)])
        for name in ["all", "objects"] if objects[b, v, u] else ["all"]:
            rows[name].append((row[0] / z, *row))
    for name, found in errors.result().items():
        rel, mae, square, close, nll = map(sum, zip(*rows[name]))
        n = found.pop("cells")
        assert n == len(rows[name]) > 5
        wanted = dict(abs_rel=rel / n, rmse_m=(square / n) ** 0.5, close=close / n, mae_m=mae / n)
        assert found == pytest.approx({**wanted, "nll": nll / n}, rel=1e-5)
    assert DepthError(bins).result()["objects"]["mae_m"] is None


def command(*words):
    return subprocess.run(
        [sys.executable, "-m", "kd3d.cli.main", "eval", "depth", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_command_measures_a_uniform_distribution(tmp_path):
    """Every bin is as likely, so each cell's error is |29 m - z|: of what the LiDAR saw."""
    pytest.importorskip("open3d")
    import numpy as np

    import kd3d.data.multi_input
    import kd3d.data.surround  # noqa: F401
    from kd3d.models.source import build_detector
    from tests import nuscenes_tiny as tiny

    model = build_detector(dict(config="kd3d::_base_/models/bevdet_small_demo.py"))
    torch.nn.init.zeros_(model.img_depth_net.conv.weight)
    torch.nn.init.zeros_(model.img_depth_net.conv.bias)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "student.pth")
    infos = f"test_dataloader.dataset.ann_file={tiny.prepared() / 'nuscenes_infos_val.pkl'}"
    config = "kd3d::demo/camera/baseline.py"
    words = (tmp_path / "student.pth", "--data-root", tiny.simulated(), "--cfg-options", infos)
    done = command(config, *words, "--json", "-")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    steps = [
        dict(type="LoadPointsFromFile", coord_type="LIDAR", load_dim=5, use_dim=5),
        dict(type="KeepRawPoints"),
        dict(type="LoadSurroundImages", size=(96, 256)),
        dict(type="DepthMaps", stride=8),
    ]
    data = tiny.dataset(steps)
    depth = np.concatenate([data[i]["gt_depth_maps"].ravel() for i in range(len(data))])
    depth = depth[(depth >= 1) & (depth < 57)]
    assert found["all"]["cells"] == len(depth) > 1000
    assert found["all"]["mae_m"] == pytest.approx(np.abs(depth - 29).mean(), rel=1e-4)
    assert found["all"]["nll"] == pytest.approx(math.log(56), rel=1e-4)
    assert 0 < found["objects"]["cells"] < len(depth) / 2
    blind = command("kd3d::demo/camera/teacher.py", *words)
    assert blind.returncode == 2
    assert "no distribution over depth" in blind.stderr
