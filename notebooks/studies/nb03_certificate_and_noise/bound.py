"""From the bound to (epsilon, delta): the numbers of notebook 03, one function a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from unlearnlib import bounds, draws
from unlearnlib.cg import conjugate_gradient
from unlearnlib.evaluation.metrics import accuracy, distance
from unlearnlib.lab import proved
from unlearnlib.lab.curvature import Known
from unlearnlib.lab.data import Images
from unlearnlib.lab.proved import Problem
from unlearnlib.lab.seeds import generator
from unlearnlib.lab.settings import DELTA
from unlearnlib.newton import newton_update
from unlearnlib.noise import gaussian_delta, gaussian_epsilon, gaussian_sigma, with_failure
from unlearnlib.progress import bar
from unlearnlib.refinement import refine

TIGHT = partial(conjugate_gradient, tol=1e-10)  # Theorem 3.4 is about the exact step
EXACT = 1e-9  # the gradient of trained and retrained models, over mu
TERMS = ("curvature changes", "damping", "residual gradient", "LiSSA's chance", "LiSSA's bias")


def terms(
    C: float, M: float, lam: float, lam_min: float, L: float, G: float, dim: int, rho: float
) -> dict[str, float]:
    """Theorem 3.6 with Proposition 4.1, term by term: they add up to `bounds.lissa_bound`.

    2 M C^2 and 2 lam C and G, over lam + lam_min; 16 sqrt(ln(dim/rho))/(lam + lam_min) and 1/16,
    times 2LC + G. All infinite where lam does not lift lam_min above zero.
    """
    least = lam + lam_min
    if least <= 0:
        return dict.fromkeys(TERMS, math.inf)
    newton = Known(lam_min, L, M).bound(C, lam, G)
    b = bounds.gradient_bound(C, L, G)
    chance = 16 * math.sqrt(math.log(dim / rho)) / least * b
    parts = (newton["M part"], newton["lam part"], newton["G part"], chance, b / 16)
    return dict(zip(TERMS, parts, strict=True))


def waterfall(settings: Mapping[str, Mapping[str, float]]) -> list[dict]:
    """One row for each setting and term: its part of the bound. Then the total, and 2C."""
    rows = []
    for name, known in settings.items():
        parts = terms(**known)
        whole = {"bound": sum(parts.values()), "2C": bounds.trivial_bound(known["C"])}
        rows += [{"setting": name, "term": t, "value": v} for t, v in (parts | whole).items()]
    return rows


def savings(settings: Mapping[str, Mapping[str, float]], tol: float) -> list[dict]:
    """One row for each setting: the certified distance of Theorem 3.6, and two smaller ones.

    residual measured   the solver's residual, at most tol, in place of LiSSA's chance and bias
    and projected       with the estimate projected into the ball as well
    """
    rows = []
    for name, known in settings.items():
        C, lam, lam_min, L, G = (known[k] for k in ("C", "lam", "lam_min", "L", "G"))
        newton = bounds.newton_bound(C, known["M"], lam, lam_min, G)
        measured = newton + bounds.solver_bound(C, lam, lam_min, L, tol, G)
        rows.append(
            {
                "setting": name,
                "Theorem 3.6": sum(terms(**known).values()),
                "residual measured": measured,
                "and projected": min(measured, bounds.trivial_bound(C)),
            }
        )
    return rows


def region(C: float, M: float, lams: Sequence[float], lam_mins: Sequence[float]) -> list[dict]:
    """One row for each lam and lam_min: the bound of Theorem 3.4 over 2C, useful below one."""
    return [
        {
            "lam": lam,
            "lam_min": least,
            "ratio": bounds.newton_bound(C, M, lam, least) / bounds.trivial_bound(C)
            if lam + least > 0
            else math.inf,
        }
        for lam in lams
        for least in lam_mins
    ]


def mechanisms(epsilons: Sequence[float], deltas: Sequence[float]) -> list[dict]:
    """One row for each epsilon and delta: sigma over Delta, by the classical and the exact formula.

    delta of the classical   what the classical sigma really gives at that epsilon
    """
    rows = []
    for delta in deltas:
        for epsilon in epsilons:
            classical = gaussian_sigma(1.0, epsilon, delta, "classical-unchecked")
            rows.append(
                {
                    "epsilon": epsilon,
                    "delta": delta,
                    "classical": classical,
                    "analytic": gaussian_sigma(1.0, epsilon, delta),
                    "delta of the classical": gaussian_delta(1.0, classical, epsilon),
                }
            )
    return rows


def crossing(delta: float) -> float:
    """The epsilon from which on the classical sigma is too small.

    Found by bisection on the true delta of that sigma.
    """
    low, high = 1.0, 1e3
    while high / low > 1 + 1e-9:
        middle = math.sqrt(low * high)
        classical = gaussian_sigma(1.0, middle, delta, "classical-unchecked")
        too_small = gaussian_delta(1.0, classical, middle) > delta
        low, high = (low, middle) if too_small else (middle, high)
    return high


def failures(rhos: Sequence[float], epsilon: float, delta: float) -> list[dict]:
    """One row for each rho: (epsilon, delta) if the bound holds with probability 1 - rho."""
    pairs = [with_failure(epsilon, delta, rho) for rho in rhos]
    return [{"rho": rho, "epsilon": e, "delta": d} for rho, (e, d) in zip(rhos, pairs, strict=True)]


def ladder(sigmas: Sequence[float], Deltas: Mapping[str, float]) -> list[dict]:
    """One row for each sigma and Delta: the epsilon that this noise gives."""
    return [
        {
            "what": what,
            "Delta": Delta,
            "sigma": sigma,
            "epsilon": gaussian_epsilon(Delta, sigma, DELTA),
        }
        for what, Delta in Deltas.items()
        for sigma in sigmas
    ]


def one_step(
    images: Images, settings: Sequence[tuple[float, float]], shares: Sequence[float], seed: int
) -> list[dict]:
    """One row for each network and share forgotten: Theorem 3.4 where every constant is proved.

    settings   (strength c, decay over curvature) of the tanh network
    shares     of the images, to be forgotten
    """
    rows, width = [], proved.neurons(len(images.y_train))
    for strength, excess in bar(settings, "networks"):
        problem = proved.network(images, seed, width=width, strength=strength, excess=excess)
        w = problem.trained(EXACT * problem.mu).w
        network = {"seed": seed, "strength": strength, "excess": excess}
        order = draws.order(problem.F.n, generator("one step", seed))
        for share in shares:
            forget = order[: max(1, round(share * problem.F.n))].tolist()
            rows.append(network | {"share": share} | _one_step_row(problem, w, forget))
    return rows


def _one_step_row(problem: Problem, w: Tensor, forget: list[int]) -> dict:
    """Bound and real error of one Newton step from w, uncorrected.

    nothing        what is certified without a step: r = 2 n_u g/(n mu), by stability
    bound          Theorem 3.4 at lam = 0 in its local form: M r^2/(2 mu)
    most           mu^2/(M g), the share of images up to which the bound is below r
    moved, error   the real distances that both bound, to a retrained model
    """
    F, mu, M, g = problem.F, problem.mu, problem.M, problem.sample_gradient
    exact = EXACT * mu
    r = bounds.stability_bound(F.n, len(forget), g, mu, exact)
    w_r = refine(F.without(forget), w, gradient=exact).w
    estimate = newton_update(F, w, forget, lam=0.0, solver=TIGHT)
    return {
        "n_u": len(forget),
        "mu": mu,
        "M": M,
        "most": mu**2 / (M * g),
        "nothing": r,
        "bound": bounds.local_newton_bound(r, M, 0.0, mu, exact),
        "moved": distance(w, w_r),
        "error": distance(estimate, w_r),
        "test": accuracy(problem.F_test, w),
    }
