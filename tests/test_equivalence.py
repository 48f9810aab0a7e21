"""Is a method shown to be close to retraining, shown not to be, or can these runs not tell?"""

import numpy as np
import pytest
from scipy.stats import norm

from unlearnlib import InputError
from unlearnlib.evaluation.equivalence import Interval, difference, over_seeds


def runs(shares, n=1000, seeds=5, seed=0):
    """For each seed, which of n samples a model gets right, at this share."""
    rng = np.random.default_rng(seed)
    return [rng.random(n) < shares for _ in range(seeds)]


@pytest.mark.parametrize(
    ("low", "high", "within", "beyond"),
    [
        (-0.1, 0.1, True, False),
        (-0.11, 0.1, False, False),
        (-0.1, 0.11, False, False),
        (0.11, 0.2, False, True),
        (0.1, 0.2, False, False),
        (-0.2, -0.11, False, True),
        (-0.2, -0.1, False, False),
    ],
)
def test_within_and_beyond_on_both_sides_of_the_margin(low, high, within, beyond):
    interval = Interval((low + high) / 2, low, high)
    assert (interval.within(0.1), interval.beyond(0.1)) == (within, beyond)


def test_the_difference_is_that_of_the_accuracies():
    ours, theirs = runs(0.9), runs(0.8, seed=1)
    means = [a.mean() - b.mean() for a, b in zip(ours, theirs, strict=True)]
    found = difference(ours, theirs)
    assert found.mean == pytest.approx(np.mean(means)) and found.low < found.mean < found.high


def test_the_interval_has_the_width_of_the_normal_one():
    """Many samples of one seed: standard error sqrt(var/n), and 90% lie within 1.645 of it."""
    ours, theirs = runs(0.9, 20_000, seeds=1), runs(0.8, 20_000, seeds=1, seed=1)
    signed = ours[0].astype(int) - theirs[0].astype(int)
    found, error = difference(ours, theirs), signed.std() / len(signed) ** 0.5
    assert found.high - found.low == pytest.approx(2 * norm.ppf(0.95) * error, rel=0.06)


def test_seeds_that_differ_widen_it():
    """Shares that differ from seed to seed by more than images explain."""
    steady = [np.arange(1000) < 800] * 6
    uneven = [np.arange(1000) < 800 + shift for shift in (-60, -30, -10, 10, 30, 60)]
    none = [np.zeros(1000, bool)] * 6
    same, different = (difference(ours, none) for ours in (steady, uneven))
    assert same.mean == pytest.approx(different.mean)
    between = np.std([-0.06, -0.03, -0.01, 0.01, 0.03, 0.06]) / 6**0.5
    assert different.high - different.low > 2 * (same.high - same.low)
    assert different.high - different.low > 2 * norm.ppf(0.95) * between


def test_it_covers_the_truth_about_nine_times_in_ten():
    covered = 0
    for k in range(200):
        found = difference(runs(0.85, 400, 3, 2 * k), runs(0.8, 400, 3, 2 * k + 1))
        covered += found.low <= 0.05 <= found.high
    assert 165 <= covered <= 198


def test_the_same_numbers_give_the_same_interval():
    assert difference(runs(0.9), runs(0.8)) == difference(runs(0.9), runs(0.8))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [([[True]], [[True, False]]), ([[]], [[]]), ([], []), ([[[True]]], [[[True]]])],
)
def test_what_cannot_be_compared_is_refused(ours, theirs):
    with pytest.raises(InputError, match="same samples|nothing to compare"):
        difference(ours, theirs)


def test_resamples_must_belong_to_the_seeds_and_be_finite():
    with pytest.raises(InputError, match="a row each"):
        over_seeds([0.1, 0.2], [[0.1, 0.1]])
    with pytest.raises(InputError, match="not finite"):
        over_seeds([0.1], [[float("nan")]])


def test_it_says_how_many_seeds_it_takes():
    """Half as wide an interval takes four times as many seeds."""
    wide = Interval(0.0, -0.1, 0.1, seeds=2)
    assert [wide.seeds_needed(margin) for margin in (0.1, 0.2, 10.0)] == [8, 2, 2]
    with pytest.raises(InputError, match="margin is 0"):
        wide.seeds_needed(0)


def test_an_interval_knows_its_seeds():
    assert difference(runs(0.9, seeds=4), runs(0.8, seeds=4)).seeds == 4
