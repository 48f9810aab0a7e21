"""The Gaussian mechanism against mpmath, dp-accounting's accountant and the textbook."""

import math

import mpmath
import numpy as np
import pytest
import torch
from dp_accounting import GaussianDpEvent
from dp_accounting.pld import PLDAccountant
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from unlearnlib import (
    InputError,
    compose_epsilon,
    gaussian_delta,
    gaussian_epsilon,
    gaussian_sigma,
    noise,
)

DELTA = 1e-5
epsilons = st.floats(-6, 6).map(lambda power: 10**power)
deltas = st.floats(-12, -0.1).map(lambda power: 10**power)


def exact_delta(mu, epsilon):
    """Balle and Wang's condition with 80 digits."""
    with mpmath.workdps(80):
        mu, epsilon = mpmath.mpf(mu), mpmath.mpf(epsilon)
        kept = mpmath.erfc((epsilon / mu - mu / 2) / mpmath.sqrt(2)) / 2
        lost = mpmath.erfc((epsilon / mu + mu / 2) / mpmath.sqrt(2)) / 2
        return kept - mpmath.exp(epsilon) * lost


def released(sensitivity, sigma, times):
    accountant = PLDAccountant()
    accountant.compose(GaussianDpEvent(sigma / sensitivity), times)
    return accountant


# ---- sigma, mu -> delta -------------------------------------------------------------------------


@given(log_mu=st.floats(-6, 5), z=st.floats(-6, 8))
@settings(deadline=None)
def test_delta_is_exact_over_eleven_orders_of_mu(log_mu, z):
    mu = 10**log_mu
    epsilon = mu * (mu / 2 + z)  # z standard deviations into the tail, up to epsilon = 5e9
    assume(epsilon >= 0)
    exact = float(exact_delta(mu, epsilon))
    assert gaussian_delta(mu, 1.0, epsilon) == pytest.approx(exact, rel=1e-9, abs=0)


@pytest.mark.parametrize(
    ("sensitivity", "sigma", "exact"),
    [
        (1e-15, 1.0, 1e-15 / math.sqrt(2 * math.pi)),
        (1.0, 1e12, 1e-12 / math.sqrt(2 * math.pi)),
        (1e-200, 1e200, 0.0),
        (1e200, 1e-200, 1.0),
    ],
)
def test_delta_loses_nothing_where_noise_or_distance_is_everything(sensitivity, sigma, exact):
    assert gaussian_delta(sensitivity, sigma, 0.0) == pytest.approx(exact, rel=1e-12, abs=0)
    assert 0.0 <= gaussian_delta(sensitivity, sigma, 1.0) <= 1.0


@pytest.mark.parametrize(("epsilon", "delta"), [(1e-9, 1e-300), (1.0, 1e-5), (50.0, 1e-12)])
def test_sigma_and_epsilon_are_rounded_up_until_delta_is_met(epsilon, delta):
    """At 1e-9 and 1e-300 the root finder's sigma misses delta by a tenth."""
    sigma = gaussian_sigma(1.0, epsilon, delta)
    with mpmath.workdps(700):
        mu = 1 / mpmath.mpf(sigma)
        kept, lost = (mpmath.ncdf(s * mu / 2 - epsilon / mu) for s in (1, -1))
        spent = kept - mpmath.exp(mpmath.mpf(epsilon)) * lost
        assert 0.9 * delta < spent <= delta * (1 + mpmath.mpf("1e-11"))
    assert gaussian_delta(1.0, sigma, gaussian_epsilon(1.0, sigma, delta)) <= delta


@pytest.mark.parametrize("mu", [1e-8, 1e-3, 1.0, 1e3, 1e8])
def test_delta_at_epsilon_0_is_the_total_variation(mu):
    exact = math.erf(mu / 2 / math.sqrt(2))
    assert gaussian_delta(mu, 1.0, 0.0) == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize("epsilon", [1e10, 1e200])
def test_delta_vanishes_far_beyond_what_the_noise_allows(epsilon):
    assert gaussian_delta(1.0, 1.0, epsilon) == 0.0


def test_delta_agrees_with_the_accountant():
    for sigma in (0.5, 1.0, 4.0):
        for epsilon in (0.1, 1.0, 3.0):
            other = released(1, sigma, 1).get_delta(epsilon)
            assert gaussian_delta(1, sigma, epsilon) == pytest.approx(other, rel=1e-3, abs=1e-9)


