"""Differences in the update, and in the noise: each function gives the Outcome of one switch.

The released code is github.com/zhangbinchi/certified-deep-unlearning at commit 912a66c. What it
does is written anew here, and solved accurately where its solver would hide the difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, minres
from torch import Tensor

from unlearnlib import bounds
from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.methods import allowance
from unlearnlib.lab.requests import in_turn
from unlearnlib.lab.seeds import generator
from unlearnlib.lab.settings import BATCH, DELTA, LISSA_STEPS, SIGMA
from unlearnlib.lab.step import TOL, estimate, hessian_sample, projected_step, solve_on
from unlearnlib.linearised import KEPT_BYTES
from unlearnlib.lissa import lissa
from unlearnlib.newton import newton_update
from unlearnlib.noise import compose_epsilon, gaussian_epsilon
from unlearnlib.objective import Objective
from unlearnlib.projected_sgd import project
from unlearnlib.solution import Solution

from . import training
from .outcome import Model, Outcome, ball_epsilon, least_refused, newton_estimate, published

GAMMA, SCALE = 0.01, 1000.0  # released code defaults
ONE = 1  # chain, of the ten that are averaged by default: for time
BATCHES = 8  # of 128, that the released code cuts 1,000 forgotten images into
REQUESTS = 10
MINRES_STEPS = 250


def reading(d: Experiment) -> Outcome:
    """The paper's reading: nothing is switched on."""
    estimate, lam = newton_estimate(d)
    return published(d, estimate, facts={"lam": lam})


# ---- the update ----------------------------------------------------------------------------------


class Unsquared(Objective):
    """F with wd sum_k ||p_k|| over parameter tensors p_k in place of (wd/2) ||w||^2.

    The Hessian gets (wd + lam)/||p_k|| (I - u u^T) for each tensor, u = p_k/||p_k||: what the
    released code has for the regulariser and for lam I. It is zero along u, whatever lam is, and
    undefined where a tensor is exactly zero.
    """

    def __init__(self, F: Objective, lam: float):
        vars(self).update(vars(F))
        self.pull, self.stiffness, self.weight_decay = F.weight_decay, F.weight_decay + lam, 0.0

    def gradient(self, w: Tensor) -> Tensor:
        units = [q / q.norm() for q in self.pieces(w).values()]
        return super().gradient(w) + self.pull * torch.cat([u.reshape(-1) for u in units])

    def hessian_at(self, w: Tensor, keep: int = KEPT_BYTES) -> Callable[[Tensor], Tensor]:
        H = super().hessian_at(w, keep)
        return lambda v: H(v) + self.stiffness * self.bend(w, v)

    def bend(self, w: Tensor, v: Tensor) -> Tensor:
        """The Hessian of sum_k ||p_k|| times v (p,)."""
        bent = []
        for q, z in zip(self.pieces(w).values(), self.pieces(v).values(), strict=True):
            length = q.norm()
            u = q / length
            bent.append(((z - (u * z).sum() * u) / length).reshape(-1))
        return torch.cat(bent)


def unsquared(d: Experiment) -> Outcome:
    """lam and the decay as unsquared norms; the system solved by MINRES, as it is indefinite."""
    F, lam, found = Unsquared(d.F_trained, d.pair.lam), d.pair.lam, []
    few = Unsquared(hessian_sample(d), lam)

    def solver(F_r: Objective, w: Tensor, b: Tensor, *, lam: float) -> Solution:
        found.append(solve_indefinite(few, w, b))
        return found[0]

    w = projected_step(F, d.w, d.forget, C=d.pair.C, lam=lam, solver=solver)
    units = directions(few, d.w)
    bare = min(float(u @ few.hvp(d.w, u)) for u in units)
    facts = {
        "lam": lam,
        "its lift along a tensor, at most": max(lifts(few, d.w.double())),
        "least curvature along a tensor": bare,
        "the same with lam I": bare + lam + d.F_trained.weight_decay,
        "length of the step": float(found[0].x.norm()),
        "residual": found[0].residual,
    }
    return published(d, w, facts=facts)


