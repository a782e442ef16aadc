"""A student cut out of a teacher computes what the teacher's kept channels computed."""

import pytest
import torch

from kd3d.core.probe import made_up
from kd3d.core.run import run_heads
from kd3d.models.inherit.kinds import FNAV2, BNScale, FilterNorm
from kd3d.models.inherit.parts import declare
from kd3d.models.kernels import canonical
from kd3d.models.shrink import shrink_model
from kd3d.models.source import build_detector
from tests import toy
from tests.models.inheriting import DETECTORS, inherit, trained
from tests.models.sparse import second

KINDS = {"FNAV2": FNAV2, "BN_SCALE": BNScale, "OFA": FilterNorm}


@torch.no_grad()
def heads(model, seed=0):
    """Every tensor that the heads predict on made-up points."""
    batch = made_up(model)
    noise = torch.Generator().manual_seed(seed)
    points = batch["inputs"]["points"][0]
    points[:, 3:] = torch.rand(points[:, 3:].shape, generator=noise)
    data = model.eval().data_preprocessor(batch, False)
    return list(tensors(run_heads(model, data["inputs"], data["data_samples"])))


def tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for key in sorted(value):
            yield from tensors(value[key])
    else:
        for item in value:
            yield from tensors(item)


def kill_channels(teacher, student, kind, seed=1):
    """Set to 0 as many output channels of each of the teacher's layers as the student lacks."""
    torch.manual_seed(seed)
    state, small = teacher.state_dict(), declare(student)
    dead = {}
    for name, layer in declare(teacher).items():
        if layer.joins is not None:
            dead[name] = dead[layer.joins]
        elif name not in small or layer.final:
            dead[name] = torch.arange(0)
        else:
            order = torch.arange(layer.width)
            order = order if kind == "FNAV2" else torch.randperm(layer.width)
            dead[name] = order[small[name].width :]
        canonical(state[f"{layer.key}.weight"], layer.layout)[dead[name]] = 0
        for key in layer.keys(state):
            if state[key].ndim == 1 and not key.endswith("running_var"):
                state[key][dead[name]] = 0
    return dead


def make_identities(teacher, student):
    """Layers of the teacher's stages that the student lacks hand on what they read."""
    state, small = teacher.state_dict(), declare(student)
    for name, layer in declare(teacher).items():
        if name not in small:
            torch.nn.init.dirac_(state[f"{layer.key}.weight"])
            for key, value in (("bias", 0), ("running_mean", 0), ("weight", 1)):
                state[f"{layer.norm}.{key}"].fill_(value)
            state[f"{layer.norm}.running_var"].fill_(1 - 1e-3)  # their eps


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", DETECTORS)
def test_without_dead_channels_and_idle_layers_the_output_is_the_same(family, kind):
    """Half the width and fewer layers; the c * D + d order of height planes included."""
    config = DETECTORS[family](width=0.25, depth=0.6)
    teacher = trained(config)
    student = trained(shrink_model(config, width=0.5, depth=0.5), seed=5)
    assert len(declare(student)) < len(declare(teacher))
    make_identities(teacher, student)
    kill_channels(teacher, student, kind)
    alive = heads(teacher)
    assert not any(torch.allclose(a, b, atol=1e-3) for a, b in zip(alive, heads(student)))
    found = inherit(KINDS[kind], student, teacher)
    assert set(found.tensors) == set(student.state_dict())
    for mine, theirs in zip(heads(student), alive, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "family, kind", [*((family, "OFA") for family in DETECTORS), ("second", "BN_SCALE")]
)
def test_equal_width_and_depth_give_the_teacher_itself(family, kind):
    config = DETECTORS[family]()
    teacher, student = trained(config), trained(config, seed=5)
    inherit(KINDS[kind], student, teacher)
    mine, theirs = student.state_dict(), teacher.state_dict()
    assert not [key for key, value in theirs.items() if not torch.equal(mine[key], value)]
    for a, b in zip(heads(student), heads(teacher), strict=True):
        assert torch.equal(a, b)


def test_official_parity_reads_other_channels_behind_a_narrower_sparse_encoder():
    config = second()
    teacher, student = trained(config), build_detector(shrink_model(config, width=0.5))
    kill_channels(teacher, student, "FNAV2")
    inherit(FNAV2, student, teacher, official_parity=True)
    assert not any(torch.allclose(a, b, atol=1e-3) for a, b in zip(heads(student), heads(teacher)))