# ---- a sensitivity that may fail ----------------------------------------------------------------


def test_the_price_of_failure_covers_the_worst_mixture():
    # with probability rho the mean is anywhere: P = (1 - rho) N(2, sigma^2) + rho elsewhere
    rho, sigma, epsilon = 0.01, 3.0, 1.0
    total, delta = noise.with_failure(epsilon, gaussian_delta(2, sigma, epsilon), rho)
    forth = rho + (1 - rho) * gaussian_delta(2, sigma, total - math.log(1 - rho))
    back = gaussian_delta(2, sigma, total + math.log(1 - rho))
    assert max(forth, back) <= delta < rho + gaussian_delta(2, sigma, epsilon) + 1e-12
    assert total == pytest.approx(epsilon + 0.010050335853501442)


@pytest.mark.parametrize("rho", [-0.1, 1, math.nan])
def test_a_failure_that_is_no_probability_is_refused(rho):
    with pytest.raises(InputError, match=rf"rho is {rho}; .*\[0, 1\)"):
        noise.with_failure(1.0, 1e-5, rho)


# ---- budget -> sigma and back -------------------------------------------------------------------


def test_numbers_of_the_paper_at_epsilon_1():
    assert gaussian_sigma(1, 1, DELTA) == pytest.approx(3.731, abs=5e-4)
    assert gaussian_sigma(1, 1, DELTA, mechanism="classical") == pytest.approx(4.845, abs=5e-4)


@pytest.mark.parametrize(
    ("sensitivity", "sigma", "epsilon"),
    [
        (40, 0.001, 8.0e8),
        (40, 0.01, 8.0e6),
        (40, 0.1, 8.2e4),
        (44, 0.1, 9.9e4),
        (80_040, 0.001, 3.2e15),
        (80_040, 0.1, 3.2e11),
        (12.8 * 2, 0.02, 8.3e5),
    ],
)
def test_what_small_noise_buys(sensitivity, sigma, epsilon):
    assert gaussian_epsilon(sensitivity, sigma, DELTA) == pytest.approx(epsilon, rel=0.015)


@pytest.mark.parametrize("epsilon", [1e-6, 1e-3, 0.1, 1, 10, 1e3, 1e5, 1e7, 1e10, 1e15])
@pytest.mark.parametrize("delta", [1e-12, 1e-5, 0.1])
def test_sigma_meets_delta_and_wastes_nothing(epsilon, delta):
    sigma = gaussian_sigma(1, epsilon, delta)
    spent = float(exact_delta(1 / mpmath.mpf(sigma), epsilon))
    assert spent == pytest.approx(delta, rel=1e-5, abs=0)


@given(epsilons, deltas, st.floats(1e-3, 1e3))
@settings(max_examples=50, deadline=None)
def test_sigma_to_epsilon_and_back_returns(epsilon, delta, sensitivity):
    sigma = gaussian_sigma(sensitivity, epsilon, delta)
    back = gaussian_epsilon(sensitivity, sigma, delta)
    assert back == pytest.approx(epsilon, rel=1e-6, abs=1e-9)
    assert gaussian_sigma(sensitivity, back, delta) == pytest.approx(sigma, rel=1e-6)


def test_epsilon_is_0_where_delta_alone_pays():
    # total variation at mu = 0.1 is 0.0399
    assert gaussian_epsilon(1, 10, 0.04) == 0
    assert gaussian_epsilon(1, 10, 0.0398) > 0


@given(epsilons, deltas, st.floats(1.01, 10), st.sampled_from(["analytic", "classical-unchecked"]))
@settings(max_examples=50, deadline=None)
def test_more_privacy_takes_more_noise(epsilon, delta, factor, mechanism):
    sigma = gaussian_sigma(1, epsilon, delta, mechanism)
    assert gaussian_sigma(1, epsilon / factor, delta, mechanism) > sigma
    assert gaussian_sigma(1, epsilon, delta / factor, mechanism) > sigma
    assert gaussian_sigma(factor, epsilon, delta, mechanism) == pytest.approx(factor * sigma)
    assert gaussian_epsilon(1, factor * sigma, delta, mechanism) < epsilon


