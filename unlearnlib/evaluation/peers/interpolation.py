"""How far noisy steps blur two runs that once were apart, as Gaussian differential privacy.

Two runs start at most `start` apart and take T steps x <- phi(x) + N(0, s^2 I). Whatever data each
has, phi brings two points that are z apart to within c z + gap. Then the ends are mu-GDP, that is
no easier to tell apart than N(0, 1) and N(mu, 1), with

    mu = D / (s sqrt(S)),   D = c^T start + gap sum_{k<T} c^k,   S = sum_{k<T} c^{2k}.

Proof (shifted interpolation: Bok, Su and Altschuler, 2024), for 0 < c <= 1. Let X and X' be the
runs. Start a third one at Y_0 = X'_0, and let it move as X' does, shifted by b_t towards X at step
t, with the noise of X. Given its past, each step is a mixture of Gaussians at most b_t from that of
X', so that b_t/s-GDP, and all steps together are mu-GDP with mu^2 = sum b_t^2/s^2. Its distance to
X obeys z_t = c z_{t-1} + gap - b_t. With b_t = D c^{T-t}/S it is 0 after T steps, where Y is X, and
never negative before: the coefficient of `start` in z_t is c^t (1 - c^{2T-2t})/(1 - c^{2T}), that
of `gap` is (1 - c^t)(1 - c^{T-t})/((1 - c)(1 + c^T)). Among all shifts that end at 0 these have
the smallest sum of squares (Cauchy and Schwarz).

It is reached where phi is a scaling and a constant push in opposite directions, in one dimension.

The noise of these methods is for experiments: floating-point numbers, whose last bits leak. To
publish, let `noise.published` draw that of the last step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from torch import Tensor

from ...errors import require, require_at_least, require_counts
from ...noise import gaussian_epsilon, gaussian_sigma, sample_noise
from ...objective import Objective
from ...unlearn import check_vector
from .convex import positive


@dataclass(frozen=True)
class Noisy:
    """What a method that adds noise as it goes hands out.

    w          (p,), the weights to publish; to train them on, on retained samples and without
               noise, costs no privacy
    epsilon    the epsilon of (epsilon, delta)-unlearning, as a function of delta
    gradients  work, in gradients of all retained samples
    seconds    from the request to w
    """

    w: Tensor = field(repr=False)
    epsilon: Callable[[float], float] = field(repr=False)
    gradients: float
    seconds: float


def epsilon_of(gdp: float) -> Callable[[float], float]:
    """The epsilon that mu-GDP gives, mu = gdp, as a function of delta."""
    return partial(gaussian_epsilon, gdp, 1.0) if gdp > 0 else lambda delta: 0.0


def gdp_of(epsilon: float, delta: float) -> float:
    """The mu whose Gaussians are exactly (epsilon, delta)-indistinguishable."""
    return 1 / gaussian_sigma(1.0, epsilon, delta)


def steps_gdp(steps: int, *, start: float, gap: float, contraction: float, sigma: float) -> float:
    """mu of the ends, as above; sigma is s, the noise of one step."""
    _check(steps, start, gap, contraction)
    positive(sigma=sigma)
    return distance(steps, start, gap, contraction) / (sigma * spread(steps, contraction))


def steps_sigma(steps: int, gdp: float, *, start: float, gap: float, contraction: float) -> float:
    """The noise of a step that makes the ends mu-GDP, mu = gdp."""
    _check(steps, start, gap, contraction)
    positive(gdp=gdp)
    return distance(steps, start, gap, contraction) / (gdp * spread(steps, contraction))


def distance(steps: int, start: float, gap: float, contraction: float) -> float:
    """D: how far apart the ends are without noise."""
    return contraction**steps * start + gap * geometric(contraction, steps)


def spread(steps: int, contraction: float) -> float:
    """sqrt(S): the noise of all steps that is left at the end, in units of one step's."""
    return math.sqrt(geometric(contraction**2, steps))


def geometric(ratio: float, terms: int) -> float:
    """1 + ratio + ... + ratio^(terms - 1), also for a ratio near 1."""
    if ratio == 1:
        return float(terms)
    return math.expm1(terms * math.log(ratio)) / math.expm1(math.log(ratio))


def fresh_noise(like: Tensor, sigma: float, seed: int | None, step: int) -> Tensor:
    """Noise of one step: independent of that of other steps and of other seeds."""
    if seed is not None:
        seed = int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0])
    return sample_noise(like, sigma, seed)


def check_objective(F: Objective, w: Tensor) -> None:
    """Refuse what would be published beside w, and a decay towards another point than 0."""
    check_vector(F, w)
    require(F.center is None, "the decay of these steps is towards 0; leave `center` out.")


def _check(steps: int, start: float, gap: float, contraction: float) -> None:
    require_counts(steps=steps)
    require_at_least(0, start=start, gap=gap)
    require(
        0 < contraction <= 1,
        f"the factor of a step is {contraction:g}; the proof is for more than 0 and at most 1: "
        "choose a smaller rate or decay.",
    )
