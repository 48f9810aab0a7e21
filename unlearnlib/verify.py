"""Check a release again, with code that shares nothing with what it checks.

    print(ul.verify(F, w, forget, release))

Every number on the card is computed again by other means: gradients written out by hand in numpy
with a bound on their rounding (by_hand.py), constants, Delta and delta in mpmath. Of the objective
only its raw data are used: samples, rows, the model's parameters and buffers, decay, center.

Each line takes the others' claims as given; together they are the theorem that the card cites. A
line is "confirmed" if it holds for every value that the rounding bound leaves open, "refuted" if
it holds for none, and "not covered" otherwise, or where nothing here computes it. A claim may miss
by SLACK, relative: more than what formulas in float64 lose, and than the grid of secret noise adds.
"""

from __future__ import annotations

import html
import math
from typing import NamedTuple

import mpmath
import numpy as np
from mpmath import mpf, ncdf

from . import by_hand

COLOURS = {"confirmed": "#0072B2", "refuted": "#D55E00", "not covered": "#E69F00"}
TABLE = "{:<23} {:<12} {:<13} {:<13} {}\n    {}"
SLACK = 1e-11  # far below any digit of a card that is read; twenty times what calibration loses
LONGEST = 1 + mpf(10) ** -12  # largest norm of an input that is meant to be 1: rounding adds less
AT_W, AT_ESTIMATE = "||grad F(w)||", "||grad F_r(estimate)||"


# ---- one line, and all lines --------------------------------------------------------------------


class Line(NamedTuple):
    """One claim of a card, and what was found when it was computed by other means.

    holds     True, False, or None where nothing here can judge
    needed    whether the card's "proved" rests on it
    margin    how far found lies on the safe side of claimed, as a share of it
    """

    name: str
    claimed: float | str
    found: float | str
    holds: bool | None
    note: str = ""
    needed: bool = True
    margin: float | str = ""

    @property
    def verdict(self) -> str:
        """The outcome in words: confirmed, refuted or not covered."""
        return "not covered" if self.holds is None else "confirmed" if self.holds else "refuted"


def at_most(name, found, claimed, wrong=0.0, note="", slack=SLACK) -> Line:
    """Return the line for found <= claimed, where found is right to +-wrong; lam_min: >=."""
    short = claimed - found if name == "lam_min" else found - claimed
    margin = float(-short / abs(claimed)) if claimed else 0.0
    short -= slack * abs(claimed)  # at most 0 where the claim holds
    holds = True if short + wrong <= 0 else None if short <= wrong else False
    note = note if holds is not None else f"rounding, {wrong:.2g} at most, leaves it open"
    return Line(name, float(claimed), float(found), holds, note, margin=margin)


class Verification(NamedTuple):
    """What `verify` returns: a list of lines. Shows as a table."""

    lines: list[Line]

    @property
    def refuted(self) -> list[Line]:
        """The lines that are wrong."""
        return [line for line in self.lines if line.verdict == "refuted"]

    @property
    def confirmed(self) -> bool:
        """Whether nothing is refuted, and all that "proved" rests on is confirmed."""
        return self.rows()[0][0] == "confirmed"

    def rows(self) -> list[list[str]]:
        """All as text: the verdict and the lines it follows from, the column names, all lines."""
        against = self.refuted or [q for q in self.lines if q.needed and q.holds is None]
        verdict = against[0].verdict if against else "confirmed"
        why = ", ".join(line.name for line in against) or 'all that "proved" rests on'
        rows = [[verdict, why], ["line", "verdict", "claimed", "found", "margin", ""]]
        for q in self.lines:
            numbers = (q.claimed, q.found, q.margin)
            values = [v if isinstance(v, str) else f"{v:.6g}" for v in numbers]
            rows.append([q.name, q.verdict, *values, q.note])
        return rows

    def __repr__(self) -> str:
        top, *rows = self.rows()
        return "\n".join([": ".join(top), *(TABLE.format(*row).rstrip() for row in rows)])

    def _repr_html_(self) -> str:
        cell = "<td style='text-align:left'>"
        body = "".join(cell.join(["<tr>", *map(html.escape, row)]) for row in self.rows())
        return f"<table style='border-left:6px solid {COLOURS[self.rows()[0][0]]}'>{body}</table>"


# ---- the whole ----------------------------------------------------------------------------------


