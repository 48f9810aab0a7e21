"""The rules that decide when a claim of the paper counts as reproduced.

Each rule takes what a notebook measured and returns (verdict, why) for `Results.claim`. One that
asks for closeness to retraining takes the name of a model as well, so that `nulls.judge` can ask
it about retraining and about doing nothing before it asks about the method. The rules stand in the
order of the notebooks that use them, and were committed before the run that they judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ..evaluation.equivalence import Interval
from .nulls import NOT_JUDGED, NOT_REPRODUCED, PARTLY, REPRODUCED, Verdict

OURS = "certified (CG)"
PAPER_SIZE = (60_000, 26_506)  # samples and weights of the paper's MLP on MNIST
THIRD = 1 / 3  # of what there is to unlearn: the margin within which a model counts as close
SETS = ("forgotten", "retained", "test")  # images
REST = 0.1  # a gradient across w of at most this share of that along w is at rest on the sphere
BIAS = 1.5  # root mean square of z-scores up to which a mean agrees with its formula
HAIR = 1e-3  # an error falls if it falls by more than this share of itself
POINT = 0.01  # one point of test accuracy
CHEAP = 0.003  # of test accuracy that the noise of a proved epsilon may cost
# What a proved request has to be, in times faster than a retraining by the same solver.
TIMES = {"one image": 10.0, "as many as the paper": 4.0, "a tenth": 2.0}
NOISE = 0.01  # an attack on noise may differ from chance by this much

# The claims that README.md shows. For each: a question, and a text with the names of what the claim
# measured in braces.
HEADLINES = {
    "the bound of Theorem 3.4 certifies the update of a trained network": (
        "Does the theorem certify a trained network? It takes lam_min above MC.",
        "lam_min {lam_min}, MC {MC}",
    ),
    "closest F1 to retraining on the forgotten set, in most configurations": (
        "Is F1 shown to be close to retraining's, and no rival nearer?",
        "on the forgotten images {certified} away; doing nothing {nothing done}; a second "
        "retraining {another retraining}",
    ),
    "competitive under membership inference": (
        "Does a membership attack see what it sees after retraining?",
        "AUC {certified} away from it; doing nothing {nothing done}; a second retraining "
        "{another retraining}",
    ),
    "many models do not tell that an image was forgotten": (
        "Is forgetting hidden from an attacker who has many models?",
        "AUC {certified}; doing nothing {nothing done}; retraining {retrained}",
    ),
    "more than 10x faster than retraining": (
        "More than ten times faster than retraining?",
        "{MLP}x, {AllCNN}x and {ResNet-18}x",
    ),
    "the update approximates the retrained model": (
        "Does the step approach the retrained model, training stopped as usual?",
        "covers {certified} of the way; another retraining {another retraining}",
    ),
    "the Newton update approximates the retrained model, where training has converged": (
        "And where training went on until no gradient was left?",
        "covers {least} to {most} of the way, by the size of the request",
    ),
    "the noise of a proved epsilon of 1 costs at most 0.3 points, and each release is within "
    "Delta": (
        "Does a proved epsilon of 1 cost at most 0.003 of accuracy, 0.3 points?",
        "costs at most {largest cost}; leaves {digits} on the digits of the paper's MLP, which has "
        "{the paper's MLP} without a promise",
    ),
    "a proved request is 10, 4 and 2 times faster than retraining: one image, the paper's, a "
    "tenth": (
        "Is a proved request 10, 4 and 2 times faster than retraining by the same solver?",
        "{one image}x for one image, {as many as the paper}x for the paper's request, {a tenth}x "
        "for a tenth, on the slowest model",
    ),
    "the released code computes what the paper describes": (
        "Does the released code compute what the paper describes?",
        "of {tried} differences {without a finite epsilon} leave no finite epsilon, {that move a "
        "score} move a score",
    ),
}

# ---- notebook 01 -------------------------------------------------------------------------------


def comes_to_rest(across_over_along: Mapping[str, Sequence[float]], who: str) -> Verdict:
    """Reproduced if every run of an optimiser ends in a ball with a gradient that points along w.

    At a stationary point on the boundary of a ball the gradient is parallel to w.

    across_over_along   by optimiser: the gradient's part perpendicular to w divided by its part
                        parallel to w, for each run. At most a tenth is at rest; "partly" if some
                        run is.
    """
    runs = across_over_along[who]
    resting = sum(ratio <= REST for ratio in runs)
    why = f"at rest, with a gradient across w of at most {REST:g} of that along w"
    return _counted(resting, len(runs), why)


# ---- notebook 02 -------------------------------------------------------------------------------


def unbiased(scores: Mapping[str, float], who: str) -> Verdict:
    """Reproduced if the mean of many runs agrees with the filter of Proposition 3.5.

    scores   root mean square, over the directions of the Hessian, of (mean of the runs - filter)
             in standard errors: about 1 where the filter is their expectation
    """
    why = f"the mean over many runs is {scores[who]:.2f} standard errors from its formula"
    return _verdict(scores[who] <= BIAS, False), why


# ---- notebook 03, and `some` in 11 -------------------------------------------------------------


def above(needed: Sequence[float], met: Sequence[float]) -> Verdict:
    """Reproduced if lam_min (`met`) exceeds MC (`needed`) at every seed; partly if at some.

    Only then can the bound of Theorem 3.4 be below 2C.
    """
    count = sum(have > least for least, have in zip(needed, met, strict=True))
    why = f"lam_min above MC, which it takes whatever lam is, at {count} of {len(needed)} seeds"
    return _verdict(count == len(needed), count > 0), why


def bounds_gain(table: pd.DataFrame) -> Verdict:
    """Reproduced if the bound is below that of doing nothing in every row; partly in some."""
    count = int((table.bound < table.nothing).sum())
    return _counted(count, len(table), "bound below doing nothing, all proved")


def classical_suffices(enough: pd.Series) -> Verdict:
    """Reproduced if the classical sigma gives its delta at every epsilon; partly up to 1 only.

    enough   by epsilon: whether it does
    """
    parts = (bool(enough[enough.index <= 1].all()), bool(enough[enough.index > 1].all()))
    return _counted(sum(parts), 2, "large enough up to 1, and beyond")


def never_exceeded(table: pd.DataFrame) -> Verdict:
    """Reproduced if the largest real error is within its bound in every row; partly in some."""
    count = int((table.largest <= table.bound).sum())
    return _counted(count, len(table), "rows with no real error above the bound")


# ---- notebook 04, and `approaches` in 07 to 10 -------------------------------------------------


def close(differences: pd.DataFrame, rivals: Sequence[str], who: str) -> Verdict:
    """Reproduced if F1 is shown to be that of retraining on all three sets of images.

    differences   of one pair: an Interval of F1 less that of retraining, by (method, samples)
    rivals        methods that must not be surely nearer on the forgotten images

    What there is to unlearn is the difference of the trained model on the forgotten images, and the
    margin on each set is a third of that. So who lowers F1 on all images alike, as noise does, is
    out: what brings it near on the forgotten images takes it away on the others. Where no interval
    is beyond the margin but not all are within, the runs cannot tell. The margin is taken as given,
    although it is measured too.
    """

    def of(method: str, samples: str) -> Interval:
        return _interval(differences.loc[(method, samples)])

    signal = of("trained", "forgotten")
    if signal.low <= 0:
        return NOT_JUDGED, f"not shown that there is anything to unlearn: {_unclear(signal)}"
    margin = THIRD * signal.mean
    sets = {samples: of(who, samples) for samples in SETS}
    verdict, why = _within(sets, margin)
    nearer = [
        rival
        for rival in rivals
        if rival != who
        and all(of(rival, samples).within(margin) for samples in SETS)
        and _surely_nearer(of(rival, "forgotten"), sets["forgotten"])
    ]
    if nearer and verdict == REPRODUCED:
        return NOT_REPRODUCED, f"{why}, but nearer on the forgotten images is {', '.join(nearer)}"
    return verdict, why


def approaches(shares: Mapping[str, float], who: str) -> Verdict:
    """Reproduced if a model is nearer to the retrained one by at least half of the distance.

    shares   by model: the share of the distance from the trained to the retrained model that it
             removes, in the mean; from a tenth on it is "partly"
    """
    why = f"share of the distance to the retrained weights that is removed: {shares[who]:.3g}"
    return _verdict(shares[who] >= 0.5, shares[who] >= 0.1), why


# ---- notebook 05 -------------------------------------------------------------------------------


def hidden(differences: pd.DataFrame, who: str) -> Verdict:
    """Reproduced if an attack is shown to see of a model what it sees of the retrained one.

    differences   of one pair: an Interval of the AUC less that of the same attack on the retrained
                  model, by method

    The attack has to see something: more in the trained model than in the retrained one. A third of
    that difference is the margin.
    """
    signal = _interval(differences.loc["trained"])
    if signal.low <= 0:
        said = "not shown that the attack sees more in the trained model than in the retrained"
        return NOT_JUDGED, f"{said}: {_unclear(signal)}"
    return _within({"AUC": _interval(differences.loc[who])}, THIRD * signal.mean)


def untold(strength: Mapping[str, float], who: str) -> Verdict:
    """Reproduced if many models show an attacker hardly more than retrained ones do.

    strength   U-LiRA's AUC on held-out models, by way to forget: 0.5 tells nothing

    What it sees where nothing was done has to be more than a point, and a third of it is the
    margin.
    """
    signal, away = (abs(strength[name] - 0.5) for name in ("trained", who))
    if signal <= POINT:
        return NOT_JUDGED, f"where nothing was done the attack sees {signal:.3g}: too little"
    why = f"AUC {away:.3g} from telling nothing; where nothing was done {signal:.3g}"
    return _verdict(away <= THIRD * signal, False), why


# ---- notebook 06 -------------------------------------------------------------------------------


def faster(to_plateau: pd.Series, to_end: pd.Series, claimed: float) -> Verdict:
    """Reproduced if more than `claimed` times faster on every pair, than either retraining.

    to_plateau   retraining, up to where it is done, over the whole request
    to_end       retraining, with all its epochs, over the whole request
    "partly" if some pair is, by the kinder of the two.
    """
    strict, kind = (int((factors > claimed).sum()) for factors in (to_plateau, to_end))
    pairs = len(to_plateau)
    why = f"more than {claimed:g}x on {strict} of {pairs} pairs against retraining to its plateau, "
    why += f"on {kind} against retraining to the end"
    return _verdict(strict == kind == pairs, strict + kind > 0), why


def faster_than_exact(factor: float, n: int, p: int, claimed: float = 470.0) -> Verdict:
    """Reproduced if at least `claimed` times faster than the exact Hessian, at the paper's size.

    At a smaller size it is not judged: the factor grows with n and p.
    """
    if n < PAPER_SIZE[0] or p < PAPER_SIZE[1]:
        return NOT_JUDGED, f"the claim is about n = {PAPER_SIZE[0]:,}, p = {PAPER_SIZE[1]:,}"
    return _verdict(factor >= claimed, False), "at the paper's size"


# ---- notebook 07 -------------------------------------------------------------------------------


def tightens(bound: pd.DataFrame) -> Verdict:
    """Reproduced if the bound at the largest lam is at most half of that at the smallest.

    bound   a row for each seed, a column for each lam; it has to hold in every row
    """
    least, most = bound.columns.min(), bound.columns.max()
    halved = int((bound[most] <= bound[least] / 2).sum())
    return _counted(halved, len(bound), "the bound falls by half or more")


def reduces(error: pd.DataFrame) -> Verdict:
    """Reproduced if the real error falls from the smallest to the largest lam at every seed.

    error   a row for each seed, a column for each lam; those that were refused at some seed are
            left out. It falls if it falls by more than a thousandth.
    """
    error = error.dropna(axis=1)
    change = error[error.columns.max()] / error[error.columns.min()] - 1
    why = (
        f"from the smallest to the largest lam the error changes by {change.mean():+.2g} of itself"
    )
    return _verdict(bool((change < -HAIR).all()), bool((change < -HAIR).any())), why


def independent(bound: pd.DataFrame) -> Verdict:
    """Reproduced if the bound hardly depends on n_u: it varies by at most a tenth at each seed.

    bound   a row for each seed, a column for each n_u. Variation by a factor of two is "partly".
    """
    spread = float((bound.max(axis=1) / bound.min(axis=1)).max())
    why = f"by its formula: largest over smallest bound at one seed {spread:.4g}, through G alone"
    return _verdict(spread <= 1.1, spread <= 2), why


# ---- notebook 08 -------------------------------------------------------------------------------


def constrained(error: pd.DataFrame, test: pd.DataFrame, released: float = 20.0) -> Verdict:
    """Reproduced if the ball of the released radius more than halves the real error.

    Each table has a row for each seed and a column for each radius, infinity among them. The ball
    must cost at most one point of test accuracy. "partly" if another radius does that.
    """
    free = float("inf")
    ratio = error.div(error[free], axis=0).mean()
    cheap = (test.sub(test[free], axis=0).mean() >= -POINT) & (ratio.index != free)
    best = ratio[cheap].min() if cheap.any() else 1.0
    why = (
        f"error over that without a ball: {ratio[released]:.3g} at C = {released:g}, {best:.3g} at "
        "the best radius that costs at most a point of test accuracy"
    )
    return _verdict(ratio[released] < 0.5 and cheap[released], best < 0.5), why


# ---- notebook 10 -------------------------------------------------------------------------------


def falls(gradient: pd.DataFrame, bound: pd.DataFrame) -> Verdict:
    """Reproduced if along a sequence the gradient norm falls by half and the bound by a tenth.

    Both must hold at every seed. Each table has a row for each seed, a column for each request.
    """
    first, last = gradient.columns.min(), gradient.columns.max()
    halved = bool((gradient[last] <= gradient[first] / 2).all())
    lower = bool((bound[last] <= 0.9 * bound[first]).all())
    why = (
        f"the gradient {_halves(halved)}; the bound with the measured gradient "
        f"{'falls by a tenth or more' if lower else 'falls by less than a tenth'}"
    )
    return _verdict(halved and lower, halved or lower), why


# ---- notebook 11 -------------------------------------------------------------------------------


def loses(lost: pd.Series) -> Verdict:
    """Reproduced if the noise of epsilon = 1 costs more than a point of accuracy at every seed."""
    text = "seeds at which the paper's MLP loses more than a point at 1"
    return _counted(int((lost > POINT).sum()), len(lost), text)


def not_refuted(found: pd.DataFrame, who: str) -> Verdict:
    """Reproduced if an audit of releases finds no more than is claimed of them.

    found   by release, sound or broken on purpose: epsilon as audited and as claimed
    """
    row = found.loc[who]
    why = f"epsilon >= {row.audited:.3g} at 95%, {row.claimed:.3g} claimed"
    return _verdict(bool(row.audited <= row.claimed), False), why


def audits_have_teeth(audits: pd.DataFrame) -> Verdict:
    """Reproduced if no sound release shows more than is claimed, and every broken one does.

    "partly" if none does and some broken one does.

    audits   by way and release: epsilon as audited and as claimed; "nothing is broken" is sound
    """
    over, sound = audits.audited > audits.claimed, audits.release == "nothing is broken"
    refuted, caught, broken = int((over & sound).sum()), int((over & ~sound).sum()), ~sound
    why = f"refuted {refuted} of {int(sound.sum())} that are sound; "
    why += f"caught {caught} of {int(broken.sum())} that are broken or short of noise"
    return _verdict(not refuted and caught == broken.sum(), not refuted and caught > 0), why


def confirmed(found: Mapping[str, bool], who: str) -> Verdict:
    """Reproduced if a check by other means, from files alone, confirms a release.

    found   by release: whether it was confirmed
    """
    return _verdict(found[who], False), f"{who}: {'' if found[who] else 'not '}confirmed"


def affords_its_noise(lost: Mapping[str, float], requests: pd.DataFrame) -> Verdict:
    """Reproduced if the noise costs at most CHEAP of accuracy and every request is proved.

    lost       for each model, the test accuracy that the noise costs
    requests   a row for each request; no real error may exceed its Delta
    """
    cheap = sum(value <= CHEAP for value in lost.values())
    sound = bool(((requests.holds == "proved") & (requests.error <= requests.Delta)).all())
    why = f"at most {100 * CHEAP:g} points lost by {cheap} of {len(lost)} models; every request "
    why += f"proved, with its real error below Delta: {'yes' if sound else 'no'}"
    return _verdict(sound and cheap == len(lost), sound and cheap > 0), why


def answers_fast(faster: Mapping[str, float]) -> Verdict:
    """Reproduced if each request is answered as much faster than by retraining as TIMES asks.

    faster   for each request in TIMES, seconds of retraining over those of the request
    """
    met = sum(faster[name] >= times for name, times in TIMES.items())
    return _counted(met, len(TIMES), "sizes of request answered as fast as is asked")


# ---- notebook 12 -------------------------------------------------------------------------------


def computes(promised: Mapping[str, str], moved: pd.DataFrame, of_code: list[str]) -> Verdict:
    """Reproduced if no deviation of the released code loses the promise or moves a score.

    promised   switch -> "finite", "infinite" or "no theorem": what its epsilon is
    moved      the table "changes": for each switch and score, whether it moved
    of_code    the switches that the released code has
    "partly" if some score moves but every promise is kept.
    """
    lost = [name for name in of_code if promised[name] != "finite"]
    shifted = [name for name in of_code if moved[moved.switch == name].moved.any()]
    why = (
        f"of {len(of_code)} differences, each alone: {len(lost)} leave no finite epsilon, and "
        f"{len(shifted)} move a score by more than two retrainings differ"
    )
    return _verdict(not lost and not shifted, not lost), why


def measures(noise: pd.DataFrame) -> Verdict:
    """Reproduced if the released attack, run on pure noise, is no better than chance.

    noise   the table "noise attacks". Of each attacker, the mean over seeds of its rows "as
            released" counts: AUC and accuracy both within 0.01 of 0.5. "partly" if some attacker's
            are.
    """
    released = (
        noise[noise.protocol == "as released"].groupby("attacker")[["AUC", "accuracy"]].mean()
    )
    fair = ((released - 0.5).abs() <= NOISE).all(axis=1)
    return _counted(int(fair.sum()), len(fair), "attackers that score pure noise as chance")


# ---- notebook 13 -------------------------------------------------------------------------------


def outruns(ahead: Mapping[str, Mapping[str, float]]) -> Verdict:
    """Reproduced if some way is a point more accurate than retraining at equal work in every case.

    "partly" if one is in some case.

    ahead   by way and case: the mean accuracy over the budget less that of retraining
    """
    in_all = [way for way, by_case in ahead.items() if min(by_case.values()) >= POINT]
    in_some = [way for way, by_case in ahead.items() if max(by_case.values()) >= POINT]
    why = f"a point ahead in every case: {_listed(in_all)}; in some: {_listed(in_some)}"
    return _verdict(bool(in_all), bool(in_some)), why


def cheapest(taken: Mapping[str, str], way: str) -> Verdict:
    """Reproduced if this way is the cheapest that is as good as retraining, for every model."""
    count = sum(best == way for best in taken.values())
    return _counted(count, len(taken), "models for which it is the cheapest")


# ---- what the rules share ----------------------------------------------------------------------


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _halves(yes: bool) -> str:
    return "falls by half or more" if yes else "does not fall by half"


def _counted(count: int, of: int, what: str) -> Verdict:
    return _verdict(count == of, count > 0), f"{what}: {count} of {of}"


def _verdict(met: bool, partly: bool) -> str:
    return REPRODUCED if met else PARTLY if partly else NOT_REPRODUCED


def _within(found: Mapping[str, Interval], margin: float) -> Verdict:
    """Reproduced if all intervals lie within the margin; not judged if none is shown not to."""
    beyond = [name for name, interval in found.items() if interval.beyond(margin)]
    unclear = {name: each for name, each in found.items() if not each.within(margin)}
    if beyond:
        return NOT_REPRODUCED, f"beyond a margin of {margin:.3g} on {', '.join(beyond)}"
    if unclear:
        needed = max(each.seeds_needed(margin) for each in unclear.values())
        told = f"unclear whether within {margin:.3g} on {', '.join(unclear)}"
        return NOT_JUDGED, f"{told}; about {needed:,} seeds could tell"
    return REPRODUCED, f"within a margin of {margin:.3g} on {', '.join(found)}"


def _unclear(signal: Interval) -> str:
    """A difference whose interval holds 0, and how many seeds could tell."""
    found = f"{signal.mean:.3g} ({signal.low:.3g} to {signal.high:.3g})"
    needed = signal.seeds_to_show()
    return f"{found} at {signal.seeds} seeds; about {needed:,} could tell"


def _interval(row: pd.Series) -> Interval:
    return Interval(row["mean"], row["low"], row["high"], int(row["seeds"]))


def _surely_nearer(one: Interval, other: Interval) -> bool:
    """Whether all of one interval is nearer to zero than all of the other."""
    least = 0.0 if other.low <= 0 <= other.high else min(abs(other.low), abs(other.high))
    return max(abs(one.low), abs(one.high)) < least
