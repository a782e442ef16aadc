"""Logit and contrastive losses against naive loops, with gradient checks and edge cases."""

import math

import pytest
import torch

from kd3d.losses.box.distribution import box_distribution_kl, yaw_as_vector
from kd3d.losses.contrastive.info_nce import info_nce
from kd3d.losses.contrastive.noise_contrast import noise_contrast, pair_scores
from kd3d.losses.feature.align_scale import align_scale
from kd3d.losses.feature.variational import gaussian_nll
from kd3d.losses.logit.class_rows import box_rows, class_rows, row_targets, with_background
from kd3d.losses.logit.correlation import pearson_distance
from kd3d.losses.logit.mimicking import class_mimicking
from kd3d.losses.logit.soft_labels import sigmoid_kl, softmax_kl
from kd3d.losses.logit.target_class import decoupled_kl, normalised_kd, weighted_soft_label
from tests.losses.test_losses import rand

TARGET = torch.tensor([[0, 2, 3], [1, 1, 0]])


def softmax(row, tau=1.0):
    powers = [math.exp(x / tau) for x in row]
    return [p / sum(powers) for p in powers]


def kl(q, p):
    return sum(a * math.log(a / b) for a, b in zip(q, p))


def rest(row, y):
    return [x for c, x in enumerate(row) if c != y]


def naive_softmax(s, t, y, tau=2.0):
    return tau**2 * kl(softmax(t, tau), softmax(s, tau))


def naive_sigmoid(s, t, y, tau=2.0):
    pairs = [[1 / (1 + math.exp(-x / tau)) for x in pair] for pair in zip(s, t)]
    return tau**2 * sum(kl([b, 1 - b], [a, 1 - a]) for a, b in pairs)


def naive_decoupled(s, t, y, tau=4.0):
    p, q = softmax(s, tau)[y], softmax(t, tau)[y]
    others = kl(softmax(rest(t, y), tau), softmax(rest(s, y), tau))
    return tau**2 * (kl([q, 1 - q], [p, 1 - p]) + 8 * others)


def naive_normalised(s, t, y, tau=1.5):
    others = kl(softmax(rest(t, y), tau), softmax(rest(s, y), tau))
    return -softmax(t)[y] * math.log(softmax(s)[y]) + 1.5 * tau**2 * others


def naive_weighted(s, t, y, tau=2.0):
    ratio = math.log(softmax(s)[y]) / math.log(softmax(t)[y])
    return (1 - math.exp(-ratio)) * naive_softmax(s, t, y, tau)


def naive_pearson(s, t, y):
    a, b = ([x - sum(r) / len(r) for x in r] for r in (s, t))
    dot = sum(x * z for x, z in zip(a, b))
    return 1 - dot / math.sqrt(sum(x * x for x in a) * sum(x * x for x in b))


def naive_boxes(s, t, y, sigma=0.25):
    total = 0.0
    for a, b in zip(s, t):
        bins = [k / 8 - 1 for k in range(17)]
        p = softmax([-((a - b - c) ** 2) / (2 * sigma**2) for c in bins])
        q = softmax([-(c**2) / (2 * sigma**2) for c in bins])
        total += kl(q, p)
    return total / len(s)


ROWS = {
    "softmax": (lambda s, t: softmax_kl(s, t, 2.0), naive_softmax),
    "sigmoid": (lambda s, t: sigmoid_kl(s, t, 2.0).sum(-1), naive_sigmoid),
    "decoupled": (lambda s, t: decoupled_kl(s, t, TARGET), naive_decoupled),
    "normalised": (lambda s, t: normalised_kd(s, t, TARGET, 1.5), naive_normalised),
    "weighted": (lambda s, t: weighted_soft_label(s, t, TARGET, eps=0.0), naive_weighted),
    "pearson": (pearson_distance, naive_pearson),
    "boxes": (box_distribution_kl, naive_boxes),
}


