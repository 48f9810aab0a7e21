"""Differences in scoring: the attack's protocol, and BatchNorm in the published model."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from sklearn.metrics import accuracy_score, roc_auc_score

from unlearnlib.evaluation import attacks
from unlearnlib.evaluation.metrics import accuracy
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.seeds import seed_of
from unlearnlib.objective import Objective

from .outcome import TWO_MODELS, Model, Outcome, attack_seed, auc_and_accuracy, features, sets
from .reading import original, reading

Parts = tuple[np.ndarray, np.ndarray]  # features of the forgotten, and of the others
PROTOCOLS = ("ours", "scored where fitted", "unbalanced", "as released")


# ---- the attack's protocol -----------------------------------------------------------------------


def attack_where_fitted(d: Experiment) -> Outcome:
    """Score the attack on the rows that it was fitted on."""
    return replace(reading(d), two_models=lambda o: model_row(o, "scored where fitted"))


def attack_unbalanced(d: Experiment) -> Outcome:
    """Attack with all retained images as the negatives, and score by plain accuracy."""
    both = [len(d.forget), d.F_r.n]
    facts = {"forgotten": both[0], "retained": both[1], "constant answer": max(both) / sum(both)}
    return replace(reading(d), two_models=lambda o: model_row(o, "unbalanced"), facts=facts)


def noise_features(d: Experiment) -> Parts:
    """Pure noise in place of the features of d's forgotten and retained images: nothing to find."""
    rng = np.random.default_rng(seed_of("attack on noise", d.seed))
    width = 2 * len(d.images.classes)
    return rng.normal(size=(d.F_u.n, width)), rng.normal(size=(d.F_r.n, width))


def noise_row(d: Experiment, noise: Parts, protocol: str, learner: str) -> dict[str, float]:
    """What one of `attacks.LEARNERS` scores under one protocol on `noise_features(d)`."""
    return by_protocol(protocol, learner, noise, attack_seed(d))


def attacked_models(d: Experiment) -> dict[str, Outcome]:
    """Three outcomes to attack: nothing is done, the paper's reading, and retraining."""
    o = reading(d)
    models = {"trained": original(d), "released": o.after, "retrained": o.goal}
    return {name: replace(o, after=model) for name, model in models.items()}


def model_row(o: Outcome, protocol: str) -> dict[str, float]:
    """What logistic regression scores under one protocol on the posteriors of both models.

    Balanced protocols take test images as the others, unbalanced ones all retained images.
    """
    balanced = protocol in ("ours", "scored where fitted")
    groups = sets(o.d)
    others = groups["unseen"] if balanced else o.d.F_r
    parts = features(o, groups["forgotten"]), features(o, others)
    return by_protocol(protocol, TWO_MODELS, parts, attack_seed(o.d))


def by_protocol(protocol: str, learner: str, parts: Parts, seed: int) -> dict[str, float]:
    """AUC and accuracy of one of `attacks.LEARNERS` under one of PROTOCOLS.

    "ours" is `attacks.attack`: fitted on as many others as forgotten, scored on rows that it has
    not seen. "scored where fitted" is balanced too, "unbalanced" fits on a half of all and scores
    the rest, "as released" fits on all and scores all. `constant` is the accuracy of always giving
    the commoner answer.
    """
    if protocol == "ours":
        scores = attacks.attack(learner, *parts, seed=seed)
        return auc_and_accuracy(scores) | {"constant": 0.5}
    rng = np.random.default_rng(seed)
    members, others = (rng.permutation(part) for part in parts)
    if protocol == "scored where fitted":
        others = others[: len(members)]
    fitted = scored = (members, others)
    if protocol == "unbalanced":
        fitted = tuple(part[: len(part) // 2] for part in (members, others))
        scored = tuple(part[len(part) // 2 :] for part in (members, others))
    model = attacks.LEARNERS[learner](seed % 2**32).fit(*_labelled(fitted))
    x, y = _labelled(scored)
    answers = model.predict_proba(x)[:, 1]
    auc, right = roc_auc_score(y, answers), accuracy_score(y, answers > 0.5)
    commoner = max(y.mean(), 1 - y.mean())
    return {"AUC": float(auc), "accuracy": float(right), "constant": float(commoner)}


def _labelled(parts: Parts) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(parts), np.repeat([1, 0], [len(part) for part in parts])


# ---- BatchNorm -----------------------------------------------------------------------------------


def stale_buffers(d: Experiment) -> Outcome:
    """Publish noisy weights with the old buffers: exact statistics of forgotten images."""
    o = reading(d)
    stale = original(d).at
    recomputed = o.after.at(d.F).buffers
    facts = {
        "numbers in the buffers": sum(b.numel() for b in stale(d.F).buffers.values()),
        "differ from recomputed ones by": _difference(stale(d.F).buffers, recomputed),
    }
    return replace(o, after=Model(o.after.w, stale), epsilon=math.inf, facts=facts)


def training_mode(d: Experiment) -> Outcome:
    """Score without `.eval()`: each batch of images then sets the statistics of BatchNorm."""
    o = reading(d)

    def at(F: Objective) -> Objective:
        return in_training_mode(o.after.at(F))

    w, before = o.after.w, o.after.at(d.F_u)
    after = in_training_mode(before)
    accuracy(after, w)
    changed = sum(not torch.equal(before.buffers[name], b) for name, b in after.buffers.items())
    facts = {
        "buffers": len(after.buffers),
        "changed by scoring the forgotten images": changed,
        "and differ then by": _difference(after.buffers, before.buffers),
        "test F1 in eval mode, before": accuracy(o.after.at(d.F_test), w),
        "and with those buffers": accuracy(d.F_test.with_buffers(after.buffers), w),
    }
    return replace(o, after=Model(o.after.w, at), facts=facts)


def in_training_mode(F: Objective) -> Objective:
    """F with a model left in training mode: its passes overwrite its own copy of the buffers."""
    other = F.with_buffers(F.buffers)
    other.model.train()
    return other


def _difference(buffers: dict, others: dict) -> float:
    """||buffers - others|| over ||others||, counters left out."""
    a, b = (
        torch.cat([q.double().reshape(-1) for q in held.values() if q.is_floating_point()])
        for held in (buffers, others)
    )
    return float((a - b).norm() / b.norm())
