"""Audits of each method at epsilon = 1, by its worst pair of worlds, and what they would notice.

rows = audited_together(releases, level)      of each as it is, with less noise, and broken
power(releases, level)                        the mildest cut of the noise that is noticed

Both worlds release many times. The first tenth of the releases shows where their middle is; of the
others it is guessed which world each is from, and how many guesses are right bounds the method's
advantage from below. What is shown is the epsilon of the noisiest release that allows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from scipy.optimize import brentq
from scipy.stats import binom

from unlearnlib.evaluation.audit import clopper_pearson
from unlearnlib.lab.parallel import each
from unlearnlib.lab.seeds import seed_of
from unlearnlib.progress import bar

from . import forerunner_worlds, worlds
from .worlds import EPSILON, Release, Worlds, gaussian

PAIRS = (*forerunner_worlds.PAIRS, *worlds.PAIRS)  # certified removal takes longest: first
SOUND = "nothing is broken"
TENTH = 10
SHARES = (0.98, 0.96, 0.94, 0.92, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
LEAST, MOST = 0.1, 100.0  # shares of the noise that are searched


def audited_together(releases: int, level: float) -> list[dict]:
    """The rows of all methods, in several processes."""
    calls = [partial(audit_rows, build, releases, level) for build in PAIRS]
    return [row for rows in each(calls, "audits") for row in rows]


def audit_rows(build: Callable[[], Worlds], releases: int, level: float) -> list[dict]:
    """One row a release: as it is, with the noise that `power` says is noticed, and each break."""
    worlds = build()
    share = float(f"{power(releases, level) * worlds.attained:.2g}")
    releases_of = {
        SOUND: worlds.release,
        f"noise x {share:g}": lambda f, s, seed: worlds.release(f, share * s, seed),
        **worlds.broken,
    }
    return [
        {"way": worlds.way, "release": what, "claimed": EPSILON, "attained": worlds.attained}
        | audited(worlds, release, releases, level)
        for what, release in releases_of.items()
    ]


def audited(worlds: Worlds, release: Release, releases: int, level: float) -> dict:
    """What so many releases of each world show of the method's epsilon."""
    drawn = [
        torch.cat([
            release(forgotten, 1.0, seed_of(f"audit {worlds.way} {forgotten}", k))
            for k in bar(range(releases), f"audit, {worlds.way}")
        ])
        for forgotten in (True, False)
    ]  # fmt: skip
    first = releases // TENTH
    means = [float(world[:first].mean()) for world in drawn]
    side, middle = (1 if means[0] > means[1] else -1), sum(means) / 2
    guessed = [side * (world[first:] - middle) > 0 for world in drawn]
    right = int(guessed[0].sum()) + int((~guessed[1]).sum())
    guesses = 2 * (releases - first)
    shown = bound(worlds, right, guesses, level)
    return {"audited": shown, "right": right, "guesses": guesses}


def bound(worlds: Worlds, right: int, guesses: int, level: float) -> float:
    """The epsilon of the noisiest release with which so many guesses can be right; 0 if any can.

    Half of the guesses are about each world, so their mean chance is at most
    (1 + advantage)/2. It is bounded from below by Clopper and Pearson's limit: where two chances
    differ, their sum varies less than at their mean (Hoeffding, 1956).
    """
    chance, _ = clopper_pearson(right, guesses, 2 * level - 1)  # one limit, so missed half as often
    advantage = 2 * chance - 1
    if advantage <= 0:
        return 0.0
    over = lambda log: worlds.advantage(math.exp(log)) - advantage  # noqa: E731
    if over(math.log(LEAST)) <= 0:
        return worlds.epsilon(LEAST)
    return worlds.epsilon(math.exp(brentq(over, math.log(LEAST), math.log(MOST), xtol=1e-3)))


def power(releases: int, level: float) -> float:
    """The largest share of the noise that is refuted in nine runs of ten; 0 if there is none.

    By Gaussian worlds, at as few right guesses as nine runs of ten exceed.
    """
    worlds, guesses = gaussian("any", None), 2 * (releases - releases // TENTH)
    for share in SHARES:
        right = int(binom.ppf(0.1, guesses, (1 + worlds.advantage(share)) / 2))
        if bound(worlds, right, guesses, level) > EPSILON:
            return share
    return 0.0
