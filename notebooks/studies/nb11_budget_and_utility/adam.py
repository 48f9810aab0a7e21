"""Retraining by Adam to the accuracy of an exact retraining: how long it takes, certifying nothing.

lr = best_rate(problem)                              on held-out training images
row = until_as_good(problem, without=forget, lr=lr, wanted=0.99)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unlearnlib.lab.adam import by_adam
from unlearnlib.lab.lineup import held_out
from unlearnlib.lab.proved import Problem, curvature
from unlearnlib.lab.seeds import generator
from unlearnlib.objective import Objective
from unlearnlib.projected_sgd import Run

RATES = (1e-3, 1e-2, 1e-1)  # in a logit; the best of them on held-out images is taken; ours
EPOCHS = 12  # that we wait for; ours
AS_GOOD = 0.001  # of accuracy that may be missing; ours


def until_as_good(problem: Problem, without: Sequence[int], lr: float, wanted: float) -> dict:
    """Adam on what is retained, from zero, until its test accuracy misses `wanted` by AS_GOOD.

    seconds, epochs   until then; None where EPOCHS epochs do not get there
    best              test accuracy that it reaches at most
    """
    F = problem.F.without(without)
    run = _trained(F, problem.F_test, lr)
    scores = [epoch["accuracy"] for epoch in run.history]
    enough = [epoch for epoch, score in enumerate(scores, 1) if score >= wanted - AS_GOOD]
    epochs = enough[0] if enough else None
    seconds = run.seconds * epochs / len(scores) if enough else None
    return {"seconds": seconds, "epochs": epochs, "best": max(scores), "lr": lr}


def best_rate(problem: Problem) -> float:
    """The learning rate, RATES over `reach`, that is best on a held-out fifth of the images."""
    aside = held_out(problem)
    F, judge = problem.F.without(aside), problem.F.only(aside)

    def best(lr: float) -> float:
        return max(epoch["accuracy"] for epoch in _trained(F, judge, lr).history)

    return max((rate / problem.reach for rate in RATES), key=best)


def _trained(F: Objective, judge: Objective, lr: float) -> Run:
    """EPOCHS epochs of Adam in single precision, from zero, with the accuracy after each."""
    F, judge = curvature(F), curvature(judge)
    how = dict(lr=lr, epochs=EPOCHS, generator=generator("Adam", 0))
    return by_adam(F, torch.zeros_like(F.initial()), judge, **how)
