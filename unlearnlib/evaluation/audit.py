"""Claimed, realised and audited epsilon: what a certificate promises and what one can measure.

    realised_epsilon(distance, sigma, delta)        exact, for one request and one training seed
    canary_audit(right, canaries, delta=delta)      a lower bound from one run
    shadow_audit(forgotten, never, delta=delta)     a lower bound from many runs of one request
    gdp_audit(hits, n, alarms, n, delta=delta)      one from many releases of two known estimates
    confront(claimed, audit, ...)                   whether that bound refutes the claim

Certified unlearning compares two worlds: P(U(D, S, A(D)) in T) <= e^eps P(U(D_r, {}, A(D_r)) in T)
+ delta and the reverse, where the second model was trained without S and got noise of the same
sigma. An audit's bound says: no smaller epsilon is true at this delta, at the level given. A bound
of 0 says nothing. A claim above the audit's ceiling could not have been refuted by this audit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, logsumexp, ndtri
from scipy.stats import binom

from ..certificate import CONDITIONAL, PROVED
from ..errors import UnlearnError, require, require_at_least, require_choice, require_counts
from ..noise import check_delta, gaussian_epsilon

LEVEL = 0.95
OUT_OF_REACH, NOT_REFUTED = "out of the audit's reach", "not refuted"
SHARE = 4  # one in four shadow models chooses the threshold, the others are counted


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    bound     epsilon is at least this, at confidence `level`; 0 if the audit showed nothing
    ceiling   the bound if every guess were right: the most that an audit of this size can show
    counts    what was counted, by name
    """

    bound: float
    ceiling: float
    level: float
    counts: dict[str, int]


class Refuted(UnlearnError):
    """An audit found more than a certificate that is marked proved allows."""


def confront(claimed: float, audit: Audit, *, holds: str, rests_on: str) -> str:
    """Compare an audit with a claim: out of its reach, not refuted, or what the audit refutes.

    holds, rests_on   of the certificate: "proved" or "conditional" (a void one claims nothing), and
                      what it rests on.

    If a conditional claim is refuted, its assumption is wrong, and the answer names it. A proved
    claim that is refuted raises Refuted: its proof or its implementation is wrong, or the audit
    errs by chance, as one in twenty does. Audit again with another seed, then look for the error.
    """
    require_choice("holds", holds, (PROVED, CONDITIONAL))
    require_at_least(0, claimed=claimed)
    if audit.bound > claimed:
        refuted = f"refutes {rests_on}: epsilon >= {audit.bound:.3g}, {claimed:.3g} claimed"
        require(
            holds != PROVED,
            f"The audit {refuted}, at level {audit.level:g}, and the claim is marked proved. Audit "
            "again with another seed; if it persists, proof or code is wrong.",
            Refuted,
        )
        return refuted
    return OUT_OF_REACH if audit.ceiling < claimed else NOT_REFUTED


def realised_epsilon(distance: float, sigma: float, delta: float) -> float:
    """The exact epsilon of N(estimate, sigma^2 I) against N(retrained, sigma^2 I).

    distance   ||estimate - retrained||, measured. 0 gives 0; otherwise sigma = 0 gives infinity.

    It can show at most what is claimed: the distance is at most Delta, so this is at most
    `gaussian_epsilon(Delta, sigma, delta)`, with Delta = 2C for the ball. It is no certificate: it
    holds for one request and one seed, given that retraining starts and shuffles from that seed,
    and measuring it takes the retrained model that unlearning is to spare.
    """
    require(0 <= distance < math.inf, f"distance is {distance}; it must be finite and >= 0.")
    require(0 <= sigma < math.inf, f"sigma is {sigma}; it must be finite and >= 0.")
    check_delta(delta)
    if distance == 0 or sigma == 0:
        return math.inf if distance else 0.0
    return gaussian_epsilon(distance, sigma, delta)


def guesses(confidences: ArrayLike) -> np.ndarray:
    """Guess which of r canaries were trained on: those of which the released model is surest.

    confidences   (r,), such as log p of each canary's label. True, (r,), above their median: a
    function of the released model alone, as `canary_audit` needs.
    """
    confidences = finite(confidences, "confidences")
    return confidences > np.median(confidences)


