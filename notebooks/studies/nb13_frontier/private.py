"""DP-SGD for groups: private from the start, so that a request is answered already."""

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

STEPS = 20  # of its training; ours
RATE = 0.1  # chance of an image to be in a batch; ours
GRID = 0.01  # of epsilon, on which its losses are added: coarse, for time, and rounded up; ours
RATES = (0.1, 0.3, 1.0, 3.0)  # of learning, in a logit; ours
WIDER = 1.25  # by which the noise is raised until it is enough


def _rates(case: Case) -> list[Setting]:
    return [{"lr": lr} for lr in RATES]


def _dp_sgd(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    m = len(forget)
    sigma = group_sigma(epsilon, m, RATE, STEPS)
    made = dp_sgd.train(
        case.F, case.start, steps=STEPS, lr=setting["lr"] / case.scale**2, limit=case.scale,
        sigma=sigma, rate=RATE, size=RATE * case.F.n, m=m, **drawn("DP-SGD", seed),
    )  # fmt: skip
    return Noisy(made.w, made.epsilon, 0.0, 0.0)


@cache
def group_sigma(epsilon: float, m: int, rate: float, steps: int, delta: float = DELTA) -> float:
    """The noise of a step's sum with which m samples at once cost (epsilon, delta)."""

    @cache
    def over(sigma: float) -> float:
        how = dict(m=m, rate=rate, sigma=sigma, steps=steps, interval=GRID * epsilon)
        return dp_sgd.group_epsilon(delta, **how) - epsilon

    low = 0.9 * m * rate * math.sqrt(steps) / gdp_of(epsilon, delta)
    while over(low) < 0:
        low /= WIDER
    high = WIDER * low  # the noise grows with the share of m that a batch holds
    while over(high) > 0:
        low, high = high, WIDER * high
    return brentq(over, low, high, rtol=1e-3) * 1.002


WAYS = (Way("DP-SGD", _rates, _dp_sgd),)
