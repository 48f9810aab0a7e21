"""Newton steps down to a small gradient: they train, retrain and refine a convex objective."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .cg import Apply, conjugate_gradient
from .errors import DivergenceError, require, require_counts
from .objective import Objective

PRODUCT = 2  # gradients that a Hessian product costs, about: it differentiates the gradient
ENOUGH = 0.1  # relative residual of a linear system far from the end: a smaller gains little
NEAR = 1e-3  # what one step can leave of a gradient that is this close to the end
ORDER = (1 + math.sqrt(5)) / 2  # of convergence near the end (Eisenstat and Walker, 1996, choice 2)
MOST_HALVINGS = 20

Preconditioner = Callable[[Objective, Tensor], Apply]


@dataclass(frozen=True)
class Refinement:
    """What `refine` returns.

    w          (p,), with ||grad F(w)|| <= the gradient asked for
    slope      (p,), grad F(w): the next refinement can start from it
    gradient   its norm
    history    its value at the start and after each Newton step
    gradients  the work, in gradients of F, a Hessian product as two
    """

    w: Tensor = field(repr=False)
    slope: Tensor = field(repr=False)
    gradient: float
    history: list[float]
    gradients: float
    seconds: float

    def __str__(self) -> str:
        steps = len(self.history) - 1
        return f"||grad F|| from {self.history[0]:.3g} to {self.gradient:.3g} in {steps} steps"


def refine(
    F: Objective, w: Tensor, *, gradient: float, curvature: Objective | None = None,
    preconditioner: Preconditioner | None = None, slope: Tensor | None = None,
    smoothness: float | None = None, max_steps: int = 100,
) -> Refinement:  # fmt: skip
    """Lower F from w (p,) by Newton steps until ||grad F(w)|| <= gradient, over all samples.

    Each step solves H s = grad F(w) by conjugate gradient and is halved until the gradient norm
    falls, so the same function trains, retrains and refines. Where F is strongly convex and the
    Hessian its own, some length always lowers the gradient; with a sample's that is usual, not
    proved.

    curvature   the objective whose Hessian is used, F itself by default. A sample of F's samples,
                in float32, makes a step cheap; it changes how fast the gradient falls, not where
                it ends, since the gradient is F's own.
    preconditioner  (curvature, w) -> (v -> P^-1 v), for a positive definite P near the Hessian that
                is used at w: fewer products to the same end.
    slope       grad F(w), where it is known already: the first pass over the samples is saved. What
                is reached is measured in any case.
    smoothness  L, where ||grad F|| is known to be L-Lipschitz: where no length of a Newton step
                lowers the gradient, or max_steps of them did not suffice, gradient descent at 1/L
                does, for up to 1000 max_steps in all. Each such step leaves at most 1 - mu/L of it
                where F is mu-strongly convex, so that the end is reached, up to rounding.

    Raises DivergenceError where no step makes the gradient smaller, or without `smoothness`
    max_steps are used up, and NegativeCurvatureError where H is not positive definite.
    """
    F.check(w)
    require(gradient > 0, f"gradient is {gradient}; the norm to stop at must be > 0.")
    require_counts(max_steps=max_steps)
    started, model = time.perf_counter(), curvature or F
    # where the known gradient would end it here, nobody would measure it any more
    known = slope is not None and float(F.check(slope, "slope").norm()) > gradient
    slope, cost = (slope, 0.0) if known else (F.gradient(w), 1.0)
    history = [float(slope.norm())]
    while not history[-1] <= gradient:
        moved = None
        if len(history) <= max_steps:
            at, b = w.to(model.dtype), slope.to(model.dtype)
            P = preconditioner and preconditioner(model, at)
            how = dict(tol=_tolerance(history, gradient, at.dtype), preconditioner=P, checked=False)
            solution = conjugate_gradient(model, at, b, lam=0.0, **how)
            moved, tries = _shortened(F, w, solution.x.to(w.dtype), history[-1])
            cost += tries + PRODUCT * solution.steps * model.n / F.n
        if moved is None and smoothness is not None and len(history) <= 1000 * max_steps:
            moved, cost = _descended(F, w, slope, smoothness), cost + 1
        require(moved is not None, _stuck(history, max_steps, gradient, w.dtype), DivergenceError)
        w, slope = moved
        history.append(float(slope.norm()))
    return Refinement(w, slope, history[-1], history, cost, time.perf_counter() - started)


def _tolerance(history: list[float], gradient: float, dtype: torch.dtype) -> float:
    """Relative residual of the next system: what is left to do, where one step can do it.

    Otherwise the smaller, the better the last step did; not below what rounding lets a step reach.
    """
    left = gradient / history[-1] / 2
    if left > NEAR:
        return left
    gained = history[-1] / history[-2] if len(history) > 1 else 1.0
    return max(min(ENOUGH, gained**ORDER), left, math.sqrt(torch.finfo(dtype).eps))


Moved = tuple[Tensor, Tensor] | None  # w and its gradient, or None where nothing lowers it


def _shortened(F: Objective, w: Tensor, step: Tensor, norm: float) -> tuple[Moved, int]:
    """w - t step for the first t of 1, 1/2, 1/4, ... that lowers the gradient; tries it took."""
    for halvings in range(MOST_HALVINGS + 1):
        t = 0.5**halvings
        slope = F.gradient(w - t * step)
        if float(slope.norm()) <= (1 - t / 4) * norm:
            return (w - t * step, slope), halvings + 1
    return None, MOST_HALVINGS + 1


def _descended(F: Objective, w: Tensor, slope: Tensor, smoothness: float) -> Moved:
    """One step of gradient descent at 1/L, unless rounding keeps it from lowering the gradient."""
    there = w - slope / smoothness
    lower = F.gradient(there)
    return (there, lower) if lower.norm() < slope.norm() else None


def _stuck(history: list[float], max_steps: int, gradient: float, dtype: torch.dtype) -> str:
    steps, norm = len(history) - 1, history[-1]
    if steps >= max_steps:
        cause = f"||grad F|| is {norm:.3g} after {steps} steps, above {gradient:g}"
        return f"{cause}; allow more steps, or take the curvature of more samples."
    cause = f"||grad F|| stays at {norm:.3g}: rounding in {dtype}, or curvature that is not F's"
    return f"{cause}. Use F.to(torch.float64), curvature of more samples, or a larger gradient."
