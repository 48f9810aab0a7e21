"""The Newton step from a trained model, projected into the ball; its error and accuracies.

    w = estimate(d, lam=1.0)                 w - (H + lam I)^-1 grad F_r(w), projected
    error(d, w) | accuracies(d, w)           columns of a row, for `Results.record`

The gradient is over all retained images, the Hessian on a sample of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..cg import conjugate_gradient
from ..evaluation.metrics import accuracy, distance
from ..newton import Solver, newton_update
from ..noise import with_noise
from ..objective import Objective
from ..projected_sgd import project
from ..solution import Solution
from .experiments import Experiment
from .seeds import sample, seed_of
from .settings import HESSIAN_SAMPLE, SIGMA

TOL, MAX_STEPS = 1e-3, 50
NOISE = "noise alone"  # no method, but what noise does without a step


def estimate(
    d: Experiment, lam: float, gradient: str = "retained", whole: Tensor | None = None
) -> Tensor:
    """The estimate of d.retrained.w, before any noise, to a relative residual of TOL.

    whole   grad F(w), where several dampings are tried: no pass over all images is taken then
    """
    how = dict(lam=lam, solver=solve_on(hessian_sample(d)), gradient=gradient, whole=whole)
    return projected_step(d.F_trained, d.w, d.forget, C=d.pair.C, **how)


def projected_step(
    F: Objective,
    w: Tensor,
    forget: Sequence[int] | Tensor,
    *,
    C: float,
    lam: float,
    solver: Solver,
    gradient: str = "retained",
    whole: Tensor | None = None,
) -> Tensor:
    """One Newton step from w, projected into the ball of radius C: see `newton_update`."""
    step = newton_update(F, w, forget, lam=lam, solver=solver, gradient=gradient, whole=whole)
    return project(step, C)


def released(d: Experiment, w: Tensor, sigma: float) -> Tensor:
    """w as released: with noise, the same draw for each sigma."""
    return with_noise(w, sigma, seed_of("noise", d.seed))


def solve_on(subset: Objective, tol: float = TOL, max_steps: int = MAX_STEPS) -> Solver:
    """Return a solver: conjugate gradient with the Hessian of `subset`, to save time."""

    def solver(F_r: Objective, w: Tensor, b: Tensor, *, lam: float) -> Solution:
        return conjugate_gradient(subset, w, b, lam=lam, tol=tol, max_steps=max_steps)

    return solver


def hessian_sample(d: Experiment) -> Objective:
    """The retained images that the Hessian is taken on."""
    return sample(d.F_trained.without(d.forget), HESSIAN_SAMPLE[d.pair.model], d.seed)


def error(d: Experiment, w: Tensor) -> dict[str, float]:
    """Distance to the retrained model: from w, and from the trained model ("nothing" done)."""
    return {"error": distance(w, d.retrained.w), "nothing": distance(d.w, d.retrained.w)}


def controls(d: Experiment) -> dict[str, float]:
    """The share of the distance to d.retrained that models of known verdict remove, by name.

    A warm-started retraining, doing nothing, and the trained weights with the released code's
    noise. If the first removes none, the distance can judge nobody.
    """
    models = {"again": d.again.w, "trained": d.w, NOISE: released(d, d.w, SIGMA)}
    nothing = distance(d.w, d.retrained.w)
    return {name: 1 - distance(w, d.retrained.w) / nothing for name, w in models.items()}


def accuracies(d: Experiment, w: Tensor) -> dict[str, float]:
    """Micro F1 on forgotten and test images, of the trained model, of w and of the retrained."""
    F_u, F_test = (F.with_buffers(d.trained.buffers) for F in (d.F_u, d.F_test))
    return {
        "forgotten, trained": accuracy(F_u, d.w),
        "forgotten, unlearned": accuracy(F_u, w),
        "forgotten, retrained": accuracy(F_u.with_buffers(d.retrained.buffers), d.retrained.w),
        "test, trained": accuracy(F_test, d.w),
        "test, unlearned": accuracy(F_test, w),
        "test, retrained": accuracy(F_test.with_buffers(d.retrained.buffers), d.retrained.w),
    }
