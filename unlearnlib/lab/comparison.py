"""The rows of notebooks 04 and 05: what each contender scores, where it lies, what an attack says.

Each function takes a pair of the profile and gives rows for `Results.record`: plain dicts that
name the pair, the method and, where they are not over all seeds, the seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import require_choice
from ..evaluation import attacks
from ..evaluation.metrics import distance, tug_of_war
from ..objective import Objective
from ..progress import bar
from .contenders import (
    METHODS,
    REFERENCES,
    TUNING_SEED,
    Contender,
    as_published,
    as_trained,
    estimate,
    field,
    solve_by_cg,
    tune,
)
from .experiments import Experiment, generator, seed_of
from .profiles import Pair
from .together import train_together

UNSEEN = 2000  # images that an attack is to tell the forgotten ones from, at most
QUESTIONS = ("unseen", "retained")


def tuning(pair: Pair) -> list[dict]:
    """Every trial of every method, on held-out training images, and which one was kept."""
    held_out = Experiment(pair, TUNING_SEED, tuning=True)
    train_together([held_out], ("trained", "retrained", "elsewhere"), f"models of {pair.name}")
    rows = []
    for method in bar(METHODS.values(), f"tuning on {pair.name}"):
        tuned = tune(pair, method)
        for trial in tuned.trials:
            row = {"pair": pair.name, "method": method.name, "knob": method.knob}
            rows.append({**row, **trial, "kept": trial["setting"] == tuned.setting})
    return rows


def scores(pair: Pair) -> list[dict]:
    """F1 on the three sets, its gap to retraining on the forgotten one, and the Tug-of-War."""
    rows = []
    for d, contenders in _fields(pair):
        reference = contenders["retrained"].scores
        for name, it in contenders.items():
            gap = abs(it.scores["forgotten"] - reference["forgotten"])
            closeness = {"gap": gap, "ToW": tug_of_war(it.scores, reference)}
            row = {**_whose(d, name), **it.scores, **closeness, "seconds": it.seconds}
            rows.append({**row, "setting": it.setting})
    return rows


def distances(pair: Pair) -> list[dict]:
    """How far each contender is from where it began, and from the three kinds of retraining."""
    rows = []
    for d, contenders in _fields(pair):
        ends = {"trained": "from trained", "retrained": "same seed", "elsewhere": "another seed",
                "warm": "warm start"}  # fmt: skip
        for name, it in contenders.items():
            lengths = {label: distance(it.w, contenders[end].w) for end, label in ends.items()}
            rows.append({**_whose(d, name), **lengths, "norm": float(it.w.double().norm())})
    return rows


def reach(pair: Pair) -> list[dict]:
    """By damping: how much of the way to the warm-started retraining the noiseless step covers."""
    _train(pair, ("trained", "warm"))
    rows = []
    for seed in bar(pair.seeds, "dampings"):
        d = Experiment(pair, seed)
        goal = d.warm.w
        for lam in METHODS["certified (CG)"].settings(pair):
            w = estimate(solve_by_cg, d, lam)
            share = 1 - distance(w, goal) / distance(d.w, goal)
            rows.append({"seed": seed, "lam": lam, "step": distance(w, d.w), "covered": share})
    return rows


def depths(pair: Pair) -> list[dict]:
    """||grad F_r|| of the three models that never left, or never saw, the forgotten images."""
    names, rows = ("trained", "retrained", "warm"), []
    _train(pair, names)
    for seed in pair.seeds:
        d = Experiment(pair, seed)
        for name in names:
            run = getattr(d, name)
            slope = d.F_r.with_buffers(run.buffers).gradient(run.w)
            rows.append({**_whose(d, name), "gradient": float(slope.norm())})
    return rows


def memberships(pair: Pair, question: str) -> list[dict]:
    """What each attacker makes of each contender, over all seeds: one row for each metric.

    question   "unseen": forgotten against test images, never seen by any model. "retained":
               forgotten against retained images, which is what the released code asks.
    """
    require_choice("question", question, QUESTIONS)
    found: dict[tuple[str, str], list[attacks.Scores]] = {}
    for d, contenders in _fields(pair):
        others = _others(d, question)
        original = as_trained(d).buffers
        before = {
            who: attacks.posteriors(F.with_buffers(original), d.w) for who, F in others.items()
        }
        for name, it in contenders.items():
            seen = _features(d, others, before, it.w)
            for attacker in attacks.ATTACKERS:
                kind = "loss" if attacker == attacks.LOSS_THRESHOLD else "posteriors"
                seed = seed_of(f"attack {question}", d.seed)
                made = attacks.attack(attacker, *seen[kind], seed=seed)
                found.setdefault((name, attacker), []).append(made)
    rows = []
    for (name, attacker), runs in found.items():
        for metric, value in attacks.strength(runs).items():
            row = {"pair": pair.name, "method": name, "attacker": attacker, "metric": metric}
            rows.append({**row, **value, "members": sum(len(run.members) for run in runs)})
    return rows


def _others(d: Experiment, question: str) -> dict[str, Objective]:
    """The forgotten samples, and those that they are to be told from."""
    pool = d.F_test if question == "unseen" else d.F_r
    order = torch.randperm(pool.n, generator=generator(f"{question} pool", d.seed))
    return {"members": d.F_u, "unseen": pool.only(order[: max(UNSEEN, d.F_u.n)])}


def _features(d: Experiment, sets: dict, before: dict, w: Tensor) -> dict[str, list[np.ndarray]]:
    """What the attackers see of the members and of the others: losses, and sorted posteriors."""
    publish = as_published(d, w)
    at = {who: publish(F) for who, F in sets.items()}
    return {
        "loss": [attacks.confidences(F, w) for F in at.values()],
        "posteriors": [
            attacks.features(before[who], attacks.posteriors(F, w)) for who, F in at.items()
        ],
    }


def _train(pair: Pair, names: Sequence[str]) -> None:
    train_together([Experiment(pair, s) for s in pair.seeds], names, f"models of {pair.name}")


def _fields(pair: Pair) -> Iterator[tuple[Experiment, dict[str, Contender]]]:
    _train(pair, REFERENCES)
    for seed in bar(pair.seeds, f"seeds of {pair.name}"):
        yield Experiment(pair, seed), field(pair, seed)


def _whose(d: Experiment, method: str) -> dict:
    return {"pair": d.pair.name, "seed": d.seed, "method": method}