def canary_audit(right: int, canaries: int, *, delta: float, level: float = LEVEL) -> Audit:
    """The bound from r canaries, a random half of them trained on and then forgotten as a request.

    right      v, how many of the r coins were guessed from the released model.

    A fair coin s_i for each canary decides whether it belongs to S; all of S is one request, and
    the others are never seen. Given the coins s, let T_s be the models whose guesses agree with s
    at least v times. Then P(release in T_s) <= e^eps P(second world in T_s) + delta. The second
    world is trained without any canary, so it does not depend on the coins: under any guessing rule
    each guess is right with probability 1/2, independently. The mean over s:

        P(v or more are right) <= e^eps P(Bin(r, 1/2) >= v) + delta.

    An epsilon that leaves less than 1 - level on the right is refuted, so
    eps >= ln((1 - level - delta) / P(Bin(r, 1/2) >= v)); the ceiling, at v = r, is
    r ln 2 + ln(1 - level - delta). It needs the rule and r fixed beforehand, and coins that
    neither training nor noise depends on.

    One run suffices, since it tosses r coins and the null distribution is exact. Steinke, Nasr and
    Jagielski (2023) audit in one run too, but another epsilon, that of each sample: under (eps, 0)
    no more than Bin(r, e^eps/(1 + e^eps)) guesses are right, and the bound follows the log-odds of
    v/r. Here the whole half is one request, epsilon is that of the group, and at a given v/r the
    bound grows in proportion to r.

    Raises InputError for counts out of range, or a delta of 1 - level or more.
    """
    _check_level(level)
    require_counts(0, right=right, canaries=canaries)
    require(
        canaries >= 1 and 0 <= right <= canaries,
        f"{right} of {canaries} guesses are right; give at least one canary and 0 <= right <= all.",
    )
    require(
        0 <= delta and delta + level < 1,
        f"delta is {delta}; at level {level:g} it must be in [0, {1 - level:.3g}): a mechanism may "
        "show all coins with probability delta. Lower delta or level.",
    )

    def bound(v: int) -> float:
        return max(0.0, math.log(1 - level - delta) - _log_tail(v, canaries))

    counts = {"right": right, "canaries": canaries}
    return Audit(bound(right), bound(canaries), level, counts)