@pytest.mark.parametrize("family", DETECTORS)
def test_leading_channels_equal_a_naive_reference(family):
    """Only what is read from a concatenation is not one leading block."""
    config = DETECTORS[family](width=0.25)
    teacher, student = trained(config), build_detector(shrink_model(config, width=0.5))
    inherit(FNAV2, student, teacher)
    concatenated = ("bbox_head.conv_", "shared_conv.conv.weight", "pfn_layers.1.linear")
    for key, value in student.state_dict().items():
        theirs = teacher.state_dict()[key]
        if any(part in key for part in concatenated) and key.endswith("weight"):
            blocks = 3 if family not in ("second", "centerpoint_voxel") else 2
            blocks = 2 if "pfn" in key else blocks
            small, wide = value.shape[1] // blocks, theirs.shape[1] // blocks
            columns = [b * wide + c for b in range(blocks) for c in range(small)]
            theirs = torch.stack([theirs[:, column] for column in columns], 1)
        expected = torch.empty_like(value)
        for place in (
            torch.cartesian_prod(*map(torch.arange, value.shape[:2])).reshape(
                -1, min(value.ndim, 2)
            )
            if value.ndim
            else [torch.empty(0, dtype=torch.long)]
        ):
            index = tuple(place.tolist())
            cut = tuple(slice(size) for size in value.shape[2:])
            expected[index] = theirs[index][cut] if cut else theirs[index]
        assert torch.equal(value, expected), key


def test_ranked_channels_equal_a_naive_reference():
    """Filters over the inputs that stay, by loops, with the wiring written down."""
    config = toy.pointpillars(width=0.25)
    teacher, student = trained(config), build_detector(shrink_model(config, width=0.5))
    inherit(FilterNorm, student, teacher)
    mine, theirs = student.state_dict(), teacher.state_dict()
    wiring = {  # layer -> what it reads
        "voxel_encoder.pfn_layers.0.linear": [],
        "backbone.blocks.0.0": ["voxel_encoder.pfn_layers.0.linear"],
        "backbone.blocks.0.3": ["backbone.blocks.0.0"],
        "backbone.blocks.1.0": ["backbone.blocks.0.3"],
        "backbone.blocks.1.3": ["backbone.blocks.1.0"],
        "backbone.blocks.1.6": ["backbone.blocks.1.3"],
        "backbone.blocks.2.0": ["backbone.blocks.1.6"],
        "backbone.blocks.2.3": ["backbone.blocks.2.0"],
        "backbone.blocks.2.6": ["backbone.blocks.2.3"],
        "neck.deblocks.0.0": ["backbone.blocks.0.3"],
        "neck.deblocks.1.0": ["backbone.blocks.1.6"],
        "neck.deblocks.2.0": ["backbone.blocks.2.6"],
        "bbox_head.conv_cls": [f"neck.deblocks.{i}.0" for i in range(3)],
    }
    kept = {}
    for name, producers in wiring.items():
        weight, narrow = theirs[f"{name}.weight"], mine[f"{name}.weight"]
        if "deblocks" in name:
            weight, narrow = weight.transpose(0, 1), narrow.transpose(0, 1)
        inputs, start = [], 0
        for producer in producers:
            inputs += [start + channel for channel in kept[producer]]
            start += 32 if "neck" in producer else 0
        inputs = inputs or list(range(weight.shape[1]))
        if name == "bbox_head.conv_cls":
            outputs = list(range(weight.shape[0]))
        else:
            norms = [
                (sum(w[i].abs().sum().item() for i in inputs), -o) for o, w in enumerate(weight)
            ]
            best = sorted(norms, reverse=True)[: narrow.shape[0]]
            outputs = sorted(-place for _, place in best)
        kept[name] = outputs
        for o, wide in enumerate(outputs):
            for i, column in enumerate(inputs):
                assert torch.equal(narrow[o, i], weight[wide, column]), name
        *start, place = name.split(".")
        norm = (
            ".".join(start + (["norm"] if place == "linear" else [str(int(place) + 1)]))
            if (place != "conv_cls")
            else None
        )
        for entry in ("weight", "bias", "running_mean", "running_var") if norm else ():
            pairs = zip(mine[f"{norm}.{entry}"].tolist(), outputs, strict=True)
            assert all(value == theirs[f"{norm}.{entry}"][wide].item() for value, wide in pairs)