@pytest.mark.parametrize("name", ROWS)
def test_row_loss_equals_a_naive_loop(name):
    function, naive = ROWS[name]
    student, teacher = rand(2, 3, 4), rand(2, 3, 4, seed=1)
    value = function(student, teacher)
    for b in range(2):
        for i in range(3):
            want = naive(student[b, i].tolist(), teacher[b, i].tolist(), int(TARGET[b, i]))
            assert value[b, i].item() == pytest.approx(want, rel=1e-9)
    if name != "weighted":  # whose weight is a constant although it depends on the student
        assert torch.autograd.gradcheck(lambda s: function(s, teacher), student.requires_grad_())


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_row_loss_is_float32_and_finite_for_half_and_extreme_inputs(name, dtype):
    function, _ = ROWS[name]
    if name == "weighted":
        function = lambda s, t: weighted_soft_label(s, t, TARGET)  # noqa: E731
    for scale in (1.0, 0.0, 100.0):
        student = (scale * rand(2, 3, 4)).to(dtype).requires_grad_()
        teacher = (-scale * rand(2, 3, 4, seed=1)).to(dtype)
        value = function(student, teacher)
        assert value.dtype == torch.float32
        value.sum().backward()
        assert torch.isfinite(value).all()
        assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("name", [name for name in ROWS if name != "normalised"])
def test_row_loss_is_zero_for_equal_rows(name):
    rows = rand(2, 3, 4)
    assert ROWS[name][0](rows, rows).abs().max() < 1e-12


def test_entropy_changes_the_value_and_not_the_gradient():
    teacher = rand(2, 3, 4, seed=1)
    for function in (normalised_kd, weighted_soft_label):
        grads, values = [], []
        for entropy in (False, True):
            student = rand(2, 3, 4).requires_grad_()
            value = function(student, teacher, TARGET, entropy=entropy).sum()
            value.backward()
            values.append(value.item())
            grads.append(student.grad)
        assert values[1] > values[0] + 0.1
        torch.testing.assert_close(*grads)


def test_weights_of_a_correlation_act_as_repetition():
    s, t = rand(3, 4), rand(3, 4, seed=1)
    repeats = torch.tensor([2, 1, 0, 3])
    many = pearson_distance(s.repeat_interleave(repeats, 1), t.repeat_interleave(repeats, 1))
    torch.testing.assert_close(pearson_distance(s, t, repeats), many)


def test_contrast_equals_a_naive_loop():
    student, teacher = rand(4, 3), rand(4, 3, seed=1)
    dots = [[sum(a * b for a, b in zip(s, t)) for t in teacher.tolist()] for s in student.tolist()]
    value = info_nce(student, teacher, 0.5)
    for i, row in enumerate(dots):
        assert value[i].item() == pytest.approx(-math.log(softmax(row, 0.5)[i]), rel=1e-9)
    candidates = teacher[(torch.arange(4)[:, None] + torch.arange(4)) % 4]
    noisy = noise_contrast(pair_scores(student, candidates, 0.5), 10, eps=0.0)
    for i, row in enumerate(dots):
        h = [math.exp(d / 0.5) for d in row]
        want = -math.log(h[i] / (h[i] + 0.3))
        want -= sum(math.log(0.3 / (x + 0.3)) for k, x in enumerate(h) if k != i)
        assert noisy[i].item() == pytest.approx(want, rel=1e-6)
    assert torch.autograd.gradcheck(
        info_nce, (student.requires_grad_(), teacher.requires_grad_(), 0.5)
    )
    assert torch.isfinite(info_nce(student.bfloat16(), teacher.bfloat16())).all()


def test_gaussian_likelihood_equals_a_naive_loop():
    student, teacher, variance = rand(2, 3, 2, 4), rand(2, 3, 2, 4, seed=1), rand(3, seed=2).exp()
    value = gaussian_nll(student, teacher, variance)
    want = sum(
        ((teacher[1, c, 1, 2] - student[1, c, 1, 2]) ** 2 / variance[c] + variance[c].log()) / 6
        for c in range(3)
    )
    torch.testing.assert_close(value[1, 1, 2], want)
    inputs = (student.requires_grad_(), teacher, variance.requires_grad_())
    assert torch.autograd.gradcheck(gaussian_nll, inputs)


