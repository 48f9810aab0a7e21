"""Many requests, one after the other: the rows of notebook 10."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .. import bounds, evidence
from ..evaluation.metrics import accuracy, distance
from ..objective import Objective
from ..progress import bar
from ..sequential import SequentialUnlearner
from ..solution import Solution
from .ablations import HESSIAN_SAMPLE, solve_on
from .contenders import SIGMA, as_trained
from .curvature import measure, residual, sample
from .experiments import Experiment, seed_of
from .requests import Asked, in_turn, look_alikes, random_samples, whole_class
from .together import train_together

DELTA, RHO = 1e-5, 0.1  # RHO: the default of the public re-implementation
KINDS = {
    "random": lambda d: random_samples(d, len(d.forget)),
    "one class": lambda d: whole_class(d, 3),
    "look-alikes": lambda d: look_alikes(d, len(d.forget)),
}


def sequence(d: Experiment, kind: str, requests: int, checked: Sequence[int]) -> list[dict]:
    """One row a request: gradient, step, bounds, scores, epsilon; real error at those `checked`.

    gradient   ||grad F_r(w)|| where the request starts, on what it leaves
    worst      for random requests: Theorem 3.6 with the constants measured at the trained model,
               which the proof wants at each estimate: the same each time
    measured   the same with that gradient in place of its worst case
    error, nothing   distance of the running estimate, and of the trained model, to the one
               retrained without all images asked for so far
    """
    F, pair, forget = as_trained(d), d.pair, KINDS[kind](d)
    wanted = in_turn(forget, requests)

    def without(k: int) -> Asked:
        return Asked(pair, d.seed, d.tuning, tuple(torch.cat(wanted[:k]).tolist()))

    train_together((without(k) for k in checked), ("retrained",), "retrained models")
    queue = SequentialUnlearner(
        F, d.w, C=pair.C, lam=pair.lam, delta=DELTA, sigma=SIGMA, solver=_solve,
        seed=seed_of("noise", d.seed),
    )  # fmt: skip
    rows = []
    for k, indices in enumerate(bar(wanted, f"{kind}, seed {d.seed}"), 1):
        found = queue.forget(indices).certificate.measurements
        gone = torch.cat(wanted[:k])
        row = {"seed": d.seed, "kind": kind, "request": k, "n_u": len(gone)}
        gradient = found[evidence.RETAINED_GRADIENT]
        row |= {"gradient": gradient, "step": found["length of the update"]}
        row |= _scores(d, queue, F.only(gone)) | (_bounds(d, gradient) if kind == "random" else {})
        if k in checked:
            w_r = without(k).retrained.w
            row |= {"error": distance(queue.w, w_r), "nothing": distance(d.w, w_r),
                    "forgotten, retrained": accuracy(F.only(gone), w_r)}  # fmt: skip
        rows.append(row)
    budget = queue.budget(DELTA)
    spent = zip(rows, budget.each, budget.history, strict=True)
    return [row | {"each": each, "history": history} for row, each, history in spent]


def _solve(F_r: Objective, w: Tensor, b: Tensor, *, lam: float, tol: float) -> Solution:
    """The damped system, with the Hessian of a sample of what is retained at that request.

    To the tolerance of the ablations, whatever is asked: the ball alone certifies here.
    """
    return solve_on(sample(F_r, HESSIAN_SAMPLE["mlp"], seed=0), F_r, w, b, lam=lam)


def _bounds(d: Experiment, gradient: float) -> dict[str, float]:
    known, pair = measure(d), d.pair
    terms = (pair.C, known.M, pair.lam, known.lam_min, known.L, d.F.p, RHO, residual(d))
    return {
        "worst": bounds.lissa_bound(*terms),
        "measured": bounds.lissa_bound(*terms, gradient=gradient),
        "2C": bounds.trivial_bound(pair.C),
    }


def _scores(d: Experiment, queue: SequentialUnlearner, F_gone: Objective) -> dict[str, float]:
    return {
        "forgotten, trained": accuracy(F_gone, d.w),
        "forgotten, unlearned": accuracy(F_gone, queue.w),
        "test": accuracy(d.F_test, queue.w),
        "test, released": accuracy(d.F_test, queue.releases[-1].w),
    }
