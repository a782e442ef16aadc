"""Linear CKA against the definition by Gram matrices and by sums over distinct indices."""

import itertools

import pytest
import torch

from kd3d.losses.similarity.cka import linear_cka


def rows(n, c, seed=0):
    return torch.randn((n, c), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive(s, t):
    """Kornblith et al., eq. 3 with HSIC of centred Gram matrices."""
    n = len(s)
    h = torch.eye(n, dtype=s.dtype) - 1 / n

    def hsic(a, b):
        return torch.trace(a @ a.T @ h @ b @ b.T @ h) / (n - 1) ** 2

    return hsic(s, t) / (hsic(s, s) * hsic(t, t)).sqrt()


def naive_debiased(s, t):
    """Song et al.: the mean of K_ij (L_ij + L_qr - 2 L_iq) over distinct i, j, q, r."""

    def hsic(a, b):
        k, m = a @ a.T, b @ b.T
        every = list(itertools.permutations(range(len(a)), 4))
        return sum(k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in every) / len(every)

    return hsic(s, t) / (hsic(s, s) * hsic(t, t)).sqrt()


def test_equals_both_definitions():
    s, t = rows(7, 3), rows(7, 5, 1) + 2.0
    t[:, :3] += s
    assert linear_cka(s, t).item() == pytest.approx(naive(s, t).item(), abs=1e-12)
    wanted = naive_debiased(s, t).item()
    assert linear_cka(s, t, debiased=True).item() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("debiased", [False, True])
def test_rotation_scale_and_offset_do_not_matter(debiased):
    s, t = rows(40, 6), rows(40, 4, 1) + rows(40, 6)[:, :4]
    rotation = torch.linalg.qr(rows(6, 6, 2))[0]
    value = linear_cka(s, t, debiased)
    assert torch.isclose(linear_cka(3e5 * s @ rotation + 7.0, t, debiased), value)
    assert linear_cka(s, 2.0 * s @ rotation, debiased).item() == pytest.approx(1.0)
    assert 0.1 < value < 0.9


def test_only_the_debiased_one_tells_unrelated_features_with_few_rows():
    s, t = rows(64, 256), rows(64, 256, 1)
    assert linear_cka(s, t) > 0.7
    assert abs(linear_cka(s, t, debiased=True)) < 0.05


def test_gradient_constants_and_shapes():
    s, t = rows(6, 3).requires_grad_(), rows(6, 2, 1)
    for debiased in (False, True):
        # rows are scaled by their largest value, which the result does not depend on
        assert torch.autograd.gradcheck(lambda x, d=debiased: linear_cka(x, t, d), s)
        value = linear_cka(torch.ones(6, 3, requires_grad=True), t, debiased)
        assert value == 0
        value.backward()
    with pytest.raises(ValueError, match="rows"):
        linear_cka(s, t[:5])
    with pytest.raises(ValueError, match="needs 4"):
        linear_cka(s[:3], t[:3], debiased=True)
