"""Measurements on the data during a request, and the claims that they refute.

All of it is private, and none of it changes a sigma: it can only void a certificate. Each
condition follows from the claimed constants, so one that fails proves that a claim is wrong; all
of them holding proves nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import bounds, draws
from .certificate import Constant, Constants, Known, Sensitivity
from .objective import Objective
from .precision import widest

GRADIENT = "||grad F(w)||, all samples"
RETAINED_GRADIENT = "||grad F_r(w)||, retained samples"
RESIDUAL = "relative residual, retained samples"
CURVATURE = "curvature of H + lam I along the update"
REACH = "norm of the estimate before projection"
LEFT = "||grad F_r(estimate)||"


def measurements(F_r: Objective, F_u: Objective, w: Tensor, b: Tensor, x: Tensor) -> Known:
    """Measure the objective at w, where b = grad F_r(w) and x is the update."""
    return {
        "samples forgotten": F_u.n,
        GRADIENT: float(((F_r.n * b + F_u.n * F_u.gradient(w)) / (F_r.n + F_u.n)).norm()),
        RETAINED_GRADIENT: float(b.norm()),
        "length of the update": float(x.norm()),
    }


def of_the_solution(
    F_r: Objective, w: Tensor, b: Tensor, lam: float, x: Tensor, estimate: Tensor
) -> Known:
    """Measure on all retained samples how well x solves (H_r + lam I) x = b, and the estimate.

    Costs one Hessian product, for the residual (the solver's own report is not used), and one
    gradient, at the estimate.
    """
    image, size = F_r.hvp(w, x) + lam * x, float(b.norm())
    left = float((image - b).norm())
    # summed in another order than the solver did, which shows where rounding decides
    order = draws.order(F_r.n, draws.fixed(0))
    measured = {
        RESIDUAL: left / size if size else math.inf if left else 0.0,
        REACH: float(torch.linalg.vector_norm(w - x, dtype=widest(w.device))),
        LEFT: float(F_r.only(order).gradient(estimate).norm()),
    }
    return measured | ({CURVATURE: float(image @ x / (x @ x))} if x.any() else {})


def weakened(behind: dict[str, Constant]) -> tuple[str, ...]:
    """Warn of constants that were measured on the data; empty if there are none.

    behind   the constants that the sensitivity follows from, by name
    """
    names = [name for name, q in behind.items() if q.provenance == "measured"]
    why = "measured, and sigma follows from it: fix a round number beforehand and claim that."
    return (f"{', '.join(names)}: {why}",) if names else ()


def refuted(
    measured: Known, dtype: torch.dtype, target: Sensitivity, C: float, lam: float, tol: float,
    constants: Constants, stationary: bool,
) -> tuple[str, ...]:  # fmt: skip
    """The conditions of the bound that do not hold on the data, each with its remedy."""
    L, lam_min, G = constants.L.value, constants.lam_min.value, constants.G.value
    Delta, bound, eps = target.value, target.bound, torch.finfo(dtype).eps
    whole, b, left, reach = (measured[q] for q in (GRADIENT, RETAINED_GRADIENT, LEFT, REACH))
    met, residual = measured.get(CURVATURE, lam + lam_min), measured[RESIDUAL]
    slack, mu = 1e3 * eps * abs(met), lam_min if constants.lam_min.provenance == "proved" else 0.0
    within = bounds.strong_convexity_bound(left, mu, G) if mu > 0 else 0.0
    # what was seen: the remedy stands beside the condition
    at_w, at_w_r = f"||grad F(w)|| = {whole:.3g}", f"||grad F_r(w)|| = {b:.3g} exceeds 2LC + G"
    at_end = f"||grad F_r(estimate)|| = {left:.3g}"
    bends = f"The update meets curvature {met - lam:.3g}"
    ends = f"The update ends at norm {reach:.3g}, outside by more than {bound:.3g}, the bound"
    steep = f"{at_end} exceeds G + L times the bound: retraining is not as stationary as claimed"
    far = f"{at_end} proves a distance of {within:.3g} only, which exceeds Delta = {Delta:.3g}"
    tiny = f"Delta = {Delta:.3g} is within rounding of {dtype}"
    rough = f"The residual of {residual:.3g} on all retained samples exceeds tol = {tol:g}"
    conditions = [
        (stationary and not whole <= G, f"{at_w} exceeds G = {G:g}: train on, down to G."),
        (not b <= bounds.gradient_bound(C, L, G), f"{at_w_r}: L = {L:g} is too small, claim more."),
        (not met + slack >= lam + lam_min, f"{bends}, below lam_min = {lam_min:g}: claim less."),
        (not met - slack <= lam + L, f"{bends}, above L = {L:g}: claim more."),
        (not reach <= C + bound, f"{ends}: the ball holds the retrained model, claim a larger G."),
        (not left <= G + L * bound, f"{steep}, claim a larger G."),
        (not within <= Delta, f"{far}: use ul.unlearn_strongly_convex, which refines."),
        (Delta < 2**10 * eps * C, f"{tiny}: use F.to(torch.float64)."),
        (not residual <= tol, f"{rough}: give the solver more steps and all samples, or more tol."),
    ]
    return tuple(message for contradicted, message in conditions if contradicted)
