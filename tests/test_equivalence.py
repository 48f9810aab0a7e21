"""Is a method shown to be close to retraining, shown not to be, or can these runs not tell?"""

import numpy as np
import pytest
from scipy.stats import norm, t

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


def test_with_one_seed_it_is_the_normal_interval_of_the_samples():
    """Standard error sqrt(var/n), and 90% lie within 1.645 of it."""
    ours, theirs = runs(0.9, seeds=1), runs(0.8, seeds=1, seed=1)
    signed = ours[0].astype(int) - theirs[0].astype(int)
    half = norm.ppf(0.95) * signed.std() / len(signed) ** 0.5
    found = difference(ours, theirs)
    assert (found.mean - found.low, found.high - found.mean) == pytest.approx((half, half))


def test_without_chance_in_the_samples_it_is_students_interval():
    values = [-0.06, -0.03, 0.0, 0.05]
    found, error = over_seeds(values, [0.0] * 4), np.std(values, ddof=1) / 2
    low, high = t.interval(0.9, 3, np.mean(values), error)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_what_the_samples_explain_of_the_spread_is_not_counted_twice():
    """Values 0.02 apart: variance 2e-4, of which the samples explain 1e-4."""
    found, z = over_seeds([0.01, -0.01], [1e-4, 1e-4]), norm.ppf(0.95)
    half = (z**2 * 1e-4 / 2 + t.ppf(0.95, 1) ** 2 * 1e-4 / 2) ** 0.5
    assert (found.low, found.high) == pytest.approx((-half, half))
    even = over_seeds([0.0, 0.0], [1e-4, 1e-4])
    assert even.high == pytest.approx(z * (1e-4 / 2) ** 0.5)


def test_chance_in_samples_that_all_seeds_share_does_not_average_out():
    apart, shared = (over_seeds([0.0] * 4, [0.01**2] * 4, shared) for shared in (False, True))
    assert shared.high == pytest.approx(2 * apart.high)


@pytest.mark.parametrize("seeds", [2, 3, 10])
@pytest.mark.parametrize(("seed_effect", "samples"), [(0.05, 1000), (0.0, 100), (0.02, 300)])
def test_it_covers_the_truth_about_nine_times_in_ten(seeds, seed_effect, samples):
    """Whether chance is in the seeds, in the samples or in both; with two seeds a little less."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        shares = 0.5 + rng.normal(0, seed_effect, seeds)
        drawn = rng.binomial(samples, shares) / samples
        found = over_seeds(drawn, drawn * (1 - drawn) / samples)
        covered += found.low <= 0.5 <= found.high
    assert covered / 300 > (0.79 if seeds == 2 else 0.85)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [([[True]], [[True, False]]), ([[]], [[]]), ([], []), ([[[True]]], [[[True]]])],
)
def test_what_cannot_be_compared_is_refused(ours, theirs):
    with pytest.raises(InputError, match="same samples|nothing to compare"):
        difference(ours, theirs)


def test_variances_belong_to_the_seeds_and_are_finite():
    with pytest.raises(InputError, match="one each a seed"):
        over_seeds([0.1, 0.2], [0.1])
    for wrong in (float("nan"), -1.0):
        with pytest.raises(InputError, match="not finite, or < 0"):
            over_seeds([0.1], [wrong])


def test_it_says_how_many_seeds_could_tell():
    """Half its width has to shrink to the mean's distance from the margin."""
    wide = Interval(0.0, -0.2, 0.2, seeds=2)
    assert [wide.seeds_needed(margin) for margin in (0.1, 0.2, 10.0)] == [8, 3, 3]
    beside = Interval(0.09, 0.06, 0.12, seeds=4)
    assert beside.seeds_needed(0.1) == 36 and beside.seeds_needed(0.09) == float("inf")
    with pytest.raises(InputError, match="margin is 0"):
        wide.seeds_needed(0)


@pytest.mark.parametrize(("low", "high", "seeds"), [(-1, 5, 5), (1, 3, 3), (-2, 2, float("inf"))])
def test_so_many_seeds_would_show_that_it_is_not_zero(low, high, seeds):
    assert Interval((low + high) / 2, low, high, 2).seeds_to_show() == seeds


def test_an_interval_knows_its_seeds():
    assert difference(runs(0.9, seeds=4), runs(0.8, seeds=4)).seeds == 4