def directions(F: Objective, w: Tensor) -> list[Tensor]:
    """p_k/||p_k|| of each parameter tensor, as a vector (p,) that is zero elsewhere."""
    units = []
    for name, q in F.pieces(w).items():
        u = torch.zeros_like(w)
        F.pieces(u)[name].copy_(q / q.norm())
        units.append(u)
    return units


def lifts(F: Unsquared, w: Tensor) -> list[float]:
    """|u^T R u| for each tensor's own direction u, R what stands in for (wd + lam) I."""
    return [abs(float(u @ F.bend(w, u))) * F.stiffness for u in directions(F, w)]


def solve_indefinite(F: Objective, w: Tensor, b: Tensor) -> Solution:
    """H(w) x = b by SciPy's MINRES, which needs no positive definite H, to the usual tolerance."""

    def product(v: np.ndarray) -> np.ndarray:
        return F.hvp(w, torch.from_numpy(v.reshape(-1)).to(w)).double().numpy()

    H, steps = LinearOperator((F.p, F.p), matvec=product, dtype="float64"), []
    # SciPy's rtol is relative to ||H|| ||x||, so it is set well below the tolerance wanted
    x, _ = minres(H, b.double().numpy(), rtol=1e-8, maxiter=MINRES_STEPS, callback=steps.append)
    residual = float(np.linalg.norm(product(x) - b.double().numpy()) / b.double().norm())
    status = "converged" if residual <= TOL else "steps used up"
    return Solution(torch.from_numpy(x).to(w), residual, f"all {F.n:,} samples", [], len(steps),
                    scale=None, status=status, seconds=0.0)  # fmt: skip


