"""Conjugate gradient: the deterministic reference for the system that LiSSA solves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

from torch import Tensor

from .errors import NegativeCurvatureError, require, require_counts
from .objective import Objective
from .progress import bar
from .solution import CONVERGED, ROUNDING, STEPS, Solution, check_system, normalised
from .spectrum import extreme_eigenvalues

Apply = Callable[[Tensor], Tensor]
NOT_POSITIVE = "preconditioner is not positive definite: a residual r has r^T P^-1 r < 0."


def conjugate_gradient(
    F: Objective, w: Tensor, b: Tensor, *, lam: float, tol: float = 1e-4, max_steps: int = 1000,
    preconditioner: Apply | None = None, checked: bool = True,
) -> Solution:  # fmt: skip
    """Solve (H(w) + lam I) x = b over all samples of F, to ||(H + lam I) x - b|| <= tol ||b||.

    H includes F's weight decay; b is (p,). The recursion's own residual drifts in finite
    precision, so the true one is recomputed at the end and the method restarts from x, until the
    true one meets tol or a restart no longer halves it: then the status is "stagnated at
    rounding" and F.to(torch.float64) is the remedy.

    preconditioner   v -> P^-1 v for a positive definite P near H + lam I. It changes how many steps
                     are taken, not what is solved.
    checked          False for a caller who measures what x is worth: the last product is saved, and
                     `residual` is the recursion's own.

    Raises NegativeCurvatureError where a direction has v^T (H + lam I) v <= 0, naming the smallest
    lam that would do. Meeting none does not prove that there is none.
    """
    check_system(F, w, b, lam, tol)
    require_counts(max_steps=max_steps)
    started = time.perf_counter()
    (unit, size), H, P = normalised(b), F.hessian_at(w), preconditioner or (lambda r: r)
    x, r = unit * 0, unit
    history, before = [(0, 1.0 if size else 0.0)], math.inf
    while tol < history[-1][1] < before / 2 and len(history) <= max_steps:
        before = history[-1][1]
        left = bar(range(max_steps + 1 - len(history)), "conjugate gradient")
        for _, (better, norm) in zip(left, _recursion(F, w, H, x, r, lam, P), strict=False):
            x = better
            history.append((len(history), norm))
            if not norm > tol:  # met, or no longer a number, which no Solution accepts
                break
        if not checked:
            break
        r = unit - H(x) - lam * x
        history[-1] = (history[-1][0], float(r.norm()))
    steps, residual = history[-1]
    status = CONVERGED if residual <= tol else STEPS if steps >= max_steps else ROUNDING
    return Solution(
        x * size, residual, f"all {F.n:,} samples", history, steps, scale=None, status=status,
        seconds=time.perf_counter() - started,
    )  # fmt: skip


def _recursion(
    F: Objective, w: Tensor, H: Apply, x: Tensor, r: Tensor, lam: float, P: Apply
) -> Iterator[tuple[Tensor, float]]:
    """Conjugate gradient from x with residual r: each next x and its recursive residual's norm."""
    v, last = r * 0, math.inf
    while True:
        z = P(r)
        rz = r @ z
        require(not rz < 0, NOT_POSITIVE)
        v, last = z + (rz / last) * v, rz
        Av = H(v) + lam * v
        curvature = float(v @ Av / (v @ v))
        if curvature <= 0:
            _refuse_negative_curvature(F, w, lam, curvature)
        alpha = rz / (v @ Av)
        x, r = x + alpha * v, r - alpha * Av
        yield x, float((r @ r).sqrt())


def _refuse_negative_curvature(F: Objective, w: Tensor, lam: float, curvature: float) -> None:
    ends = extreme_eigenvalues(F, w, tol=1e-4)
    low = min(ends.lam_min, curvature - lam)
    enough = 1.01 * abs(low) + 1e-6 * abs(ends.lam_max)
    where = f"at lam = {lam:g}: a direction has curvature {curvature:.3g}"
    remedy = f"lam_min is about {low:.4g}; the smallest lam that would do is about {enough:.4g}."
    raise NegativeCurvatureError(f"H + lam I is not positive definite {where}. {remedy}")
