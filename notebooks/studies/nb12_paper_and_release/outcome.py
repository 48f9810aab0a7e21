"""What one request ends in, and the row that is read off it: F1, distance, attack, epsilon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch import Tensor

from unlearnlib import draws
from unlearnlib.evaluation import attacks
from unlearnlib.evaluation.metrics import accuracy, distance
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.lab.settings import SCORED, UNSEEN
from unlearnlib.objective import Objective

SETS = ("forgotten", "retained", "test")
TWO_MODELS = "logistic regression"  # the learner of the attack that sees both models
COLUMNS = (*SETS, "distance", "loss AUC", "loss accuracy", "both AUC", "both accuracy")


@dataclass(frozen=True)
class Model:
    """A vector w (p,), and `at`, which gives an objective the buffers that belong to it."""

    w: Tensor
    at: Callable[[Objective], Objective] = lambda F: F


@dataclass(frozen=True)
class Outcome:
    """The original, the published and the retrained model of one request.

    epsilon      at delta = 1e-5, what is proved of `after`: finite from 2C and sigma; infinite
                 where no noise hides the forgotten images; None where no theorem applies
    two_models   the attack on both posteriors: outcome -> {"AUC", "accuracy"}
    facts        what else is worth telling of this switch
    """

    d: Experiment
    before: Model
    after: Model
    goal: Model
    epsilon: float | None
    two_models: Callable[[Outcome], dict[str, float]] = field(default=lambda o: attack_held_out(o))
    facts: dict[str, float | str] = field(default_factory=dict)

    def row(self) -> dict:
        """The scores in COLUMNS, epsilon and facts. F1 is micro F1; distance is that to `goal`."""
        groups, w = sets(self.d), self.after.w
        scores = {name: accuracy(self.after.at(groups[name]), w) for name in SETS}
        both = self.two_models(self)
        loss = loss_attack(self)
        return scores | {
            "distance": distance(w, self.goal.w),
            **{f"loss {name}": value for name, value in loss.items()},
            **{f"both {name}": both[name] for name in loss},
            "epsilon": self.epsilon,
            "facts": self.facts,
        }


def sets(d: Experiment) -> dict[str, Objective]:
    """The forgotten images, at most 1,000 retained, the test images, and those of the attack."""
    sample = draws.order(d.F_r.n, generator("scored", d.seed))[:SCORED]
    pool = draws.order(d.F_test.n, generator("unseen pool", d.seed))
    unseen = d.F_test.only(pool[: max(UNSEEN, d.F_u.n)])
    retained = d.F_r.only(sample)
    return {"forgotten": d.F_u, "retained": retained, "test": d.F_test, "unseen": unseen}


# ---- the attacks ---------------------------------------------------------------------------------


def features(o: Outcome, F: Objective) -> np.ndarray:
    """Posteriors of the original and of the published model on F's samples, side by side."""
    both = (attacks.posteriors(model.at(F), model.w) for model in (o.before, o.after))
    return attacks.features(*both)


def loss_attack(o: Outcome) -> dict[str, float]:
    """Forgotten against test images by their loss alone, on rows that set no threshold."""
    groups = [o.after.at(sets(o.d)[name]) for name in ("forgotten", "unseen")]
    columns = (attacks.confidences(F, o.after.w) for F in groups)
    return auc_and_accuracy(attacks.attack(attacks.LOSS_THRESHOLD, *columns, seed=attack_seed(o.d)))


def attack_held_out(o: Outcome) -> dict[str, float]:
    """Forgotten against test images by both models: balanced, on rows that fitted nothing."""
    groups = (features(o, sets(o.d)[name]) for name in ("forgotten", "unseen"))
    return auc_and_accuracy(attacks.attack(TWO_MODELS, *groups, seed=attack_seed(o.d)))


def auc_and_accuracy(scores: attacks.Scores) -> dict[str, float]:
    """AUC and balanced accuracy, as `attacks.strength` has them, without intervals."""
    y = np.repeat([1, 0], [len(scores.members), len(scores.unseen)])
    both = np.concatenate([scores.members, scores.unseen])
    right = balanced_accuracy_score(y, both > scores.threshold)
    return {"AUC": float(roc_auc_score(y, both)), "accuracy": float(right)}


def attack_seed(d: Experiment) -> int:
    """What splits and seeds the attacks on d: the same for every switch."""
    return seed_of("attack unseen", d.seed)
