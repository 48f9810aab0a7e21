"""A second opinion on a release, which shares no code with what it checks.

    print(ul.verify(F, w, forget, release))

Every number on the card is computed again by other means: gradients written out by hand in numpy
with a bound on their rounding (by_hand.py), constants, Delta and delta in mpmath. Of the objective
only its raw data are used: samples, rows, the model's parameters and buffers, decay, center.

Each line takes the others' claims as given; together they are the theorem that the card cites. A
line is "confirmed" if it holds for every value that the rounding bound leaves open, "refuted" if
it holds for none, and "not covered" otherwise, or where nothing here computes it. A claim may miss
by SLACK, relative, about what formulas in float64 lose; the margin is negative then and says by how
much.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import mpmath
import numpy as np
from mpmath import mpf

from . import by_hand
from .errors import require
from .verification import CONFIRMED, REFUTED, SLACK, Line, Verification, at_most, equal, uncovered

DIGITS = 40
CHANCE = 1e-9  # that honest noise is refuted, on either side
AT_W, AT_ESTIMATE = "||grad F(w)||", "||grad F_r(estimate)||"


def verify(F, w, forget, release) -> Verification:
    """Check every line of a release's card against the objective's raw data, by other means.

    F, w, forget   what was given to `unlearn` or `unlearn_strongly_convex`. w may be None, and is
                   then not looked at: along a sequence of `unlearn` it need not be stationary.
    release        its `certificate`, `estimate` and `w` are read.

    Covered: softmax regression without bias, logistic regression, linear least squares, and the
    network of tanh neurons in lab/convex_network.py, all in float64; of any other model only what
    the ball, the noise and the arithmetic say. Costs a forward and a backward pass over all samples
    for each of two gradients, on one core 1 s for softmax regression on 60,000 images and 8 s for
    490 neurons, and memory for CHUNK samples beside the data.

    `confirmed` means: if the noise is Gaussian and secret, and training without the forgotten
    samples keeps to the same G (or ball), the release is (epsilon, delta)-certified, up to SLACK.
    These two conditions cannot be seen in a release; each has a line, "not covered".
    """
    card, rests_on = release.certificate, _rests_on(release.certificate)
    w, estimate, noisy = (_vector(F, q) for q in (w, release.estimate, release.w))
    with mpmath.workdps(DIGITS), np.errstate(over="ignore", under="ignore"):
        samples, every, kept = _samples(F, forget, card)
        lines = [_holds(card, rests_on), samples]
        lines += _objective(F, every, kept, w, estimate, card, rests_on)
        lines += [_delta_of(card), *_ball(card, w, estimate)]
        lines += [_doing_nothing(card, len(every), len(every) - len(kept))]
        lines += [_budget(card), noise_size(card, noisy - estimate), *_unseen(card)]
    return Verification(lines)


# ---- who is in it, and what the card says of itself ---------------------------------------------


def _rests_on(card) -> tuple[str, ...]:
    """The constants behind Delta: none for the ball, two for strong convexity, four for a step."""
    if card.C == math.inf:
        return ("lam_min", "G")
    return () if card.sensitivity.value >= 2 * card.C else ("M", "L", "lam_min", "G")


def _holds(card, rests_on: tuple[str, ...]) -> Line:
    """A card is proved only where each constant behind Delta is, or is a G that is enforced."""
    if card.holds != "proved":
        return uncovered("holds", card.holds, "the card itself claims no proof")
    marks = {name: card.constants.named()[name].provenance for name in rests_on}
    weak = [f"{k} {q}" for k, q in marks.items() if q != "proved" and (k, q) != ("G", "chosen")]
    return equal("holds", "proved", ", ".join(weak) or "proved", "provenance of the constants")


def _samples(F, forget, card) -> tuple[Line, np.ndarray, np.ndarray]:
    """Each index once and in range, and the card's counts; then all rows and the retained ones."""
    every = np.arange(len(F.x)) if F.rows is None else F.rows.cpu().numpy()
    forget, n = [int(i) for i in forget], len(every)
    kept = np.delete(every, [i for i in forget if 0 <= i < n])
    found = f"{n}, {len(forget)}"
    if not 0 < len(kept) == n - len(forget) < n or len(np.unique(every)) < n:
        found += ": one is named twice, or out of range, or none is left"
    said = getattr(card, "measurements", {})
    counts = said.get("samples trained on", n), said.get("samples forgotten", len(forget))
    line = equal("samples", "{}, {}".format(*counts), found, "all, forgotten")
    return line, every, kept if len(kept) else every  # something to go on with


# ---- the objective ------------------------------------------------------------------------------


