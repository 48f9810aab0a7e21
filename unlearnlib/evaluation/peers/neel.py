"""Neel, Roth and Sharifi-Malvajerdi (2021), "Descent-to-delete": more steps of gradient
descent on what is retained, hidden by noise in the output.

Full-batch gradient descent with step 2/(mu + beta) brings a mu-strongly convex, beta-smooth F
closer to its minimiser by gamma = (beta - mu)/(beta + mu) a step (Nesterov, 2004, Theorem 2.1.15).
Training runs `training_iterations`, each request I iterations from the last *noiseless* model: the
variant whose state is secret. What is published is that model + N(0, sigma^2 I); retraining
publishes its own end with the same noise.
"""

from __future__ import annotations

import math
import time
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from ...checks import Indices
from ...errors import require, require_counts
from ...noise import check_budget, gaussian_sigma, sample_noise
from ...objective import Objective
from ...progress import bar
from . import convex
from .convex import Answer


def contraction(mu: float, beta: float) -> float:
    """gamma = (beta - mu)/(beta + mu), by which one step brings w closer to the minimiser."""
    require(
        0 < mu < beta < math.inf,
        f"mu = {mu:g} and beta = {beta:g}; strong convexity lies above 0 and below smoothness.",
    )
    return (beta - mu) / (beta + mu)


def drift(m: int, *, n: int, mu: float, L: float) -> float:
    """2 L m/(mu n): how far the minimiser moves at most when m of n samples go.

    At the minimiser w, grad F_r(w) = (m/n)(mean of loss gradients over D_r - mean over D_u), which
    is at most 2 L m/n, and F_r is mu-strongly convex. L bounds the gradient of each sample's loss
    at w; the regulariser cancels, so L may count it, as published, or leave it out.
    """
    convex.positive(mu=mu, L=L)
    require_counts(n=n, m=m)
    return 2 * L * m / (mu * n)


def sensitivity(iterations: int, *, m: int, n: int, mu: float, beta: float, L: float) -> float:
    """2 drift gamma^I/(1 - gamma^I), for requests of m samples at most and n left at least.

    By induction the distance to the minimiser stays below e = drift gamma^I/(1 - gamma^I):
    gamma^I (e + drift) = e. Training ends below e too, here and where it is done anew without the
    samples, so the two differ by 2e at most.
    """
    require_counts(iterations=iterations)
    shrink = contraction(mu, beta) ** iterations
    return 2 * drift(m, n=n, mu=mu, L=L) * shrink / (1 - shrink)


def iterations_needed(wanted: float, *, m: int, n: int, mu: float, beta: float, L: float) -> int:
    """The fewest I whose `sensitivity` is at most the wanted one: ln(1 + 2 drift/s)/ln(1/gamma).

    For a wanted sigma, s = sigma / gaussian_sigma(1, epsilon, delta).
    """
    convex.positive(wanted=wanted)
    ratio = 2 * drift(m, n=n, mu=mu, L=L) / wanted
    exact = math.log1p(ratio) / -math.log(contraction(mu, beta))
    rounding = 1 - 1e-9  # so that an I that gives exactly the wanted sensitivity is found
    I = max(1, math.ceil(exact * rounding))  # noqa: E741
    return I if sensitivity(I, m=m, n=n, mu=mu, beta=beta, L=L) <= wanted else I + 1


def training_iterations(
    iterations: int, *, D: float, n: int, mu: float, beta: float, L: float
) -> int:
    """T = I + ln(D mu n/(2L))/ln(1/gamma), D a bound on the distance from start to minimiser.

    Ends within gamma^T D <= gamma^I 2L/(mu n), below e for any m >= 1.
    """
    require_counts(iterations=iterations)
    convex.positive(D=D)
    more = math.log(D / drift(1, n=n, mu=mu, L=L)) / -math.log(contraction(mu, beta))
    return max(1, math.ceil(iterations + more))