# ---- the paper's classical formula --------------------------------------------------------------


@given(st.floats(0.01, 1), deltas)
@settings(max_examples=50)
def test_classical_noise_is_enough_up_to_epsilon_1(epsilon, delta):
    sigma = gaussian_sigma(2, epsilon, delta, mechanism="classical")
    assert sigma == pytest.approx(2 / epsilon * math.sqrt(2 * math.log(1.25 / delta)))
    assert exact_delta(2 / sigma, epsilon) <= delta


@pytest.mark.parametrize("epsilon", [1.001, 10.0])
def test_classical_is_refused_above_1(epsilon):
    with pytest.raises(InputError, match=rf"epsilon <= 1 .* is {epsilon:g}.*'analytic'"):
        gaussian_sigma(1, epsilon, DELTA, mechanism="classical")


def test_classical_epsilon_is_refused_above_1():
    with pytest.raises(InputError, match=r"epsilon <= 1 .* is 4\.84.*'analytic'"):
        gaussian_epsilon(1, 1.0, DELTA, mechanism="classical")
    assert gaussian_epsilon(1, 5.0, DELTA, mechanism="classical") == pytest.approx(0.969, abs=1e-3)


def test_classical_unchecked_gives_too_little_noise_at_epsilon_10():
    sigma = gaussian_sigma(1, 10, DELTA, mechanism="classical-unchecked")
    assert sigma == pytest.approx(0.4845, abs=1e-4)
    assert exact_delta(1 / sigma, 10) > 1.3 * DELTA


def test_unknown_mechanism_is_refused_with_the_choice():
    with pytest.raises(InputError, match="'laplace'.*analytic.*classical"):
        gaussian_sigma(1, 1, DELTA, mechanism="laplace")


# ---- composition --------------------------------------------------------------------------------


def test_ten_releases_compose_as_the_accountant_says():
    sigma = gaussian_sigma(1, 1, DELTA)
    composed = compose_epsilon([1] * 10, [sigma] * 10, DELTA)
    assert composed == pytest.approx(3.62, abs=0.005)
    assert composed == pytest.approx(released(1, sigma, 10).get_epsilon(DELTA), rel=1e-3)


def test_releases_of_different_size_compose_as_the_accountant_says():
    accountant = released(1, 3.0, 2)
    accountant.compose(GaussianDpEvent(5.0))
    composed = compose_epsilon([2, 1, 4], [6.0, 3.0, 20.0], DELTA)
    assert composed == pytest.approx(accountant.get_epsilon(DELTA), rel=1e-3)


@pytest.mark.parametrize(("sensitivities", "sigmas"), [([], []), ([1, 2], [1])])
def test_composition_needs_a_sigma_for_each_sensitivity(sensitivities, sigmas):
    found = f"{len(sensitivities)} sensitivities for {len(sigmas)} sigmas"
    with pytest.raises(InputError, match=found):
        compose_epsilon(sensitivities, sigmas, DELTA)


# ---- what is not a budget -----------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0, -1, math.nan])
def test_epsilon_must_be_positive(epsilon):
    with pytest.raises(InputError, match=f"epsilon is {epsilon}; it must be > 0"):
        gaussian_sigma(1, epsilon, DELTA)


@pytest.mark.parametrize("delta", [0, 1, -0.1, 2, math.nan])
def test_delta_must_be_a_probability(delta):
    for call in (lambda: gaussian_sigma(1, 1, delta), lambda: gaussian_epsilon(1, 1, delta)):
        with pytest.raises(InputError, match=rf"delta is {delta}; .*\(0, 1\)"):
            call()


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
def test_sigma_and_sensitivity_must_be_finite_and_positive(bad):
    with pytest.raises(InputError, match=f"sigma is {bad}; .*> 0"):
        gaussian_epsilon(1, bad, DELTA)
    with pytest.raises(InputError, match=f"sensitivity is {bad}; .*> 0"):
        gaussian_sigma(bad, 1, DELTA)
    with pytest.raises(InputError, match=f"sigma is {bad}"):
        compose_epsilon([1, 1], [1, bad], DELTA)


# ---- what is published --------------------------------------------------------------------------


def multiples(w, k):
    return torch.equal(torch.ldexp(w, torch.tensor(-k)), torch.ldexp(w, torch.tensor(-k)).round())