def _objective(F, every, kept, w, estimate, card, rests_on) -> Iterator[Line]:
    """The model, its inputs, its constants, and the gradients that the card speaks of."""
    claims = {name: q.value for name, q in card.constants.named().items()}
    names = [name for name in claims if name != "G" and math.isfinite(claims[name])]
    model = by_hand.recognise(F)
    if isinstance(model, str):
        yield uncovered("model", "", model, bool(rests_on))
        for name in [*names, *([AT_W, AT_ESTIMATE] if rests_on else [])]:
            needed = name in rests_on or name not in names
            yield uncovered(name, claims.get(name, claims["G"]), model, needed)
        return
    note = "by its form, and its outputs on four samples"
    yield Line("model", "", model.form.name, CONFIRMED, None, note, bool(rests_on))
    if model.form.name != "least squares":
        longest, wrong = model.longest(every)
        yield at_most("||x||", longest, 1, wrong, "the largest", bool(rests_on))
    known = _constants(model, kept)
    for name in names:
        if name not in known:
            yield uncovered(name, claims[name], "no bound holds for all samples", False)
            continue
        (value, wrong), sign = known[name], -1 if name == "lam_min" else 1
        yield at_most(name, value, claims[name], wrong, "", name in rests_on, sign)
    if rests_on and w is not None:
        gradient, wrong = model.gradient(w, every)
        yield at_most(AT_W, by_hand.norm(gradient), claims["G"], wrong)
    if rests_on:
        yield _at_estimate(model, kept, estimate, card)


def _constants(F: by_hand.Sum, kept: np.ndarray) -> dict[str, tuple[mpf, float]]:
    """mu, L, M and the sample gradient, each with what it may be wrong by.

    Proofs: evaluation/peers/convex.py (softmax) and lab/convex_network.py (tanh). For logistic
    regression |sigmoid'| <= 1/4 and |sigmoid''| <= 1/(6 sqrt 3). For least squares the Hessian is
    that of the retained samples, X^T X/n + wd I, and its ends are computed.
    """
    wd, root = mpf(F.decay), mpmath.sqrt
    if F.form.name == "least squares":
        least, largest, wrong = F.spectrum(kept)
        return {"lam_min": (wd + least, wrong), "L": (wd + largest, wrong), "M": (mpf(0), 0.0)}
    if F.form.name == "logistic regression":
        mu, L, M, g = wd, wd + mpf(1) / 4, 1 / (6 * root(3)), mpf(1)
    elif F.form.name == "softmax regression":
        mu, L, M, g = wd, wd + mpf(1) / 2, root(mpf(2) / 27), root(2)
    else:
        a, A, t = mpf(F.form.gain), F.form.slope, 4 / (3 * root(3))
        mu, L, g = wd - 2 * t * a, A**2 / 2 + 2 * t * a + wd, root(2) * A
        M = root(mpf(2) / 27) * A**3 + t * A**2 + t * a * A / root(2) + 4 * a
    return {"lam_min": (mu, 0.0), "L": (L, 0.0), "M": (M, 0.0), "sample_gradient": (g, 0.0)}


def _at_estimate(F: by_hand.Sum, kept: np.ndarray, estimate: np.ndarray, card) -> Line:
    """How close the estimate is to any retrained model, whose gradient is at most G.

    Strong convexity: both are at most G, as the card says. In a ball, where lam_min > 0 holds on
    all of it, ||grad F_r(estimate)|| <= lam_min Delta - G proves the distance whatever the solver
    did, and more than G + L Delta disproves it. Between the two its residual would decide.
    """
    L, mu, G = (card.constants.named()[name].value for name in ("L", "lam_min", "G"))
    gradient, wrong = F.gradient(estimate, kept)
    length, Delta = by_hand.norm(gradient), card.sensitivity.value
    if card.C == math.inf:
        return at_most(AT_ESTIMATE, length, G, wrong, "then (this + G)/mu <= Delta")
    if length + wrong <= mu * Delta - G:
        return at_most(AT_ESTIMATE, length, mu * Delta - G, wrong, "limit: lam_min Delta - G")
    line = at_most(AT_ESTIMATE, length, G + L * Delta, wrong, "limit: G + L Delta")
    why = "above lam_min Delta - G: the residual would decide, which is not computed again"
    return line if line.verdict == REFUTED else uncovered(AT_ESTIMATE, line.claimed, why)


# ---- distance -----------------------------------------------------------------------------------


def _delta_of(card) -> Line:
    """2G/mu; or min(2C, [2C(MC + lam) + G]/(lam + lam_min) + tol (2LC + G)/(lam + lam_min))."""
    M, L, mu, G = (mpf(card.constants.named()[name].value) for name in ("M", "L", "lam_min", "G"))
    C, lam, tol = mpf(card.C), mpf(card.lam), mpf(card.tol or 0)
    needed = 2 * C
    if C == mpmath.inf and mu > 0:
        needed = 2 * G / mu
    elif lam + mu > 0 and all(map(mpmath.isfinite, (M, L, mu, G))):
        step = 2 * C * (M * C + abs(lam)) + G + tol * (2 * L * C + G)
        needed = min(needed, step / (lam + mu))
    return at_most("Delta", needed, card.sensitivity.value, note="from the card's constants")


