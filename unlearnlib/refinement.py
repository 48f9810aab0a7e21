"""Newton steps down to a small gradient: how a convex objective is trained, retrained, refined."""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch import Tensor

from .cg import conjugate_gradient
from .errors import DivergenceError, require, require_counts
from .objective import Objective

PRODUCT = 2  # gradients that a Hessian product costs, about: it differentiates the gradient
ENOUGH = 0.1  # relative residual of each linear system: more would be lost at the next step
MOST_HALVINGS = 20


@dataclass(frozen=True)
class Refinement:
    """What `refine` returns.

    w          (p,), with ||grad F(w)|| <= the gradient asked for
    gradient   that norm, as reached
    history    its value at the start and after each Newton step
    gradients  the work, in gradients of F, a Hessian product as two
    """

    w: Tensor
    gradient: float
    history: list[float]
    gradients: float
    seconds: float

    def __str__(self) -> str:
        steps = len(self.history) - 1
        return f"||grad F|| from {self.history[0]:.3g} to {self.gradient:.3g} in {steps} steps"


def refine(
    F: Objective, w: Tensor, *, gradient: float, curvature: Objective | None = None,
    max_steps: int = 100,
) -> Refinement:  # fmt: skip
    """Lower F from w (p,) by Newton steps until ||grad F(w)|| <= gradient, over all samples.

    Each step solves H s = grad F(w) by conjugate gradient and is halved until the gradient norm
    falls, so the same function trains, retrains and refines. Where F is strongly convex and the
    Hessian its own, some length always lowers the gradient; with a sample's that is usual, not
    proved.

    curvature   the objective whose Hessian is used, F itself by default. A sample of F's samples,
                in float32, makes a step cheap; it changes how fast the gradient falls, not where
                it ends, since the gradient is F's own.

    Raises DivergenceError where no step makes the gradient smaller, or max_steps are used up, and
    NegativeCurvatureError where H is not positive definite.
    """
    F.check(w)
    require(gradient > 0, f"gradient is {gradient}; the norm to stop at must be > 0.")
    require_counts(max_steps=max_steps)
    started, model = time.perf_counter(), curvature or F
    slope = F.gradient(w)
    history, cost = [float(slope.norm())], 1.0
    while history[-1] > gradient:
        require(
            len(history) <= max_steps,
            f"||grad F|| is {history[-1]:.3g} after {max_steps} Newton steps, above {gradient:g}; "
            "allow more steps, or take the curvature of more samples.",
            DivergenceError,
        )
        at, b = w.to(model.dtype), slope.to(model.dtype)
        solution = conjugate_gradient(model, at, b, lam=0.0, tol=ENOUGH)
        w, slope, tries = _shortened(F, w, solution.x.to(w.dtype), history[-1])
        cost += tries + PRODUCT * (solution.steps + 1) * model.n / F.n
        history.append(float(slope.norm()))
    return Refinement(w, history[-1], history, cost, time.perf_counter() - started)


def _shortened(F: Objective, w: Tensor, step: Tensor, norm: float) -> tuple[Tensor, Tensor, int]:
    """w - t step and its gradient, for the first t of 1, 1/2, 1/4, ... that lowers the gradient.

    And how many were tried.
    """
    for halvings in range(MOST_HALVINGS + 1):
        t = 0.5**halvings
        slope = F.gradient(w - t * step)
        if float(slope.norm()) <= (1 - t / 4) * norm:
            return w - t * step, slope, halvings + 1
    raise DivergenceError(
        f"||grad F|| stays at {norm:.3g} whatever the length of the step: rounding in "
        f"{w.dtype}, or curvature that is not F's. Use F.to(torch.float64), the curvature of more "
        "samples, or a larger gradient to stop at."
    )
