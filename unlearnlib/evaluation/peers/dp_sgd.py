"""DP-SGD (Abadi et al., 2016) with group privacy: who was never learnt need not be unlearnt.

    w <- w - lr ((sum over B of clip(grad f(w, z), limit) + N(0, sigma^2 limit^2 I))/b + decay w)

B holds each sample with the same chance b/n. A request for up to k samples is answered by doing
nothing: the trained model is (epsilon, delta)-close to one that never saw them.

`group_epsilon` is the exact loss of k samples at once (Ganesh, 2024): in a step, B holds
j ~ Bin(k, b/n) of them, so that a mixture of Gaussians j apart is told from one. Published is the
lemma: (epsilon_1, delta_1) for one sample gives k epsilon_1 and delta_1 (1 + e^epsilon_1 + ... +
e^((k-1) epsilon_1)) for k. So delta_1 = delta (e^epsilon_1 - 1)/(e^epsilon - 1) suffices.
"""

from __future__ import annotations

import math
import time

import torch
from dp_accounting.pld.privacy_loss_distribution import from_mixture_gaussian_mechanism
from scipy.stats import binom
from torch import Generator, Tensor
from torch.func import grad, vmap

from ... import draws
from ...errors import require_counts
from ...noise import check_budget, check_delta, sample_noise
from ...objective import Objective
from ...progress import bar
from ...projected_sgd import project
from .convex import positive
from .interpolation import Noisy

NEGLIGIBLE = 1e-15  # chance of more samples in a batch, counted as a failure at each step


def of_one(k: int, epsilon: float, delta: float) -> tuple[float, float]:
    """(epsilon_1, delta_1) of one sample from which the lemma makes (epsilon, delta) for k."""
    require_counts(k=k)
    check_budget(epsilon, delta)
    return epsilon / k, delta * math.expm1(epsilon / k) / math.expm1(epsilon)


def group_epsilon(
    delta: float, *, k: int, rate: float, sigma: float, steps: int, interval: float = 1e-3
) -> float:
    """Epsilon of k samples at once, after so many steps at this sampling rate b/n.

    interval   of the grid on which privacy losses are added, in epsilon: rounded up
    """
    require_counts(k=k, steps=steps)
    check_delta(delta)
    positive(rate=rate, sigma=sigma)
    most = int(binom.isf(NEGLIGIBLE, k, rate))
    chances = binom.pmf(range(most + 1), k, rate)
    lost = steps * float(binom.sf(most, k, rate))
    one = from_mixture_gaussian_mechanism(
        sigma,
        list(range(most + 1)),
        list(chances / chances.sum()),
        value_discretization_interval=interval,
    )
    return one.self_compose(steps).get_epsilon_for_delta(delta - lost)


def train(
    F: Objective, w: Tensor, *, steps: int, lr: float, limit: float, sigma: float, rate: float,
    k: int, generator: Generator | None = None, seed: int | None = None,
) -> Noisy:  # fmt: skip
    """Train w (p,) on F; requests for up to k samples are answered already.

    generator   draws the batches, which have to stay secret; None is torch's own
    seed        makes the noise reproducible, and so not private
    """
    started, b, seen = time.perf_counter(), rate * F.n, 0
    for step in bar(range(steps), "DP-SGD"):
        batch = (draws.uniform(F.n, generator) < rate).nonzero().flatten()
        fresh = sample_noise(w, sigma * limit, None if seed is None else seed + step)
        total = fresh + clipped_sum(F, w, batch, limit)
        w, seen = w - lr * (total / b + F.weight_decay * w), seen + len(batch)

    def epsilon(delta: float) -> float:
        return group_epsilon(delta, k=k, rate=rate, sigma=sigma, steps=steps)

    return Noisy(w, epsilon, seen / F.n, time.perf_counter() - started)


def clipped_sum(F: Objective, w: Tensor, batch: Tensor, limit: float) -> Tensor:
    """Sum of the batch's sample gradients, without decay, each clipped to norm `limit`: (p,)."""
    if not len(batch):
        return torch.zeros_like(w)
    x, y = F.batch(batch)
    of_one = grad(lambda w, x, y: F.batch_loss(w, x[None], y[None]))
    return project(vmap(of_one, (None, 0, 0))(w, x, y), limit).sum(0)
