"""The noise of k releases, against composition and the single release."""

import math

import pytest

import unlearnlib as ul


@pytest.mark.parametrize("k", [1, 2, 10, 1000])
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 20.0])
def test_a_plan_for_all_releases_spends_exactly_the_budget(k, epsilon):
    made = ul.plan(k, 0.3, epsilon, 1e-5)
    assert made.history[-1] == pytest.approx(epsilon, rel=1e-6)
    assert made.sigma == pytest.approx(math.sqrt(k) * ul.gaussian_sigma(0.3, epsilon, 1e-5))
    assert made.history == sorted(made.history) and len(made.history) == k
    assert made.each == pytest.approx(made.history[0])


def test_a_plan_for_the_last_release_pays_once_and_says_what_a_collector_learns():
    made = ul.plan(9, 0.3, 1.0, 1e-5, seen="last")
    assert made.sigma == ul.gaussian_sigma(0.3, 1.0, 1e-5)
    assert made.each == pytest.approx(1.0)
    assert made.history[-1] == pytest.approx(ul.gaussian_epsilon(0.9, made.sigma, 1e-5))


@pytest.mark.parametrize("k", [1, 3, 10, 365])
def test_a_plans_noise_affords_its_requests_and_no_more(k):
    made = ul.plan(k, 2.0, 1.0, 1e-5)
    assert ul.affordable(made.sigma, 2.0, 1.0, 1e-5) == k
    assert ul.affordable((1 - 1e-4) * made.sigma, 2.0, 1.0, 1e-5) == k - 1


def test_no_request_can_be_answered_without_noise():
    with pytest.raises(ul.InputError, match="without noise"):
        ul.affordable(0.0, 1.0, 1.0, 1e-5)
    with pytest.raises(ul.InputError, match="sigma is inf; give a finite one"):
        ul.affordable(math.inf, 1.0, 1.0, 1e-5)


def test_what_cannot_be_planned_is_refused():
    for bad in (0, 3.0, True, math.nan):
        with pytest.raises(ul.InputError, match=f"requests is {bad}; .*a whole number"):
            ul.plan(bad, 1.0, 1.0, 1e-5)
    with pytest.raises(ul.InputError, match="choose from 'all', 'last'"):
        ul.plan(1, 1.0, 1.0, 1e-5, seen="some")
