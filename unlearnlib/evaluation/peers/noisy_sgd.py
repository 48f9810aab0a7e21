"""Chien et al. (2024), "Certified machine unlearning via noisy SGD": noise at every step
of training and of a request, on a strongly convex objective.

    w <- w - lr grad F_B(w) + N(0, 2 lr sigma^2 I)

over batches B in a fixed order, r in an epoch. F_B is mu-strongly convex and L-smooth and
lr <= 2/(mu + L), so that a step contracts by c = 1 - lr mu. Samples that go leave their batch and
no other changes: its mean moves by at most 2 g/b for each, g bounding the gradient of a sample's
loss and b the smallest batch. Training, however many epochs, ends within

    Z = (2 lr g m/b)/(1 - c^r)

of what it would have been without m samples; the worst is that they stand at the end of an epoch.
A request goes on for N steps on what is left. By `interpolation`, with no gap any more, training
without them and then the same N steps are no easier to tell from it than N(0, 1) and N(gdp, 1),

    gdp = Z c^N / sqrt(2 lr sigma^2 (1 - c^2N)/(1 - c^2)).

Published is Renyi's divergence alpha Z^2 c^(2N)/(2 lr sigma^2): twice that of the last noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count

from torch import Tensor, arange, isin

from ...checks import Indices
from ...errors import require, require_counts
from ...noise import check_budget
from ...objective import Objective
from ...progress import bar
from .convex import positive
from .interpolation import check_objective, fresh_noise, gdp_of, steps_gdp

MOST_EPOCHS = 100_000


def contraction(lr: float, mu: float, L: float) -> float:
    """c = 1 - lr mu, for a step short enough to contract."""
    require(
        0 < mu <= L and 0 < lr <= 2 / (mu + L) and lr * mu < 1,
        f"mu = {mu:g}, L = {L:g}, lr = {lr:g}: a step contracts for 0 < mu <= L and "
        "0 < lr <= 2/(mu + L), lr mu < 1.",
    )
    return 1 - lr * mu


def batches(F: Objective, batch_size: int, forget: Indices = ()) -> list[Tensor]:
    """Positions of F's samples in batches of fixed order; those to forget leave theirs.

    forget   all that were asked for so far, as positions in the F that was first trained on
    """
    require_counts(batch_size=batch_size)
    gone = F.indices(forget).cpu() if len(forget) else arange(0, device="cpu")
    left = [b[~isin(b, gone)] for b in arange(F.n, device="cpu").split(batch_size)]
    require(all(map(len, left)), "a batch would be left with no sample; take larger batches.")
    return left


def distance(sizes: Sequence[int], *, m: int, g: float, lr: float, c: float) -> float:
    """Z: how far apart training with and without m samples can end, the noise being the same.

    sizes   of the batches before the m samples go
    g       bound on the gradient norm of one sample's loss, decay left out
    c       of `contraction`
    """
    require_counts(m=m, smallest=min(sizes))
    positive(g=g, lr=lr)
    require(0 < c < 1, f"c is {c}; a step that contracts has a factor between 0 and 1.")
    return 2 * lr * g * m / min(sizes) / -math.expm1(len(sizes) * math.log(c))


def request_gdp(steps: int, *, Z: float, lr: float, sigma: float, c: float) -> float:
    """gdp after N steps of a request; the noise of each is sqrt(2 lr) sigma."""
    noise = math.sqrt(2 * lr) * sigma
    return steps_gdp(steps, start=Z, gap=0.0, contraction=c, sigma=noise)


def next_distance(Z: float, before: float, steps: int, c: float) -> float:
    """How far apart the next request starts: Z + before c^N.

    Z        of the samples that it names
    before   how far apart the last request started
    steps    N, those of the last request
    """
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
    enough, how = gdp_of(epsilon, delta), dict(Z=Z, lr=lr, sigma=sigma, c=c)
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
    """Train from a w (p,) that knows no sample, or answer a request from a trained one.

    sigma    a step's noise has the standard deviation sqrt(2 lr) sigma in each weight
    forget   as in `batches`: of the F first trained on, all that were asked for so far
    seed     makes the noise reproducible, and so not private; training and each request need one
             of their own, since noise that is used twice hides nothing
    """
    check_objective(F, w)
    require_counts(epochs=epochs)
    left = batches(F, batch_size, forget)
    for step in bar(range(epochs * len(left)), "noisy descent"):
        slope = F.only(left[step % len(left)]).gradient(w)
        w = w - lr * slope + fresh_noise(w, math.sqrt(2 * lr) * sigma, seed, step)
    return w
