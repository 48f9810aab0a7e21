"""What attackers say of each method, and how far that is from what they say of retraining."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
from torch import Tensor

from unlearnlib import draws
from unlearnlib.errors import require_choice
from unlearnlib.evaluation import attacks
from unlearnlib.lab.contenders import Contender
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.profiles import Pair
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.lab.settings import UNSEEN
from unlearnlib.objective import Objective

QUESTIONS = ("unseen", "retained")
TWO = (attacks.LOSS_THRESHOLD, "logistic regression")  # that look at one model, and at two
FEW, EPOCHS = 400, 100  # of a network that has memorised; ours


def attack_scores(
    d: Experiment,
    contenders: dict[str, Contender],
    question: str,
    attackers: Sequence[str] = attacks.ATTACKERS,
) -> dict[tuple[str, str], attacks.Scores]:
    """What each attacker says of the samples at one seed, by (method, attacker).

    question   "unseen": forgotten against test images, never seen by any model. "retained":
               forgotten against retained images, which is what the released code asks.
    """
    require_choice("question", question, QUESTIONS)
    samples = _samples(d, question)
    original, seed = d.F_trained.buffers, seed_of(f"attack {question}", d.seed)
    before = {who: attacks.posteriors(F.with_buffers(original), d.w) for who, F in samples.items()}
    scores = {}
    for method, contender in contenders.items():
        features = _features(d, samples, before, contender.w)
        for attacker in attackers:
            kind = "loss" if attacker == attacks.LOSS_THRESHOLD else "posteriors"
            scores[method, attacker] = attacks.attack(attacker, *features[kind], seed=seed)
    return scores


def strength_rows(runs: list[attacks.Scores]) -> list[dict]:
    """One row for each metric: an attacker's strength over all seeds, with its 95% interval."""
    members = sum(len(run.members) for run in runs)
    strength = attacks.strength(runs)
    return [{"metric": metric, **value, "members": members} for metric, value in strength.items()]


def losses(d: Experiment, contenders: dict[str, Contender]) -> dict[str, attacks.Scores]:
    """How sure each method's model is of all forgotten and of all unseen samples, by method.

    An AUC needs no threshold, so no sample is spent on fitting one.
    """
    samples, found = _samples(d, "unseen"), {}
    for method, contender in contenders.items():
        publish = d.published(contender.w)
        sure = [attacks.confidences(publish(F), contender.w)[:, 0] for F in samples.values()]
        found[method] = attacks.Scores(*sure, threshold=0.0)
    return found


def difference_row(found: list[dict[str, attacks.Scores]], method: str) -> dict:
    """AUC of the loss on a method less that on the retrained model, with its 90% interval.

    found   `losses` of each seed
    """
    ours, reference = ([scores[name] for scores in found] for name in (method, "retrained"))
    return asdict(attacks.auc_difference(ours, reference))


def overfitted(pair: Pair) -> Pair:
    """The pair on few images, for so long that it knows them by heart: an attack has to work."""
    return replace(pair, train=FEW, test=FEW, forget=FEW // 4, epochs=EPOCHS, seeds=pair.seeds[:3])


def _samples(d: Experiment, question: str) -> dict[str, Objective]:
    """The forgotten samples ("members"), and those to tell them from ("unseen")."""
    pool = d.F_test if question == "unseen" else d.F_r
    order = draws.order(pool.n, generator(f"{question} pool", d.seed))
    return {"members": d.F_u, "unseen": pool.only(order[: max(UNSEEN, d.F_u.n)])}


def _features(
    d: Experiment, samples: dict[str, Objective], before: dict[str, Tensor], w: Tensor
) -> dict[str, list[np.ndarray]]:
    """What the attackers see of members and unseen samples: losses, and sorted posteriors."""
    publish = d.published(w)
    after = {who: publish(F) for who, F in samples.items()}
    return {
        "loss": [attacks.confidences(F, w) for F in after.values()],
        "posteriors": [
            attacks.features(before[who], attacks.posteriors(F, w)) for who, F in after.items()
        ],
    }
