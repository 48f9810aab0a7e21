"""The paper's theorems as functions of numbers: floats in, floats out, no torch.

C     norm bound: ||w|| <= C for the trained and the retrained model
M     Lipschitz constant of the Hessian          L   Lipschitz constant of the gradient
lam   damping, the paper's local convex coefficient; lam_min the smallest Hessian eigenvalue at w
G     bound on ||grad F_r|| at the retrained model (0 where it is stationary)
dim   number of parameters; rho probability that LiSSA's concentration fails

All bounds are on a distance ||estimate - retrained|| in parameter space and may be infinite: a
constant that is unknown is math.inf, and lam_min -math.inf.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .errors import require, require_at_least, require_counts, require_positive


def trivial_bound(C: float) -> float:
    """2C, the distance of any two points of the ball: known without any update."""
    require_at_least(0, C=C)
    return 2 * C


def newton_bound(C: float, M: float, lam: float, lam_min: float, G: float = 0.0) -> float:
    """Theorem 3.4: [2C(MC + lam) + G] / (lam + lam_min); G > 0 as in Proposition 4.1.

    Proved from ||w* - retrained|| <= 2C alone. The paper asks lam > ||H||; lam > -lam_min is all
    that the proof uses and all that is asked here. Below 2C only if lam_min > MC, whatever lam.
    """
    return local_newton_bound(trivial_bound(C), M, lam, lam_min, G)


def local_newton_bound(r: float, M: float, lam: float, lam_min: float, G: float = 0.0) -> float:
    """Theorem 3.4 at a known r = ||w* - retrained||: (M r^2/2 + lam r + G)/(lam + lam_min).

    Below r, and so a gain over doing nothing, only if lam_min > M r / 2 (with G = 0).
    """
    require_at_least(0, r=r, M=M, G=G)
    _check_damping(lam, lam_min)
    if math.inf in (r, M, G, -lam_min) or r > 1e150:  # whose square is beyond floats
        return math.inf
    return (M * r**2 / 2 + abs(lam) * r + G) / (lam + lam_min)


def gradient_bound(C: float, L: float, G: float = 0.0) -> float:
    """||grad F_r(w*)|| <= 2LC + G, the size of the right-hand side that a solver is given."""
    require_at_least(0, C=C, L=L, G=G)
    return math.inf if math.inf in (C, L, G) else 2 * L * C + G


def solver_bound(
    C: float, lam: float, lam_min: float, L: float, tol: float, G: float = 0.0
) -> float:
    """What a solver adds if it stops at a relative residual tol: tol (2LC + G) / (lam + lam_min).

    Ours. It takes the place of Theorem 3.6's concentration term where the residual of the linear
    system is measured on the whole retained set: no rho, no condition on the steps.
    """
    require_at_least(0, tol=tol)
    _check_damping(lam, lam_min)
    gradient = gradient_bound(C, L, G)
    return math.inf if math.inf in (gradient, tol, -lam_min) else tol * gradient / (lam + lam_min)


def lissa_bound(
    C: float, M: float, lam: float, lam_min: float, L: float, dim: int, rho: float, G: float = 0.0,
    gradient: float | None = None,
) -> float:  # fmt: skip
    """Theorem 3.6, and Proposition 4.1 for G > 0; with probability at least 1 - rho,

    [2C(MC + lam) + G]/(lam + lam_min) + [16 sqrt(ln(dim/rho))/(lam + lam_min) + 1/16] (2LC + G).

    gradient    ||grad F_r(w)|| where it is known, in place of its worst case 2LC + G: what falls
                along a sequence of requests. It is read off the data: it must not set the noise.

    Holds for at least `lissa_steps` steps, and only if every sampled minibatch Hessian + lam I is
    as positive definite as the full one. Averaging chains would shrink the middle term; the
    theorem does not use it. With lam_min <= L and dim >= 2 its worst case stays above 2C, whatever
    lam is, since 16 L sqrt(ln(dim/rho)) > lam_min: it never beats doing nothing. Grouping of the
    terms and the proposition's number are inferred from restatements of the paper.
    """
    require(0 < rho < 1, f"rho is {rho}; the failure probability must be in (0, 1).")
    require_counts(dim=dim)
    newton, worst = newton_bound(C, M, lam, lam_min, G), gradient_bound(C, L, G)
    gradient = worst if gradient is None else gradient
    require_at_least(0, gradient=gradient)
    if math.inf in (newton, L):
        return math.inf
    concentration = 16 * math.sqrt(math.log(dim / rho)) / (lam + lam_min) + 1 / 16
    return newton + concentration * gradient


def lissa_steps(B: float, lam: float, lam_min: float) -> int:
    """Fewest steps for `lissa_bound` to hold: kappa max(2 ln(4 kappa), ln(16/(lam + lam_min))).

    kappa = B/(lam + lam_min), and B bounds the norm of a sample's Hessian + lam I; where LiSSA runs
    at a larger scale than that, B is the scale. Re-derived so that the bias
    (1 - 1/kappa)^s / (lam + lam_min) is at most the 1/16 in the theorem. The paper's own condition
    is recalled as 2 kappa ln(kappa b), b the batch size.
    """
    _check_damping(lam, lam_min)
    least = lam + lam_min
    message = f"B = {B:g}; give a finite one >= lam + lam_min = {least:g}, and a known lam_min."
    require(0 < least <= B < math.inf, message)
    kappa = B / least
    return max(1, math.ceil(kappa * max(2 * math.log(4 * kappa), math.log(16 / least))))


def lissa_filter(eigenvalue: ArrayLike, scale: float, steps: int) -> np.ndarray:
    """What LiSSA does to an eigenvalue a of H + lam I: (1/a) (1 - (1 - a/scale)^(steps+1)).

    Tends to 1/a for 0 < a < 2 scale and is (steps+1)/scale at a = 0: a finite run acts like extra
    damping of scale/(steps+1). Any shape.
    """
    require_positive(scale=scale)
    require_counts(0, steps=steps)
    a = np.asarray(eigenvalue, dtype=float)
    small = np.abs(a) < 0.5 * scale
    # expm1/log1p keep the digits that 1 - (1 - a/scale)^(steps+1) loses for small a
    safe = np.where(small & (a != 0), a, 0.25 * scale)
    precise = -np.expm1((steps + 1) * np.log1p(-safe / scale)) / safe
    large = np.where(small, scale, a)
    plain = (1 - (1 - large / scale) ** (steps + 1)) / large
    return np.where(a == 0, (steps + 1) / scale, np.where(small, precise, plain))


def sequential_bounds(
    requests: int, C: float, M: float, lam: float, lam_min: float, G: float = 0.0,
    projected: bool = True,
) -> list[float]:  # fmt: skip
    """Proposition 4.2: the bound after each of `requests` Newton updates, one after the other.

    The proof needs every estimate in the ball. Projected, each request meets `newton_bound` or
    2C, whichever is less. Unprojected, the start of request k is Delta_(k-1) outside the ball at
    worst and the bound grows: the paper's flat line does not follow. lam_min must hold at every
    estimate.
    """
    require_counts(requests=requests)
    if projected:
        return [min(newton_bound(C, M, lam, lam_min, G), trivial_bound(C))] * requests
    bounds, last = [], 0.0
    for _ in range(requests):
        last = local_newton_bound(2 * C + last, M, lam, lam_min, G)
        bounds.append(last)
    return bounds


def stability_bound(n: int, n_u: int, sample_gradient: float, mu: float, G: float = 0.0) -> float:
    """Bound for doing nothing, where F_r is mu-strongly convex: (2 n_u g / n + 2G) / mu.

    g bounds the gradient norm of every sample's loss in the ball, and G that of both models'
    objectives; grad F_r - grad F is n_u/n times the mean gradient of retained less that of
    forgotten samples.
    """
    require_counts(0, n=n, n_u=n_u)
    require(n_u < n, f"n_u is {n_u} of n = {n} samples; at least one must be retained.")
    require_at_least(0, sample_gradient=sample_gradient, G=G)
    require_positive(mu=mu)
    return (2 * n_u * sample_gradient / n + 2 * G) / mu


def strong_convexity_bound(gradient: float, mu: float, G: float = 0.0) -> float:
    """(||grad F_r(estimate)|| + G) / mu, for F_r that is mu-strongly convex everywhere.

    Ours, and elementary: mu ||a - b|| <= ||grad F_r(a) - grad F_r(b)||. It asks neither how the
    estimate was found nor what was forgotten.
    """
    require_at_least(0, gradient=gradient, G=G)
    require_positive(mu=mu)
    return (gradient + G) / mu


def _check_damping(lam: float, lam_min: float) -> None:
    require(math.isfinite(lam), f"lam is {lam}; give a finite number.")
    require(lam_min < math.inf, f"lam_min is {lam_min}; give a finite number, or -math.inf.")
    lifts = lam_min == -math.inf or lam + lam_min > 0
    need = f"take lam > {-lam_min:g}."
    require(lifts, f"lam = {lam:g} does not lift lam_min = {lam_min:g} above zero: {need}")
