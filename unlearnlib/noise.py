"""The Gaussian mechanism (Theorem 2.3): how much noise hides a distance, with which epsilon.

sensitivity   largest distance between the two means that must not be told apart
sigma         standard deviation of the noise in each coordinate
(epsilon, delta)   as in differential privacy

"analytic" is the exact condition of Balle and Wang (2018), valid for every epsilon, by
dp-accounting and then rounded up until `gaussian_delta` agrees. "classical" is the paper's
sigma = sensitivity sqrt(2 ln(1.25/delta)) / epsilon, proved for epsilon <= 1 only and refused
beyond; "classical-unchecked" computes it anyway, to show where it goes wrong.

`published` draws the noise. Added in floating point, Gaussian noise leaks through its last bits
(Mironov, 2012), so secret noise comes from OpenDP's exact sampler: the estimate is rounded to a
grid and the sum is drawn on that grid, from the operating system's entropy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import dp_accounting
import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from .errors import require, require_at_least, require_choice, require_positive

# dp-accounting's default tolerance is absolute, and coarse where sigma is tiny: for an epsilon in
# the millions, as loose bounds give. This one leaves the root finder's relative tolerance.
RELATIVE = 1e-300
MECHANISMS = ("analytic", "classical", "classical-unchecked")

EXACT = "secret, exact"
ON_A_GRID = "secret, rounded to a grid of 2^-20 sigma"
REPRODUCIBLE = "reproducible: not private"
EXACT_UP_TO = 1_000_000  # coordinates: half a minute
# The exact sampler's grid moves an estimate by at most this share of the sensitivity, which
# `with_rounding` counts. Its discrete Gaussian is a continuous one to 2^-80: see `published`.
ROUNDING = 2.0**-40
GRID = 2.0**-20  # of sigma, where the exact sampler is too slow
NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)


def gaussian_delta(sensitivity: float, sigma: float, epsilon: float) -> float:
    """The least delta: Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu), mu = sensitivity/sigma.

    As the integral of phi(t/2 - eps/t) over t from 0 to mu, which has the same derivative by mu
    and in which nothing cancels: right to 1e-11 of itself for any epsilon >= 0. In s = ln t the
    logarithm of the integrand is concave, so its mass lies between two roots.
    """
    require_positive(sensitivity=sensitivity, sigma=sigma)
    require_at_least(0, epsilon=epsilon)
    end = math.log(sensitivity) - math.log(sigma)

    def log_integrand(s):
        t = np.exp(np.maximum(s, -700.0))
        return s - (t / 2 - epsilon / t) ** 2 / 2

    # its derivative by s is 1 - t^2/4 + eps^2/t^2, so that it is largest at t^2 = 2 + 2 sqrt(1 +
    # eps^2), where 61 to the left it has lost 60
    with np.errstate(over="ignore"):
        peak = min(end, math.log(2 + 2 * math.hypot(1, epsilon)) / 2)
        top = log_integrand(peak)
        if top < -800:
            return 0.0
        low, high = (_sixty_below(log_integrand, peak, side) for side in (peak - 62, end))
        s = low + (high - low) * (1 + NODES) / 2
        mass = (high - low) / 2 * (WEIGHTS @ np.exp(log_integrand(s) - top))
    return min(1.0, float(np.exp(top) * mass) / math.sqrt(2 * math.pi))


def _sixty_below(f: Callable, peak: float, end: float) -> float:
    """The point between peak and end where the concave f is 60 below its peak, or the end."""
    end = min(end, peak + 62)
    loss = lambda s: max(f(s) - f(peak) + 60, -60.0)  # noqa: E731
    return end if loss(end) >= 0 else brentq(loss, *sorted((peak, end)))


def gaussian_sigma(
    sensitivity: float, epsilon: float, delta: float, mechanism: str = "analytic"
) -> float:
    """The sigma that makes two means at this distance (epsilon, delta)-indistinguishable."""
    require_positive(sensitivity=sensitivity)
    check_budget(epsilon, delta)
    _check_mechanism(mechanism, epsilon)
    if mechanism == "analytic":
        with np.errstate(divide="ignore"):
            sigma = sensitivity * dp_accounting.get_sigma_gaussian(epsilon, delta, RELATIVE)
        return rounded_up(sigma, lambda s: gaussian_delta(sensitivity, s, epsilon) <= delta)
    return sensitivity * _classical_factor(delta) / epsilon


def gaussian_epsilon(
    sensitivity: float, sigma: float, delta: float, mechanism: str = "analytic"
) -> float:
    """The epsilon that noise of this sigma gives at this delta."""
    require_positive(sensitivity=sensitivity, sigma=sigma)
    check_delta(delta)
    if mechanism == "analytic":
        with np.errstate(divide="ignore"):
            epsilon = dp_accounting.get_epsilon_gaussian(sigma / sensitivity, delta, RELATIVE)
        return rounded_up(epsilon, lambda e: gaussian_delta(sensitivity, sigma, e) <= delta)
    epsilon = sensitivity * _classical_factor(delta) / sigma
    _check_mechanism(mechanism, epsilon)
    return epsilon


def compose_epsilon(sensitivities: Sequence[float], sigmas: Sequence[float], delta: float) -> float:
    """The epsilon of all releases seen together, each with noise of its own.

    Exact for Gaussians: k of them are as one with mu^2 = sum (sensitivity_i / sigma_i)^2.
    """
    k, n = len(sensitivities), len(sigmas)
    require(k == n > 0, f"{k} sensitivities for {n} sigmas; give as many, at least one.")
    pairs = [*zip(sensitivities, sigmas, strict=True)]
    for sensitivity, sigma in pairs:
        require_positive(sensitivity=sensitivity, sigma=sigma)
    mu = math.hypot(*(sensitivity / sigma for sensitivity, sigma in pairs))
    return gaussian_epsilon(mu, 1.0, delta)


def with_failure(epsilon: float, delta: float, rho: float) -> tuple[float, float]:
    """What (epsilon, delta) becomes if the sensitivity holds only with probability 1 - rho.

    (epsilon - ln(1 - rho), delta + rho): a theorem that fails one time in ten, such as Theorem 3.6
    at rho = 0.1, destroys a delta of 1e-5.
    """
    require(0 <= rho < 1, f"rho is {rho}; the failure probability must be in [0, 1).")
    return epsilon - math.log1p(-rho), delta + rho


def sample_noise(like: Tensor, sigma: float, seed: int | None = None) -> Tensor:
    """N(0, sigma^2 I) in the shape, dtype and device of `like`, in floating point.

    From Philox and a seed, or 128 bits of the operating system's entropy. For experiments and for
    noise that is not the last step; what is to be published goes through `published`.
    """
    require_at_least(0, sigma=sigma)
    require(seed is None or seed >= 0, f"seed is {seed}; give an integer >= 0, or None.")
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
    noise = sigma * generator.standard_normal(tuple(like.shape))
    return torch.from_numpy(noise).to(like.device, like.dtype)


def published(
    estimate: Tensor, sigma: float, sensitivity: float, seed: int | None = None
) -> tuple[Tensor, str]:
    """estimate (p,) + N(0, sigma^2 I) in the estimate's dtype, and what may be said of the noise.

    EXACT         without a seed, up to EXACT_UP_TO coordinates: OpenDP rounds each coordinate to a
                  multiple of h and adds an exact discrete Gaussian on that grid. Two estimates
                  move apart by at most sqrt(p) h <= ROUNDING times the sensitivity, and
                  h <= 2^-40 sigma: the sums over the grid that are its delta differ from the
                  continuous Gaussian's integrals by a share of about (h/sigma)^2 = 2^-80.
    ON_A_GRID     without a seed, beyond: the floating-point sum, rounded to multiples of GRID
                  sigma. The low bits, through which such noise leaks, are not released.
    REPRODUCIBLE  with a seed: anyone who knows it can subtract the noise.
    """
    if seed is not None:
        return with_noise(estimate, sigma, seed), REPRODUCIBLE
    if len(estimate) > EXACT_UP_TO:
        noisy = with_noise(estimate.cpu().double(), sigma) / (GRID * sigma)
        return (noisy.round() * (GRID * sigma)).to(estimate), ON_A_GRID
    h = ROUNDING * min(sigma, sensitivity / math.sqrt(len(estimate)))
    return _exactly(estimate, sigma, math.floor(math.log2(h))), EXACT


def with_noise(estimate: Tensor, sigma: float, seed: int | None = None) -> Tensor:
    """estimate + N(0, sigma^2 I) in the estimate's dtype, summed in float64: for experiments."""
    # rounding after the sum is post-processing; rounding the noise itself would not be
    wide = estimate.cpu().double()
    return (wide + sample_noise(wide, sigma, seed)).to(estimate)


