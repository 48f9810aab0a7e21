"""One setting varied, the others as the profile has them: the rows of notebooks 07 to 09.

Each function takes a pair of the profile and gives rows for `Results.record`. The error is that of
the noiseless estimate, ||w~ - retrained||, whose size before anything is done is "nothing".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product

from torch import Tensor

from .. import bounds
from ..cg import conjugate_gradient
from ..errors import NegativeCurvatureError
from ..evaluation.metrics import accuracy, distance
from ..newton import newton_update
from ..objective import Objective
from ..progress import bar
from ..projected_sgd import project
from ..solution import Solution
from .contenders import as_trained
from .curvature import measure, residual, sample
from .experiments import Experiment
from .profiles import Pair
from .requests import Asked, random_samples
from .together import train_together

# Retained images that the Hessian is taken on; the gradient is over all of them.
HESSIAN_SAMPLE = {"mlp": 2000, "allcnn": 128, "resnet18": 128}
TOL, MAX_STEPS = 1e-3, 50
BOTH = ("trained", "retrained")


def dampings(pair: Pair, lams: Sequence[float]) -> list[dict]:
    """By lam: the worst-case bound in its parts, and how far the real step gets."""
    train_together((Experiment(pair, s) for s in pair.seeds), (*BOTH, "warm"), "models")
    rows = []
    for seed in pair.seeds:
        d = Experiment(pair, seed)
        known, G = measure(d), residual(d)
        for lam in bar(lams, f"dampings, seed {seed}"):
            bound = known.bound(pair.C, lam, G) | {"2C": bounds.trivial_bound(pair.C)}
            rows.append({"seed": seed, "lam": lam, **bound, **_reach(d, lam)})
    return rows


def forget_sizes(pair: Pair, sizes: Sequence[int]) -> list[dict]:
    """By the number of forgotten images, at the pair's lam: bound, real error, and scores."""
    train_together((_asked(pair, *at) for at in product(pair.seeds, sizes)), BOTH, "models")
    rows = []
    for seed, n_u in _grid(pair.seeds, sizes, "sizes"):
        d = _asked(pair, seed, n_u)
        w = estimate(d, pair.lam)
        bound = measure(d).bound(pair.C, pair.lam, residual(d))
        rows.append({"seed": seed, "n_u": n_u, **bound, **_error(d, w), **_scores(d, w)})
    return rows


def radii(pair: Pair, Cs: Sequence[float], lam: float) -> list[dict]:
    """By the radius of the ball that both models are trained in: bound, real error, and scores.

    start, norm   of the weights before training (and before any projection), and after it
    projected     the largest share of an epoch's steps that ended outside the ball
    """
    balls = (Experiment(replace(pair, C=C), seed) for seed, C in product(pair.seeds, Cs))
    train_together(balls, BOTH, "models")
    rows = []
    for seed, C in _grid(pair.seeds, Cs, "radii"):
        d = Experiment(replace(pair, C=C), seed)
        known, G, w = measure(d), residual(d), estimate(d, lam)
        which = {"seed": seed, "C": C, "lam_min": known.lam_min, "M": known.M, "G": G}
        which |= {"start": float(d.F.initial().norm()), "norm": float(d.w.double().norm())}
        which["projected"] = max(epoch["projected"] for epoch in d.trained.history)
        bound = {"bound": known.bound(C, lam, G)["bound"], "2C": bounds.trivial_bound(C)}
        rows.append({**which, **bound, **_error(d, w), **_scores(d, w)})
    return rows


def stops(pair: Pair, epochs: Sequence[int], lam: float) -> list[dict]:
    """By the epoch at which training, and retraining, stops: gradients, bound, error, scores.

    whole      ||grad F(w)||, what training left over
    signal     n_u/(n - n_u) ||grad F_u(w)||, what the forgotten images pull
    G          ||grad F_r|| at the retrained model, as Proposition 4.1 wants it
    """
    ends = (Experiment(replace(pair, epochs=e), seed) for seed, e in product(pair.seeds, epochs))
    train_together(ends, BOTH, "models")
    rows = []
    for seed, count in _grid(pair.seeds, epochs, "stops"):
        d = Experiment(replace(pair, epochs=count), seed)
        F, G = as_trained(d), residual(d)
        pull = len(d.forget) / d.F_r.n * F.only(d.forget).gradient(d.w)
        which = {"seed": seed, "epochs": count, "G": G, "signal": float(pull.norm()),
                 "whole": float(F.gradient(d.w).norm())}  # fmt: skip
        bound = measure(d).bound(pair.C, lam, G)
        for side in ("retained", "forget"):
            w = estimate(d, lam, gradient=side)
            rows.append({**which, **bound, "gradient": side, **_error(d, w), **_scores(d, w),
                         "step": distance(w, d.w)})  # fmt: skip
    return rows


def estimate(d: Experiment, lam: float, gradient: str = "retained") -> Tensor:
    """The Newton estimate inside the ball, the Hessian taken on a sample of retained images."""
    F = as_trained(d)
    few = sample(F.without(d.forget), HESSIAN_SAMPLE[d.pair.model], d.seed)
    solver = partial(solve_on, few)
    return project(newton_update(F, d.w, d.forget, lam=lam, solver=solver, gradient=gradient),
                   d.pair.C)  # fmt: skip


def solve_on(few: Objective, F_r: Objective, w: Tensor, b: Tensor, *, lam: float) -> Solution:
    """Conjugate gradient, with the Hessian of `few` in place of that of all retained images."""
    return conjugate_gradient(few, w, b, lam=lam, tol=TOL, max_steps=MAX_STEPS)


def _asked(pair: Pair, seed: int, n_u: int) -> Asked:
    return Asked(pair, seed, wanted=tuple(random_samples(Experiment(pair, seed), n_u).tolist()))


def _reach(d: Experiment, lam: float) -> dict[str, float | bool]:
    """Where the step ends, seen from the retrained and from the warm-started model."""
    before = {"nothing": distance(d.w, d.retrained.w), "warm, nothing": distance(d.w, d.warm.w)}
    try:
        w = estimate(d, lam)
    except NegativeCurvatureError:
        return before | {"refused": True}
    ends = {"error": distance(w, d.retrained.w), "warm": distance(w, d.warm.w)}
    return before | ends | {"step": distance(w, d.w)}


def _error(d: Experiment, w: Tensor) -> dict[str, float]:
    return {"error": distance(w, d.retrained.w), "nothing": distance(d.w, d.retrained.w)}


def _scores(d: Experiment, w: Tensor) -> dict[str, float]:
    """Micro F1 on the forgotten images before, after and retrained; and on the test images."""
    F_u, F_test = (F.with_buffers(d.trained.buffers) for F in (d.F_u, d.F_test))
    return {
        "forgotten, trained": accuracy(F_u, d.w),
        "forgotten, unlearned": accuracy(F_u, w),
        "forgotten, retrained": accuracy(F_u.with_buffers(d.retrained.buffers), d.retrained.w),
        "test, trained": accuracy(F_test, d.w),
        "test, unlearned": accuracy(F_test, w),
        "test, retrained": accuracy(F_test.with_buffers(d.retrained.buffers), d.retrained.w),
    }


def _grid(seeds: Sequence[int], values: Sequence, what: str):
    return bar(list(product(seeds, values)), what)
