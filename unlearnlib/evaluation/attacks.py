"""Membership inference: can an attacker tell forgotten samples from samples never seen?

Two attacks, both to be read beside the same attack on the retrained model, which has truly never
seen the forgotten samples: what an attack scores there is no failure of unlearning.

    scores = attack("logistic regression", members=features(...), unseen=features(...), seed=0)
    strength([scores])["AUC"]                # value, low, high
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor

from ..errors import require, require_choice
from ..objective import Objective
from .audit import finite
from .equivalence import Interval, over_seeds

LOSS_THRESHOLD = "loss threshold"
LOW_FPR = 0.01
RESAMPLES = 400

LEARNERS: dict[str, Callable[[int], ClassifierMixin]] = {
    "logistic regression": lambda seed: make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=1000, random_state=seed)
    ),
    "decision tree": lambda seed: DecisionTreeClassifier(min_samples_leaf=10, random_state=seed),
    "random forest": lambda seed: RandomForestClassifier(100, random_state=seed),
    "MLP": lambda seed: make_pipeline(
        StandardScaler(), MLPClassifier((32,), max_iter=300, random_state=seed)
    ),
}
ATTACKERS = (LOSS_THRESHOLD, *LEARNERS)


@dataclass(frozen=True)
class Scores:
    """An attacker's scores of samples that it was not fitted on: a higher one means "forgotten".

    members, unseen   one score each; `threshold` was chosen on the other half.
    """

    members: np.ndarray
    unseen: np.ndarray
    threshold: float


def features(before: Tensor, after: Tensor) -> np.ndarray:
    """Posteriors of two models on the same samples, sorted and side by side: (n, 2 classes).

    before, after   (n, classes) softmax outputs of the original and of the unlearned model. Both
    are sorted by the original's, descending, as "sorted concatenation" in Chen, Zhang, Wang,
    Backes, Humbert and Zhang, "When machine unlearning jeopardizes privacy" (2021), section 3.
    """
    finite(before, "before", 2), finite(after, "after", 2)
    order = before.argsort(dim=1, descending=True)
    return torch.cat([before.gather(1, order), after.gather(1, order)], 1).numpy()


def posteriors(F: Objective, w: Tensor) -> Tensor:
    """Softmax outputs on all samples of F, (n, classes), on the CPU."""
    with torch.no_grad():
        return torch.cat([F.outputs(w, x).softmax(-1).cpu() for x, _ in F.passes()])


def confidences(F: Objective, w: Tensor) -> np.ndarray:
    """log p(y|x) of the true label of each sample, minus its loss: (n, 1)."""
    with torch.no_grad():
        logs = [F.outputs(w, x).log_softmax(-1).gather(1, y[:, None]) for x, y in F.passes()]
    return torch.cat(logs).cpu().numpy()


def attack(attacker: str, members: np.ndarray, unseen: np.ndarray, seed: int) -> Scores:
    """Fit an attacker on one half of the samples, and return its scores of the other half.

    attacker   one of ATTACKERS. "loss threshold" takes `confidences` (one column), the others any
               features, such as `features` of posteriors.
    members    (n_u, k) of the forgotten samples; a random half is used to fit.
    unseen     (m, k) of samples that no model was trained on, m >= n_u; as many to fit, so that
               fitting is balanced, and all the rest are scored.

    Chen et al. fit on shadow models; an attacker who knows half of the true answers is stronger.
    The released code scores its attack on the rows that it was fitted on, 1,000 against 59,000.
    Raises InputError for fewer than four members, fewer unseen samples than members, or NaN.
    """
    require_choice("attacker", attacker, ATTACKERS)
    n, m = (len(finite(x, name, 2)) for x, name in ((members, "members"), (unseen, "unseen")))
    require(
        n >= 4 and m >= n,
        f"{n} forgotten and {m} unseen samples; give at least 4 forgotten and as many unseen.",
    )
    rng = np.random.default_rng(seed)
    half = n // 2
    members, unseen = rng.permutation(members), rng.permutation(unseen)
    x = np.concatenate([members[:half], unseen[:half]])
    y = np.repeat([1, 0], half)
    if attacker == LOSS_THRESHOLD:
        return Scores(members[half:, 0], unseen[half:, 0], _best_threshold(x[:, 0], y))
    with warnings.catch_warnings():  # an attack network that stops after 300 epochs is fine
        warnings.simplefilter("ignore", ConvergenceWarning)
        learner = LEARNERS[attacker](seed % 2**32).fit(x, y)
    scored = (learner.predict_proba(part[half:])[:, 1] for part in (members, unseen))
    return Scores(*scored, threshold=0.5)


def strength(runs: Sequence[Scores], seed: int = 0) -> dict[str, dict[str, float]]:
    """Mean over runs of accuracy, AUC and TPR at 1% FPR, each {"value", "low", "high"}.

    accuracy   balanced: (true positive + true negative rate)/2, so that 0.5 is chance.
    AUC        share of pairs (member, unseen) in the right order, ties half; 0.5 is chance.
    TPR        members found by the threshold that at most one unseen sample in a hundred exceeds.
    low, high  95% percentile bootstrap over the samples of each run; not over training seeds.
    """
    require(len(runs) > 0, "There are no scores to judge; give those of at least one attack.")
    for run in runs:
        finite(run.members, "members"), finite(run.unseen, "unseen")
        finite(run.threshold, "threshold", 0)
    rng = np.random.default_rng(seed)
    draws = [_resampled(run, rng) for run in runs]
    means = {name: np.mean([run[name] for run in draws], axis=0) for name in draws[0]}
    return {
        name: {
            "value": float(mean[0]),
            "low": float(np.quantile(mean[1:], 0.025)),
            "high": float(np.quantile(mean[1:], 0.975)),
        }
        for name, mean in means.items()
    }


def auc_difference(runs: Sequence[Scores], reference: Sequence[Scores]) -> Interval:
    """AUC of an attack on one model less that on another, such as the retrained one, over seeds.

    runs, reference   the attack's scores of the same samples, in the same order, at each seed

    The interval is 90%, over seeds and samples; the samples' part by the bootstrap, each resample
    of them judged with both models.
    """
    rng, values, variances = np.random.default_rng(0), [], []
    for one, other in zip(runs, reference, strict=True):
        same = [len(one.members), len(one.unseen)] == [len(other.members), len(other.unseen)]
        require(same, "The two attacks scored different samples; give both on the same.")
        drawn = [_with_resamples(len(s), rng) for s in (one.members, one.unseen)]
        ours, theirs = (
            _metrics(run.members[drawn[0]], run.unseen[drawn[1]], run.threshold)["AUC"]
            for run in (one, other)
        )
        values.append(ours[0] - theirs[0])
        variances.append(float((ours - theirs)[1:].var()))
    return over_seeds(values, variances)


def margins(F: Objective, w: Tensor) -> np.ndarray:
    """log p_y/(1 - p_y) of each sample: its true logit less the logsumexp of the others, (n,)."""
    with torch.no_grad():
        each = [_margin(F.outputs(w, x), y) for x, y in F.passes()]
    return torch.cat(each).double().cpu().numpy()


def _margin(logits: Tensor, y: Tensor) -> Tensor:
    own = logits.gather(1, y[:, None])
    others = logits.scatter(1, y[:, None], -torch.inf)
    return (own - others.logsumexp(1, keepdim=True))[:, 0]


def _with_resamples(count: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of all samples, then of RESAMPLES bootstrap samples of them, row by row."""
    return np.vstack([np.arange(count), rng.integers(count, size=(RESAMPLES, count))])


