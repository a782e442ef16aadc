"""BEVDet and the fusion detector: train, predict, save, and serve distillation's taps."""

import copy

import numpy as np
import pytest
import torch
from mmdet3d.utils import register_all_modules
from mmengine.optim import OptimWrapper

from kd3d.core.distiller import Distiller
from kd3d.core.probe import probe
from kd3d.core.run import run_teacher
from kd3d.core.taps import TapSet, aliases
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.models import tiny_bev
from kd3d.models.source import build_detector

register_all_modules(init_default_scope=False)
register_all()
MODELS_MADE = {
    "bevdet": tiny_bev.bevdet,
    "bevdepth": lambda: aware(tiny_bev.bevdet()),
    "concat": lambda: tiny_bev.bevfusion(mode="concat"),
    "gated": tiny_bev.bevfusion,
}


def aware(model):
    net = model["img_depth_net"] | dict(type="CameraAwareDepthNet", mid_channels=16, blocks=1)
    return model | dict(img_depth_net=net)


def build(model):
    torch.manual_seed(0)
    detector = build_detector(model)
    detector.init_weights()
    return detector


def preprocessed(detector, training=False, **options):
    return detector.data_preprocessor(copy.deepcopy(tiny_bev.batch(**options)), training)


def test_pretrained_weights_that_cannot_be_fetched_are_told():
    address = "http://127.0.0.1:9/resnet18.pth"
    student = tiny_bev.bevdet()
    student["img_backbone"]["init_cfg"] = dict(type="Pretrained", checkpoint=address)
    distiller = Distiller(student=student)
    with pytest.raises(UserError, match=rf"model.student: .*{address} cannot be fetched.*init_cfg"):
        distiller.init_weights()


@pytest.mark.parametrize("name", MODELS_MADE)
def test_every_parameter_learns_and_the_losses_fall(name):
    detector = build(MODELS_MADE[name]())
    detector.train()
    batch = preprocessed(detector, True)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=3e-3)
    totals = []
    for step in range(6):
        losses = detector(**copy.deepcopy(batch), mode="loss")
        assert set(losses) == {"task0.loss_heatmap", "task0.loss_bbox", "loss_depth"}
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        if step == 0:
            idle = [n for n, p in detector.named_parameters() if p.grad is None]
            assert not idle
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.8 * totals[0]


@pytest.mark.parametrize("name", MODELS_MADE)
def test_predict_goes_through_the_stock_path(name):
    detector = build(MODELS_MADE[name]()).eval()
    batch = tiny_bev.batch(samples=1)
    with torch.no_grad():
        found = detector.test_step(copy.deepcopy(batch))
    assert found[0].pred_instances_3d.bboxes_3d.tensor.shape[1] == 9
    assert batch["inputs"]["img"][0].shape == (3, 3, 64, 128)


def test_a_sample_alone_and_in_a_batch_is_the_same():
    detector = build(tiny_bev.bevdet()).eval()
    batch = preprocessed(detector)
    one = preprocessed(detector, samples=1)
    metas = [sample.metainfo for sample in batch["data_samples"]]
    with torch.no_grad():
        both = detector.extract_feat(batch["inputs"], metas)[1][0]
        alone = detector.extract_feat(one["inputs"], metas[:1])[1][0]
    torch.testing.assert_close(both[:1], alone, rtol=1e-4, atol=1e-5)