def published_sigma(
    iterations: int,
    *,
    m: int,
    n: int,
    mu: float,
    beta: float,
    L: float,
    epsilon: float,
    delta: float,
) -> float:
    """4 sqrt2 L m gamma^I / (mu n (1 - gamma^I) (sqrt(ln(1/delta) + epsilon) - sqrt(ln(1/delta)))).

    Published for m = 1; n is the number of samples at the start. It is twice what zero-concentrated
    privacy asks for the sensitivity at n, and just what it asks at n/2 samples left. The analytic
    mechanism, which the class uses, asks for less.
    """
    check_budget(epsilon, delta)
    distance = sensitivity(iterations, m=m, n=n, mu=mu, beta=beta, L=L)
    log = math.log(1 / delta)
    return math.sqrt(2) * distance / (math.sqrt(log + epsilon) - math.sqrt(log))


@dataclass
class Neel:
    """A strongly convex model that forgets by gradient descent; retrains once half is gone.

    F            any convex loss with weight_decay > 0, in float64
    beta         smoothness of F and of F on any of its samples, decay included
    L            as in `drift`; proved values for softmax regression are in `convex`
    D            bound on ||w|| at the minimiser, for any of the samples: training starts at 0, so
                 sqrt(2)/mu for softmax regression
    iterations   I, a request's
    per_request  the most samples that a request may name: sets sigma
    seed         makes the noise reproducible, and so not private

    Where a request would leave less than half of what was trained on, the model is trained anew,
    with a sigma for its own n. A certificate is for each release alone.
    """

    F: Objective
    _: KW_ONLY
    epsilon: float
    delta: float
    beta: float
    L: float
    D: float
    iterations: int
    per_request: int = 1
    seed: int | None = None

    @classmethod
    def train(cls, F: Objective, **terms) -> Neel:
        """Train on all of F; arguments as above. The first release is `trained`."""
        return cls(F, **terms)

    def __post_init__(self) -> None:
        started = time.perf_counter()
        require_counts(per_request=self.per_request)
        self.releases = 0
        cost = self._train(torch.arange(self.F.n, device="cpu"))
        self.trained = self._release(True, cost, started)

    def forget(self, indices: Indices) -> Answer:
        """Answer the next request; indices are those of the set first trained on."""
        started = time.perf_counter()
        wanted, left = convex.remaining(self.F, self.kept, indices)
        require(
            len(wanted) <= self.per_request,
            f"{len(wanted)} samples asked for, and the noise is for {self.per_request} a request; "
            "split the request, or train with a larger per_request.",
        )
        if len(left) < self.least:
            return self._release(True, self._train(left), started)
        self.w = self._descend(left, self.w, self.iterations)
        self.kept = left
        return self._release(False, self.iterations * len(left) / self.F.n, started)

    def _train(self, kept: Tensor) -> float:
        """Descend from 0 on these samples and set the noise; return the cost in gradients of F."""
        n, mu = len(kept), convex.strong_convexity(self.F)
        least = -(-n // 2)
        known = dict(mu=mu, beta=self.beta, L=self.L)
        bound = sensitivity(self.iterations, m=self.per_request, n=least, **known)
        sigma = gaussian_sigma(bound, self.epsilon, self.delta)
        T = training_iterations(self.iterations, D=self.D, n=n, **known)
        start = torch.zeros(self.F.p, dtype=self.F.dtype, device=self.F.device)
        self.w = self._descend(kept, start, T)
        convex.require_above_rounding(bound, self.w)
        self.kept, self.least = kept, least
        self.sensitivity, self.sigma = bound, sigma
        return T * n / self.F.n

    def _descend(self, kept: Tensor, w: Tensor, iterations: int) -> Tensor:
        F_r, rate = self.F.only(kept), 2 / (self.F.weight_decay + self.beta)
        for _ in bar(range(iterations), "descent"):
            w = w - rate * F_r.gradient(w)
        return w

    def _release(self, retrained: bool, cost: float, started: float) -> Answer:
        seed = None if self.seed is None else self.seed + self.releases
        self.releases += 1
        w = self.w + sample_noise(self.w, self.sigma, seed)
        seconds = time.perf_counter() - started
        return Answer(w, self.w, self.sigma, self.sensitivity, retrained, cost, seconds)
