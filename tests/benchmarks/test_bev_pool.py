"""`kd3d bench bev-pool`: both arms agree, the result is whole. Nothing is timed."""

import json

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.engine import bev_pool
from kd3d.cli.main import build_app
from kd3d.errors import UserError


def test_the_other_arm_is_the_sum_over_the_points():
    problem = bev_pool.Problem("small", 1, 0, torch.float64)
    want = torch.zeros(problem.cells, problem.channels, dtype=torch.float64)
    table = problem.depth[:, :, :, None] * problem.context[:, :, None]  # (1, 6, D, C, H, W)
    rows, cell = table.movedim(3, -1).flatten(0, -2), problem.cell.flatten()
    for at, row in zip(cell[cell >= 0].tolist()[:20000:97], rows[cell >= 0][:20000:97]):
        want[at] += row.detach()
    assert want.any()
    kept = torch.full_like(cell, -1)
    chosen = (cell >= 0).nonzero().flatten()[:20000:97]
    kept[chosen] = cell[chosen]
    problem.cell = kept.view_as(problem.cell)
    for name in bev_pool.ARMS:
        torch.testing.assert_close(bev_pool.ARMS[name](problem), want, rtol=1e-9, atol=1e-9)


def test_the_command_gives_a_whole_result(tmp_path):
    path = tmp_path / "result.json"
    arguments = ["bench", "bev-pool", "--size", "small", "--batch-size", "1", "--repeats", "1"]
    result = CliRunner().invoke(build_app(), [*arguments, "--json", str(path)])
    assert result.exit_code in (0, 1), result.output  # 1: a bound is missed on a busy machine
    (row,) = json.loads(path.read_text())["rows"]
    assert row["relative_error"] <= bev_pool.EXACT
    assert row["points"] > 1000
    assert min(row["peak_bytes"].values()) > 0
    assert "times faster" in result.output


def test_an_unknown_size_is_refused():
    result = CliRunner().invoke(build_app(), ["bench", "bev-pool", "--size", "huge"])
    assert isinstance(result.exception, UserError)
    with pytest.raises(UserError, match="unknown size 'huge'"):
        raise result.exception