def _exactly(estimate: Tensor, sigma: float, k: int) -> Tensor:
    """The estimate, rounded to multiples of 2^k, and a discrete Gaussian on that grid."""
    import opendp.prelude as dp  # here, since it takes a second to load

    dp.enable_features("contrib")
    vectors = dp.vector_domain(dp.atom_domain(T=float, nan=False), len(estimate))
    mechanism = dp.m.make_gaussian(vectors, dp.l2_distance(T=float), scale=sigma, k=k)
    noisy = mechanism(estimate.cpu().double().tolist())
    return torch.tensor(noisy, dtype=torch.float64, device="cpu").to(estimate)


def with_rounding(sensitivity: float) -> float:
    """The distance that noise must hide: Delta and what the exact sampler's grid adds at most."""
    return sensitivity * (1 + ROUNDING)


def check_budget(epsilon: float, delta: float) -> None:
    """Refuse an epsilon that is not positive and finite, or a delta outside (0, 1)."""
    require_positive(epsilon=epsilon)
    check_delta(delta)


def check_delta(delta: float) -> None:
    """Refuse a delta that is not a probability strictly between 0 and 1."""
    require(0 < delta < 1, f"delta is {delta}; it must be in (0, 1), well below 1/n.")


def rounded_up(value: float, enough: Callable[[float], bool]) -> float:
    """The value, or the first above it that is enough: by 2^-52 of it, by twice that, and so on."""
    more, raised = 2.0**-52, value
    while not enough(raised):
        raised, more = max(value, 1e-300) * (1 + more), 2 * more
    return raised


def _classical_factor(delta: float) -> float:
    return math.sqrt(2 * math.log(1.25 / delta))


def _check_mechanism(mechanism: str, epsilon: float) -> None:
    require_choice("mechanism", mechanism, MECHANISMS)
    message = f"'classical' is proved for epsilon <= 1 and this one is {epsilon:g}; use 'analytic'."
    require(mechanism != "classical" or epsilon <= 1, message)
