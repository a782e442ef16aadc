"""What a config says of inheriting: parts, whole tensors, prefixes, several teachers, refusals."""

import copy

import pytest
import torch
from mmengine.registry import MODELS

from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.models.inherit.kinds import FNAV2, BNScale, HandOver, Prefix
from kd3d.models.shrink import shrink_model
from kd3d.models.source import build_detector
from tests import toy
from tests.models.inheriting import inherit, trained

register_all()


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