def verify(F, w, forget, release) -> Verification:
    """Check every line of a release's card against the objective's raw data, by other means.

    F, w, forget   what was given to `unlearn` or `unlearn_strongly_convex`. w may be None, and is
                   then not looked at: along a sequence of `unlearn` it need not be stationary.
    release        its `certificate`, `estimate` and `w` are read.

    Covered: softmax regression without bias and the network of tanh neurons in
    lab/convex_network.py, in float64; of any other model only what the ball, the noise and the
    arithmetic say. Costs a forward and a backward pass over all samples for each of two gradients,
    on one core 1 s for softmax regression on 60,000 images and 8 s for 490 neurons, and memory for
    a copy of the inputs in float64.

    `confirmed` means: if the noise is Gaussian and secret, and training without the forgotten
    samples keeps to the same G (or ball), the release is (epsilon, delta)-certified, up to SLACK.
    These two conditions cannot be seen in a release; each has a line, "not covered".
    """
    card, known = release.certificate, release.certificate.known
    w = w if w is None else w.double().numpy(force=True)
    estimate, noisy = (q.double().numpy(force=True) for q in (release.estimate, release.w))
    with mpmath.workdps(40), np.errstate(over="ignore", under="ignore"):
        samples, every, kept = _samples(F, forget, card)
        lines = [_provenance(card), samples]
        facts = {"weights": F.p, "weight decay": F.weight_decay}
        lines += [Line(k, known[k], v, known[k] == v) for k, v in facts.items() if k in known]
        lines += _objective(F, every, kept, w, estimate, card)
        lines += [*_arithmetic(card, w, estimate, every, kept), noise_size(card, noisy - estimate)]
    unseen = {"origin of the noise": card.noise, "the other world": "keeps to G, or C"}
    lines += [Line(k, v, "", None, "no release can show it", False) for k, v in unseen.items()]
    return Verification(lines)


# ---- the samples, and what the card claims ------------------------------------------------------


def _rests_on(card) -> tuple[str, ...]:
    """The constants behind Delta: none for the ball, two for strong convexity, four for a step."""
    if card.C == math.inf:
        return ("lam_min", "G")
    return () if card.sensitivity.value >= 2 * card.C else ("M", "L", "lam_min", "G")


def _provenance(card) -> Line:
    """Check `holds`: proved only if each constant behind Delta is, or is a G that is enforced."""
    marks = {(name, card.constants.named()[name].provenance) for name in _rests_on(card)}
    weak = sorted(f"{k} {q}" for k, q in marks - {("G", "chosen")} if q != "proved")
    return Line("holds", card.holds, ", ".join(weak), not weak if card.holds == "proved" else None)


def _samples(F, forget, card) -> tuple[Line, np.ndarray, np.ndarray]:
    """Check the indices and the card's counts; return that line, all rows and the retained rows.

    Along a sequence the card gives the number at the start; all of that data is still held.
    """
    every = np.arange(len(F.x)) if F.rows is None else F.rows.cpu().numpy()
    forget, n = [int(i) for i in forget], len(every)
    kept = np.delete(every, [i for i in forget if 0 <= i < n])
    first = card.known.get("samples at the start", n)
    gone = card.measurements.get("samples forgotten", len(forget))
    right = 0 < gone == len(forget) == n - len(kept) < n == len({*every}) <= first <= len(F.x)
    line = Line("samples", f"{first}, {gone}", f"{n}, {len(forget)}", right, "all, forgotten")
    return line, every, kept if len(kept) else every  # not empty


# ---- the objective ------------------------------------------------------------------------------


def _objective(F, every, kept, w, estimate, card) -> list[Line]:
    """The model, its inputs, its constants, and the gradients that the card speaks of.

    How close is the estimate to any retrained model, whose gradient is at most G? By strong
    convexity: (||grad F_r(estimate)|| + G)/lam_min. So in a ball a gradient of lam_min Delta - G
    proves Delta whatever the solver did, and more than G + L Delta disproves it. Between the two
    the solver's residual would decide.
    """
    named, rests_on, Delta = card.constants.named(), _rests_on(card), card.sensitivity.value
    L, mu, G = (named[k].value for k in ("L", "lam_min", "G"))
    claims = {k: q.value for k, q in named.items() if k != "G" and math.isfinite(q.value)}
    model, names = by_hand.recognise(F), ["model", *claims, AT_W, AT_ESTIMATE]
    if isinstance(model, str):
        return [Line(k, claims.get(k, ""), "", None, model, bool(rests_on)) for k in names]
    known, longest = _constants(model), float(by_hand.norms(model.x[every]).max())
    wrong, form = 4 * by_hand.U * model.x.shape[1], "softmax" if model.signs is None else "tanh"
    lines = [Line("model", "", form, True, "by its form, and its outputs on four samples")]
    lines += [at_most("||x||", longest, LONGEST, wrong, "the largest", slack=0)]
    lines += [at_most(k, known[k], claim) for k, claim in claims.items()]
    limits = {AT_W: G, AT_ESTIMATE: G if card.C == math.inf else mu * Delta - G}
    for k, at, rows in ((AT_W, w, every), (AT_ESTIMATE, estimate, kept)):
        if rests_on and at is not None:
            gradient, wrong = model.gradient(at, rows)
            lines += [at_most(k, by_hand.norm(gradient), limits[k], wrong)]
    if rests_on and card.C < math.inf and limits[AT_ESTIMATE] < lines[-1].found <= G + L * Delta:
        lines[-1] = lines[-1]._replace(holds=None, note="the solver's residual would decide")
    return lines


