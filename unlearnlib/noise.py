"""The Gaussian mechanism (Theorem 2.3): how much noise hides a distance, and what noise hides.

sensitivity   largest distance between the two means that must not be told apart
sigma         standard deviation of the noise in each coordinate
(epsilon, delta)   as in differential privacy

"analytic" is the exact condition of Balle and Wang (2018), valid for every epsilon, by
dp-accounting. "classical" is the paper's sigma = sensitivity sqrt(2 ln(1.25/delta)) / epsilon,
proved for epsilon <= 1 only and refused beyond; "classical-unchecked" computes it anyway, to show
where it goes wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import dp_accounting
import numpy as np
import torch
from scipy.special import erfcx, log_ndtr
from torch import Tensor

from .errors import require, require_choice

# dp-accounting's default tolerance is absolute, and coarse where sigma is tiny: at an epsilon in
# the millions, where loose bounds live. This one leaves the root finder's relative tolerance.
RELATIVE = 1e-300
MECHANISMS = ("analytic", "classical", "classical-unchecked")


def gaussian_delta(sensitivity: float, sigma: float, epsilon: float) -> float:
    """The least delta: Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu), mu = sensitivity/sigma.

    In log space, with e^eps Phi(b) = phi(a) Phi(b)/phi(b) and Mills' ratio from erfcx, so that
    nothing large cancels: right to rounding for any epsilon >= 0.
    """
    _check_scale(sensitivity, "sensitivity")
    _check_scale(sigma, "sigma")
    require(epsilon >= 0, f"epsilon is {epsilon}; it must be >= 0.")
    mu = sensitivity / sigma
    a, b = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
    kept = float(log_ndtr(a))
    if kept == -math.inf:
        return 0.0
    lost = -a * a / 2 + math.log(erfcx(-b / math.sqrt(2)) / 2)
    return -math.exp(kept) * math.expm1(min(lost - kept, 0.0))


def gaussian_sigma(
    sensitivity: float, epsilon: float, delta: float, mechanism: str = "analytic"
) -> float:
    """The sigma that makes two means at this distance (epsilon, delta)-indistinguishable."""
    _check_scale(sensitivity, "sensitivity")
    check_budget(epsilon, delta)
    _check_mechanism(mechanism, epsilon)
    if mechanism == "analytic":
        with np.errstate(divide="ignore"):
            return sensitivity * dp_accounting.get_sigma_gaussian(epsilon, delta, RELATIVE)
    return sensitivity * _classical_factor(delta) / epsilon


def gaussian_epsilon(
    sensitivity: float, sigma: float, delta: float, mechanism: str = "analytic"
) -> float:
    """The epsilon that noise of this sigma buys at this delta."""
    _check_scale(sensitivity, "sensitivity")
    _check_scale(sigma, "sigma")
    check_delta(delta)
    if mechanism == "analytic":
        with np.errstate(divide="ignore"):
            return dp_accounting.get_epsilon_gaussian(sigma / sensitivity, delta, RELATIVE)
    epsilon = sensitivity * _classical_factor(delta) / sigma
    _check_mechanism(mechanism, epsilon)
    return epsilon


def compose_epsilon(sensitivities: Sequence[float], sigmas: Sequence[float], delta: float) -> float:
    """The epsilon of all releases seen together, each with noise of its own.

    Exact for Gaussians: k of them are as one with mu^2 = sum (sensitivity_i / sigma_i)^2.
    """
    require(
        len(sensitivities) == len(sigmas) > 0,
        f"{len(sensitivities)} sensitivities for {len(sigmas)} sigmas; give as many, at least one.",
    )
    for sensitivity, sigma in zip(sensitivities, sigmas, strict=True):
        _check_scale(sensitivity, "sensitivity")
        _check_scale(sigma, "sigma")
    mu = math.hypot(*(s / sigma for s, sigma in zip(sensitivities, sigmas, strict=True)))
    return gaussian_epsilon(mu, 1.0, delta)


def with_failure(epsilon: float, delta: float, rho: float) -> tuple[float, float]:
    """What (epsilon, delta) becomes if the sensitivity holds only with probability 1 - rho.

    (epsilon - ln(1 - rho), delta + rho): a theorem that fails one time in ten, such as Theorem 3.6
    at rho = 0.1, destroys a delta of 1e-5.
    """
    require(0 <= rho < 1, f"rho is {rho}; the failure probability must be in [0, 1).")
    return epsilon - math.log1p(-rho), delta + rho


def sample_noise(
    like: Tensor, sigma: float, seed: int | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """N(0, sigma^2 I) in the shape and device of `like`, in its dtype unless another is given.

    Drawn from 128 bits of operating-system entropy unless a seed is given; anyone who knows the
    seed can subtract the noise. The generator is Philox, counter-based but not certified for
    cryptography, and floating-point Gaussians are not exactly Gaussian in their last bits
    (Mironov, 2012): a deployment that faces that attacker needs a discrete sampler.
    """
    require(sigma >= 0, f"sigma is {sigma}; it must be >= 0.")
    require(seed is None or seed >= 0, f"seed is {seed}; give an integer >= 0, or None.")
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
    noise = sigma * generator.standard_normal(tuple(like.shape))
    return torch.from_numpy(noise).to(like.device, dtype or like.dtype)


def check_budget(epsilon: float, delta: float) -> None:
    """Refuse an (epsilon, delta) that is not one."""
    require(
        0 < epsilon < math.inf,
        f"epsilon is {epsilon}; it must be > 0 and finite (an infinite one takes no noise).",
    )
    check_delta(delta)


def check_delta(delta: float) -> None:
    """Refuse a delta that is not a probability strictly between 0 and 1."""
    require(0 < delta < 1, f"delta is {delta}; it must be in (0, 1), well below 1/n.")


def _classical_factor(delta: float) -> float:
    return math.sqrt(2 * math.log(1.25 / delta))


def _check_mechanism(mechanism: str, epsilon: float) -> None:
    require_choice("mechanism", mechanism, MECHANISMS)
    require(
        mechanism != "classical" or epsilon <= 1,
        f"The classical mechanism is proved for epsilon <= 1 and this one is {epsilon:g}; use "
        "mechanism='analytic', which is exact for every epsilon.",
    )


def _check_scale(value: float, name: str) -> None:
    require(0 < value < math.inf, f"{name} is {value}; it must be a finite number > 0.")
