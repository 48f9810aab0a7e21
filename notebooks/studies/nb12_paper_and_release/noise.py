"""Differences in the noise: each function gives the Outcome of one switch."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from unlearnlib import bounds, draws
from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.requests import in_turn
from unlearnlib.lab.settings import DELTA, SIGMA
from unlearnlib.lab.step import hessian_sample, projected_step, solve_on
from unlearnlib.noise import compose_epsilon, gaussian_epsilon

from .outcome import Model, Outcome
from .reading import ball_epsilon, newton_estimate, published

REQUESTS = 10


def public_noise(d: Experiment) -> Outcome:
    """Draw the noise from the seed that is printed in the code: any reader can subtract it."""
    estimate, _ = newton_estimate(d)
    w = estimate + public_draw(estimate)
    facts = {
        "noise added, length": distance(w, estimate),
        "left after subtracting it": distance(w - public_draw(estimate), estimate),
    }
    return published(d, estimate, after=Model(w), epsilon=math.inf, facts=facts)


def public_draw(like: Tensor) -> Tensor:
    """Draw the noise of the released code, from its generator and its seed, 0."""
    return SIGMA * draws.normal(like.shape, like, draws.fixed(0))


def ten_requests(d: Experiment) -> Outcome:
    """Forget the same images in ten requests, each release with noise of its own; they compose."""
    count = min(REQUESTS, len(d.forget))
    epsilon = compose_epsilon([bounds.trivial_bound(d.pair.C)] * count, [SIGMA] * count, DELTA)
    return published(d, _last_estimate(d), epsilon=epsilon, facts={"requests": count})


def ten_requests_without_noise(d: Experiment) -> Outcome:
    """Forget in ten requests, and release the running estimate itself, without noise."""
    w = _last_estimate(d)
    return published(d, w, after=Model(w), epsilon=math.inf)


@lru_cache(maxsize=2)  # no more: each keeps an experiment, images included
def _last_estimate(d: Experiment) -> Tensor:
    """The estimate after all requests: each step starts where the last one ended (Algorithm 2)."""
    w, F = d.w, d.F_trained
    solver = solve_on(hessian_sample(d))
    requests = in_turn(d.forget, min(REQUESTS, len(d.forget)))
    for k in range(1, len(requests) + 1):
        gone = torch.cat(requests[:k])
        w = projected_step(F, w, gone, C=d.pair.C, lam=d.pair.lam, solver=solver)
    return w


def classical_epsilon(d: Experiment) -> Outcome:
    """Release as in the paper's reading, but print epsilon by the classical mechanism beyond 1."""
    size = bounds.trivial_bound(d.pair.C)
    printed = gaussian_epsilon(size, SIGMA, DELTA, mechanism="classical-unchecked")
    exact = ball_epsilon(d)
    facts = {"printed": printed, "exact": exact, "too small by a factor of": exact / printed}
    return published(d, newton_estimate(d)[0], facts=facts)
