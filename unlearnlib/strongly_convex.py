"""Where the objective is proved strongly convex: refine the estimate until its gradient certifies.

Let F_r be mu-strongly convex. Then mu ||a - b|| <= ||grad F_r(a) - grad F_r(b)|| for any two points
(strong monotonicity of the gradient). So if training stops at ||grad|| <= G, in either world, and
the estimate is refined until ||grad F_r(estimate)|| <= G as well,

    ||estimate - retrained|| <= (||grad F_r(estimate)|| + G) / mu <= 2G / mu = Delta.

Delta is fixed before any data is seen. It depends neither on the forget set nor on how the estimate
came about: one Newton step, ten, or requests answered before. Nothing but mu has to be proved; no
ball and no Hessian-Lipschitz constant enter. Where refining takes long it has become a
warm-started retraining: that is the fallback. It arrives, or raises DivergenceError, and then
nothing is released.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from . import batchnorm, bounds, evidence
from .certificate import VOID, Certificate, Constants, calibrate, strongly_convex_sensitivity
from .checks import Indices
from .errors import require
from .objective import Objective
from .refinement import Refinement, refine
from .sequential import SequentialUnlearner
from .unlearn import REPRODUCIBLE, SECRET, Release, check_vector, with_noise

Curvature = Callable[[Objective], Objective]
MOVED = "distance that refining moved"


def unlearn_strongly_convex(
    F: Objective,
    w: Tensor,
    forget: Indices,
    *,
    constants: Constants,
    delta: float,
    epsilon: float | None = None,
    sigma: float | None = None,
    curvature: Curvature | None = None,
    seed: int | None = None,
) -> Release:
    """Forget samples of F: refine w on the retained set to ||grad F_r|| <= G, add N(0, sigma^2 I).

    w           (p,), trained on F to ||grad F(w)|| <= G by a procedure that would have trained the
                retained samples to G as well (`refine` is one).
    constants   lam_min = mu > 0, which must hold everywhere, and G; sample_gradient, where it is
                known, tells what doing nothing gives.
    delta, epsilon, sigma, seed   as in `unlearn`.
    curvature   gives the objective whose Hessian the Newton steps use, from F_r; F_r by default.

    Gradients are measured in F's precision: give it in float64, and a curvature in float32. What
    is met on the way can void the certificate, never change its sigma. A w whose gradient exceeds
    G does not hurt Delta by itself; it shows that training does not enforce G, which the retrained
    model's side of the bound needs.

    Not covered: how long the answer takes, in how many steps, and whether it is refused or void.
    All are functions of the data: answer on a fixed schedule, and keep a refusal to yourself.
    Bad input raises InputError; a gradient that does not come down raises DivergenceError.
    """
    _check(F, w)
    F_r = F.without(forget)
    forgotten = F.n - F_r.n
    target = strongly_convex_sensitivity(constants)
    epsilon, sigma = calibrate(target, delta, epsilon, sigma)

    started = time.perf_counter()
    refined = refine(F_r, w, gradient=constants.G.value, curvature=curvature and curvature(F_r))
    released = F.reduce.agree(with_noise(refined.w, sigma, seed))
    seconds = time.perf_counter() - started

    found = _measurements(F, forgotten, w, refined)
    refuted = _refuted(found, constants, target.value, refined.w)
    mu, g, G = (constants.named()[name].value for name in ("lam_min", "sample_gradient", "G"))
    certificate = Certificate(
        epsilon, delta, sigma, target, C=math.inf, lam=0.0, tol=None, constants=constants,
        holds=VOID if refuted else target.holds,
        noise=SECRET if seed is None else REPRODUCIBLE,
        doing_nothing=bounds.stability_bound(F.n, forgotten, g, mu, G),
        reasons=refuted or evidence.weakened(constants.behind_convexity()), measurements=found,
    )  # fmt: skip
    return Release(released, certificate, refined.w, refined, {}, seconds)


class StronglyConvexUnlearner(SequentialUnlearner):
    """Answers requests one after the other, each to the same Delta = 2G/mu.

    Every estimate meets the gradient bound on what is then retained, so nothing adds up from one
    request to the next but the releases themselves: `budget` composes them. As Delta holds for any
    request, one that was chosen after seeing earlier releases is covered too: with the same
    requests both worlds look alike. What the choice of a request itself tells is not hidden.
    """

    def __init__(
        self,
        F: Objective,
        w: Tensor,
        *,
        constants: Constants,
        delta: float,
        epsilon: float | None = None,
        sigma: float | None = None,
        curvature: Curvature | None = None,
        seed: int | None = None,
    ):
        _check(F, w)
        self._start(F, w, seed)
        self.terms = dict(
            constants=constants, delta=delta, epsilon=epsilon, sigma=sigma, curvature=curvature
        )
        # refuse now what the first request would
        calibrate(strongly_convex_sensitivity(constants), delta, epsilon, sigma)

    def _answer(self, now: Objective, rows: Tensor, seed: int | None) -> Release:
        return unlearn_strongly_convex(now, self.w, rows, seed=seed, **self.terms)


def _check(F: Objective, w: Tensor) -> None:
    check_vector(F, w)
    require(
        not batchnorm.layers(F.model),
        "The model has BatchNorm: what is released is not what was trained, and no bound but a "
        "ball's applies. Build it with norm='group', or use ul.unlearn.",
    )


def _measurements(
    F: Objective, forgotten: int, w: Tensor, refined: Refinement
) -> dict[str, float | str]:
    return {
        "samples trained on": F.n,
        "samples forgotten": forgotten,
        evidence.GRADIENT: float(F.gradient(w).norm()),
        evidence.RETAINED_GRADIENT: refined.history[0],
        evidence.LEFT: refined.gradient,
        "Newton steps": len(refined.history) - 1,
        MOVED: float((refined.w - w).norm()),
    }


def _refuted(
    found: dict[str, float | str], constants: Constants, Delta: float, estimate: Tensor
) -> tuple[str, ...]:
    """The conditions that the data contradicts, each with its remedy."""
    mu, G = constants.lam_min.value, constants.G.value
    apart = found[evidence.RETAINED_GRADIENT] + found[evidence.LEFT]
    rounding = 2**10 * torch.finfo(estimate.dtype).eps * float(estimate.norm())
    conditions = [
        (
            found[evidence.GRADIENT] > G,
            f"||grad F(w)|| = {found[evidence.GRADIENT]:.3g} exceeds G = {G:g}: train on, to G.",
        ),
        (
            mu * found[MOVED] > apart + mu * rounding,
            f"Refining moved {found[MOVED]:.3g}, further than gradients of {apart:.3g} allow "
            f"at mu = {mu:g}: claim a smaller lam_min.",
        ),
        (
            Delta < rounding,
            f"Delta = {Delta:.3g} is within rounding of {estimate.dtype} at a norm of "
            f"{float(estimate.norm()):.3g}: use F.to(torch.float64).",
        ),
    ]
    return tuple(message for contradicted, message in conditions if contradicted)
