"""For proved strongly convex objectives: refine the estimate until its gradient certifies it.

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

from . import batchnorm, bounds, draws, evidence, spectrum
from .certificate import VOID, Certificate, Constants, Known, calibrate
from .certificate import strongly_convex_sensitivity as target_sensitivity
from .checks import Indices
from .errors import require
from .newton import retained_gradient
from .noise import published
from .objective import Objective
from .refinement import Preconditioner, Refinement, refine
from .sequential import SequentialUnlearner
from .unlearn import Release, check_precision, check_vector, known_to_all

Curvature = Callable[[Objective], Objective]
MOVED = "distance that refining moved"
APART = "||grad F_r(w) - grad F_r(estimate)||"
LEAST = "least curvature found at the estimate"
LOOKED_AT = 128  # samples that Lanczos looks at for a direction


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
    preconditioner: Preconditioner | None = None,
    whole: Tensor | None = None,
    seed: int | None = None,
    known: Known | None = None,
) -> Release:
    """Forget samples of F: refine w on the retained set to ||grad F_r|| <= G, add N(0, sigma^2 I).

    w           (p,), trained on F to ||grad F(w)|| <= G by a procedure that would have trained the
                retained samples to G as well (`refine` is one).
    constants   lam_min = mu > 0, which must hold everywhere, and G; sample_gradient, where it is
                known, tells what doing nothing gives, and L makes sure that refining ends.
    delta, epsilon, sigma, seed, known   as in `unlearn`.
    curvature   gives the objective whose Hessian the Newton steps use, from F_r; F_r by default.
    preconditioner   as in `refine`. One that was prepared on all samples is as secret as they are.
    whole       grad F(w), (p,), kept from the end of training: the request starts from a gradient
                on the forgotten samples alone. It is not trusted: what is reached is measured.

    F is float64, since gradients prove here; a curvature may be float32. What is met on the way can
    void the certificate, never change its sigma. A w whose gradient exceeds G does not hurt Delta
    by itself; it shows that training does not enforce G, which the retrained model's side of the
    bound needs.

    Its conditions are measured at the end, independently of `refine`: ||grad F(w)|| on all samples;
    ||grad F_r(estimate)||, one gradient on the retained ones; strong monotonicity from w to the
    estimate, a gradient on the forgotten ones; and the curvature at the estimate in one direction,
    one Hessian product, where Lanczos on LOOKED_AT of the samples finds it lowest. These refute a
    mu that is too large; they do not prove one that is not.

    Not covered: how long the answer takes, in how many steps, and whether it is refused or void.
    All are functions of the data: answer on a fixed schedule, and keep a refusal to yourself.
    Bad input raises InputError; a gradient that does not come down raises DivergenceError.
    """
    _check(F, w)
    rows = F.indices(forget)
    F_r, F_u = F.without(rows), F.only(rows)
    target = target_sensitivity(constants)
    epsilon, sigma = calibrate(target, delta, epsilon, sigma)
    F.reduce.require_same(w=w, forget=rows, x=F.x, y=F.y)
    mu, g, G, L = (constants.named()[q].value for q in ("lam_min", "sample_gradient", "G", "L"))

    started = time.perf_counter()
    # a copy, since what is handed out may be changed
    model, smoothness = curvature and curvature(F_r.to(F.dtype)), L if L < math.inf else None
    slope = None if whole is None else retained_gradient(F, w, rows, whole)
    how = dict(preconditioner=preconditioner, slope=slope, smoothness=smoothness)
    refined = refine(F_r, w, gradient=G, curvature=model, **how)
    noisy, noise = published(refined.w, sigma, target.value, seed)
    released = F.reduce.agree(noisy)
    seconds = time.perf_counter() - started

    measured = _measurements(F, F_r, F_u, w, refined)
    refuted = _refuted(measured, constants, target.value, refined.w)
    certificate = Certificate(
        epsilon, delta, sigma, target, C=math.inf, lam=0.0, tol=None, constants=constants,
        holds=VOID if refuted else target.holds, noise=noise,
        doing_nothing=bounds.stability_bound(F.n, F_u.n, g, mu, G), known=known_to_all(F, known),
        reasons=refuted or evidence.weakened(constants.behind_convexity()), measurements=measured,
    )  # fmt: skip
    return Release(released, certificate, refined.w, refined, {}, seconds)


class StronglyConvexUnlearner(SequentialUnlearner):
    """Answers requests one after the other, each to the same Delta = 2G/mu.

    Every estimate meets the gradient bound on what is then retained, so nothing adds up from one
    request to the next but the releases themselves: `budget` composes them. As Delta holds for any
    request, one that was chosen after seeing earlier releases is covered too: with the same
    requests both worlds look alike. What the choice of a request itself tells is not hidden.

    `preconditioner` may be replaced between two requests, by one that is made of the samples that
    `kept` lists: the one before knows those that were forgotten.
    """

    def __init__(
        self, F: Objective, w: Tensor, *, constants: Constants, delta: float,
        epsilon: float | None = None, sigma: float | None = None, seed: int | None = None,
        known: Known | None = None, curvature: Curvature | None = None,
        preconditioner: Preconditioner | None = None, whole: Tensor | None = None,
    ):  # fmt: skip
        _check(F, w)
        budget = dict(delta=delta, epsilon=epsilon, sigma=sigma)
        # refuse now what the first request would
        calibrate(target_sensitivity(constants), **budget)
        known = known_to_all(F, known)
        self.preconditioner, self.whole = preconditioner, whole
        self._start(F, w, seed, constants=constants, curvature=curvature, known=known, **budget)

    def _answer(self, now: Objective, rows: Tensor, seed: int | None) -> Release:
        own = dict(preconditioner=self.preconditioner, whole=self.whole)
        release = unlearn_strongly_convex(now, self.w, rows, seed=seed, **own, **self.terms)
        self.whole = release.solution.slope  # grad F_r at the estimate: where the next one starts
        return release


def _check(F: Objective, w: Tensor) -> None:
    check_vector(F, w)
    check_precision(F)
    remedy = "build it with norm='group', or use ul.unlearn."
    require(not batchnorm.layers(F.model), f"No bound but a ball's holds with BatchNorm: {remedy}")


def _measurements(
    F: Objective, F_r: Objective, F_u: Objective, w: Tensor, refined: Refinement
) -> Known:
    # summed in another order than refining did, which shows where rounding decides
    order = draws.order(F_r.n, draws.fixed(0))
    whole, left = F.gradient(w), F_r.only(order).gradient(refined.w)
    before = (F.n * whole - F_u.n * F_u.gradient(w)) / F_r.n
    v = spectrum.lowest_direction(F_r.only(order[:LOOKED_AT]), refined.w)
    return {
        "samples forgotten": F_u.n,
        evidence.GRADIENT: float(whole.norm()),
        evidence.RETAINED_GRADIENT: float(before.norm()),
        evidence.LEFT: float(left.norm()),
        "Newton steps": len(refined.history) - 1,
        MOVED: float((refined.w - w).norm()),
        APART: float((before - left).norm()),
        LEAST: float(v @ F_r.hvp(refined.w, v)),
    }


def _refuted(facts: Known, constants: Constants, Delta: float, estimate: Tensor) -> tuple[str, ...]:
    """The conditions that do not hold on the data, each with its remedy."""
    mu, G, L = (constants.named()[name].value for name in ("lam_min", "G", "L"))
    eps = torch.finfo(estimate.dtype).eps * 2**10
    whole, left, apart = facts[evidence.GRADIENT], facts[evidence.LEFT], facts[APART]
    moved, least, rounding = facts[MOVED], facts[LEAST], eps * float(estimate.norm())
    lost = mu * rounding + eps * facts[evidence.RETAINED_GRADIENT]
    within = bounds.strong_convexity_bound(left, mu, G)
    at_end = f"||grad F_r(estimate)|| = {left:.3g} exceeds G = {G:g}"
    far = f"Refining moved {moved:.3g}, too far for gradients {apart:.3g} apart at mu = {mu:g}"
    bends = f"A direction has curvature {least:.3g}, below mu = {mu:g}: claim a smaller lam_min"
    tiny = f"Delta = {Delta:.3g} is below {rounding:.3g}, rounding of the estimate"
    conditions = [
        (not whole <= G, f"||grad F(w)|| = {whole:.3g} exceeds G = {G:g}: train on, down to G."),
        (not within <= Delta, f"{at_end}: refine further, down to G."),
        (not mu * moved <= apart + lost, f"{far}: claim a smaller lam_min."),
        # terms as large as L cancel where the decay alone is left
        (not least >= mu - eps * (L if L < math.inf else abs(least)), f"{bends}."),
        (Delta < rounding, f"{tiny}: claim more G."),
    ]
    return tuple(message for contradicted, message in conditions if contradicted)