def _ball(card, w: np.ndarray | None, estimate: np.ndarray) -> Iterator[Line]:
    """Where there is a ball: what lies in it, and whether Delta is below its diameter."""
    if card.C == math.inf:
        return  # a norm's rounding of one ulp is within SLACK
    for name, vector in {"||w||": w, "||estimate||": estimate}.items():
        if vector is not None:
            yield at_most(name, by_hand.norm(vector), card.C)
    below = mpf(card.sensitivity.value) < 2 * mpf(card.C)
    yield equal("below 2C", str(card.public()["below 2C"]), str(below), needed=False)


def _doing_nothing(card, n: int, n_u: int) -> Line:
    """(2 n_u g/n + 2G)/mu, Delta more along a sequence, 2C at most: what `useful` compares with."""
    named = card.constants.named()
    mu, g, G = (mpf(named[name].value) for name in ("lam_min", "sample_gradient", "G"))
    stable = (2 * n_u * g / n + 2 * G) / mu if mu > 0 else mpf("inf")
    drifts = (0, card.sensitivity.value) if math.isfinite(card.C) else (0,)
    either, said = [min(2 * mpf(card.C), stable + drift) for drift in drifts], card.doing_nothing
    right = [q for q in either if q == said or abs(q - said) <= SLACK * q]
    verdict, found = CONFIRMED if right else REFUTED, float((right or either)[0])
    return Line("doing nothing", said, found, verdict, None, "sets `useful`", False)


# ---- noise --------------------------------------------------------------------------------------


def profile(mu: mpf, epsilon: mpf) -> mpf:
    """Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu).

    The two nearly cancel where mu is small, so the digits are doubled until DIGITS are left.
    """
    with mpmath.workdps(2 * mpmath.mp.dps):
        kept = mpmath.ncdf(mu / 2 - epsilon / mu)
        found = kept - mpmath.exp(epsilon) * mpmath.ncdf(-mu / 2 - epsilon / mu)
        if found > kept * mpf(10) ** (DIGITS - mpmath.mp.dps):
            return found
        return profile(mu, epsilon)


def _budget(card) -> Line:
    """delta at (Delta, sigma, epsilon), judged by how far sigma is from the one that is needed.

    With mu = Delta/sigma the profile has the derivative phi(mu/2 - epsilon/mu) in mu, so near the
    limit sigma has the share (delta - profile)/(mu phi) to spare.
    """
    Delta, sigma = mpf(card.sensitivity.value), mpf(card.sigma)
    epsilon, delta, mu = mpf(card.epsilon), mpf(card.delta), Delta / sigma
    if not (0 < mu < mpmath.inf and 0 <= epsilon < mpmath.inf):
        return uncovered("delta", card.delta, "Delta, sigma and epsilon must be finite and > 0")
    found = profile(mu, epsilon)
    spare = (delta - found) / (mu * mpmath.npdf(mu / 2 - epsilon / mu))
    verdict = CONFIRMED if spare >= -SLACK else REFUTED
    note = "the Gaussian profile at (Delta, sigma, epsilon); room is what sigma has to spare"
    return Line("delta", float(delta), float(found), verdict, float(spare), note)


def noise_size(card, noise: np.ndarray) -> Line:
    """The size of release - estimate.

    For z = ||noise||^2/(p sigma^2), P(further from 1 on its side) <= (z e^(1-z))^(p/2) (Chernoff).
    """
    p, found = len(noise), by_hand.norm(noise) / math.sqrt(len(noise))
    z = (mpf(found) / mpf(card.sigma)) ** 2
    unlikely = p * (z - 1 - mpmath.log(z)) / 2 if z > 0 else mpmath.inf
    room = 1 + unlikely / mpmath.log(CHANCE)
    verdict = CONFIRMED if room >= 0 else REFUTED
    note = f"root mean square of release - estimate; honest noise fails with {2 * CHANCE:g}"
    return Line("size of the noise", card.sigma, found, verdict, float(room), note)


def _unseen(card) -> Iterator[Line]:
    """What no release shows, by any means."""
    why = "one draw cannot show that it is Gaussian and that nobody knows it"
    yield uncovered("origin of the noise", card.noise, why, False)
    limit = f"||w|| <= {card.C:g}" if math.isfinite(card.C) else "gradient <= G"
    why = "whether training without the forgotten samples would have kept to it"
    yield uncovered("the other world", limit, why, False)


def _vector(F, w) -> np.ndarray | None:
    if w is None:
        return None
    require(w.shape == (F.p,), f"A vector has shape {tuple(w.shape)}; F's have ({F.p},).")
    return w.detach().cpu().double().numpy()
