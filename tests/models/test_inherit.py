"""A student cut out of a teacher computes what the teacher's kept channels computed."""

import copy

import pytest
import torch
from mmengine.registry import MODELS

from kd3d.core.probe import made_up
from kd3d.core.run import run_heads
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.models.inherit.graph import is_norm
from kd3d.models.inherit.kinds import FNAV2, BNScale, FilterNorm, HandOver, Prefix
from kd3d.models.inherit.parts import declare
from kd3d.models.kernels import canonical
from kd3d.models.shrink import shrink_model
from kd3d.models.source import build_detector
from tests import toy
from tests.models.sparse import centerpoint_voxel, second

register_all()
KINDS = {"FNAV2": FNAV2, "BN_SCALE": BNScale, "OFA": FilterNorm}


def two_layer_pillars(**shrink):
    """PointPillars whose second pillar layer reads [each point's features, their maximum]."""
    model = toy.pointpillars(**shrink)
    model["voxel_encoder"]["feat_channels"] = [24, *model["voxel_encoder"]["feat_channels"]]
    return model


DETECTORS = {
    "pointpillars": toy.pointpillars,
    "two_layer_pillars": two_layer_pillars,
    "second": second,
    "centerpoint_pillar": toy.centerpoint,
    "centerpoint_voxel": centerpoint_voxel,
}


class Given:
    """Stands for a frozen teacher with these weights."""

    trains = follows_student = False
    checkpoint = None

    def __init__(self, model):
        self.model = model


def inherit(kind, student, teacher, **arguments):
    found = kind(student, {"teacher": Given(teacher)}, **arguments)
    found.apply(student)
    return found


def trained(config, seed=0):
    """A detector in eval mode whose every tensor differs from its initial value."""
    torch.manual_seed(seed)
    model = build_detector(config)
    model.init_weights()
    with torch.no_grad():
        for module in model.modules():
            if is_norm(module):
                sign = torch.where(torch.rand_like(module.weight) < 0.2, -1.0, 1.0)
                module.weight.uniform_(0.5, 1.5).mul_(sign)
                module.bias.uniform_(-0.2, 0.5)
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
            elif getattr(module, "bias", None) is not None and module.bias.ndim == 1:
                module.bias.uniform_(-0.2, 0.2)
    return model.eval()


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


def test_parts_are_copied_and_the_rest_stays():
    config = toy.centerpoint(width=0.25)
    teacher, student = trained(config), trained(shrink_model(config, width=0.5), seed=5)
    before = copy.deepcopy(student.state_dict())
    found = inherit(FNAV2, student, teacher, parts=["neck", "bbox_head"])
    changed = {k for k, v in student.state_dict().items() if not torch.equal(v, before[k])}
    assert {key.split(".")[0] for key in changed} == {"pts_neck", "pts_bbox_head"}
    summary = found.summary(student)
    assert summary["parts"] == ["neck", "bbox_head"]
    assert 0 < summary["parameters"] < summary["of"]
    assert summary["channels"]["neck.deblocks.0.0"] == "8 of 16"


def test_another_voxel_size_changes_no_weight():
    config = toy.centerpoint()
    teacher, student = trained(config), build_detector(shrink_model(config, voxel_m=0.8))
    for kind in (FNAV2, HandOver):
        inherit(kind, student, teacher)
        for key, value in teacher.state_dict().items():
            assert torch.equal(student.state_dict()[key], value), key
        torch.nn.init.zeros_(student.pts_neck.deblocks[0][0].weight)


def test_handover_and_prefix_copy_tensors_as_they_are():
    """Between families the parts have the same names; a prefix names a branch."""
    teacher = trained(toy.pointpillars())
    wide = toy.centerpoint(depth=1.0)
    wide["pts_backbone"] = dict(copy.deepcopy(toy.pointpillars()["backbone"]))
    student = build_detector(wide)
    inherit(HandOver, student, teacher, parts=["backbone"])
    other = build_detector(wide)
    inherit(Prefix, other, teacher, prefix="pts_backbone.", teacher_prefix="backbone.")
    for key, value in teacher.backbone.state_dict().items():
        assert torch.equal(student.pts_backbone.state_dict()[key], value)
        assert torch.equal(other.pts_backbone.state_dict()[key], value)


def distiller(inherit, teachers=None, student=None):
    config = toy.centerpoint(width=0.5)
    teachers = teachers or dict(teacher=dict(checkpoint=None, model=config))
    student = student or shrink_model(config, width=0.5)
    return MODELS.build(dict(type="Distiller", student=student, teachers=teachers, inherit=inherit))


def test_the_distiller_inherits_after_its_initialisation():
    """The runner initialises after construction; the teacher is untouched; random state, too."""
    torch.manual_seed(3)
    model = distiller(dict(type="OFA"))
    model.init_weights()
    drawn = torch.rand(1)
    torch.manual_seed(3)
    plain = distiller(None)
    plain.init_weights()
    assert torch.equal(drawn, torch.rand(1))
    for key, value in model.inheritances[0].tensors.items():
        assert torch.equal(model.student.state_dict()[key], value), key
    first = "pts_backbone.blocks.0.0.weight"
    assert not torch.equal(model.student.state_dict()[first], plain.student.state_dict()[first])
    assert copy.deepcopy(model).inheritances[0] is model.inheritances[0]
    assert not [key for key in model.state_dict() if key.startswith("kd.inherit")]


