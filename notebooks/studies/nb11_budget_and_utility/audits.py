"""Claimed, realised and audited epsilon, of the paper's MLP and of the proved models.

    canary_row(Canaries(d, sizes(d)), "unlearned", sigma=0.01)
    shadow_row(Shadows(d, sizes(d)), "unlearned", sigma=0.01)
    proved_row(problem, coins, epsilon=1.0, seed=0)

Each row has a noise sigma, the epsilon that is claimed for it, the one that is realised (by the
distance to the retrained model), the one that the audit shows at level 95%, and the most that the
audit could have shown. What is claimed of the paper's MLP comes from the ball alone, 2C. Without
noise (sigma = 0) nothing but the audit is finite.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from unlearnlib import draws
from unlearnlib.bounds import trivial_bound
from unlearnlib.certificate import PROVED, THE_BALL
from unlearnlib.evaluation import audit
from unlearnlib.evaluation.attacks import confidences
from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab.data import Images
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.proved import Problem
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.lab.settings import DELTA
from unlearnlib.noise import gaussian_epsilon, with_noise, with_rounding
from unlearnlib.objective import Objective
from unlearnlib.verify import verify

from .worlds import Canaries, Shadows

# ---- the paper's MLP -----------------------------------------------------------------------------


def canary_row(run: Canaries, model: str, sigma: float) -> dict:
    """Guess from one noisy model which half of the canaries it was trained on.

    model   "trained" is released as it is: the ball claims for it what it claims for "unlearned".
            "retrained" is exact unlearning, epsilon 0. By chance alone a row of it shows b > 0 or
            more with probability 0.05 e^-b at most, so that k rows all stay below ln k in 95 of 100
            repetitions.
    """
    w = run.models[model]
    away = distance(w, run.models["retrained"])
    measured = guessed(run.asked, _noisy(run.d, w, sigma, "canary noise"), run.chosen)
    return _row(run.d, "canaries", model, sigma, away, measured)


def shadow_row(runs: Shadows, model: str, sigma: float) -> dict:
    """Tell K noisy models with the request from K without it, by their loss on it.

    `realised` is that of the pair, out of K with a start in common, that is furthest apart: the two
    mixtures over these K starts are no easier to tell apart.
    """
    worlds = {"with": runs.models[model], "without": runs.models["retrained"]}
    away = max(map(distance, *worlds.values()))
    sureness = (_sureness(runs, ws, sigma, world) for world, ws in worlds.items())
    measured = audit.shadow_audit(*sureness, delta=DELTA)
    return _row(runs.d, "shadow models", model, sigma, away, measured)


def guessed(asked: Objective, w: Tensor, coins: Tensor) -> audit.Audit:
    """How well the losses of w tell which canaries of `asked` it was trained on."""
    guesses = audit.guesses(confidences(asked, w)[:, 0])
    right = int((guesses == coins.numpy(force=True)).sum())
    return audit.canary_audit(right, len(coins), delta=DELTA)


def _sureness(runs: Shadows, ws: Tensor, sigma: float, world: str) -> list[float]:
    """How sure each noisy model is of the request's wrong labels: minus its mean loss on them."""
    noisy = _noisy(runs.d, ws, sigma, f"noise {world}")
    return [float(confidences(runs.request, w).mean()) for w in noisy]


def _noisy(d: Experiment, w: Tensor, sigma: float, purpose: str) -> Tensor:
    """w as released: the same draw for each sigma."""
    return with_noise(w, sigma, seed_of(purpose, d.seed))


def _row(
    d: Experiment, kind: str, model: str, sigma: float, away: float, measured: audit.Audit
) -> dict:
    if model == "retrained":  # no release: what an audit finds there is chance
        claimed, outcome = 0.0, ""
    else:
        claimed = _claimed(d, sigma)
        outcome = audit.confront(claimed, measured, holds=PROVED, rests_on=THE_BALL)
    return {
        "audit": kind,
        "seed": d.seed,
        "model": model,
        "sigma": sigma,
        "distance": away,
        "claimed": claimed,
        "outcome": outcome,
        "realised": audit.realised_epsilon(away, sigma, DELTA),
        "audited": measured.bound,
        "ceiling": measured.ceiling,
        "level": measured.level,
        **measured.counts,
    }


def _claimed(d: Experiment, sigma: float) -> float:
    """What the ball alone certifies, with or without an update."""
    hidden = with_rounding(trivial_bound(d.pair.C))
    return gaussian_epsilon(hidden, sigma, DELTA) if sigma else math.inf


# ---- the proved models ---------------------------------------------------------------------------


def with_canaries(images: Images, canaries: int, seed: int) -> tuple[Images, Tensor]:
    """Give the last `canaries` training images random labels, and toss a coin for each of them.

    The coins say which half of the canaries is trained on.
    """
    g = generator("proved canaries", seed)
    y = images.y_train.clone()
    y[len(y) - canaries :] = draws.integers(len(images.classes), (canaries,), g)
    return replace(images, y_train=y), draws.coins(canaries, g)


def proved_row(problem: Problem, coins: Tensor, epsilon: float, seed: int) -> dict:
    """Train a proved model on one half of the canaries, forget that half, and audit the release.

    coins    of `with_canaries`, whose images the problem is about
    before   what the same attacker shows of the trained model, before anything is forgotten
    """
    canaries = torch.arange(problem.F.n - len(coins), problem.F.n, device="cpu")
    G, never = problem.gradient_for(epsilon), canaries[~coins].tolist()
    w = problem.trained(G, without=never).w
    retrained = problem.trained(G, without=canaries.tolist()).w

    F = problem.F.without(never)
    forget = range(int(canaries[0]), F.n)  # those trained on are the last of F
    release = problem.unlearn(w, forget, G, on=F, epsilon=epsilon, seed=seed_of("noise", seed))
    card, asked = release.certificate, problem.F.only(canaries)
    after, before = (guessed(asked, model, coins) for model in (release.w, w))
    away = distance(release.estimate, retrained)
    outcome = audit.confront(epsilon, after, holds=card.holds, rests_on=card.sensitivity.source)
    return {
        "model": problem.name,
        "seed": seed,
        "sigma": card.sigma,
        "claimed": epsilon,
        "outcome": outcome,
        "realised": audit.realised_epsilon(away, card.sigma, DELTA),
        "audited": after.bound,
        "ceiling": after.ceiling,
        "distance": away,
        "holds": card.holds,
        "verified": verify(F, w, forget, release).confirmed,
        "before": before.bound,
        "right before": before.counts["right"],
        "right, without noise": guessed(asked, release.estimate, coins).counts["right"],
        **after.counts,
    }