def _constants(F: by_hand.Sum) -> dict[str, mpf]:
    """mu, L, M and the sample gradient, as in evaluation/peers/convex.py and lab/convex_network.py.

    For ||x|| <= 1: LONGEST changes them by less than SLACK, except a mu that is a difference.
    """
    wd, root = mpf(F.decay), mpmath.sqrt
    T, t = root(mpf(2) / 27), 4 / (3 * root(3))
    if F.signs is None:
        return {"lam_min": wd, "L": wd + mpf(1) / 2, "M": T, "sample_gradient": root(2)}
    a, gram = mpf(F.gain), mpmath.matrix((F.signs @ F.signs.T).tolist())  # of whole numbers
    A = a * root(max(mpmath.eigsy(gram, eigvals_only=True)))
    M = T * A**3 + t * A**2 + t * a * A / root(2) + 4 * a
    mu, L = wd - LONGEST**2 * 2 * t * a, A**2 / 2 + 2 * t * a + wd
    return {"lam_min": mu, "L": L, "M": M, "sample_gradient": root(2) * A}


# ---- the card's arithmetic, and the noise -------------------------------------------------------


def _arithmetic(card, w, estimate, every, kept) -> list[Line]:
    """Delta, the ball, what doing nothing gives, and delta, from the card's own constants.

    Delta is 2G/mu; or min(2C, [2C(MC + lam) + G]/(lam + lam_min) + tol (2LC + G)/(lam + lam_min)).
    Doing nothing is (2 g n_u/n + 2G)/mu, Delta more along a sequence in a ball, 2C at most.
    """
    M, L, mu, G, g = (mpf(q.value) for q in card.constants.named().values())
    C, lam, tol, Delta = map(mpf, (card.C, card.lam, card.tol or 0, card.sensitivity.value))
    needed, ball, vectors = 2 * C, C < mpmath.inf, {"||w||": w, "||estimate||": estimate}
    if not ball and mu > 0:
        needed = 2 * G / mu
    elif lam + mu > 0 and all(map(mpmath.isfinite, (M, L, mu, G))):
        step = 2 * C * (M * C + abs(lam)) + G + tol * (2 * L * C + G)
        needed = min(needed, step / (lam + mu))
    lines = [at_most("Delta", needed, Delta, note="from the card's constants")]
    if ball:  # a norm's rounding of one ulp is within SLACK
        lines += [at_most(k, by_hand.norm(v), C) for k, v in vectors.items() if v is not None]
        stated, below = card.public()["below 2C"], Delta < 2 * C
        lines += [Line("below 2C", str(stated), str(below), stated == below)]
    share, stated = 1 - mpf(len(kept)) / len(every), card.doing_nothing
    stable = (2 * share * g + 2 * G) / mu if mu > 0 else mpmath.inf
    either = [float(min(2 * C, stable + drift)) for drift in (0, Delta if ball else 0)]
    right = [q for q in either if math.isclose(q, stated, rel_tol=SLACK)]
    lines += [Line("doing nothing", stated, (right or either)[0], bool(right), "sets `useful`")]
    delta, note = profile(Delta / card.sigma / (1 + SLACK), mpf(card.epsilon)), "Gaussian profile"
    return [*lines, at_most("delta", delta, card.delta, 0, note, slack=0)]  # sigma has the slack


def profile(mu: mpf, epsilon: mpf) -> mpf:
    """Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu).

    The two nearly cancel where mu is small: of 700 digits a share of mu^2 or more is left.
    """
    with mpmath.workdps(700):
        return ncdf(mu / 2 - epsilon / mu) - mpmath.exp(epsilon) * ncdf(-mu / 2 - epsilon / mu)


def noise_size(card, noise: np.ndarray) -> Line:
    """The size of release - estimate.

    For z = ||noise||^2/(p sigma^2), P(further from 1 on its side) <= (z e^(1-z))^(p/2) (Chernoff).
    """
    size = by_hand.norm(noise) / math.sqrt(len(noise))
    z = (size / card.sigma) ** 2
    likely = len(noise) * (z - 1 - math.log(z or 1e-300)) / 2 <= -math.log(1e-9)
    return Line("size of the noise", card.sigma, size, likely, "honest noise fails with 2e-9")
