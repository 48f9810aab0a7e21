"""Guo, Goldstein, Hannun and van der Maaten (2020), "Certified data removal from machine learning
models": one Newton step a request, hidden by noise in the training objective.

They train L_b(w) = sum_i loss_i(w) + (mu n/2)||w||^2 + b.w with b ~ N(0, sigma^2 I), sums where
this package has means: L_b = n (F(w) + (b/n).w). As they do, b, sigma, residuals and the budget
are in units of the sum, so that b stays while n shrinks; in units of F, divide by n.

A request steps w <- w + H_r^-1 (m/n_r) grad F_u(w) on the n_r samples retained, which leaves a
gradient residual u = grad L_b(w; D_r). Then w is the exact minimiser for b - u in place of b, and
the noise hides a shift by ||u|| <= residual. Their Theorem 3: with b ~ N(0, (c residual/epsilon)^2)
that is (epsilon, delta)-removal for delta = 1.5 exp(-c^2/2), so residual <= sigma epsilon / c. We
take the exact Gaussian mechanism instead: residual <= sigma / gaussian_sigma(1, epsilon, delta).

What is assumed. The proof compares densities at a fixed u, but u is a function of w and so of b.
That gap is real. A rule that rounds b - u to a grid has a small ||u||, meets the theorem's words,
and is told from retraining with certainty. For an exact Newton step b - u(b) is
smooth and no such thing happens, yet the density gains the factor 1/|det(I - du/db)|, which the
proof leaves out and which ||u|| does not bound: its logarithm can grow with p. So the certificate
is "assumed" here. The residual bound itself is proved. With the data it decides whether to retrain,
and that decision is not hidden either.

A certificate is for each release alone. Those between two trainings share b, so a request that was
chosen after seeing one of them is not covered.
"""

from __future__ import annotations

import copy
import time
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from ...cg import conjugate_gradient
from ...checks import Indices
from ...errors import require
from ...noise import gaussian_sigma, sample_noise
from ...objective import Objective
from ...refinement import PRODUCT, refine
from . import convex
from .convex import HESSIAN_LIPSCHITZ, Answer


def residual_bound(X: Tensor, step: Tensor, spectral_norm: float) -> float:
    """Corollary 1: gamma ||X||_2 ||S||_2 ||X S^T||_F, for the step S (K, d) and X (n_r, d).

    Theirs is for one logit. For K, with A_i(t) the Hessian of sample i in its logits at W + tS,

        grad L_b(W + S; D_r) - grad L_b(W; D_r) - n_r H_r S = V^T X,
        row i of V = integral over t in [0, 1] of (A_i(t) - A_i(0)) S x_i.

    ||V^T X||_F <= ||X||_2 ||V||_F, and row i is at most the integral of gamma t ||S x_i||^2. One of
    the two factors ||S x_i|| is at most ||S||_2, as ||x_i|| <= 1; the others make ||X S^T||_F. The
    integral of t would halve the bound; we keep what they state. The regulariser and b have a
    constant Hessian and drop out. gamma = sqrt(2/27), see `convex`.
    """
    sizes = torch.linalg.matrix_norm(step, 2) * torch.linalg.matrix_norm(X @ step.T)
    return HESSIAN_LIPSCHITZ * spectral_norm * float(sizes)


@dataclass
class Guo:
    """Softmax regression that forgets by Newton steps; out of budget it retrains with a new b.

    F        softmax regression without bias, ||x|| <= 1, float64, weight_decay > 0
    sigma    standard deviation of b, in units of the sum; chosen, it costs accuracy
    G        training stops at ||grad F + b/n|| <= G. That leaves a residual of n G, and so does
             the retrained model's own training: both are counted
    tol      relative residual of the linear system; what is left is measured and counted
    seed     makes b reproducible, and so not private

    `kept`, `w`, `b` and `residual` (the bound on ||u||) are the state. A release's sensitivity is
    that bound plus n_r G, and never above `budget`.
    """

    F: Objective
    _: KW_ONLY
    epsilon: float
    delta: float
    sigma: float
    G: float = 1e-9
    tol: float = 1e-6
    seed: int | None = None

    @classmethod
    def train(cls, F: Objective, **terms) -> Guo:
        """Train on all of F; arguments as above. The first release is `trained`."""
        return cls(F, **terms)

    def __post_init__(self) -> None:
        started = time.perf_counter()
        convex.strong_convexity(self.F)
        convex.positive(sigma=self.sigma, G=self.G)
        self.budget = self.sigma / gaussian_sigma(1, self.epsilon, self.delta)
        require(
            2 * self.F.n * self.G < self.budget,
            f"Training to G = {self.G:g} leaves 2 n G = {2 * self.F.n * self.G:.3g} in the gradient"
            f" and the budget is {self.budget:.3g}; choose a larger sigma or a smaller G.",
        )
        self.trainings = 0
        cost = self._train(torch.arange(self.F.n, device="cpu"))
        self.trained = self._release(True, cost, started)

    def forget(self, indices: Indices) -> Answer:
        """Answer the next request; indices are those of the set first trained on."""
        started = time.perf_counter()
        wanted, left = convex.remaining(self.F, self.kept, indices)
        F_u, F_r = self.F.only(wanted), self.F.only(left)
        b = F_u.n / F_r.n * F_u.gradient(self.w)
        solution = conjugate_gradient(F_r, self.w, b, lam=0.0, tol=self.tol)
        cost = (F_u.n + PRODUCT * (solution.steps + 1) * F_r.n) / self.F.n
        X_u, X_r = convex.inputs(F_u), convex.inputs(F_r)
        gram = self.gram - X_u.T @ X_u
        residual = self.residual + F_r.n * solution.residual * float(b.norm())
        residual += residual_bound(X_r, solution.x.view(-1, X_r.shape[1]), _spectral_norm(gram))
        exhausted = residual + F_r.n * self.G > self.budget
        if exhausted:
            cost += self._train(left)
        else:
            self.w, self.kept = self.w + solution.x, left
            self.gram, self.residual = gram, residual
        return self._release(exhausted, cost, started)

    def _train(self, kept: Tensor) -> float:
        """Minimise L_b on these samples with a fresh b; return the cost in gradients of F."""
        F_r, seed = self.F.only(kept), self.seed
        X = convex.inputs(F_r)
        fresh = None if seed is None else seed + self.trainings
        zero = torch.zeros(self.F.p, dtype=self.F.dtype, device=self.F.device)
        b = sample_noise(zero, self.sigma, fresh)
        run = refine(_tilted(F_r, b / F_r.n), zero, gradient=self.G)
        self.w, self.b, self.kept, self.gram = run.w, b, kept, X.T @ X
        self.residual, self.trainings = F_r.n * self.G, self.trainings + 1
        return run.gradients * F_r.n / self.F.n

    def _release(self, retrained: bool, cost: float, started: float) -> Answer:
        sensitivity = self.residual + len(self.kept) * self.G
        seconds = time.perf_counter() - started
        return Answer(self.w, self.w, self.sigma, sensitivity, retrained, cost, seconds)


def _tilted(F: Objective, tilt: Tensor) -> Objective:
    """F(w) + tilt.w up to a constant: the same regulariser around -tilt/mu."""
    other = copy.copy(F)
    other.center = -tilt / F.weight_decay
    return other


def _spectral_norm(gram: Tensor) -> float:
    """||X||_2 from X^T X."""
    return float(torch.linalg.eigvalsh(gram)[-1].clamp(min=0).sqrt())
