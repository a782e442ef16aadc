"""The numbers of SparseKD's own teacher-guided initialisation (CVMI-Lab/SparseKD 2e00ede)."""

import numpy as np
import pytest
import torch

from kd3d.models.inherit.graph import Block, Layer
from kd3d.models.inherit.ranking import STRATEGIES
from kd3d.models.inherit.slicing import Slicer
from tests.paths import ROOT

FILES = {"FNAV2": "fnav2", "OFA": "ofa", "BN_SCALE": "bn_scale_fixed"}
LAYERS = (  # key, normalisation, what it reads; names of OpenPCDet
    ("backbone_3d.conv1.0", "backbone_3d.conv1.1", []),
    ("backbone_3d.conv_out.0", "backbone_3d.conv_out.1", ["backbone_3d.conv1.0"]),
    ("backbone_2d.blocks.0.1", "backbone_2d.blocks.0.2", ["backbone_3d.conv_out.0"]),
    ("backbone_2d.blocks.0.4", "backbone_2d.blocks.0.5", ["backbone_2d.blocks.0.1"]),
    ("backbone_2d.blocks.1.1", "backbone_2d.blocks.1.2", ["backbone_2d.blocks.0.4"]),
    ("backbone_2d.deblocks.0.0", "backbone_2d.deblocks.0.1", ["backbone_2d.blocks.0.4"]),
    ("backbone_2d.deblocks.1.0", "backbone_2d.deblocks.1.1", ["backbone_2d.blocks.1.1"]),
    (
        "dense_head.shared_conv.0",
        "dense_head.shared_conv.1",
        ["backbone_2d.deblocks.0.0", "backbone_2d.deblocks.1.0"],
    ),
    *(
        row
        for branch in ("center", "hm")
        for row in (
            (
                f"dense_head.heads_list.0.{branch}.0.0",
                f"dense_head.heads_list.0.{branch}.0.1",
                ["dense_head.shared_conv.0"],
            ),
            (
                f"dense_head.heads_list.0.{branch}.1",
                None,
                [f"dense_head.heads_list.0.{branch}.0.0"],
            ),
        )
    ),
)


def graph(state):
    layers = {}
    for key, norm, reads in LAYERS:
        layout = "RSCK" if "3d" in key else "deconv" if "deblocks" in key else "conv"
        weight = state[f"{key}.weight"]
        width = weight.shape[{"RSCK": 4, "deconv": 1, "conv": 0}[layout]]
        planes = 2 if key == "backbone_2d.blocks.0.1" else 1
        inputs = tuple(Block(name, layers[name].width, planes) for name in reads)
        inputs = inputs or (Block(None, weight.shape[3]),)
        layers[key] = Layer(key, key, layout, width, inputs, norm, final=norm is None)
    return layers


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_slices_are_those_of_the_authors_code(strategy):
    path = ROOT / f"tests/golden/parity/sparsekd_tgi_{FILES[strategy]}.npz"
    with np.load(path) as data:
        teacher, before, after = (
            {
                key.removeprefix(f"{start}."): torch.from_numpy(data[key])
                for key in data
                if key.startswith(f"{start}.")
            }
            for start in ("teacher", "student_before", "student_after")
        )
    cut = Slicer(graph(before), graph(teacher), teacher, before, strategy, official_parity=True)
    assert set(cut.result) == set(after)
    for key, value in after.items():
        assert torch.equal(cut.result[key], value), key
    ours = Slicer(graph(before), graph(teacher), teacher, before, strategy)
    same = [key for key in after if torch.equal(ours.result[key], after[key])]
    assert "backbone_2d.blocks.0.1.weight" not in same  # c * D + d
    assert all((index.diff() > 0).all() for index in ours.kept.values())
