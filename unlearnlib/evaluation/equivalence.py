"""How far from retraining, with an interval: is it shown to be within a margin, shown not to be?

    gap = difference(right, retrained)      # (n,) booleans for each training seed
    gap.mean, gap.low, gap.high             # 90% interval, over seeds and samples
    gap.within(margin), gap.beyond(margin)  # both False: these runs cannot tell

**Why not a significance test.** That two models do not differ significantly shows nothing: with few
samples nothing does. Equivalence is shown by two one-sided tests at 5%, which is the same as a 90%
interval that lies between -margin and margin (Schuirmann, 1987).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, t

from ..errors import require

LEVEL = 0.90  # of the interval: each of the two one-sided tests errs in one case of twenty


@dataclass(frozen=True)
class Interval:
    """A mean over so many training seeds, and the limits of its 90% interval."""

    mean: float
    low: float
    high: float
    seeds: int = 1

    def within(self, margin: float) -> bool:
        """Whether it is shown to lie between -margin and margin."""
        return -margin <= self.low and self.high <= margin

    def beyond(self, margin: float) -> bool:
        """Whether it is shown to lie outside of -margin to margin."""
        return self.low > margin or self.high < -margin

    def seeds_needed(self, margin: float) -> float:
        """About how many seeds could tell, if the mean stays where it is; infinity at the margin.

        Half its width falls as the root of the number of seeds, and has to be no more than the
        mean's distance from the margin.
        """
        require(margin > 0, f"margin is {margin}; it must be > 0.")
        return self._seeds_for(abs(margin - abs(self.mean)))

    def seeds_to_show(self) -> float:
        """The same for telling that it is not 0."""
        return self._seeds_for(abs(self.mean))

    def _seeds_for(self, room: float) -> float:
        half = (self.high - self.low) / 2
        return max(self.seeds + 1, math.ceil(self.seeds * (half / room) ** 2)) if room else math.inf


def difference(
    right: Sequence[ArrayLike], reference: Sequence[ArrayLike], shared: bool = False
) -> Interval:
    """Accuracy of a method less that of a reference, such as retraining, on the same samples.

    right, reference   for each training seed: (n,) booleans, which samples the model gets right
    shared             whether all seeds have the same samples, as a test set: see `over_seeds`

    Raises InputError if the two do not have the same seeds and samples.
    """
    runs = [_signed(ours, theirs) for ours, theirs in zip(right, reference, strict=True)]
    require(len(runs) > 0, "There is nothing to compare; give the results of one seed at least.")
    values, variances = ([f(run) for run in runs] for f in (np.mean, _variance_of_mean))
    return over_seeds(values, variances, shared)


def over_seeds(
    values: Sequence[float], variances: Sequence[float], shared: bool = False
) -> Interval:
    """The mean of one value a training seed, with its 90% interval.

    variances   of each value, as far as it comes from the samples that it was measured on
    shared      whether these are the same samples at each seed: then their part does not average
                out, and counts in full

    Two parts add up in squares. The samples' part is z se. What the values differ by beyond that,
    tau^2 = max(0, their variance - the samples' own), is chance in training, and its part is
    t tau/sqrt(S), Student's for S - 1 degrees of freedom. From three seeds on this covers the truth
    about nine times in ten, whichever of the two prevails; with two seeds that differ mostly by
    training, somewhat more than eight times. One seed alone shows the samples' part only.
    """
    values, variances = np.asarray(values, dtype=float), np.asarray(variances, dtype=float)
    fits = values.shape == variances.shape and values.ndim == 1 and values.size > 0
    require(fits, f"values {values.shape} and variances {variances.shape}; give one each a seed.")
    finite = bool(np.isfinite(values).all() and np.isfinite(variances).all())
    require(finite and (variances >= 0).all(), "Some values or variances are not finite, or < 0.")
    seeds, tail = len(values), (1 + LEVEL) / 2
    own = float(variances.mean())
    half = norm.ppf(tail) ** 2 * (own if shared else own / seeds)
    if seeds > 1:
        beyond = max(0.0, float(values.var(ddof=1)) - (0.0 if shared else own))
        half += t.ppf(tail, seeds - 1) ** 2 * beyond / seeds
    mean, half = float(values.mean()), math.sqrt(half)
    return Interval(mean, mean - half, mean + half, seeds)


def _signed(right: ArrayLike, reference: ArrayLike) -> np.ndarray:
    ours, theirs = (np.asarray(given, dtype=bool).astype(int) for given in (right, reference))
    same = ours.shape == theirs.shape and ours.ndim == 1 and ours.size > 0
    require(same, f"shapes {ours.shape} and {theirs.shape}; give both on the same samples, (n,).")
    return ours - theirs


def _variance_of_mean(signed: np.ndarray) -> float:
    return float(signed.var()) / len(signed)