def test_secret_noise_is_drawn_on_a_grid_with_the_moments_of_a_gaussian():
    n, sigma = 20_000, 0.3
    estimate = torch.full((n,), 2.0, dtype=torch.float64)
    state = torch.get_rng_state()
    w, said = noise.published(estimate, sigma, 1.0)
    assert said == noise.EXACT and torch.equal(state, torch.get_rng_state())
    z = (w - 2.0) / sigma
    for power, moment, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs(float((z**power).mean()) - moment) <= 5 * math.sqrt(variance / n)
    assert not torch.equal(w, noise.published(estimate, sigma, 1.0)[0])


@pytest.mark.parametrize(("sigma", "sensitivity"), [(150.0, 40.0), (1e-5, 1e-6), (1e-3, 10.0)])
def test_its_grid_is_as_fine_as_delta_counts(sigma, sensitivity, monkeypatch):
    """Rounding p coordinates to multiples of h moves two estimates apart by sqrt(p) h at most."""
    asked, exactly = [], noise._exactly
    monkeypatch.setattr(noise, "_exactly", lambda *a: (asked.append(a[2]), exactly(*a))[1])
    estimate = torch.linspace(0, 1e-9, 50, dtype=torch.float64)
    w, _ = noise.published(estimate, sigma, sensitivity)
    h = 2.0 ** asked[0]
    assert math.sqrt(50) * h <= noise.with_rounding(sensitivity) - sensitivity
    assert h <= 2**-40 * sigma and h > 2**-42 * min(sigma, sensitivity / math.sqrt(50))
    assert multiples(w, asked[0]) and not multiples(estimate, asked[0])


def test_beyond_the_exact_sampler_the_sum_is_rounded_to_a_public_grid(monkeypatch):
    monkeypatch.setattr(noise, "EXACT_UP_TO", 99)
    w, said = noise.published(torch.ones(100, dtype=torch.float64), 0.25, 1.0)
    assert said == noise.ON_A_GRID and multiples(w, -22)
    assert 0.1 < float((w - 1).std()) < 0.4
    assert noise.published(torch.ones(99, dtype=torch.float64), 0.25, 1.0)[1] == noise.EXACT


@pytest.mark.parametrize("seed", [0, 5])
def test_a_seed_gives_the_noise_that_it_always_gave(vectors, seed):
    for dtype in (torch.float32, torch.float64):
        estimate = vectors(30).to(dtype)
        w, said = noise.published(estimate, 0.1, 1.0, seed)
        drawn = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed))).normal(size=30)
        assert said == noise.REPRODUCIBLE and w.dtype == dtype
        assert torch.equal(w, (estimate.double() + 0.1 * torch.tensor(drawn)).to(dtype))


def test_a_release_in_single_precision_is_the_exact_sum_rounded(vectors):
    w, said = noise.published(vectors(10).float(), 0.1, 1.0)
    assert (w.dtype, said) == (torch.float32, noise.EXACT)


# ---- drawing ------------------------------------------------------------------------------------


def test_noise_has_the_moments_of_a_gaussian():
    n, sigma = 200_000, 3.0
    z = noise.sample_noise(torch.zeros(n, dtype=torch.float64), sigma, seed=1) / sigma
    for power, moment, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs(float((z**power).mean()) - moment) <= 5 * math.sqrt(variance / n)
    assert abs(float((z[1:] * z[:-1]).mean())) <= 5 / math.sqrt(n)


def test_noise_follows_its_seed_alone():
    like = torch.zeros(3, 5)
    state = torch.get_rng_state()
    first, again, other = (noise.sample_noise(like, 1.0, seed) for seed in (7, 7, 8))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())
    assert first.shape == like.shape and first.dtype == like.dtype


def test_noise_without_a_seed_never_repeats():
    torch.manual_seed(0)
    first = noise.sample_noise(torch.zeros(100), 1.0)
    torch.manual_seed(0)
    assert not torch.isclose(first, noise.sample_noise(torch.zeros(100), 1.0)).any()


@pytest.mark.parametrize("sigma", [-1.0, math.nan])
def test_noise_refuses_a_sigma_that_is_none(sigma):
    with pytest.raises(InputError, match=f"sigma is {sigma}"):
        noise.sample_noise(torch.zeros(2), sigma)
