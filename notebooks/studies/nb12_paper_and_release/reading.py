"""The paper's reading of one request: nothing is switched on. Every switch changes a part of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from torch import Tensor

from unlearnlib import batchnorm, bounds
from unlearnlib.errors import NegativeCurvatureError
from unlearnlib.lab import step
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.seeds import seed_of
from unlearnlib.lab.settings import DELTA, SIGMA
from unlearnlib.noise import gaussian_epsilon, sample_noise

from .outcome import Model, Outcome

# With BatchNorm: as a public re-run of the method has it for ResNet-18, and above any curvature.
BATCHNORM_LAM = 2000.0


def reading(d: Experiment) -> Outcome:
    """The paper's reading: the projected Newton step with secret noise, published right."""
    estimate, lam = newton_estimate(d)
    return published(d, estimate, facts={"lam": lam})


def original(d: Experiment) -> Model:
    """The model trained on everything."""
    return Model(d.w, lambda F: F.with_buffers(d.trained.buffers))


def retrained(d: Experiment) -> Model:
    """The model trained without the forgotten images."""
    return Model(d.retrained.w, lambda F: F.with_buffers(d.retrained.buffers))


def damping(d: Experiment) -> float:
    """The profile's lam; with BatchNorm a much larger one."""
    return BATCHNORM_LAM if batchnorm.layers(d.F.model) else d.pair.lam


def least_refused(solve: Callable[[float], Tensor], lam: float) -> tuple[Tensor, float]:
    """solve(lam) and lam; at ten or a hundred times lam where negative curvature refuses less."""
    for raised in (lam, 10 * lam):
        try:
            return solve(raised), raised
        except NegativeCurvatureError:
            continue
    return solve(100 * lam), 100 * lam


@lru_cache(maxsize=2)  # no more: each keeps an experiment, images included
def newton_estimate(d: Experiment) -> tuple[Tensor, float]:
    """The estimate of the projected Newton step, and the lam that it took."""
    return least_refused(lambda lam: step.estimate(d, lam), damping(d))


def ball_epsilon(d: Experiment) -> float:
    """The epsilon of one release: sensitivity 2C, which is all that is proved, and SIGMA."""
    return gaussian_epsilon(bounds.trivial_bound(d.pair.C), SIGMA, DELTA)


def noisy(d: Experiment, estimate: Tensor) -> Tensor:
    """The estimate with the released code's sigma, drawn as if it were secret."""
    return estimate + sample_noise(estimate, SIGMA, seed_of("noise", d.seed))


def published(d: Experiment, estimate: Tensor, **changed) -> Outcome:
    """An estimate released as the paper reads: noise, and buffers recomputed afterwards."""
    w = noisy(d, estimate)
    terms = {"before": original(d), "after": Model(w, d.published(w)), "goal": retrained(d)}
    return Outcome(d, **(terms | {"epsilon": ball_epsilon(d)} | changed))
