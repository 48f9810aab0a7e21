"""Sekhari, Acharya, Kamath and Suresh (2021), "Remember what you want to forget": one Newton step
from stored statistics, hidden by noise in the output.

Training keeps w^, the minimiser of F over n samples, and the Hessian of F there; of all samples,
only those to forget are looked at again. For m samples U forgotten so far, f the loss of a sample
with the regulariser,

    w- = w^ + (1/(n - m)) H_r^-1 sum_U grad f(w^, z),   H_r = (n H - sum_U hess f(w^, z)) / (n - m),

and w- + N(0, sigma^2 I) is released. Later requests add to U; the step is always from w^.
Retraining releases its own minimiser with the same noise, so sigma is that of the most samples
that may be asked for, `capacity`, fixed before any is.
"""

from __future__ import annotations

import math
import time
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from ...checks import Indices
from ...errors import require, require_counts
from ...noise import gaussian_delta, gaussian_sigma, sample_noise
from ...objective import Objective
from ...refinement import refine
from . import convex
from .convex import Answer


def sensitivity(m: int, *, n: int, mu: float, M: float, L: float, G: float = 0.0) -> float:
    """||w- - retrained|| <= M r^2 / (2 mu) + 3G/mu, r = (2 m L/n + G)/mu, for m <= n/2.

    At G = 0 it is their gamma = 2 M m^2 L^2 / (mu^3 n^2). G bounds ||grad F(w^)|| and the retrained
    model's gradient on D_r; L the gradient of each sample's loss at w^, the regulariser included as
    they have it or left out; M the Lipschitz constant of the Hessian.

    Proof. grad F_r(w^) = grad F(w^) + (m/n)(mean of loss gradients over D_r - mean over U): the
    regulariser cancels. Its norm is at most G + 2 m L/n, so w^ is within r of the minimiser w_r on
    D_r. A full Newton step ends within M r^2/(2 mu) of w_r. Theirs takes grad F(w^) to be 0: as
    (m/(n - m)) grad F_u = (n/(n - m)) grad F - grad F_r, it is off by n/(n - m) H_r^-1 grad F(w^),
    at most 2G/mu. The retrained model is within G/mu of w_r.
    """
    convex.positive(mu=mu, M=M, L=L)
    require_counts(n=n)
    require_counts(0, m=m)
    require(m <= n / 2, f"{m} of {n} samples would be forgotten; the bound is for up to half.")
    require(0 <= G < math.inf, f"G is {G}; a bound on a gradient must be a finite number >= 0.")
    r = (2 * m * L / n + G) / mu
    return M * r**2 / (2 * mu) + 3 * G / mu


def published_sigma(
    m: int, *, n: int, mu: float, M: float, L: float, epsilon: float, delta: float
) -> float:
    """(gamma/epsilon) sqrt(2 ln(1.25/delta)): as they state it, proved for epsilon <= 1 only."""
    gamma = sensitivity(m, n=n, mu=mu, M=M, L=L)
    return gaussian_sigma(gamma, epsilon, delta, "classical-unchecked")


