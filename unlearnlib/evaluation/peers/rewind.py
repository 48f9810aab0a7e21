"""Mu and Klabjan (2025), "Rewind-to-delete": go back to an early checkpoint, train on from there.

Full-batch gradient descent on all samples takes T steps and keeps the weights of K steps before
the end. A request takes K steps from these on what is retained and adds N(0, sigma^2 I): that hides
how far it is from T steps on the retained samples alone, from the same start and with the same
noise. What training leaves, its end and the earlier weights, is secret.

Let m of n samples go, all requests counted together, let the loss of each sample have gradients
<= g, and both objectives be L-smooth, everywhere that training may come to. With Z the forgotten
samples, grad F - grad F_r = (m/n)(grad F_Z - grad F_r): the decay cancels, and its norm is at most
2 m g/n. A step takes two points to within q z, so the runs drift to within
lr (2 m g/n) (1 + q + ... ) in T - K steps, and to q^K times that in the K steps that they have in
common:

    Delta = lr (2 m g/n) q^K (1 + q + ... + q^(T-K-1)).

q = 1 + lr L for any loss, which is (2 m g/(n L)) ((1 + lr L)^T - (1 + lr L)^K); for a mu-strongly
convex one and lr <= 2/(mu + L), q = 1 - lr mu.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from torch import Tensor

from ...errors import require, require_counts
from ...noise import sample_noise
from ...objective import Objective
from ...progress import bar
from .convex import positive
from .interpolation import Noisy, check_objective, epsilon_of, geometric
from .noisy_sgd import contraction


@dataclass(frozen=True)
class Rewindable:
    """A training that can be gone back into; secret.

    w        (p,), its end
    earlier  (p,), the weights to go back to
    steps, between, lr, n   T, K, the rate, and how many samples it was on
    """

    w: Tensor = field(repr=False)
    earlier: Tensor = field(repr=False)
    steps: int
    between: int
    lr: float
    n: int


def growth(lr: float, L: float, mu: float = 0.0) -> float:
    """q: by which factor a step of descent can take two points apart, or together."""
    positive(lr=lr, L=L)
    return contraction(lr, mu, L) if mu else 1 + lr * L


def sensitivity(
    steps: int, between: int, *, m: int, n: int, g: float, L: float, lr: float, mu: float = 0.0
) -> float:
    """Delta, for T = steps and K = between; m samples of n go, each with gradients <= g.

    Infinite where it does not fit into a float; 0 for K = T, which is retraining.
    """
    _check(steps, between, m, n)
    positive(g=g)
    q = growth(lr, L, mu)
    try:
        drifted = 0.0 if between == steps else geometric(q, steps - between)
        return lr * (2 * m * g / n) * q**between * drifted
    except OverflowError:
        return math.inf


def published_sensitivity(
    steps: int, between: int, *, m: int, n: int, g: float, L: float, lr: float
) -> float:
    """(2 m g/(L n)) ((1 + lr L n/(n - m))^(T-K) - 1) (1 + lr L)^K: theirs, never below ours."""
    _check(steps, between, m, n)
    positive(g=g, L=L, lr=lr)
    apart = math.expm1((steps - between) * math.log1p(lr * L * n / (n - m)))
    return 2 * m * g / (L * n) * apart * (1 + lr * L) ** between


def train(F: Objective, w: Tensor, *, steps: int, between: int, lr: float) -> Rewindable:
    """Descend on F from w (p,), which must not depend on the samples, and keep an earlier w."""
    check_objective(F, w)
    _check(steps, between, 1, max(2, F.n))
    earlier = _descend(F, w, steps - between, lr)
    w = _descend(F, earlier, between, lr)
    return Rewindable(w, earlier, steps, between, lr, F.n)


def unlearn(
    F_r: Objective, trained: Rewindable, *, sigma: float, g: float, L: float, mu: float = 0.0,
    seed: int | None = None,
) -> Noisy:  # fmt: skip
    """Go back and descend on F_r, what is left of the samples that were trained on.

    sigma     standard deviation of the noise in each weight
    g, L, mu  as in `sensitivity`; what is known of them is as sure as the epsilon
    seed      makes the noise reproducible, and so not private
    """
    positive(sigma=sigma)
    m, known = trained.n - F_r.n, dict(n=trained.n, g=g, L=L, lr=trained.lr, mu=mu)
    gdp = sensitivity(trained.steps, trained.between, m=m, **known) / sigma
    started = time.perf_counter()
    w = _descend(F_r, trained.earlier, trained.between, trained.lr)
    w, cost = w + sample_noise(w, sigma, seed), float(trained.between)
    return Noisy(w, epsilon_of(gdp), cost, time.perf_counter() - started)


def _check(steps: int, between: int, m: int, n: int) -> None:
    require_counts(steps=steps, m=m, n=n)
    require_counts(0, between=between)
    require(between <= steps, f"{between} steps back from {steps}; at most all of them.")
    require(m < n, f"{m} of {n} samples would be forgotten; at least one must be left.")


def _descend(F: Objective, w: Tensor, steps: int, lr: float) -> Tensor:
    for _ in bar(range(steps), "descent"):
        w = w - lr * F.gradient(w)
    return w
