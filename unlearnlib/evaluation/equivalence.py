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

from ..errors import require

LEVEL = 0.90  # of the interval: each of the two one-sided tests errs in one case of twenty
RESAMPLES = 5000


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

    def seeds_needed(self, margin: float) -> int:
        """About how many seeds make it as narrow as the margin, so that it can tell.

        Its width falls as the root of the number of seeds.
        """
        require(margin > 0, f"margin is {margin}; it must be > 0.")
        return max(self.seeds, math.ceil(self.seeds * ((self.high - self.low) / margin) ** 2))

    def beyond(self, margin: float) -> bool:
        """Whether it is shown to lie outside of -margin to margin."""
        return self.low > margin or self.high < -margin


def difference(right: Sequence[ArrayLike], reference: Sequence[ArrayLike]) -> Interval:
    """Accuracy of a method less that of a reference, such as retraining, on the same samples.

    right, reference   for each training seed: (n,) booleans, which samples the model gets right.

    The interval resamples training seeds, and the samples of each: see `over_seeds`. Raises
    InputError if the two do not have the same seeds and samples.
    """
    runs = [_signed(ours, theirs) for ours, theirs in zip(right, reference, strict=True)]
    require(len(runs) > 0, "There is nothing to compare; give the results of one seed at least.")
    rng = np.random.default_rng(0)
    return over_seeds([run.mean() for run in runs], [_resampled(run, rng) for run in runs])


def over_seeds(values: Sequence[float], resampled: Sequence[ArrayLike]) -> Interval:
    """The mean of one value a training seed, with its 90% percentile bootstrap interval.

    resampled   for each seed, the value on R resamples of its samples.

    A resample draws seeds with replacement, and for each drawn one a resample of its samples. With
    two seeds or three, most of the width comes from the samples: it then covers chance in training
    only as far as that strikes samples one by one, as it mostly does.
    """
    resampled = np.asarray(resampled, dtype=float)
    fits = resampled.ndim == 2 and resampled.shape[0] == len(values) and resampled.size > 0
    require(fits, f"{len(values)} values and resamples of shape {resampled.shape}; give a row each")
    require(bool(np.isfinite(resampled).all()), "Some resampled values are not finite.")
    (seeds, count), rng = resampled.shape, np.random.default_rng(1)
    drawn = (
        rng.integers(seeds, size=(RESAMPLES, seeds)),
        rng.integers(count, size=(RESAMPLES, seeds)),
    )
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(resampled[drawn].mean(1), (tail, 1 - tail))
    return Interval(float(np.mean(values)), float(low), float(high), seeds)


def _signed(right: ArrayLike, reference: ArrayLike) -> np.ndarray:
    ours, theirs = (np.asarray(given, dtype=bool).astype(int) for given in (right, reference))
    same = ours.shape == theirs.shape and ours.ndim == 1 and ours.size > 0
    require(same, f"shapes {ours.shape} and {theirs.shape}; give both on the same samples, (n,).")
    return ours - theirs


def _resampled(signed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Means of RESAMPLES resamples of values that are -1, 0 or 1."""
    n = len(signed)
    shares = [np.mean(signed == value) for value in (-1, 0, 1)]
    fewer, _, more = rng.multinomial(n, shares, size=RESAMPLES).T
    return (more - fewer) / n
