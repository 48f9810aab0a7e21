"""Chien et al. (2024), "Certified machine unlearning via noisy SGD": noise at every step
of training and of a request, on a strongly convex objective.

    w <- w - lr grad F_B(w) + N(0, 2 lr sigma^2 I)

over batches B in a fixed order, r in an epoch. F_B is m-strongly convex and L-smooth and
lr <= 2/(m + L), so that a step contracts by c = 1 - lr m. Samples that go leave their batch, whose
mean moves by at most 2 g/b for each, g bounding the gradient of a sample's loss and b the smallest
batch. Training, however many epochs, ends within

    Z = (2 lr g k/b)/(1 - c^r)

of what it would have been without k samples; the worst is that they stand at the end of an epoch.
A request goes on for N steps on what is left. By `interpolation`, with no gap any more,

    mu = Z c^N / sqrt(2 lr sigma^2 (1 - c^2N)/(1 - c^2)).

Published is Renyi's divergence alpha Z^2 c^(2N)/(2 lr sigma^2): that of the last noise alone.
"""

from __future__ import annotations

import math
from itertools import count

from torch import Tensor, arange, isin

from ...checks import Indices
from ...errors import require, require_counts
from ...noise import check_budget, sample_noise
from ...objective import Objective
from ...progress import bar
from .convex import positive
from .interpolation import gdp, steps_gdp

MOST_EPOCHS = 1_000_000


def contraction(lr: float, mu: float, L: float) -> float:
    """c = 1 - lr mu, for a step short enough to contract."""
    require(
        0 < mu <= L and 0 < lr <= 2 / (mu + L),
        f"mu = {mu:g}, L = {L:g}, lr = {lr:g}: a step contracts for 0 < mu <= L, lr <= 2/(mu + L).",
    )
    return 1 - lr * mu


def distance(*, k: int, n: int, batch_size: int, g: float, lr: float, c: float) -> float:
    """Z: how far apart training on n samples and on n - k of them can end, without noise."""
    require_counts(k=k, n=n, batch_size=batch_size)
    positive(g=g, lr=lr)
    smallest, batches = n % batch_size or min(n, batch_size), math.ceil(n / batch_size)
    return 2 * lr * g * k / smallest / -math.expm1(batches * math.log(c))


def request_gdp(steps: int, *, Z: float, lr: float, sigma: float, c: float) -> float:
    """mu after N steps of a request."""
    noise = math.sqrt(2 * lr) * sigma
    return steps_gdp(steps, start=Z, gap=0.0, contraction=c, sigma=noise)


def next_distance(Z: float, before: float, steps: int, c: float) -> float:
    """Z of the next request: Z + before c^N, for the Z `before` the last one and its N steps."""
    return Z + before * c**steps


def published_epsilon(
    steps: int, *, Z: float, lr: float, sigma: float, c: float, delta: float
) -> float:
    """a + 2 sqrt(a ln(1/delta)), a = Z^2 c^(2N)/(2 lr sigma^2): their bound at the best order."""
    a = (Z * c**steps) ** 2 / (2 * lr * sigma**2)
    return a + 2 * math.sqrt(a * math.log(1 / delta))


def epochs_needed(
    epsilon: float, delta: float, *, Z: float, batches: int, lr: float, sigma: float, c: float,
    published: bool = False,
) -> int:  # fmt: skip
    """The fewest epochs of a request for (epsilon, delta), by ours or by their published bound."""
    check_budget(epsilon, delta)
    enough, how = gdp(epsilon, delta), dict(Z=Z, lr=lr, sigma=sigma, c=c)
    for epochs in count(1):
        require(epochs <= MOST_EPOCHS, f"not within {MOST_EPOCHS:,} epochs; more noise helps.")
        steps = epochs * batches
        if published:
            reached = published_epsilon(steps, delta=delta, **how) <= epsilon
        else:
            reached = request_gdp(steps, **how) <= enough
        if reached:
            return epochs


def run(
    F: Objective, w: Tensor, *, epochs: int, lr: float, sigma: float, batch_size: int,
    forget: Indices = (), seed: int | None = None,
) -> Tensor:  # fmt: skip
    """Train on F, or answer a request: epochs in the order of F, with noise at every step.

    forget   of F's samples: they leave their batches, which stay what they were otherwise
    """
    require_counts(epochs=epochs, batch_size=batch_size)
    gone = F.indices(forget).cpu() if len(forget) else arange(0, device="cpu")
    whole = arange(F.n, device="cpu").split(batch_size)
    batches = [batch[~isin(batch, gone)] for batch in whole]
    require(all(map(len, batches)), "a batch would be left with no sample; take larger batches.")
    for step in bar(range(epochs * len(batches)), "noisy descent"):
        slope = F.only(batches[step % len(batches)]).gradient(w)
        fresh = sample_noise(w, math.sqrt(2 * lr) * sigma, None if seed is None else seed + step)
        w = w - lr * slope + fresh
    return w