def test_parts_from_several_teachers():
    wide = toy.centerpoint(width=0.5)
    members = dict(a=dict(checkpoint=None, model=wide), b=dict(checkpoint=None, model=wide))
    model = distiller(
        [
            dict(type="FNAV2", teacher="both/a", parts=["backbone"]),
            dict(type="FNAV2", teacher=dict(checkpoint=None, model=wide), parts=["neck"]),
        ],
        dict(both=dict(type="Ensemble", members=members)),
    )
    model.init_weights()
    theirs = model.teachers["both"].members["a"].model.pts_backbone.blocks[0][0].weight
    mine = model.student.pts_backbone.blocks[0][0].weight
    assert torch.equal(mine, theirs[: mine.shape[0], : mine.shape[1]])


@pytest.mark.parametrize(
    "inherit, teachers, message",
    [
        (dict(type="FNAV3"), None, "unknown kd3d inheritance 'FNAV3'"),
        (dict(type="FNAV2", teacher="techer"), None, "no teacher 'techer'.*'teacher'"),
        (dict(type="FNAV2", parts=["bakbone"]), None, "unknown part 'bakbone'.*'backbone'"),
        (dict(type="FNAV2", teacher="mean"), dict(mean=dict(type="EMA")), "no one set of trained"),
        (dict(type="FNAV2", teacher=dict(type="EMA")), None, "EMA"),
        ([dict(type="FNAV2"), dict(type="OFA", parts=["neck"])], None, "inherited twice"),
        (
            dict(type="handover"),
            None,
            r"is \(8,\) in the student, \(16,\) as voxel_encoder.* in the teacher",
        ),
        (dict(type="prefix", prefix="radar_"), None, r"no tensor radar_\*"),
    ],
)
def test_what_cannot_be_inherited_is_refused(inherit, teachers, message):
    with pytest.raises(UserError, match=message):
        distiller(inherit, teachers)


def deeper(mine, theirs):
    mine["pts_backbone"]["layer_nums"] = [9, 9, 9]


def wider(mine, theirs):
    mine["pts_neck"]["out_channels"] = [40, 40, 40]
    mine["pts_bbox_head"]["in_channels"] = 120


def other_classes(mine, theirs):
    mine["pts_bbox_head"]["tasks"] = [dict(num_class=2, class_names=["a", "b"])]


def other_points(mine, theirs):
    mine["pts_voxel_encoder"]["in_channels"] = 5


def other_kernels(mine, theirs):
    mine["pts_bbox_head"]["separate_head"]["final_kernel"] = 1


def group_norm(mine, theirs):
    for config in (mine, theirs):
        config["pts_neck"]["norm_cfg"] = dict(type="GN", num_groups=4)


def no_norm(mine, theirs):
    for config in (mine, theirs):
        config["pts_bbox_head"]["norm_cfg"] = None


def undeclared(mine, theirs):
    mine["pts_backbone"] = dict(
        type="mmdet.ResNet", depth=18, in_channels=8, num_stages=3, out_indices=(0, 1, 2),
        strides=(1, 2, 2), dilations=(1, 1, 1),
    )  # fmt: skip


@pytest.mark.parametrize(
    "change, message",
    [
        (deeper, r"no layer backbone.blocks.0.\d+, here \(8, 8, 3, 3\)"),
        (wider, r"deblocks.0.0.weight \(40, 8, 1, 1\).*\(32, 16, 1, 1\).*is wider"),
        (other_classes, r"heatmap.1.weight \(2, 8, 3, 3\).*\(3, 16, 3, 3\).*are not cut"),
        (other_points, r"linear.weight \(8, 11\).*\(16, 10\): raw inputs are not cut"),
        (other_kernels, r"\(8, 8, 1, 1\).*\(16, 16, 3, 3\): the kernels differ"),
        (group_norm, "pts_neck.deblocks.0.1 mixes the channels"),
        (no_norm, "no BatchNorm with weights follows pts_bbox_head.shared_conv.conv"),
        (undeclared, "pts_backbone is a ResNet, whose channels are not declared"),
    ],
)
def test_a_student_that_does_not_fit_is_refused_with_both_shapes(change, message):
    theirs = toy.centerpoint(width=0.5)
    mine = shrink_model(theirs, width=0.5)
    change(mine, theirs)
    with pytest.raises(UserError, match=message):
        inherit(BNScale, build_detector(mine), build_detector(theirs))


def test_a_frozen_teacher_of_its_own_is_released():
    found = FNAV2(
        build_detector(toy.centerpoint()),
        {},
        teacher=dict(checkpoint=None, model=toy.centerpoint(width=0.5)),
    )
    assert found.source.model is None
    assert found.tensors
