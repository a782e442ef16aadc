"""Where a term pulls: inside its mask, nowhere else, and nothing is trained."""

import torch

from kd3d.engine.contract import build, data_of
from kd3d.engine.register import register_all
from kd3d.inspection.focus import focus
from kd3d.masks.boxes import box_mask

register_all()
PAIR, MASK = "centerpoint", dict(type="box")


def test_a_box_mask_is_where_its_term_pulls():
    distiller = build(dict(type="fitnets", mask=MASK, weight=2.0), PAIR)
    found = focus(distiller, data_of(PAIR))
    (name,) = found.maps
    spec = distiller.terms[name].spec
    inside = box_mask(found.boxes, spec.extent_m, spec.shape)[:, 0] > 0
    assert 0 < inside.sum() < inside.numel() / 4
    assert torch.equal(found.maps[name] > 0, inside)
    assert all(p.grad is None for p in distiller.parameters())
    assert distiller.monitor is None


def test_the_map_is_the_gradient_of_the_weighted_loss():
    """Twice the weight is twice the pull; a head's maps are taken together."""
    data = data_of(PAIR)
    maps = [
        focus(build(dict(type="response", scores=w, boxes=None), PAIR), data).maps
        for w in (1.0, 2.0)
    ]
    for name in maps[0]:
        assert maps[0][name].dim() == 3
        torch.testing.assert_close(2 * maps[0][name], maps[1][name])