def lissa_as_released(d: Experiment) -> Outcome:
    """LiSSA at scale 1,000 and gamma 0.01: 1,000 steps, or as many as a tenth of training pays."""
    F_r = d.F_trained.without(d.forget)
    steps = max(1, min(LISSA_STEPS, allowance(d) // BATCH))
    solution = lissa(
        F_r, d.w, F_r.gradient(d.w), lam=GAMMA, scale=SCALE, steps=steps, chains=ONE,
        batch_size=BATCH, tol=1e-9, checks=1, generator=generator("hessian", d.seed),
    )  # fmt: skip
    facts = {
        "gamma": GAMMA,
        "chains": ONE,
        "steps": solution.steps,
        "relative residual": solution.residual,
        "effective damping": solution.damping,
        "length of the step": float(solution.x.norm()),
    }
    return published(d, project(d.w - solution.x, d.pair.C), facts=facts)


def cheap(d: Experiment) -> Outcome:
    """The paper's cheap form: n_u/(n - n_u) grad F_u, a mean."""
    return published(d, estimate(d, d.pair.lam, gradient="forget"))


def batch_sums(d: Experiment) -> Outcome:
    """The cheap form with the batches' means summed: as many times too large as there are."""
    F = d.F_trained
    F_r, parts = F.without(d.forget), d.forget.tensor_split(min(BATCHES, len(d.forget)))
    b = -len(d.forget) / F_r.n * sum(F.only(part).gradient(d.w) for part in parts)
    x = solve_on(hessian_sample(d))(F_r, d.w, b, lam=d.pair.lam).x
    return published(d, project(d.w - x, d.pair.C), facts={"batches": len(parts)})


def unprojected(d: Experiment) -> Outcome:
    """The estimate wherever it lies: 2C no longer covers its distance, so nothing is proved."""
    F = d.F_trained
    w = newton_update(F, d.w, d.forget, lam=d.pair.lam, solver=solve_on(hessian_sample(d)))
    facts = {
        "norm of the estimate": float(w.double().norm()),
        "C": d.pair.C,
        "moved by projection": distance(w, project(w, d.pair.C)),
    }
    return published(d, w, epsilon=None, facts=facts)


# ---- the noise -----------------------------------------------------------------------------------


def public_noise(d: Experiment) -> Outcome:
    """Noise from a seed that is printed in the code: whoever reads it subtracts the noise."""
    estimate, _ = newton_estimate(d)
    w = estimate + public_draw(estimate)
    facts = {
        "noise added, length": distance(w, estimate),
        "left after subtracting it": distance(w - public_draw(estimate), estimate),
    }
    return published(d, estimate, after=Model(w), epsilon=math.inf, facts=facts)


def public_draw(like: Tensor) -> Tensor:
    """What anyone gets who runs the released code's generator from its seed, 0."""
    return SIGMA * torch.randn(like.shape, generator=torch.Generator().manual_seed(0)).to(like)


def sequence(d: Experiment) -> Outcome:
    """The same forget set in ten requests; each release has noise of its own, and they compose."""
    count = min(REQUESTS, len(d.forget))
    mu = [bounds.trivial_bound(d.pair.C)] * count, [SIGMA] * count
    return published(d, _last_estimate(d), epsilon=compose_epsilon(*mu, DELTA),
                     facts={"requests": count})  # fmt: skip


def noiseless_sequence(d: Experiment) -> Outcome:
    """Ten requests, and what is released is the running estimate itself."""
    return published(d, w := _last_estimate(d), after=Model(w), epsilon=math.inf)


@lru_cache(maxsize=2)  # a few: each keeps an experiment, images included
def _last_estimate(d: Experiment) -> Tensor:
    """Each step from where the last one ended, on what is then retained; Algorithm 2."""
    w, F = d.w, d.F_trained
    solver = solve_on(hessian_sample(d))
    requests = in_turn(d.forget, min(REQUESTS, len(d.forget)))
    for k in range(1, len(requests) + 1):
        gone = torch.cat(requests[:k])
        w = projected_step(F, w, gone, C=d.pair.C, lam=d.pair.lam, solver=solver)
    return w


def classical(d: Experiment) -> Outcome:
    """The paper's reading, and the epsilon that the classical mechanism prints beyond 1."""
    size = bounds.trivial_bound(d.pair.C)
    said = gaussian_epsilon(size, SIGMA, DELTA, mechanism="classical-unchecked")
    honest = ball_epsilon(d)
    facts = {"printed": said, "exact": honest, "too small by a factor of": honest / said}
    return published(d, newton_estimate(d)[0], facts=facts)


# ---- the training --------------------------------------------------------------------------------


def partly_trained(d: Experiment) -> Outcome:
    """Trained on four fifths of the images; to forget is a draw from all of them."""
    return _from_split(d, "last", {"never trained on, share": training.never_trained(d)})


def early_stopping(d: Experiment) -> Outcome:
    """The same, with the epoch kept that does best on the rest, forgotten images among it."""
    losses = training.kept(d, without_forgotten=False).losses
    facts = {"epoch kept": losses.index(min(losses)) + 1, "epochs": len(losses)}
    return _from_split(d, "best", facts)


def _from_split(d: Experiment, which: str, facts: dict) -> Outcome:
    w, goal = (getattr(training.kept(d, without_forgotten=out), which) for out in (False, True))
    F, solver = d.F_trained, solve_on(hessian_sample(d))

    def step(lam: float) -> Tensor:
        return projected_step(F, w, d.forget, C=d.pair.C, lam=lam, solver=solver)

    estimate, lam = least_refused(step, d.pair.lam)
    slope = float(F.without(d.forget).gradient(w).norm())
    facts = {**facts, "gradient before the step": slope, "lam": lam}
    return published(d, estimate, before=Model(w), goal=Model(goal), facts=facts)


def faster(d: Experiment) -> Outcome:
    """Trained and retrained at learning rate 0.01."""
    return reading(training.faster(d))
