"""Differences in the Newton step: each function gives the Outcome of one switch."""

from __future__ import annotations

from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.methods import allowance
from unlearnlib.lab.seeds import generator
from unlearnlib.lab.settings import BATCH, LISSA_STEPS
from unlearnlib.lab.step import estimate, hessian_sample, solve_on
from unlearnlib.lissa import lissa
from unlearnlib.newton import newton_update
from unlearnlib.projected_sgd import project

from .outcome import Outcome
from .reading import published

GAMMA, SCALE = 0.01, 1000.0  # released code defaults
ONE = 1  # chain, of the ten that are averaged by default: for time
BATCHES = 8  # of 128, that the released code cuts 1,000 forgotten images into


def lissa_as_released(d: Experiment) -> Outcome:
    """Solve by LiSSA at scale 1,000 and gamma 0.01, as the released code does by default.

    1,000 steps, or as many as a tenth of the time of training pays for.
    """
    F_r = d.F_trained.without(d.forget)
    steps = max(1, min(LISSA_STEPS, allowance(d) // BATCH))
    solution = lissa(
        F_r,
        d.w,
        F_r.gradient(d.w),
        lam=GAMMA,
        scale=SCALE,
        steps=steps,
        chains=ONE,
        batch_size=BATCH,
        tol=1e-9,
        checks=1,
        generator=generator("hessian", d.seed),
    )
    facts = {
        "gamma": GAMMA,
        "chains": ONE,
        "steps": solution.steps,
        "relative residual": solution.residual,
        "effective damping": solution.damping,
        "length of the step": float(solution.x.norm()),
    }
    return published(d, project(d.w - solution.x, d.pair.C), facts=facts)


def cheap(d: Experiment) -> Outcome:
    """Step from the paper's cheap gradient, n_u/(n - n_u) grad F_u: a mean over the images."""
    return published(d, estimate(d, d.pair.lam, gradient="forget"))


def batch_sums(d: Experiment) -> Outcome:
    """Sum the means of the batches instead: as many times too large as there are batches."""
    F = d.F_trained
    F_r, parts = F.without(d.forget), d.forget.tensor_split(min(BATCHES, len(d.forget)))
    b = -len(d.forget) / F_r.n * sum(F.only(part).gradient(d.w) for part in parts)
    x = solve_on(hessian_sample(d))(F_r, d.w, b, lam=d.pair.lam).x
    return published(d, project(d.w - x, d.pair.C), facts={"batches": len(parts)})


def unprojected(d: Experiment) -> Outcome:
    """Leave the projection out: 2C no longer covers the distance, so nothing is proved."""
    F = d.F_trained
    w = newton_update(F, d.w, d.forget, lam=d.pair.lam, solver=solve_on(hessian_sample(d)))
    facts = {
        "norm of the estimate": float(w.double().norm()),
        "C": d.pair.C,
        "moved by projection": distance(w, project(w, d.pair.C)),
    }
    return published(d, w, epsilon=None, facts=facts)
