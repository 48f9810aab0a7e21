"""What the data says about a claim: measurements on the way, and what they refute.

All of it is private, and none of it changes a sigma: it can only void a certificate. Each
condition follows from the claimed constants, so one that fails proves that a claim is wrong; all
of them holding proves nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import bounds
from .certificate import Constant, Constants, Sensitivity
from .objective import Objective
from .solution import Solution

GRADIENT = "||grad F(w)||, all samples"
RETAINED_GRADIENT = "||grad F_r(w)||, retained samples"
CURVATURE = "curvature of H + lam I along the update"
REACH = "norm of the estimate before projection"
LEFT = "||grad F_r(estimate)||"


def measurements(
    F_r: Objective, F_u: Objective, w: Tensor, b: Tensor, solution: Solution
) -> dict[str, float | str]:
    """What a request shows of the objective at w: x solves (H_r + lam I) x = b = grad F_r(w)."""
    n = F_r.n + F_u.n
    x, whole = solution.x, (F_r.n * b + F_u.n * F_u.gradient(w)) / n
    found = {
        "samples trained on": n,
        "samples forgotten": F_u.n,
        GRADIENT: float(whole.norm()),
        RETAINED_GRADIENT: float(b.norm()),
        "residual of the solver": solution.residual,
        "residual measured on": solution.residual_on,
        "length of the update": float(x.norm()),
    }
    if x.any():
        found[CURVATURE] = float(b @ x / (x @ x))
    return found


def at_the_estimate(F_r: Objective, unprojected: Tensor, estimate: Tensor) -> dict[str, float]:
    """What the estimate shows of the retrained model, which is within the bound of it."""
    return {
        REACH: float(torch.linalg.vector_norm(unprojected, dtype=torch.float64)),
        LEFT: float(F_r.gradient(estimate).norm()),
    }


def weakened(behind: dict[str, Constant]) -> tuple[str, ...]:
    """What makes a certificate less than its numbers say: constants that the data has set.

    behind   those that the sensitivity follows from, by name
    """
    names = [name for name, q in behind.items() if q.provenance == "measured"]
    if not names:
        return ()
    return (
        f"{', '.join(names)}: measured, and sigma follows from it, so sigma is a function of the "
        "data: fix a round number beforehand and claim that.",
    )


def refuted(
    found: dict[str, float | str],
    solution: Solution,
    target: Sensitivity,
    C: float,
    lam: float,
    tol: float,
    constants: Constants,
    stationary: bool,
) -> tuple[str, ...]:
    """The conditions of the bound that the data contradicts, each with its remedy."""
    L, lam_min, G = constants.L.value, constants.lam_min.value, constants.G.value
    whole, b, x = found[GRADIENT], found[RETAINED_GRADIENT], found["length of the update"]
    met = found.get(CURVATURE, lam + lam_min)
    # x^T (H + lam I) x differs from b^T x by at most the residual, and by rounding
    slack = solution.residual * b / x if x else 0.0
    slack += 1e3 * torch.finfo(solution.x.dtype).eps * abs(met)
    conditions = [
        (
            stationary and whole > G,
            f"||grad F(w)|| = {whole:.3g} exceeds G = {G:g}: train on, down to G.",
        ),
        (
            b > bounds.gradient_bound(C, L, G),
            f"||grad F_r(w)|| = {b:.3g} exceeds 2LC + G: L = {L:g} is too small, claim more.",
        ),
        (
            met + slack < lam + lam_min,
            f"The update meets curvature {met - lam:.3g}, below lam_min = {lam_min:g}: claim less.",
        ),
        (
            met - slack > lam + L,
            f"The update meets curvature {met - lam:.3g}, above L = {L:g}: claim more.",
        ),
        (
            found[REACH] > C + target.bound,
            f"The update ends at norm {found[REACH]:.3g}, further outside the ball than the bound "
            f"{target.bound:.3g} allows: the ball holds the retrained model, claim a larger G.",
        ),
        (
            found[LEFT] > G + L * target.bound,
            f"||grad F_r(estimate)|| = {found[LEFT]:.3g} exceeds G + L times the bound: the "
            "retrained model is not as stationary as claimed, claim a larger G.",
        ),
        (
            target.value < 2**10 * torch.finfo(solution.x.dtype).eps * C,
            f"Delta = {target.value:.3g} is within rounding of {solution.x.dtype} in a ball of "
            f"radius {C:g}: use F.to(torch.float64).",
        ),
        (
            not solution.residual <= tol,
            f"The solver reached a residual of {solution.residual:.3g}, not tol = {tol:g}: give it "
            "more steps, or set a larger tol beforehand.",
        ),
        (
            not solution.residual_on.startswith("all"),
            f"The residual was measured on {solution.residual_on} only: use conjugate gradient, or "
            "more LiSSA steps, so that all samples are affordable.",
        ),
    ]
    return tuple(message for contradicted, message in conditions if contradicted)
