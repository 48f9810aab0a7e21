"""What one request ends in, and the row that is read off it: F1, distance, attack, epsilon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch import Tensor

from unlearnlib import batchnorm, bounds
from unlearnlib.errors import NegativeCurvatureError
from unlearnlib.evaluation import attacks
from unlearnlib.evaluation.metrics import accuracy, distance
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.lab.settings import DELTA, SCORED, SIGMA, UNSEEN
from unlearnlib.lab.step import estimate
from unlearnlib.noise import gaussian_epsilon, sample_noise
from unlearnlib.objective import Objective

SETS = ("forgotten", "retained", "test")
TWO_MODELS = "logistic regression"  # the learner of the attack that sees both models
COLUMNS = (*SETS, "distance", "loss AUC", "loss accuracy", "both AUC", "both accuracy")

# With BatchNorm: as a public re-run of the method has it for ResNet-18, and above any curvature.
BATCHNORM_LAM = 2000.0


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
    two_models: Callable[[Outcome], dict[str, float]] = field(default=lambda o: held_out(o))
    facts: dict[str, float | str] = field(default_factory=dict)

    def row(self) -> dict:
        """COLUMNS, epsilon and facts. F1 is micro F1, the distance that of `after` to `goal`."""
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
    few = torch.randperm(d.F_r.n, generator=generator("scored", d.seed))[:SCORED]
    pool = torch.randperm(d.F_test.n, generator=generator("unseen pool", d.seed))
    unseen = d.F_test.only(pool[: max(UNSEEN, d.F_u.n)])
    return {"forgotten": d.F_u, "retained": d.F_r.only(few), "test": d.F_test, "unseen": unseen}


# ---- the paper's reading -------------------------------------------------------------------------


def original(d: Experiment) -> Model:
    """The model trained on everything."""
    return Model(d.w, lambda F: F.with_buffers(d.trained.buffers))


def retrained(d: Experiment) -> Model:
    """The model trained without the forgotten images."""
    return Model(d.retrained.w, lambda F: F.with_buffers(d.retrained.buffers))


def damping(d: Experiment) -> float:
    """The profile's lam; with BatchNorm a much larger one."""
    return BATCHNORM_LAM if batchnorm.layers(d.F.model) else d.pair.lam


def least_refused(step: Callable[[float], Tensor], lam: float) -> tuple[Tensor, float]:
    """step(lam) and lam; at ten or a hundred times lam where negative curvature refuses less."""
    for raised in (lam, 10 * lam):
        try:
            return step(raised), raised
        except NegativeCurvatureError:
            continue
    return step(100 * lam), 100 * lam


@lru_cache(maxsize=2)  # a few: each keeps an experiment, images included
def newton_estimate(d: Experiment) -> tuple[Tensor, float]:
    """The projected Newton step, by CG on a sample of the retained images, and its lam."""
    return least_refused(lambda lam: estimate(d, lam), damping(d))


def ball_epsilon(d: Experiment) -> float:
    """The epsilon of one release: sensitivity 2C, which is all that is proved, and SIGMA."""
    return gaussian_epsilon(bounds.trivial_bound(d.pair.C), SIGMA, DELTA)


def noisy(d: Experiment, estimate: Tensor) -> Tensor:
    """The estimate with the released code's sigma, drawn as if it were secret."""
    return estimate + sample_noise(estimate, SIGMA, seed_of("noise", d.seed))


def published(d: Experiment, estimate: Tensor, **changed) -> Outcome:
    """An estimate released as the paper reads: noise, and buffers recomputed afterwards."""
    w = noisy(d, estimate)
    terms = {"before": original(d), "after": Model(w, d.published(w)), "goal": retrained(d)}
    return Outcome(d, **(terms | {"epsilon": ball_epsilon(d)} | changed))


# ---- the attacks ---------------------------------------------------------------------------------


def seen(o: Outcome, F: Objective) -> np.ndarray:
    """Posteriors of the original and of the published model on F's samples, side by side."""
    both = (attacks.posteriors(model.at(F), model.w) for model in (o.before, o.after))
    return attacks.features(*both)


def loss_attack(o: Outcome) -> dict[str, float]:
    """Forgotten against test images by their loss alone, on rows that set no threshold."""
    groups = [o.after.at(sets(o.d)[name]) for name in ("forgotten", "unseen")]
    columns = (attacks.confidences(F, o.after.w) for F in groups)
    return read(attacks.attack(attacks.LOSS_THRESHOLD, *columns, seed=attack_seed(o.d)))


def held_out(o: Outcome) -> dict[str, float]:
    """Forgotten against test images by both models: balanced, on rows that fitted nothing."""
    features = (seen(o, sets(o.d)[name]) for name in ("forgotten", "unseen"))
    return read(attacks.attack(TWO_MODELS, *features, seed=attack_seed(o.d)))


def read(scores: attacks.Scores) -> dict[str, float]:
    """AUC and balanced accuracy, as `attacks.strength` has them, without intervals."""
    y = np.repeat([1, 0], [len(scores.members), len(scores.unseen)])
    said = np.concatenate([scores.members, scores.unseen])
    right = balanced_accuracy_score(y, said > scores.threshold)
    return {"AUC": float(roc_auc_score(y, said)), "accuracy": float(right)}


def attack_seed(d: Experiment) -> int:
    """What splits and seeds the attacks on d: the same for every switch."""
    return seed_of("attack unseen", d.seed)
