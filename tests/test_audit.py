"""Audits: exact where a closed form exists, and wrong no more often than they say."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom, norm

from unlearnlib import InputError, gaussian_epsilon
from unlearnlib.evaluation import audit
from unlearnlib.evaluation.audit import (
    canary_audit,
    clopper_pearson,
    guesses,
    rates_audit,
    realised_epsilon,
    shadow_audit,
)

DELTA = 1e-5
RUNS = 400
# Of 400 audits that are wrong with probability 5% each, more are wrong once in a thousand times.
MOST = int(binom.ppf(0.999, RUNS, 0.05))


def tail(v, r):
    """P(Bin(r, 1/2) >= v) in integers, of any size."""
    return sum(math.comb(r, k) for k in range(v, r + 1)) / 2**r


def hockey_stick(mu, epsilon):
    """delta of N(mu, 1) against N(0, 1), Balle and Wang (2018), written out."""
    return norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)


# ---- realised --------------------------------------------------------------------------------


@pytest.mark.parametrize(("distance", "sigma"), [(0.3, 0.2), (2.0, 0.5), (1e-3, 1e-3)])
def test_what_is_realised_is_the_root_of_the_exact_delta(distance, sigma):
    mu = distance / sigma
    exact = brentq(lambda e: hockey_stick(mu, e) - DELTA, 0.0, 100.0, xtol=1e-12)
    assert realised_epsilon(distance, sigma, DELTA) == pytest.approx(exact, rel=1e-6)


def test_what_is_realised_at_the_ends():
    assert realised_epsilon(0.0, 0.0, DELTA) == realised_epsilon(0.0, 1.0, DELTA) == 0.0
    assert realised_epsilon(1e-9, 0.0, DELTA) == math.inf
    assert realised_epsilon(1e-9, 1.0, DELTA) == 0.0  # delta alone pays for it
    growing = [realised_epsilon(distance, 0.1, DELTA) for distance in (0.1, 1.0, 39.9, 40.0)]
    assert growing == sorted(growing)


# ---- canaries --------------------------------------------------------------------------------


@pytest.mark.parametrize(("right", "r"), [(10, 10), (16, 20), (140, 200), (700, 1000)])
def test_the_bound_of_canaries_is_the_formula(right, r):
    found = canary_audit(right, r, delta=0.01)
    assert found.bound == pytest.approx(math.log(0.04 / tail(right, r)), rel=1e-9)
    assert found.counts == {"right": right, "canaries": r} and found.level == 0.95


@pytest.mark.parametrize("r", [10, 1000, 5000])
def test_all_right_is_the_ceiling_whatever_the_size(r):
    """At 5,000 the tail itself underflows."""
    found = canary_audit(r, r, delta=DELTA)
    assert found.bound == found.ceiling
    assert found.ceiling == pytest.approx(r * math.log(2) + math.log(0.05 - DELTA), rel=1e-9)


def test_chance_shows_nothing_and_level_and_delta_cost():
    assert canary_audit(50, 100, delta=DELTA).bound == canary_audit(0, 100, delta=DELTA).bound == 0
    plain = canary_audit(80, 100, delta=0.0).bound
    assert canary_audit(80, 100, delta=0.025).bound == pytest.approx(plain - math.log(2))
    strict = canary_audit(80, 100, delta=0.0, level=0.995).bound
    assert strict == pytest.approx(plain - math.log(10))


def test_the_canaries_guessed_are_those_above_the_median():
    assert guesses([-3.0, -0.1, -2.0, -0.2]).tolist() == [False, True, False, True]
    assert guesses([1.0, 1.0, 1.0]).tolist() == [False] * 3


def coins_and_releases(mu, r, rng):
    """A Gaussian release of fair coins, and of the world that never saw them: mu apart exactly."""
    coins = rng.random((RUNS, r)) < 0.5
    shift = mu / math.sqrt(r) * np.where(coins, 1, -1)  # from 0, where the second world is
    return coins, shift + rng.standard_normal((RUNS, r))


@pytest.mark.parametrize("mu", [0.5, 3.0])
def test_canaries_refute_no_gaussian_mechanism(mu):
    coins, released = coins_and_releases(mu, 40, np.random.default_rng(0))
    right = [int((guesses(x) == s).sum()) for x, s in zip(released, coins, strict=True)]
    bounds = np.array([canary_audit(v, 40, delta=DELTA).bound for v in right])
    assert (bounds > realised_epsilon(mu, 1.0, DELTA)).sum() <= MOST
    if mu == 3.0:
        assert (bounds > 0).mean() > 0.5  # and yet it sees something


def test_canaries_refute_the_worst_mechanism_as_often_as_they_say():
    """It shows v right guesses exactly as often as (eps, 0) allows, so the bound has no slack."""
    r, v = 20, 16
    epsilon = math.log(0.05 / tail(v, r))
    rng, k = np.random.default_rng(1), np.arange(r + 1)
    fair = binom.pmf(k, r, 0.5)
    allowed = np.where(k >= v, math.exp(epsilon), 0.95 / (1 - tail(v, r))) * fair
    refuted = sum(
        canary_audit(int(right), r, delta=0.0).bound >= epsilon - 1e-9
        for right in rng.choice(k, size=RUNS, p=allowed)
    )
    assert binom.ppf(0.001, RUNS, 0.05) <= refuted <= MOST


def test_canaries_catch_a_release_without_noise():
    coins, released = coins_and_releases(1e3, 100, np.random.default_rng(2))
    right = int((guesses(released[0]) == coins[0]).sum())
    assert canary_audit(right, 100, delta=DELTA).bound > 20


# ---- shadow models ---------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "total"), [(0, 12), (1, 12), (7, 24), (24, 24)])
def test_clopper_pearson_is_its_definition(count, total):
    """The proportions at which as many, or as few, are seen in one case of forty."""
    low, high = clopper_pearson(count, total, 0.95)
    if count == 0:
        assert low == 0.0
    else:
        exact = brentq(lambda q: binom.sf(count - 1, total, q) - 0.025, 0, 1, xtol=1e-13)
        assert low == pytest.approx(exact, abs=1e-9)
    if count == total:
        assert high == 1.0
    else:
        exact = brentq(lambda q: binom.cdf(count, total, q) - 0.025, 0, 1, xtol=1e-13)
        assert high == pytest.approx(exact, abs=1e-9)


def test_the_bound_of_rates_is_the_better_of_both_directions():
    low, _ = clopper_pearson(30, 40, 0.95)
    _, high = clopper_pearson(2, 40, 0.95)
    forward, backward = math.log((low - 0.01) / high), math.log((0.99 - high) / (1 - low))
    assert forward > backward
    assert rates_audit(30, 40, 2, 40, delta=0.01).bound == pytest.approx(forward)
    assert rates_audit(38, 40, 10, 40, delta=0.01).bound == pytest.approx(forward)  # exchanged


def test_the_ceiling_of_k_models_by_hand():
    """All right and none wrong: TPR's limit is 0.025^(1/K), and FPR's is one minus that."""
    for k in (6, 24, 1000):
        limit = 0.025 ** (1 / k)
        found = rates_audit(k, k, 0, k, delta=DELTA)
        assert found.bound == found.ceiling
        assert found.ceiling == pytest.approx(math.log((limit - DELTA) / (1 - limit)), rel=1e-6)
    assert rates_audit(3, 3, 0, 3, delta=DELTA).ceiling == 0.0


def test_the_ceiling_is_what_a_test_that_never_errs_would_show():
    best = rates_audit(50, 50, 0, 40, delta=1e-3).bound
    for hits, alarms in ((50, 0), (20, 0), (20, 30), (0, 40)):
        found = rates_audit(hits, 50, alarms, 40, delta=1e-3)
        assert found.ceiling == best >= found.bound


def test_shadow_models_that_are_told_apart_reach_the_ceiling_from_either_side():
    rng = np.random.default_rng(0)
    for sign in (1, -1):
        found = shadow_audit(sign * (10 + rng.random(32)), sign * rng.random(32), delta=DELTA)
        counts = {"hits": 24, "positives": 24, "alarms": 0, "negatives": 24}
        assert found.counts == counts and found.bound == found.ceiling > 1.7


def test_no_model_is_judged_that_chose_the_threshold():
    """The first quarters are far apart, the other scores are all the same."""
    forgotten, never = np.full(16, 0.0), np.full(12, 0.0)
    forgotten[:4], never[:3] = 9.0, -9.0
    found = shadow_audit(forgotten, never, delta=DELTA)
    assert found.counts == {"hits": 0, "positives": 12, "alarms": 0, "negatives": 9}
    assert found.bound == 0.0


@pytest.mark.parametrize("mu", [0.0, 1.0, 2.0])
def test_shadow_models_refute_no_gaussian_mechanism(mu):
    rng, delta = np.random.default_rng(3), 0.05  # so that epsilon is small: at mu = 0, zero
    true = realised_epsilon(mu, 1.0, delta)
    draws = rng.standard_normal((RUNS, 2, 64))
    bounds = [shadow_audit(mu + x, y, delta=delta).bound for x, y in draws]
    assert (np.array(bounds) > true).sum() <= MOST


def test_rates_refute_randomised_response_no_more_often_than_they_say():
    """Pure epsilon, and both directions tight: what the limits leave is all the slack there is."""
    rng, epsilon, k = np.random.default_rng(4), 1.0, 500
    tpr = math.exp(epsilon) / (1 + math.exp(epsilon))
    hits, alarms = rng.binomial(k, tpr, RUNS), rng.binomial(k, 1 - tpr, RUNS)
    pairs = zip(hits, alarms, strict=True)
    bounds = np.array([rates_audit(int(h), k, int(a), k, delta=0.0).bound for h, a in pairs])
    assert (bounds > epsilon).sum() <= MOST
    assert np.median(bounds) > 0.7 * epsilon


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: realised_epsilon(-1.0, 1.0, DELTA), "distance is -1.0.*>= 0"),
        (lambda: realised_epsilon(1.0, -1.0, DELTA), "sigma is -1.0.*>= 0"),
        (lambda: realised_epsilon(0.0, 1.0, 1.0), r"delta is 1.0.*\(0, 1\)"),
        (lambda: canary_audit(11, 10, delta=DELTA), "11 of 10 .*0 <= right"),
        (lambda: canary_audit(50.5, 100, delta=DELTA), "right is 50.5; .*a whole number"),
        (lambda: canary_audit(0.7, 100, delta=DELTA), "right is 0.7; .*a whole number"),
        (lambda: canary_audit(True, 1, delta=DELTA), "right is True; .*a whole number"),
        (lambda: canary_audit(9, 10.0, delta=DELTA), "canaries is 10.0; .*a whole number"),
        (lambda: canary_audit(-1, 10, delta=DELTA), "right is -1; it must be at least 0"),
        (lambda: canary_audit(0, 0, delta=DELTA), "at least one canary"),
        (lambda: canary_audit(9, 10, delta=0.05), r"delta is 0.05; at level 0.95.*\[0, 0.05\)"),
        (lambda: canary_audit(9, 10, delta=DELTA, level=1.0), "level is 1.0.*0.95"),
        (lambda: guesses([0.0, math.nan]), "1 scores that are not finite"),
        (lambda: shadow_audit([0.0] * 3, [0.0] * 9, delta=DELTA), "3 models; give at least 4"),
        (lambda: shadow_audit([math.inf] * 4, [0.0] * 4, delta=DELTA), "forgotten .*4 scores"),
        (lambda: rates_audit(1, 1, 2, 1, delta=DELTA), "alarms are 2 of 1"),
        (lambda: rates_audit(0.5, 1, 0, 1, delta=DELTA), "hits is 0.5; .*a whole number"),
        (lambda: rates_audit(1, 1, 0, math.nan, delta=DELTA), "negatives is nan; .*whole"),
        (lambda: clopper_pearson(0.3, 1, 0.95), "count is 0.3; .*a whole number"),
        (lambda: clopper_pearson(2, 1, 0.95), "count is 2 of total = 1"),
        (lambda: clopper_pearson(0, 0, 0.95), "total is 0; it must be at least 1"),
        (lambda: clopper_pearson(0, 1, 1.0), "level is 1.0"),
        (lambda: rates_audit(1, 1, 0, 1, delta=-0.1), "delta is -0.1"),
        (lambda: rates_audit(1, 1, 0, 1, delta=0.0, level=0.0), "level is 0.0"),
    ],
)
def test_what_cannot_be_audited_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


# ---- a claim confronted with an audit ------------------------------------------------------------

FOUND = audit.Audit(bound=3.0, ceiling=50.0, level=0.95, counts={})


def test_a_claim_above_the_ceiling_is_out_of_reach_and_one_below_stands():
    terms = {"holds": "proved", "rests_on": "the ball"}
    assert audit.confront(60.0, FOUND, **terms) == "out of the audit's reach"
    assert audit.confront(50.0, FOUND, **terms) == "not refuted"
    assert audit.confront(3.0, FOUND, **terms) == "not refuted"


def test_a_conditional_claim_takes_its_assumption_with_it():
    said = audit.confront(2.0, FOUND, holds="conditional", rests_on="M = 1")
    assert said == "refutes M = 1: epsilon >= 3, 2 claimed"


def test_a_void_certificate_claims_nothing_to_confront():
    with pytest.raises(InputError, match="holds is 'void'"):
        audit.confront(2.0, FOUND, holds="void", rests_on="M = 1")


@pytest.mark.parametrize("claimed", [math.nan, -1.0])
def test_a_claim_that_is_no_epsilon_is_refused(claimed):
    with pytest.raises(InputError, match=f"claimed is {claimed}; .*at least 0"):
        audit.confront(claimed, FOUND, holds="proved", rests_on="the ball")


def test_a_proved_claim_that_is_refuted_is_an_error():
    with pytest.raises(audit.Refuted, match="refutes the ball: .*marked proved.*another seed"):
        audit.confront(2.0, FOUND, holds="proved", rests_on="the ball")


def test_the_gaussian_audit_is_the_shift_between_two_rates():
    """Phi^-1(TPR) - Phi^-1(FPR), with both limits; and then the exact Gaussian epsilon."""
    found = audit.gdp_audit(700, 1000, 300, 1000, delta=1e-5)
    tpr, fpr = audit.clopper_pearson(700, 1000, 0.95)[0], audit.clopper_pearson(300, 1000, 0.95)[1]
    mu = norm.ppf(tpr) - norm.ppf(fpr)
    assert found.bound == pytest.approx(gaussian_epsilon(mu, 1.0, 1e-5))
    assert audit.gdp_audit(500, 1000, 500, 1000, delta=1e-5).bound == 0
    assert audit.gdp_audit(1000, 1000, 0, 1000, delta=1e-5).bound == found.ceiling


def test_the_gaussian_audit_shows_more_than_one_threshold_does():
    counts = dict(hits=17_000, positives=30_000, alarms=13_000, negatives=30_000, delta=1e-5)
    assert audit.gdp_audit(**counts).bound > audit.rates_audit(**counts).bound


def test_the_gaussian_audit_errs_in_one_of_twenty():
    """Two Gaussians 0.5 apart: how often is more than the truth shown?"""
    rng, wrong, truth = np.random.default_rng(0), 0, gaussian_epsilon(0.5, 1.0, 1e-5)
    for _ in range(400):
        hits, alarms = rng.binomial(500, [norm.cdf(0.25), norm.cdf(-0.25)])
        wrong += audit.gdp_audit(int(hits), 500, int(alarms), 500, delta=1e-5).bound > truth
    assert wrong <= 20
