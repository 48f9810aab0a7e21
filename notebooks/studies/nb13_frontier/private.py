"""DP-SGD for groups: private from the start, so that a request is answered already.

Its knob is the noise that its steps leave in a weight; the larger the group, the smaller its steps.
"""

from __future__ import annotations

import math
from functools import cache

from scipy.optimize import brentq
from torch import Tensor

from unlearnlib.evaluation.peers import Noisy, dp_sgd
from unlearnlib.evaluation.peers.interpolation import gdp_of
from unlearnlib.lab.settings import DELTA

from .cases import Case
from .way import Setting, Way, drawn

BATCH, PASSES = 300, 5  # images in a batch, in the mean, and passes of its training; ours
GRID = 0.03  # of epsilon over sqrt(steps), on which its losses are added, rounded up; ours
NOISES = (1e-2, 0.1, 1.0, 10.0)  # that all steps leave in a weight; ours
WIDER = 1.25  # by which the noise is raised until it is enough


def _noises(case: Case) -> list[Setting]:
    return [{"noise": noise} for noise in NOISES]


def _dp_sgd(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    m, (rate, steps) = len(forget), plan(case.F.n)
    sigma, size, limit = group_sigma(epsilon, m, rate, steps), rate * case.F.n, case.scale
    lr = setting["noise"] / case.scale * size / (sigma * limit * math.sqrt(steps))
    how = dict(limit=limit, sigma=sigma, rate=rate, size=size, m=m)
    made = dp_sgd.train(case.F, case.start, steps=steps, lr=lr, **how, **drawn("DP-SGD", seed))
    return Noisy(made.w, made.epsilon, 0.0, 0.0)


def plan(n: int) -> tuple[float, int]:
    """The chance of each of n images to be in a batch, and the steps of training."""
    rate = min(1.0, BATCH / n)
    return rate, math.ceil(PASSES / rate)


@cache
def group_sigma(epsilon: float, m: int, rate: float, steps: int, delta: float = DELTA) -> float:
    """The noise of a step's sum with which m samples at once cost (epsilon, delta)."""

    @cache
    def over(sigma: float) -> float:
        interval = GRID * epsilon / math.sqrt(steps)
        how = dict(m=m, rate=rate, sigma=sigma, steps=steps, interval=interval)
        return dp_sgd.group_epsilon(delta, **how) - epsilon

    low = 0.9 * m * rate * math.sqrt(steps) / gdp_of(epsilon, delta)
    while over(low) < 0:
        low /= WIDER
    high = WIDER * low  # the noise grows with the share of m that a batch holds
    while over(high) > 0:
        low, high = high, WIDER * high
    return brentq(over, low, high, rtol=1e-3) * 1.002


WAYS = (Way("DP-SGD", _noises, _dp_sgd, sized=True),)