def shadow_audit(
    forgotten: ArrayLike, never: ArrayLike, *, delta: float, level: float = LEVEL
) -> Audit:
    """The bound from a score of each of many models, in two worlds.

    forgotten   (K,) scores of models that forgot the request, over independent seeds.
    never       (K',) scores of models that never saw it. The first of both may share a seed, and
                so on: the limits below do not need the worlds to be independent.

    The first quarter of each world chooses a threshold, and the side of it that means "forgotten":
    the largest |TPR - FPR|. The others are counted for `rates_audit`. Raises InputError for fewer
    than four models in a world.
    """
    worlds = finite(forgotten, "forgotten"), finite(never, "never")
    fewest = min(map(len, worlds))
    require(
        fewest >= SHARE,
        f"A world has {fewest} models; give at least {SHARE}: some choose the threshold.",
    )
    cut, sign = _best_cut(*(scores[: len(scores) // SHARE] for scores in worlds))
    judged = [sign * scores[len(scores) // SHARE :] > sign * cut for scores in worlds]
    (hits, positives), (alarms, negatives) = ((int(w.sum()), len(w)) for w in judged)
    return rates_audit(hits, positives, alarms, negatives, delta=delta, level=level)


def rates_audit(
    hits: int, positives: int, alarms: int, negatives: int, *, delta: float, level: float = LEVEL
) -> Audit:
    """The bound from a test's `hits` out of `positives` and false `alarms` out of `negatives`.

    eps >= ln((TPR - delta)/FPR), and, the worlds exchanged, >= ln((1 - FPR - delta)/(1 - TPR)).
    With Clopper and Pearson's (1934) limits, TPR from below and FPR from above, each at 1 - (1 -
    level)/2, both limits hold together at `level`. Both directions grow with TPR and fall with FPR,
    so the same two limits serve both and choosing the larger costs nothing.

    The ceiling is the bound when all are hits and none an alarm; it grows as ln K for K models.
    """

    def epsilon(tpr: float, fpr: float) -> float:
        return math.log(max(1.0, (tpr - delta) / fpr, (1 - fpr - delta) / (1 - tpr)))

    counts = {"hits": hits, "positives": positives, "alarms": alarms, "negatives": negatives}
    return _from_limits(epsilon, counts, delta, level)


def gdp_audit(
    hits: int, positives: int, alarms: int, negatives: int, *, delta: float, level: float = LEVEL
) -> Audit:
    """The bound of `rates_audit` for Gaussian noise, where the claim is about its mu as well.

    Two Gaussians sigma wide and mu sigma apart allow Phi^-1(TPR) - Phi^-1(FPR) <= mu at every
    threshold (Dong, Roth and Su, 2022). So the same two limits bound mu from below, and epsilon
    follows from it: at least what one threshold's rates alone give, by the shape of all others. It
    refutes "Gaussian, with this sensitivity and this sigma", which is what a card says.
    """

    def epsilon(tpr: float, fpr: float) -> float:
        mu = float(ndtri(tpr) - ndtri(fpr))
        return gaussian_epsilon(mu, 1.0, delta) if mu > 0 else 0.0

    counts = {"hits": hits, "positives": positives, "alarms": alarms, "negatives": negatives}
    return _from_limits(epsilon, counts, delta, level)


def clopper_pearson(count: int, total: int, level: float) -> tuple[float, float]:
    """Limits of a proportion, each missed with probability (1 - level)/2 at most."""
    _check_level(level)
    require_counts(total=total)
    require_counts(0, count=count)
    require(count <= total, f"count is {count} of total = {total}; it can be no more than all.")
    each = (1 - level) / 2
    low = betaincinv(count, total - count + 1, each) if count > 0 else 0.0
    high = betaincinv(count + 1, total - count, 1 - each) if count < total else 1.0
    return float(low), float(high)


def finite(scores: ArrayLike, name: str, axes: int = 1) -> np.ndarray:
    """Return `scores` as an array with `axes` axes; refuse another shape, no score, and NaN."""
    scores, shape = np.asarray(scores, dtype=float), ("()", "(n,)", "(n, k)")[axes]
    require(
        scores.ndim == axes and scores.size > 0 and bool(np.isfinite(scores).all()),
        f"{name} has shape {scores.shape} and {int((~np.isfinite(scores)).sum())} scores that are "
        f"not finite; give finite numbers, at least one, in the shape {shape}.",
    )
    return scores


def _from_limits(
    epsilon: Callable[[float, float], float], counts: dict[str, int], delta: float, level: float
) -> Audit:
    """The audit whose bound is epsilon(TPR from below, FPR from above), of the counted models."""
    _check_level(level)
    require(0 <= delta < 1, f"delta is {delta}; it must be in [0, 1).")
    require_counts(0, **counts)
    hits, positives, alarms, negatives = counts.values()
    for count, total, what in ((hits, positives, "hits"), (alarms, negatives, "alarms")):
        require(
            total >= 1 and 0 <= count <= total,
            f"{what} are {count} of {total}; give at least one model and 0 <= {what} <= all.",
        )

    def bound(hits: int, alarms: int) -> float:
        tpr, _ = clopper_pearson(hits, positives, level)
        _, fpr = clopper_pearson(alarms, negatives, level)
        return epsilon(tpr, fpr)

    return Audit(bound(hits, alarms), bound(positives, 0), level, counts)


def _log_tail(v: int, r: int) -> float:
    """ln P(Bin(r, 1/2) >= v); scipy's own logsf is the log of a tail that underflows."""
    return min(0.0, float(logsumexp(binom.logpmf(np.arange(v, r + 1), r, 0.5))))


def _best_cut(forgotten: np.ndarray, never: np.ndarray) -> tuple[float, int]:
    """The threshold with the largest |TPR - FPR|, and 1 if the forgotten are above, -1 if below."""
    scores = np.unique(np.concatenate([forgotten, never]))
    cuts = (scores[1:] + scores[:-1]) / 2 if len(scores) > 1 else scores
    above = [(world[:, None] > cuts).mean(0) for world in (forgotten, never)]
    apart = above[0] - above[1]
    best = int(np.abs(apart).argmax())
    return float(cuts[best]), 1 if apart[best] >= 0 else -1


def _check_level(level: float) -> None:
    require(0 < level < 1, f"level is {level}; it must be in (0, 1), such as 0.95.")
