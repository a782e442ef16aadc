"""Multiply-accumulates: dense layers, sparse rulebooks, deformable convolutions."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from kd3d import compat
from kd3d.core.run import run_heads
from kd3d.evaluation.efficiency import layer_macs, multiply_accumulates, site_pairs
from kd3d.models.source import build_detector
from tests.models import families


def prepared(name):
    torch.manual_seed(0)
    model = build_detector(families.small(name)).eval()
    return model, model.data_preprocessor(families.batch(name, samples=1), False)


@pytest.mark.parametrize("name", ["pointpillars", "pointpillars-fpn"])
def test_a_dense_network_counts_as_torch_counts_it(name):
    model, batch = prepared(name)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run_heads(model, batch["inputs"], batch["data_samples"])
    macs = layer_macs(model, batch)
    assert "" not in macs
    assert 2 * sum(macs.values()) == counter.get_total_flops()
    assert multiply_accumulates(model, batch) == sum(macs.values())


def test_sparse_layers_count_the_pairs_of_spconvs_rulebook():
    """spconv's native rulebook holds half the pairs of a submanifold layer, without the centre."""
    model, batch = prepared("second")
    seen = {}

    def keep(module, inputs, output):
        rulebook = output.find_indice_pair(module.indice_key).indice_pair_num.sum().item()
        sites = len(inputs[0].indices)
        pairs = 2 * rulebook + sites if module.subm else rulebook
        seen[module] = pairs * module.in_channels * module.out_channels

    sparse = {k: m for k, m in model.named_modules() if hasattr(m, "indice_key")}
    for module in sparse.values():
        module.register_forward_hook(keep)
    macs = layer_macs(model, batch)
    assert len(sparse) == 12
    assert {k: macs[k] for k in sparse} == {k: seen[m] for k, m in sparse.items()}


@pytest.mark.parametrize("subm", [True, False])
def test_site_pairs_equal_a_dense_convolution_of_the_occupancy(subm):
    from spconv.pytorch import SparseConv3d, SparseConvTensor, SubMConv3d

    torch.manual_seed(0)
    shape = (5, 8, 6)
    occupied = torch.rand((2, 1, *shape)) < 0.2
    sites = torch.nonzero(occupied[:, 0]).int().contiguous()
    layer = (
        SubMConv3d(3, 4, 3, indice_key="a")
        if subm
        else SparseConv3d(3, 4, (3, 1, 3), stride=(2, 1, 2), padding=(1, 0, 1))
    )
    compat.use_available_device(layer)
    inputs = SparseConvTensor(torch.randn(len(sites), 3), sites, shape, 2)
    output = layer(inputs)
    ones = torch.ones((1, 1, *layer.kernel_size))
    stride, padding = (1, 1) if subm else (tuple(layer.stride), tuple(layer.padding))
    touched = torch.nn.functional.conv3d(occupied.float(), ones, stride=stride, padding=padding)
    if subm:
        touched = touched * occupied
    pairs = site_pairs(layer, inputs.indices, output.indices, list(shape))
    assert pairs == int(touched.sum()) > 0


def test_a_deformable_layer_counts_as_a_plain_one():
    model, batch = prepared("centerpoint-dcn")
    macs = layer_macs(model, batch)
    name = "pts_bbox_head.task_heads.0.feature_adapt_cls"
    cells = 8 * 12  # the head's map: a stride of 4
    assert macs[name] == cells * 64 * 64 * 9 // 4  # four groups
    assert macs[f"{name}.conv_offset"] == cells * 64 * 18 * 9