def _resampled(run: Scores, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Each metric on the scores themselves, then on RESAMPLES bootstrap samples of them."""
    drawn = [scores[_with_resamples(len(scores), rng)] for scores in (run.members, run.unseen)]
    return _metrics(*drawn, run.threshold)


def _metrics(members: np.ndarray, unseen: np.ndarray, threshold: float) -> dict[str, np.ndarray]:
    """Each metric of every row: members (k, n), unseen (k, m)."""
    n, m = members.shape[1], unseen.shape[1]
    ranks = rankdata(np.hstack([members, unseen]), axis=1)[:, :n]
    last = m - 1 - int(LOW_FPR * m)  # those above it are the false positives allowed
    cut = np.partition(unseen, last, axis=1)[:, [last]]
    right = np.mean(members > threshold, axis=1) + np.mean(unseen <= threshold, axis=1)
    return {
        "accuracy": right / 2,
        "AUC": (ranks.sum(1) - n * (n + 1) / 2) / (n * m),
        "TPR at 1% FPR": np.mean(members > cut, axis=1),
    }


def _best_threshold(scores: np.ndarray, y: np.ndarray) -> float:
    """The score above which "member" is right most often, for equal numbers of both."""
    order = np.argsort(scores)
    gained = np.cumsum(np.where(y[order] == 0, 1, -1))
    last_of_its_value = np.append(np.diff(scores[order]) > 0, True)
    best = int(np.argmax(np.where(last_of_its_value, gained, -len(y))))
    return float(scores[order[best]])
