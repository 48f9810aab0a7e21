"""The score of the NeurIPS 2023 unlearning challenge, which is no bound: it claims no confidence.

    epsilon = per_sample(unlearned, retrained)           # (n,)
    forgetting_quality(epsilon, models=512)              # at most 1, of a retrained model too
    final_score(quality, {"retained": .., "test": ..}, {"retained": .., "test": ..})

For each forgotten sample, attacks that hold a threshold, or two, against the margins of N unlearned
and of N retrained models give rates of error, and these an epsilon (Triantafillou et al., 2024,
"Are we making progress in unlearning?"; the public evaluation code is google-deepmind's). Rates are
taken as they are counted, and the best of many thresholds on the very models that it was chosen on:
so even retraining against retraining scores above 0. Report that beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from ..errors import require, require_counts
from .audit import finite

DELTA = 1e-5
LARGEST = 50.0  # of an epsilon
NARROW = 0.01  # one range under this share of the other: told apart, without an attack


def per_sample(unlearned: ArrayLike, retrained: ArrayLike, delta: float = DELTA) -> np.ndarray:
    """Epsilon of each sample, by the best of all single and double thresholds: (n,), 0 to 50.

    unlearned, retrained   (N, n) margins log p_y/(1 - p_y) of n forgotten samples in N models

    eps = max(log((1 - delta - FPR)/FNR), log((1 - delta - FNR)/FPR)); a threshold with exactly one
    rate of zero is dropped, one with both zero gives the largest. Every observed margin is a
    threshold, and "unlearned" is said on either side of it; the public code takes a grid of 100 a
    unit, and one side. Raises InputError for different shapes, fewer than two models, and margins
    that are not finite.
    """
    unlearned, retrained = finite(unlearned, "unlearned", 2), finite(retrained, "retrained", 2)
    require(
        unlearned.shape == retrained.shape and len(unlearned) > 1,
        f"margins have shapes {unlearned.shape} and {retrained.shape}; give as many unlearned as "
        "retrained models, at least two, on the same samples.",
    )
    pairs = zip(unlearned.T, retrained.T, strict=True)
    return np.array([_epsilon(ours, theirs, delta) for ours, theirs in pairs])


def forgetting_quality(epsilon: ArrayLike, models: int) -> float:
    """The mean over samples of 2^-floor(2 epsilon): 1 for epsilons below a half.

    models   N on each side: a sample whose bin floor(2 epsilon) would need more than N can show,
             from epsilon = ceil(ln(N - 1)) on, gets nothing
    """
    require_counts(2, models=models)
    epsilon = finite(epsilon, "epsilon")
    points = 2.0 ** -np.floor(2 * epsilon)
    return float(np.where(epsilon >= math.ceil(math.log(models - 1)), 0.0, points).mean())


def final_score(
    quality: float, scores: Mapping[str, float], retrained: Mapping[str, float]
) -> float:
    """F (RA_u/RA_r) (TA_u/TA_r): forgetting quality times what is left of the accuracy.

    scores, retrained   accuracy on "retained" and "test" samples
    """
    return quality * math.prod(scores[name] / retrained[name] for name in ("retained", "test"))


def _epsilon(unlearned: np.ndarray, retrained: np.ndarray, delta: float) -> float:
    widths = np.ptp(unlearned), np.ptp(retrained)
    if min(widths) < NARROW * max(widths):
        return LARGEST
    fpr, fnr = _rates(unlearned, retrained)
    both, one = (fpr == 0) & (fnr == 0), (fpr == 0) != (fnr == 0)
    if both.any():
        return LARGEST
    fpr, fnr = fpr[~one], fnr[~one]
    if not len(fpr):
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.log(np.stack([(1 - delta - fpr) / fnr, (1 - delta - fnr) / fpr]))
    return float(np.clip(np.nan_to_num(each, nan=0.0, neginf=0.0).max(), 0.0, LARGEST))


def _rates(unlearned: np.ndarray, retrained: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False positives and negatives of "unlearned" said above, below, between and outside."""
    cuts = np.unique(np.concatenate([unlearned, retrained]))
    above = [np.array([(world > cut).mean() for cut in cuts]) for world in (retrained, unlearned)]
    low, high = np.triu_indices(len(cuts), 1)
    between = [world[low] - world[high] for world in above]  # in (low, high]
    said = [np.concatenate([w, 1 - w, b, 1 - b]) for w, b in zip(above, between, strict=True)]
    return said[0], 1 - said[1]
