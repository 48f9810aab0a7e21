"""DP-SGD (Abadi et al., 2016) with group privacy: who was never learnt need not be unlearnt.

    w <- w - lr ((sum over B of clip(grad f(w, z), limit) + N(0, sigma^2 limit^2 I))/size + decay w)

B holds each sample with the same chance, `rate`. Rate and size are public: a retraining keeps both,
whatever the number of samples. Requests for up to m samples, all counted together and chosen before
the model is seen, are answered by doing nothing: it is (epsilon, delta)-close to one that never saw
them.

`group_epsilon` is the exact loss of m samples at once (Ganesh, 2024): in a step, B holds
j ~ Bin(m, rate) of them, so that a mixture of Gaussians j apart is told from one. Published is the
lemma: (epsilon_1, delta_1) for one sample gives epsilon = m epsilon_1 and
delta = delta_1 (1 + e^epsilon_1 + ... + e^((m-1) epsilon_1)) for m, so that
delta_1 = delta (e^epsilon_1 - 1)/(e^epsilon - 1) suffices.
"""

from __future__ import annotations

import math
import time
from functools import partial

import torch
from dp_accounting.pld.privacy_loss_distribution import (
    PrivacyLossDistribution,
    from_mixture_gaussian_mechanism,
)
from scipy.stats import binom
from torch import Generator, Tensor
from torch.func import grad, vmap

from ... import draws
from ...errors import require, require_counts
from ...noise import check_budget, check_delta
from ...objective import Objective
from ...progress import bar
from .convex import positive
from .interpolation import Noisy, check_objective, fresh_noise

AT_ONCE = 64  # samples whose gradients are in memory: few stay in a cache, five times as fast
NEGLIGIBLE = 1e-15  # chance of more samples in a batch, counted as a failure at each step


def of_one(m: int, epsilon: float, delta: float) -> tuple[float, float]:
    """(epsilon_1, delta_1) of one sample from which the lemma makes (epsilon, delta) for m."""
    require_counts(m=m)
    check_budget(epsilon, delta)
    return epsilon / m, delta * math.expm1(epsilon / m) / math.expm1(epsilon)


def group_epsilon(
    delta: float, *, m: int, rate: float, sigma: float, steps: int, interval: float = 1e-3
) -> float:
    """Epsilon of m samples at once, after so many steps.

    rate       chance of a sample to be in a batch
    sigma      noise of a step's sum, in units of `limit`
    interval   of the grid on which privacy losses are added, in epsilon: rounded up
    """
    check_delta(delta)
    losses, beyond = _losses(m, rate, sigma, steps, interval)
    # what is cut off costs delta in one direction, and in the other epsilon
    found = losses.get_epsilon_for_delta(delta - steps * beyond)
    return found - steps * math.log1p(-beyond)


def group_advantage(
    *, m: int, rate: float, sigma: float, steps: int, interval: float = 1e-3
) -> float:
    """By how much a test's two rates may differ for m samples at once: the delta of epsilon = 0."""
    losses, beyond = _losses(m, rate, sigma, steps, interval)
    return losses.get_delta_for_epsilon(0.0) + steps * beyond


def _losses(
    m: int, rate: float, sigma: float, steps: int, interval: float
) -> tuple[PrivacyLossDistribution, float]:
    """The privacy losses of all steps, and the chance that is cut off in one."""
    _check(m, rate, sigma, steps)
    most = int(binom.isf(NEGLIGIBLE, m, rate))
    chances, beyond = binom.pmf(range(most + 1), m, rate), float(binom.sf(most, m, rate))
    one = from_mixture_gaussian_mechanism(
        sigma,
        list(range(most + 1)),
        list(chances / chances.sum()),
        value_discretization_interval=interval,
    )
    return one.self_compose(steps), beyond


def train(
    F: Objective, w: Tensor, *, steps: int, lr: float, limit: float, sigma: float, rate: float,
    size: float, m: int, generator: Generator | None = None, seed: int | None = None,
) -> Noisy:  # fmt: skip
    """Train on F from a w (p,) that knows no sample; requests for up to m are answered already.

    limit       to which each sample's gradient is clipped
    sigma       noise of a step's sum, in units of `limit`
    rate, size  chance of a sample to be in a batch, and what a batch's sum is divided by: a public
                number near rate n, which a retraining keeps
    generator   draws the batches, which have to stay secret; None is torch's own
    seed        makes the noise reproducible, and so not private
    """
    check_objective(F, w)
    _check(m, rate, sigma, steps)
    positive(lr=lr, limit=limit, size=size)
    started, seen = time.perf_counter(), 0
    for step in bar(range(steps), "DP-SGD"):
        batch = (draws.uniform(F.n, generator) < rate).nonzero().flatten()
        total = clipped_sum(F, w, batch, limit) + fresh_noise(w, sigma * limit, seed, step)
        w, seen = w - lr * (total / size + F.weight_decay * w), seen + len(batch)
    epsilon = partial(group_epsilon, m=m, rate=rate, sigma=sigma, steps=steps)
    return Noisy(w, epsilon, seen / F.n, time.perf_counter() - started)


def clipped_sum(F: Objective, w: Tensor, batch: Tensor, limit: float) -> Tensor:
    """Sum of the batch's sample gradients, without decay, each clipped to norm `limit`: (p,).

    What overflowed counts as 0, so that no sample escapes its clip.
    """
    if not len(batch):
        return torch.zeros_like(w)
    of_each = vmap(grad(lambda w, x, y: F.batch_loss(w, x[None], y[None])), (None, 0, 0))
    total, inside = torch.zeros_like(w), limit * (1 - 8 * torch.finfo(w.dtype).eps)
    for part in batch.split(AT_ONCE):
        gradients = of_each(w, *F.batch(part)).nan_to_num_(0.0, 0.0, 0.0)
        norms = gradients.square().sum(1).sqrt()
        total += (inside / norms).clamp(max=1.0) @ gradients
    return total


def _check(m: int, rate: float, sigma: float, steps: int) -> None:
    require_counts(m=m, steps=steps)
    positive(sigma=sigma)
    require(0 < rate <= 1, f"rate is {rate}; a chance lies above 0 and is at most 1.")
