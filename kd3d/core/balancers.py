"""The balancers: gradient ratio, uncertainty, GradNorm and dynamic weight average."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from kd3d.core.balance import BALANCES, Balance
from kd3d.core.gradients import TermStep, compare, compare_terms, gradients, last_parameters
from kd3d.core.registry import build
from kd3d.errors import UserError, did_you_mean

AUTO = dict(type="GradientRatio")
SCHEDULE_SAMPLES = 200


def build_balance(config: str | dict[str, Any], distiller: Any) -> Balance:
    """Return the balancer of a distiller, from ``"auto"`` or ``dict(type="GradNorm", ...)``.

    Raises:
        UserError: Unknown balancer or argument, no term, or peers that train in turns.
    """
    where = "model.balance"
    made = AUTO if config == "auto" else config
    if not isinstance(made, Mapping):
        raise UserError(f"{config!r} is no balance", where, "'auto' or dict(type=...)")
    if not distiller.terms:
        raise UserError("there is no term to balance", where, "name a method")
    if len(distiller.turns) > 1:
        raise UserError("peers that alternate cannot be balanced", where, "update='synchronous'")
    return build(BALANCES, dict(made), where, terms=dict(distiller.terms.items()))


@BALANCES.register_module()
class GradientRatio(Balance):
    r"""Hold each term's gradient at a fixed ratio of the task's.

    With gradients g on the parameters that a term shares with the task (the last ones before its
    tap) the factor is

    .. math:: f_i = \rho \, \|g_{task}\| / (w_i^{max} \|g_i\|)

    smoothed in the logarithm over measurements. A term at the largest weight of its schedule has
    `ratio` times the task's gradient; a warm-up or a stop in the schedule stays what it is, and a
    constant weight does not matter. The task's factor is 1. Normalising by gradient norms is common
    practice; there is no single paper.

    Args:
        terms: Term name -> term.
        ratio: rho, one number or term name -> number.
        interval: Steps between measurements.
        smoothing: Share of the old factor's logarithm that is kept at a measurement, 0 to 1.
        limit: Factors stay within 1 / limit and limit, so that a term that is done is not blown up.
    """

    measures_gradients = True
    seen: Tensor

    def __init__(
        self,
        terms: Mapping[str, Any],
        ratio: float | dict[str, float] = 0.5,
        interval: int = 10,
        smoothing: float = 0.8,
        limit: float = 1e4,
    ) -> None:
        super().__init__(terms, interval)
        ratios = dict(ratio) if isinstance(ratio, Mapping) else dict.fromkeys(terms, ratio)
        for name in ratios:
            if name not in terms:
                raise UserError(f"no term {name!r}", "model.balance", did_you_mean(name, terms))
        if set(ratios) != set(terms) or any(r <= 0 for r in ratios.values()):
            raise UserError(f"ratio is {ratio}", "model.balance", "a positive number for each term")
        if not 0 <= smoothing < 1 or limit < 1:
            raise UserError("smoothing is from 0 to below 1, limit from 1", "model.balance")
        self.ratio, self.smoothing, self.limit = ratios, smoothing, limit
        self.peak = {name: _largest_weight(term) for name, term in terms.items()}
        self.register_buffer("seen", torch.zeros(len(self.names), dtype=torch.bool))

    def update(self, tasks: dict[str, Tensor], steps: dict[str, TermStep]) -> None:
        """Move each factor towards the one that gives the ratio now."""
        for name, found in compare_terms(tasks, steps, weighted=False).items():
            scale = found.term * self.peak[name]
            if not (math.isfinite(scale) and math.isfinite(found.task)) or scale * found.task == 0:
                continue  # no foreground, or a step that is skipped: nothing to learn from
            factor = self.ratio[name] * found.task / scale
            i = self.names.index(name)
            if self.seen[i]:
                old = math.log(self.factor[i].item())
                factor = math.exp(self.smoothing * old + (1 - self.smoothing) * math.log(factor))
            self.factor[i] = min(max(factor, 1 / self.limit), self.limit)
            self.seen[i] = True


@BALANCES.register_module()
class Uncertainty(Balance):
    r"""Learn one log-variance a loss.

    A. Kendall, Y. Gal, R. Cipolla, "Multi-task learning using uncertainty to weigh losses for scene
    geometry and semantics", CVPR 2018, section 3.2, with :math:`s_i = \log \sigma_i^2` as they
    advise, times 2:

    .. math:: \sum_i e^{-s_i} L_i + s_i

    The task is one of the losses, L_i includes the term's weight, and s_i starts at 0 and is
    trained by the student's optimizer (exempt it from weight decay by
    ``paramwise_cfg=dict(custom_keys=dict(balance=dict(decay_mult=0)))``). While a term's weight is
    0 its s_i gets no gradient.
    """

    def __init__(self, terms: Mapping[str, Any]) -> None:
        super().__init__(terms)
        self.log_variance = nn.Parameter(torch.zeros(len(self.names)))

    def factors(self) -> Tensor:
        """Return exp(-s), attached to the graph."""
        return torch.exp(-self.log_variance)

    def penalty(self, steps: dict[str, TermStep]) -> Tensor:
        """Return the sum of s over the losses that have weight."""
        weights = [steps[name].weight.detach() for name in self.names[1:]]
        active = torch.stack([torch.ones_like(weights[0]), *weights]) > 0
        return (self.log_variance * active).sum()


@BALANCES.register_module()
class GradNorm(Balance):
    r"""Let losses that train slowly have larger gradients.

    Z. Chen, V. Badrinarayanan, C.-Y. Lee, A. Rabinovich, "GradNorm: Gradient normalization for
    adaptive loss balancing in deep multitask networks", ICML 2018, eqs. 1 and 2 and algorithm 1:
    with :math:`G_i = w_i \|\nabla_W L_i\|`, :math:`r_i = \tilde L_i / \mathrm{mean}(\tilde L)` and
    :math:`\tilde L_i = L_i(t) / L_i(0)`

    .. math:: L_{grad} = \sum_i |G_i - \bar G \, r_i^\alpha|

    is lowered by a step on the w_i, the target held constant; then the w_i are scaled so that
    their sum is their number. W are the last parameters before the first tap that all losses reach.

    Differences: the step is Adam's (Kingma, Ba, ICLR 2015) on log w_i, so that weights stay
    positive; the gradient is written out, :math:`\mathrm{sign}(G_i - \bar G r_i^\alpha) G_i`, which
    saves the second backward pass. A term with weight 0 takes no part.

    Args:
        terms: Term name -> term.
        alpha: Strength of the restoring force; 0 makes all gradients equal.
        rate: Learning rate of log w.
        interval: Steps between measurements; 1 in the paper.
    """

    measures_gradients = True
    first: Tensor
    moments: Tensor
    updates: Tensor

    def __init__(
        self, terms: Mapping[str, Any], alpha: float = 1.5, rate: float = 0.025, interval: int = 1
    ) -> None:
        super().__init__(terms, interval)
        branches = {term.student_branch for term in terms.values()}
        if len(branches) > 1:
            raise UserError(
                f"GradNorm needs parameters that all losses share, {sorted(branches)} share none",
                "model.balance",
                "use GradientRatio or DWA",
            )
        self.alpha, self.rate, count = alpha, rate, len(self.names)
        self.register_buffer("first", torch.full((count,), math.nan))
        self.register_buffer("moments", torch.zeros(2, count))
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def update(self, tasks: dict[str, Tensor], steps: dict[str, TermStep]) -> None:
        """Take one step on the weights."""
        values = self._values(tasks, steps)
        all_reduce(values, "mean")
        weight = torch.stack([torch.ones_like(values[0])] + [s.weight for s in steps.values()])
        active = weight > 0
        norms = self.factor * weight * self._norms(tasks, steps).to(values)
        if not (norms.isfinite().all() and values.isfinite().all()):
            return
        new = active & self.first.isnan()
        self.first[new] = values[new]
        step = grad_norm_gradient(norms, values, self.first, active, self.alpha)
        moved = self.factor.log() - self.rate * self._adam(step)
        self.factor[active] = moved[active].exp()
        self.factor[active] *= active.sum() / self.factor[active].sum()

    def _norms(self, tasks: dict[str, Tensor], steps: dict[str, TermStep]) -> Tensor:
        """Return the (1 + T,) gradient norms of the unweighted losses on W."""
        branch = next(iter(steps.values())).branch
        for step in steps.values():
            place = last_parameters(step.student)
            task = gradients(tasks[branch], place)
            found = [compare(task, gradients(s.value, place)) for s in steps.values()]
            if all(comparison.shared for comparison in found):
                norms = [found[0].task, *(comparison.term for comparison in found)]
                return torch.tensor(norms)
        raise UserError(
            "no tap has parameters that the task and all terms reach",
            "model.balance",
            "use GradientRatio or DWA",
        )

    def _adam(self, gradient: Tensor, betas: tuple[float, float] = (0.9, 0.999)) -> Tensor:
        """Return Adam's direction and keep its moments."""
        self.updates += 1
        powers = torch.stack([gradient, gradient.square()])
        corrected = []
        for i, beta in enumerate(betas):
            self.moments[i].mul_(beta).add_(powers[i], alpha=1 - beta)
            corrected.append(self.moments[i] / (1 - beta ** int(self.updates)))
        return corrected[0] / (corrected[1].sqrt() + 1e-12)


