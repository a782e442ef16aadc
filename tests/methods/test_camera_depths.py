"""Terms on what cameras' depths say: inner depth of objects, occupied voxels."""

import copy

import pytest
import torch

from kd3d.core.distiller import Distiller
from kd3d.engine.contract import kd_losses
from kd3d.engine.register import register_all
from kd3d.errors import UserError
from kd3d.masks.solid import gaussian_solid
from kd3d.models import tiny_bev
from kd3d.models.bev.cameras import Cameras
from kd3d.models.bev.frustum import pixel_frustum

register_all()


def distiller(method, teacher=None, **student):
    torch.manual_seed(0)
    given = dict(type="Frozen", model=teacher or tiny_bev.bevdet(), checkpoint=None)
    return Distiller(tiny_bev.bevdet() | student, dict(teacher=given), method)


def with_objects(objects=None):
    """A batch whose image cells belong to objects: quadrants 1 to 3 and no object."""
    data = tiny_bev.batch()
    for sample in data["data_samples"]:
        maps = torch.zeros(sample.gt_depth_maps.shape, dtype=torch.long)
        rows, columns = (n // 2 for n in maps.shape[1:])
        maps[:, :rows, :columns], maps[:, rows:, :columns], maps[:, rows:, columns:] = 1, 2, 3
        sample.gt_object_maps = maps if objects is None else maps * 0 + objects
    return data


INNER = dict(type="tigbev", weights=dict(points=None, channels=None), depth=1.0)


def test_inner_depth_against_a_loop_over_objects():
    model, data = distiller(INNER, tiny_bev.centerpoint()), with_objects()
    seen = []
    model.terms["depth"].register_forward_pre_hook(lambda _, args: seen.append(args))
    (value,) = kd_losses(model, data).values()
    logits = seen[0][0].detach()
    view = model.student.view_transform
    depths = (logits.softmax(1) * view.bins.values()[:, None, None]).sum(1)
    errors = []
    measured = torch.cat([s.gt_depth_maps for s in data["data_samples"]])
    objects = torch.cat([s.gt_object_maps for s in data["data_samples"]])
    for own, real, index in zip(depths, measured, objects):
        for which in (1, 2, 3):
            cells = (index == which) & (real >= 1.0) & (real < 41.0)
            if cells.any():
                z, d = own[cells], real[cells]
                best = (z - d).abs().argmin()
                errors += ((z - z[best]) - (d - d[best])).square().tolist()
    assert len(errors) > 50
    assert value.item() == pytest.approx(sum(errors) / len(errors), rel=1e-4)
    value.backward()
    assert model.student.img_depth_net.conv.weight.grad[: view.bins.count].any()


def test_inner_depth_without_objects_is_zero_and_attached():
    model = distiller(INNER)
    (value,) = kd_losses(model, with_objects(0)).values()
    value.backward()
    assert value == 0
    assert not model.student.img_depth_net.conv.weight.grad.any()


def test_inner_depth_refuses_what_says_no_depths():
    with pytest.raises(UserError, match="the samples have no gt_object_maps"):
        kd_losses(distiller(INNER), tiny_bev.batch())
    data = with_objects()
    for sample in data["data_samples"]:
        for key in ("gt_depth_maps", "gt_object_maps"):
            sample.set_data({key: sample.get(key)[:, ::2]})
    with pytest.raises(UserError, match="give DepthMaps the stride"):
        kd_losses(distiller(INNER, depth_loss=None), data)
    given = dict(type="Frozen", model=tiny_bev.centerpoint(), checkpoint=None)
    with pytest.raises(UserError, match="no tap 'depth'"):
        Distiller(tiny_bev.centerpoint(), dict(teacher=given), INNER)


OCCUPANCY = dict(type="vcd", weight=0.0, occupancy=1.0)


def other_bins():
    """A teacher whose bins are longer and reach less far."""
    model = copy.deepcopy(tiny_bev.bevdet())
    model["view_transform"]["depth"] = [2.0, 32.0, 1.5]
    return model


def voxels(view, logits, metas):
    """Sum probabilities point by point; (B, 8, 112, 160)."""
    frustum = pixel_frustum(view.bins, tuple(logits.shape[2:]), tiny_bev.IMAGE)
    points = Cameras.of(metas).lift(frustum).flatten(2, 4)
    share = logits.softmax(1).view(len(metas), tiny_bev.CAMERAS, -1)
    filled = torch.zeros(len(metas), 8, 112, 160)
    low, edge = torch.tensor(tiny_bev.RANGE[:3]), torch.tensor([0.4, 0.4, 1.0])
    for i in range(len(metas)):
        for place, p in zip(points[i].flatten(0, 1), share[i].flatten()):
            x, y, z = ((place - low) / edge).floor().int().tolist()
            if 0 <= x < 160 and 0 <= y < 112 and 0 <= z < 8:
                filled[i, z, y, x] += p
    return filled


def test_occupancy_of_models_with_other_bins_against_a_loop_over_points():
    model, data = distiller(OCCUPANCY, other_bins()), tiny_bev.batch(samples=1)
    term, seen = model.terms["occupancy"], []
    term.register_forward_pre_hook(lambda _, args: seen.append(args))
    value = kd_losses(model, data)["kd.occupancy.loss"]
    metas = [sample.metainfo for sample in data["data_samples"]]
    ours, theirs = (
        voxels(one.view_transform, logits.detach(), metas)
        for one, logits in zip((model.student, model.teachers["teacher"].model), seen[0])
    )
    boxes = [s.gt_instances_3d.bboxes_3d.tensor[:, :7] for s in data["data_samples"]]
    extent = (*tiny_bev.RANGE[:2], *tiny_bev.RANGE[3:5])
    mask = gaussian_solid(boxes, extent, (-5.0, 3.0), (8, 112, 160))
    wanted = (mask * (ours.sigmoid() - theirs.sigmoid()).abs()).sum() / mask.sum()
    assert value.item() == pytest.approx(wanted.item(), rel=1e-3)
    assert value > 0
    value.backward()
    bins = model.student.view_transform.bins.count
    assert model.student.img_depth_net.conv.weight.grad[:bins].any()


def test_occupancy_is_zero_for_an_equal_student_and_without_objects():
    model = distiller(OCCUPANCY)
    model.teachers["teacher"].model.load_state_dict(model.student.state_dict())
    model.student.eval()
    batch = model.data_preprocessor(tiny_bev.batch(), True)
    assert model(**batch, mode="loss")["kd.occupancy.loss"] < 1e-6
    apart = distiller(OCCUPANCY, other_bins())
    assert kd_losses(apart, tiny_bev.batch(boxes=0))["kd.occupancy.loss"] == 0


def test_occupancy_needs_two_models_that_lift():
    with pytest.raises(UserError, match="no tap 'depth'"):
        distiller(OCCUPANCY, tiny_bev.centerpoint())


@pytest.mark.parametrize("method", [INNER, OCCUPANCY])
def test_the_loss_falls_on_one_batch_and_the_teacher_stays(method):
    model, data = distiller(method, other_bins()), with_objects()
    teacher = model.teachers["teacher"].model
    before = copy.deepcopy(teacher.state_dict())
    optimizer = torch.optim.Adam(model.student.parameters(), lr=3e-3)
    values = []
    for _ in range(12):
        loss = sum(kd_losses(model, data).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.9 * values[0], values
    assert all(p.grad is None for p in teacher.parameters())
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