def test_mimicking_sums_classes_and_divides_once():
    student, teacher = rand(2, 3, 4).requires_grad_(), rand(2, 3, 4, seed=1)
    weight, total = rand(2, 3, seed=2).abs(), torch.tensor(5.0).double()
    value = class_mimicking(student, teacher, weight, total)
    want = 0.0
    for b in range(2):
        for i in range(3):
            for x, y in zip(student[b, i].tolist(), teacher[b, i].tolist()):
                p, q = 1 / (1 + math.exp(-x)), 1 / (1 + math.exp(-y))
                entropy = -q * math.log(p) - (1 - q) * math.log(1 - p)
                want += weight[b, i].item() * abs(p - q) * entropy / 5
    assert value.item() == pytest.approx(want, rel=1e-9)
    assert torch.autograd.gradcheck(lambda s: class_mimicking(s, teacher, weight, total), student)


def test_aligned_feature_has_the_teachers_moments_and_survives_a_single_cell():
    student, teacher = rand(2, 3, 2, 4), 5 * rand(2, 3, 3, 5, seed=1) + 2
    out = align_scale(student, teacher)
    torch.testing.assert_close(out.mean((0, 2, 3)), teacher.mean((0, 2, 3)))
    torch.testing.assert_close(out.std((0, 2, 3)), teacher.std((0, 2, 3)), rtol=1e-4, atol=1e-6)
    assert torch.autograd.gradcheck(lambda s: align_scale(s, teacher), student.requires_grad_())
    single = rand(1, 3, 1, 1).requires_grad_()  # the authors' code: NaN
    align_scale(single, teacher[:1, :, :1, :1]).sum().backward()
    assert torch.isfinite(single.grad).all()


def test_opposite_headings_are_equal_boxes():
    residuals = rand(2, 5, 7)
    turned = residuals.clone()
    turned[..., 6] += math.pi
    torch.testing.assert_close(yaw_as_vector(turned), yaw_as_vector(residuals))


def test_rows_of_a_centre_head_are_cells():
    maps = {"heatmap": 2, "reg": 2, "height": 1, "dim": 3, "rot": 2}
    head = [[{k: rand(2, c, 3, 4, seed=task) for k, c in maps.items()}] for task in range(2)]
    rows = class_rows(head, "center_head")
    assert rows.shape == (2, 12, 4)
    assert rows[1, 4 + 2, 3] == head[1][0]["heatmap"][1, 1, 1, 2]
    boxes = box_rows(head, "center_head")
    assert boxes.shape == (2, 24, 8)
    assert boxes[1, 12 + 4 + 2, 7] == head[1][0]["rot"][1, 1, 1, 2]
    torch.testing.assert_close(
        with_background(rows[..., :1]).softmax(-1)[..., 0], rows[..., 0].sigmoid()
    )


def test_rows_of_an_anchor_head_are_anchors_and_have_their_own_class():
    head = [[rand(2, 6 * 3, 2, 4)], [rand(2, 6 * 7, 2, 4)], [rand(2, 6 * 2, 2, 4)]]
    rows = class_rows(head, "anchor_head")
    assert rows.shape == (2, 2 * 4 * 6, 3)
    assert rows[1, (1 * 4 + 2) * 6 + 5, 1] == head[0][0][1, 5 * 3 + 1, 1, 2]
    assert box_rows(head, "anchor_head").shape == (2, 48, 7)
    maps = torch.zeros(2, 3, 2, 4)
    maps[1, 1, 1, 2] = 1.0
    target = row_targets(maps, 48)
    assert (target[0] == 3).all()
    assert target[1].view(8, 6)[6].tolist() == [3, 3, 1, 1, 3, 3]  # two headings a class
    assert row_targets(maps, 8)[1].tolist() == [3] * 6 + [1, 3]
    assert row_targets(maps, 16)[1].tolist() == [3] * 12 + [1, 1, 3, 3]
