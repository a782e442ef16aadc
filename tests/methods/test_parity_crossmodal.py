"""itKD, CRKD and RadarDistill against the authors' own numbers: values and gradients, rtol 1e-4."""

import pytest
import torch
from torch import nn

from kd3d.core.context import Context
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.engine.register import register_all
from kd3d.masks.activity import proposal_regions
from kd3d.masks.enlarged import enlarged_boxes, rectangle_mask
from tests.methods.test_parity import close, load

register_all()


def make(method, name, student, teacher, watched=None, **options):
    """Return the term of that name, published form, built for two specs."""
    configs = METHODS.get(method)(official_parity=True, **options)
    (config,) = [one for one in configs if one["name"] == name]
    term = TERMS.get(config.pop("type"))(**config)
    term.further_specs = {"student:head": watched}
    term.build(student, teacher)
    return term


def bev(feature, layout="map", maps=()):
    """The spec of a map whose cells are 1 m."""
    height, width = feature.shape[2:]
    extent = (0.0, 0.0, float(width), float(height))
    return FeatureSpec(feature.shape[1], layout, (height, width), extent, maps)


def check(term, student, teacher, loss, grad, context=None):
    """Compare a term's weighted value, and its gradient on the student's map."""
    empty = Context([torch.zeros(0, 7)] * len(student), [], {}, 0.0)
    value = term(student, teacher, context or empty) * term.weight
    close(value, loss)
    value.backward()
    torch.testing.assert_close(student.grad, grad, rtol=1e-4, atol=1e-8)


def objects(data, width):
    """A box in the middle of each object's cell, and its label 0."""
    boxes = []
    for index, mask in zip(data["ind"], data["mask"]):
        index = index[mask > 0]
        box = torch.ones(len(index), 7)
        box[:, 0], box[:, 1] = index % width + 0.5, index // width + 0.5
        boxes.append(box)
    return Context(boxes, [torch.zeros(len(box)).long() for box in boxes], {}, 0.0)


def test_itkd_interchange_equals_the_authors_code():
    data = load("itkd_tsencoder")
    student, teacher = data["student_feature"].requires_grad_(), data["teacher_feature"]
    options = dict(weight=1.0, code=4, slots=5)
    term = make("itkd", "interchange", bev(student), bev(teacher), **options)
    parts = {"us_student": term.interchange.lift}
    for name, coder in (("downsample", "encoder"), ("upsample", "decoder")):
        parts |= {f"{name}.{i}": getattr(term.interchange, coder)[i] for i in (0, 2, 4)}
    for name, layer in parts.items():
        layer.load_state_dict({k: data[f"param.{name}.{k}"] for k in ("weight", "bias")})
    made = term.interchange(student, teacher)
    close(made.student_as_teacher, data["s_out"])
    close(made.teacher_as_student, data["t_decode"])
    grad = data["grad_student_feature"]
    check(term, student, teacher, data["loss"], grad, objects(data, student.shape[3]))


def test_itkd_attention_equals_the_authors_code():
    data = load("itkd_attention")
    split = {"heatmap": 3, "reg": 2, "height": 1, "dim": 3, "rot": 2}
    student, teacher = data["student_box"].requires_grad_(), data["teacher_box"]
    ours, theirs = (
        [[dict(zip(split, box.split(list(split.values()), 1)))]] for box in (student, teacher)
    )
    spec = bev(ours[0][0]["heatmap"], "center_head", (tuple(split.items()),))
    options = dict(attention=1.0, scores="logits", slots=5)
    term = make("itkd", "interchange_attention", spec, spec, **options)
    term.mix[0].weight.data = data["param.attn_weight.weight"][..., 0]
    term.mix[0].bias.data = data["param.attn_weight.bias"]
    value = term(ours, theirs, objects(data, student.shape[3]))
    close(value, data["loss"])
    value.backward()
    close(student.grad, data["grad_student_box"])


def test_csrd_equals_the_authors_code():
    data = load("crkd_csrd")
    student = data["radar_activation"].requires_grad_()
    teacher = [[{"heatmap": data[f"teacher_hm_{i}"]}] for i in range(6)]
    spec = bev(data["teacher_hm_0"], "center_head")
    term = make("crkd", "csrd", bev(student), spec, early="radar")
    term.calibration, term.activation = nn.Identity(), nn.Identity()
    check(term, student, teacher, data["loss"], data["grad_radar_activation"])


def test_msfd_equals_the_authors_code(monkeypatch):
    data = load("crkd_msfd_mask")
    boxes = [data[f"boxes_{i}"] for i in range(2)]
    mask = rectangle_mask(boxes, (20, 24), inner=False)
    assert torch.equal(mask[:, 0], data["mask"].float())
    student, teacher = data["student_feature"].requires_grad_(), data["teacher_feature"]
    term = make("crkd", "msfd", bev(student), bev(teacher), weights=dict(msfd=1.0))
    monkeypatch.setattr(term, "region", lambda *_: mask)
    check(term, student, teacher, data["loss"], data["grad_student_feature"])