@BALANCES.register_module()
class DWA(Balance):
    r"""Give more weight to losses that fall slowly.

    S. Liu, E. Johns, A. J. Davison, "End-to-end multi-task learning with attention", CVPR 2019,
    section 3.3 (dynamic weight average), eq. 7:

    .. math:: \lambda_k = K \frac{e^{v_k / T}}{\sum_i e^{v_i / T}}, \quad
        v_k = L_k(t - 1) / L_k(t - 2)

    with L_k(t) averaged over window t; the first two windows have factors of 1.

    Args:
        terms: Term name -> term.
        window: Steps in a window; the paper's is an epoch.
        temperature: T.
    """

    total: Tensor
    previous: Tensor

    def __init__(
        self, terms: Mapping[str, Any], window: int = 100, temperature: float = 2.0
    ) -> None:
        super().__init__(terms)
        if window < 1 or temperature <= 0:
            raise UserError("window is from 1, temperature above 0", "model.balance")
        self.window, self.temperature = window, temperature
        self.register_buffer("total", torch.zeros(len(self.names)))
        self.register_buffer("previous", torch.full((len(self.names),), math.nan))

    def update(self, tasks: dict[str, Tensor], steps: dict[str, TermStep]) -> None:
        """Add this step's losses; at the end of a window set new factors."""
        values = self._values(tasks, steps)
        all_reduce(values, "mean")  # every step: a wrapper that broadcasts buffers would undo more
        self.total += values.nan_to_num(0.0, 0.0, 0.0)
        if (int(self.steps) + 1) % self.window:
            return
        mean = self.total / self.window
        if not self.previous.isnan().any():
            speed = torch.where(self.previous > 0, mean / self.previous, torch.ones_like(mean))
            self.factor.copy_(len(mean) * torch.softmax(speed / self.temperature, 0))
        self.previous.copy_(mean)
        self.total.zero_()


def grad_norm_gradient(
    norms: Tensor, values: Tensor, first: Tensor, active: Tensor, alpha: float
) -> Tensor:
    """Return the gradient of GradNorm's loss on log w, 0 where not active.

    Args:
        norms: (N,) weighted gradient norms G.
        values: (N,) losses.
        first: (N,) losses at the start; one of 0 counts as not trained yet.
        active: (N,) which take part.
        alpha: Strength of the restoring force.
    """
    relative = torch.where(first > 0, values / first, torch.ones_like(values))
    rate = relative / relative[active].mean().clamp(min=1e-12)
    target = norms[active].mean() * rate.pow(alpha)
    return torch.where(active, torch.sign(norms - target) * norms, torch.zeros_like(norms))


def _largest_weight(term: Any) -> float:
    """Return the largest value of a term's schedule over the training."""
    return max(abs(term.schedule(i / SCHEDULE_SAMPLES)) for i in range(SCHEDULE_SAMPLES + 1))