def deletion_capacity(
    sigma: float,
    *,
    n: int,
    mu: float,
    M: float,
    L: float,
    epsilon: float,
    delta: float,
    G: float = 0.0,
) -> int:
    """The most samples that noise of this sigma hides, by the analytic mechanism; at most n/2.

    `sensitivity` solved for m: m = n (mu r - G)/(2L), r^2 = (2 mu/M)(s - 3G/mu), with s the
    distance that sigma hides. At G = 0, m = n sqrt(mu^3 s/(2 M L^2)). They let sigma be what the
    excess risk bears, so that sigma sqrt(d) stays constant in d parameters: the published capacity
    is of order n sqrt(epsilon) / (d log(1/delta))^(1/4). Raises InputError where not even m = 0 is
    hidden.
    """
    convex.positive(sigma=sigma, mu=mu, M=M, L=L)
    hidden = sigma / gaussian_sigma(1, epsilon, delta)
    least = sensitivity(0, n=n, mu=mu, M=M, L=L, G=G)
    require(
        hidden >= least,
        f"sigma = {sigma:.3g} hides a distance of {hidden:.3g}, and G = {G:g} alone makes "
        f"{least:.3g}; choose a larger sigma or train to a smaller G.",
    )
    r = math.sqrt(2 * mu / M * (hidden - 3 * G / mu))
    m = n * (mu * r - G) / (2 * L)
    rounding = 1 + 1e-9  # so that an m that needs exactly this sigma is found
    m = min(math.floor(m * rounding), n // 2)
    needed = sensitivity(m, n=n, mu=mu, M=M, L=L, G=G)
    return m if m == 0 or gaussian_delta(needed, sigma, epsilon) <= delta else m - 1


@dataclass
class Sekhari:
    """Softmax regression that forgets from stored statistics; retrains beyond its capacity.

    F          softmax regression without bias, ||x|| <= 1, float64, weight_decay > 0
    M, L       as in `sensitivity`; proved values for this F are in `convex`
    capacity   the most samples in all that one training is to forget, at most n/2: sets sigma
    G          training stops at ||grad F|| <= G
    seed       makes the noise reproducible, and so not private

    A training anew starts a new count, with statistics and a sigma of its own n. It keeps a (p, p)
    matrix. A certificate is for each release alone.
    """

    F: Objective
    _: KW_ONLY
    epsilon: float
    delta: float
    M: float
    L: float
    capacity: int
    G: float = 1e-9
    seed: int | None = None

    @classmethod
    def train(cls, F: Objective, **terms) -> Sekhari:
        """Train on all of F; arguments as above. The first release is `trained`."""
        return cls(F, **terms)

    def __post_init__(self) -> None:
        started = time.perf_counter()
        convex.positive(G=self.G)
        require_counts(capacity=self.capacity)
        require(
            self.capacity <= self.F.n // 2,
            f"capacity is {self.capacity} of {self.F.n} samples; the bound is for up to half.",
        )
        self.releases = 0
        cost = self._train(torch.arange(self.F.n, device="cpu"))
        self.trained = self._release(self.w, True, cost, started)

    def forget(self, indices: Indices) -> Answer:
        """Answer the next request; indices are those of the set first trained on."""
        started = time.perf_counter()
        wanted, left = convex.remaining(self.F, self.kept, indices)
        if self.n - len(left) > self.limit:
            cost = self._train(left)
            return self._release(self.w, True, cost, started)
        F_u = self.F.only(wanted)
        self.kept = left
        self.hessian_sum = self.hessian_sum - F_u.n * convex.hessian(F_u, self.w)
        self.gradient_sum = self.gradient_sum + F_u.n * F_u.gradient(self.w)
        factor = torch.linalg.cholesky(self.hessian_sum)
        step = torch.cholesky_solve(self.gradient_sum[:, None], factor).squeeze(1)
        cost = (1 + convex.hessian_cost(F_u)) * F_u.n / self.F.n
        return self._release(self.w + step, False, cost, started)

    def _train(self, kept: Tensor) -> float:
        """Minimise F on these samples and keep its statistics; return the cost in gradients."""
        F_r = self.F.only(kept)
        start = torch.zeros(F_r.p, dtype=F_r.dtype, device=F_r.device)
        mu, n = convex.strong_convexity(F_r), F_r.n
        limit = min(self.capacity, n // 2)
        bound = sensitivity(limit, n=n, mu=mu, M=self.M, L=self.L, G=self.G)
        sigma = gaussian_sigma(bound, self.epsilon, self.delta)
        run = refine(F_r, start, gradient=self.G)
        convex.require_above_rounding(bound, run.w)
        self.w, self.kept, self.n, self.limit = run.w, kept, n, limit
        self.sensitivity, self.sigma = bound, sigma
        self.hessian_sum = n * convex.hessian(F_r, self.w)
        self.gradient_sum = torch.zeros_like(self.w)
        return (run.gradients + convex.hessian_cost(F_r)) * n / self.F.n

    def _release(self, estimate: Tensor, retrained: bool, cost: float, started: float) -> Answer:
        seed = None if self.seed is None else self.seed + self.releases
        self.releases += 1
        w = estimate + sample_noise(estimate, self.sigma, seed)
        seconds = time.perf_counter() - started
        return Answer(w, estimate, self.sigma, self.sensitivity, retrained, cost, seconds)
