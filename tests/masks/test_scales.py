"""FGD's weights of objects and background."""

import torch

from kd3d.masks.boxes import box_mask
from kd3d.masks.scales import scale_masks, upright_scale_masks

EXTENT, SHAPE = (0.0, -4.0, 12.0, 4.0), (16, 24)  # cells of 0.5 m


def boxes(*rows):
    return torch.tensor([[x, y, 0.0, dx, dy, 1.5, yaw] for x, y, dx, dy, yaw in rows])


def test_every_object_weighs_one_whatever_its_size():
    batch = [boxes((3, 0, 3.9, 1.6, 0.5), (9, 2, 0.2, 0.2, 0.0)), torch.zeros(0, 7)]
    foreground, background = scale_masks(batch, EXTENT, SHAPE)
    assert foreground.shape == background.shape == (2, 1, *SHAPE)
    for box in batch[0]:
        region = box_mask([box[None]], EXTENT, SHAPE, 0.25)[0]
        torch.testing.assert_close((foreground[0] * region).sum(), torch.tensor(1.0))
    assert foreground[1].sum() == 0
    torch.testing.assert_close(background.sum((1, 2, 3)), torch.ones(2))
    assert not (foreground * background).any()
    torch.testing.assert_close(background[1], torch.full((1, *SHAPE), 1 / (16 * 24)))


def test_the_smaller_object_decides_where_two_overlap():
    large, small = (6, 0, 6, 4, 0), (6, 0, 1, 1, 0)
    together, _ = scale_masks([boxes(large, small)], EXTENT, SHAPE)
    alone = [scale_masks([boxes(b)], EXTENT, SHAPE)[0] for b in (large, small)]
    torch.testing.assert_close(together, torch.maximum(*alone))


def test_an_object_over_everything_leaves_no_background():
    for make in (scale_masks, upright_scale_masks):
        _, background = make([boxes((6, 0, 30, 30, 0))], EXTENT, SHAPE)
        assert background.sum() == 0


def test_upright_rectangles_go_around_the_rotated_box():
    quarter = torch.pi / 2
    turned, _ = upright_scale_masks([boxes((6, 0, 4, 2, quarter))], EXTENT, SHAPE)
    plain, _ = upright_scale_masks([boxes((6, 0, 2, 4, 0))], EXTENT, SHAPE)
    assert torch.equal(turned > 0, plain > 0)
    # x 5..7 m are cells 10..14, y -2..2 m cells 4..12, both ends included
    rows, columns = plain[0, 0].nonzero().unbind(1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 12, 10, 14)
    assert plain.sum().item() == 1.0 or abs(plain.sum().item() - 1) < 1e-6