def test_no_boxes_and_no_depths_give_finite_losses():
    detector = build(tiny_bev.bevdet())
    detector.train()
    batch = preprocessed(detector, True, boxes=0)
    for sample in batch["data_samples"]:
        sample.gt_depth_maps = torch.zeros_like(sample.gt_depth_maps)
    losses = detector(**batch, mode="loss")
    assert all(torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()


@pytest.mark.parametrize("name", MODELS_MADE)
def test_taps_know_their_metres(name):
    detector = build(MODELS_MADE[name]())
    wanted = ["bev_in", "bev", "head", "head_mid", "boxes", "image", "depth", "stages"]
    wanted += ["bev_lidar", "bev_camera"] if name in ("concat", "gated") else []
    assert set(wanted) - {"head_mid", "stages"} <= set(aliases(detector))
    taps = TapSet(detector, wanted)
    probe(detector, taps)
    extent = tuple(tiny_bev.RANGE[i] for i in (0, 1, 3, 4))
    for tap in ("bev_in", "bev", "head", "head_mid"):
        (spec,) = taps.specs[tap].each
        assert spec.shape == (28, 40), tap
        assert spec.extent_m == pytest.approx(extent), tap
    assert taps.specs["image"].layout == taps.specs["depth"].layout == "image"
    assert taps.specs["depth"].channels == 40
    if "bev_lidar" in wanted:
        assert taps.specs["bev_lidar"].shape == (56, 80)
    detector.eval()
    batch = preprocessed(detector)
    stopping = TapSet(detector, ["bev", "head", "boxes"], stop=True)
    values = run_teacher(detector, stopping, batch["inputs"], batch["data_samples"])
    assert values["bev"].shape == (2, 32, 28, 40)
    assert len(values["boxes"]) == 2


PAIRS = {
    "lidar": lambda: tiny_bev.centerpoint(),
    "fusion": lambda: tiny_bev.bevfusion(),
    "camera": lambda: tiny_bev.bevdet(32),
}


@pytest.mark.parametrize("teacher", PAIRS)
def test_it_learns_from_every_modality_and_its_checkpoint_is_its_own(teacher):
    distiller = Distiller(
        student=tiny_bev.bevdet(),
        teachers=dict(teacher=dict(type="Frozen", model=PAIRS[teacher](), checkpoint=None)),
        method=[dict(type="fitnets"), dict(type="response")],
    )
    distiller.init_weights()
    frozen = distiller.teachers["teacher"].model
    before = {name: buffer.clone() for name, buffer in frozen.named_buffers()}
    wrapper = OptimWrapper(torch.optim.SGD(distiller.parameters(), lr=1e-3))
    distiller.train()
    for seed in range(3):
        logs = distiller.train_step(tiny_bev.batch(seed=seed), wrapper)
        assert all(np.isfinite(float(value)) for value in logs.values())
    distilled = [value for key, value in logs.items() if key.startswith("kd.") and "loss" in key]
    assert len(distilled) > 1
    assert min(map(float, distilled)) > 0
    for name, buffer in frozen.named_buffers():
        assert torch.equal(buffer, before[name]), name
    stock = build_detector(tiny_bev.bevdet())
    state = {k: v for k, v in distiller.state_dict().items() if not k.startswith("kd.")}
    stock.load_state_dict(state, strict=True)


def test_bad_input_is_one_clear_line():
    with pytest.raises(UserError, match="unknown kind 'sigmoid'"):
        build_detector(tiny_bev.bevdet() | dict(depth_loss=dict(kind="sigmoid")))
    model = tiny_bev.bevdet()
    model["view_transform"]["x"] = [-25.6, 38.4, 1.7]
    with pytest.raises(UserError, match="no whole number of steps"):
        build_detector(model)
    model = tiny_bev.bevfusion()
    model["view_transform"]["x"] = [-24.0, 40.0, 1.6]
    with pytest.raises(UserError, match="the lifted map over"):
        build_detector(model)
    detector = build(tiny_bev.bevdet())
    batch = preprocessed(detector, True)
    for sample in batch["data_samples"]:
        del sample.gt_depth_maps
    with pytest.raises(UserError, match="no depth maps"):
        detector(**copy.deepcopy(batch), mode="loss")
    metas = [dict(sample.metainfo) for sample in batch["data_samples"]]
    del metas[0]["img_aug_matrix"]
    with pytest.raises(UserError, match="no img_aug_matrix"):
        detector.extract_feat(batch["inputs"], metas)


@pytest.fixture(scope="module")
def teacher_head():
    teacher = build_detector(dict(config="kd3d::_base_/models/centerpoint_pillar02_nus.py"))
    taps = TapSet(teacher, ["head"])
    probe(teacher, taps)
    return taps.specs["head"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "bevdet_r50_nus",
        "bevdepth_r50_nus",
        "bevdet_r18_nus",
        "bevdet_tiny_nus",
        "bevfusion_r50_nus",
    ],
)
def test_the_models_for_nuscenes_fit_their_teacher(name, teacher_head):
    detector = build_detector(dict(config=f"kd3d::_base_/models/{name}.py"))
    taps = TapSet(detector, ["head"])
    probe(detector, taps)
    assert taps.specs["head"].shape == (128, 128)
    assert taps.specs["head"].same_grid(teacher_head)
    assert taps.specs["head"].maps == teacher_head.maps