def test_msfd_of_180_cells_equals_the_authors_code(monkeypatch):
    """The golden's features are stored in the cells of the mask, whose first axis is x."""
    data = load("crkd_msfd_clip180_cells")
    mask = rectangle_mask([data[f"boxes_{i}"] for i in range(2)], (180, 180))[:, 0]
    bits = data["mask"][:, None] >> torch.arange(7, -1, -1) & 1
    stored = bits.bool().view(2, 180, 180)
    assert torch.equal(mask.transpose(1, 2).bool(), stored)
    maps = {}
    for key in ("student_feature", "teacher_feature", "grad_student_feature"):
        maps[key] = torch.zeros(2, 180, 180, 2)
        maps[key][stored] = data[key]
        maps[key] = maps[key].permute(0, 3, 2, 1).contiguous()
    student, teacher, grad = maps.values()
    term = make("crkd", "msfd", bev(student), bev(teacher), weights=dict(msfd=1.0))
    monkeypatch.setattr(term, "region", lambda *_: mask[:, None])
    check(term, student.requires_grad_(), teacher, data["loss"], grad)


def test_boxes_grow_as_in_the_authors_code():
    data = load("crkd_msfd_scale_mask")
    boxes = data["boxes"]
    close(enlarged_boxes(boxes, boxes[:, 7:9], fixed=True), data["boxes_scaled"])


@pytest.mark.parametrize("name", ["crkd_reld_official_scales", "crkd_reld_noadapt_b1"])
def test_reld_equals_the_authors_code(name):
    data = load(name)
    student, teacher = data["student_feature"].requires_grad_(), data["teacher_feature"]
    adapted = "param.adapt_modules.0.conv_channel_layer.0.weight" in data
    scales = (32, 16, 8, 4) if adapted else (8, 4)
    term = TERMS.get("AffinityTerm")(
        "reld", "student:bev", "teacher:bev", 1.0, scales, adapted, official_parity=True
    )
    term.build(bev(student), bev(teacher))
    for i, pair in enumerate(term.pairs if adapted else []):
        start = f"param.adapt_modules.{i}.conv_channel_layer."
        pair.load_state_dict(
            {k[len(start) :]: value for k, value in data.items() if k.startswith(start)}
        )
    check(term, student, teacher, data["loss"], data["grad_student_feature"])


@pytest.mark.parametrize("half", [True, False])
def test_respd_equals_the_authors_code(half):
    data = load("crkd_respd" if half else "crkd_respd_double_sigmoid")
    names = ("heatmap", "reg", "height", "dim", "rot", "vel")
    leaves = {f"s{i}_{n}": data[f"s{i}_{n}"].requires_grad_() for i in range(2) for n in names}
    ours, theirs = (
        [[{n: data[f"{side}{i}_{n}"] for n in names}] for i in range(2)] for side in "st"
    )
    spec = bev(data["t0_heatmap"], "center_head")
    options = dict(velocity=True, task_weights=(2, 1), half_precision=half)
    term = make("crkd", "respd", spec, spec, **options)
    value = term(ours, theirs, Context([], [], {}, 0.0))
    close(value, data["loss"])
    value.backward()
    for name, leaf in leaves.items():
        close(leaf.grad, data[f"grad_{name}"])


def test_afd_equals_the_authors_code():
    data = load("radardistill_afd")
    student, teacher = data["radar_bev"].requires_grad_(), data["lidar_bev"]
    term = make("radardistill", "afd", bev(student), bev(teacher), low=1.0)
    loss = data["loss_feature"] + data["loss_mask"]
    check(term, student, teacher, loss, data["grad_radar_bev"])


def test_afd_is_finite_where_the_authors_is_not():
    data = load("radardistill_afd")
    student = data["radar_bev"].requires_grad_()
    teacher = student.detach() * 2  # no cell of the student is active alone
    term = make("radardistill", "afd", bev(student), bev(teacher), low=1.0)
    value = term(student, teacher, Context([torch.zeros(0, 7)] * 2, [], {}, 0.0))
    active = student.detach().sum(1) > 0
    both = 3e-4 * (student - teacher).square().sum(1)[active].sum() / 2
    close(value, both + (student.sum(1).sigmoid() - active.float()).abs().mean())
    value.backward()
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("name", ["radardistill_pfd", "radardistill_pfd_nogt_nofp"])
def test_pfd_equals_the_authors_code(name, monkeypatch):
    data = load(name)
    tasks = [data[f"radar_hm_{i}"] for i in range(2)]
    head = [[{"heatmap": heat}] for heat in tasks]
    truth = torch.cat([data["heatmap_0"], data["heatmap_1"]], 1).amax(1, keepdim=True)
    context = Context([torch.zeros(0, 7)] * 2, [], {}, 0.0, taps={"student:head": head})
    total = 0.0
    for level in ("", "2"):
        student, teacher = data[f"radar_bev{level}"].requires_grad_(), data[f"lidar_bev{level}"]
        spec = bev(tasks[0], "center_head")
        options = dict(high_taps=("bev", "bev_8x"), high=0.5)
        which = "pfd1" if level else "pfd"
        term = make("radardistill", which, bev(student), bev(teacher), spec, **options)
        monkeypatch.setattr(term, "truth", lambda *_: truth)
        total = total + term(student, teacher, context) * term.weight
    close(total, data["loss"])
    total.backward()
    for level in ("", "2"):
        ours = data[f"radar_bev{level}"].grad
        torch.testing.assert_close(ours, data[f"grad_radar_bev{level}"], rtol=1e-4, atol=1e-8)


def test_regions_of_proposals_exclude_each_other():
    truth = torch.tensor([[[[0.0, 0.05, 0.2, 1.0]]]])
    objects_, alarms = proposal_regions(truth, torch.tensor([[[[0.5, 0.05, 0.5, 0.0]]]]))
    assert objects_.flatten().tolist() == [0, 0, 1, 1]
    assert alarms.flatten().tolist() == [1, 0, 0, 0]
