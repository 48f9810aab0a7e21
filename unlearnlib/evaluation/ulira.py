"""U-LiRA: can an attacker with shadow models tell which samples a model has forgotten?

    found = u_lira(margins, forgot, fit=range(48))      # margins of 64 unlearned models
    found.auc, found.tpr                                # 0.5 and 0.01 are chance

For each sample the attacker fits one Gaussian to the margins of models that were trained on it and
then unlearned it, and one to those of models that never saw it (Hayes, Shumailov, Triantafillou,
Khalifa and Papernot, 2024; the attack is LiRA of Carlini et al., 2022, per sample). A model that
the attacker has not fitted on is then scored by N_u / (N_u + N_n). What is often seen and is wrong:
fitting to right and wrong answers, which are no Gaussian, and scoring the models that were fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from scipy.stats import norm

from ..errors import require
from .attacks import Scores, strength
from .audit import finite

NARROWEST = 1e-3  # a standard deviation of margins: of models that all say the same
LEAST = 2  # models on each side of a sample, to fit a Gaussian


@dataclass(frozen=True)
class ULira:
    """Strength of the attack over all scored pairs of a model and a sample.

    auc      share of pairs (forgotten, never seen) in the right order; 0.5 is chance
    tpr      forgotten ones found at one false alarm in a hundred; 0.01 is chance
    scored   how many pairs of each kind
    """

    auc: float
    tpr: float
    scored: tuple[int, int]


def u_lira(margins: ArrayLike, forgot: ArrayLike, fit: Sequence[int]) -> ULira:
    """Fit the attack on some models, and return its strength on the others.

    margins   (K, n): log p_y/(1 - p_y) of each of n samples in each of K released models
    forgot    (K, n) booleans: whether the model was trained on the sample and then unlearned it;
              the others never saw it
    fit       the models that the attacker has; it is scored on the others

    A sample that fewer than two fitted models forgot, or never saw, is left out. Raises InputError
    where no model or no sample is left.
    """
    margins, forgot = finite(margins, "margins", 2), np.asarray(forgot, dtype=bool)
    require(
        margins.shape == forgot.shape,
        f"margins have shape {margins.shape} and forgot {forgot.shape}; give both as (K, n).",
    )
    fitted = np.isin(np.arange(len(margins)), list(fit))
    enough = _enough(forgot[fitted]) & _enough(~forgot[fitted])
    require(
        0 < fitted.sum() < len(fitted) and bool(enough.any()),
        f"{int(fitted.sum())} of {len(fitted)} models are fitted, and {int(enough.sum())} samples "
        f"have {LEAST} fitted models on each side; leave models to score, and give more models.",
    )
    unlearned = _gaussian(margins[fitted], forgot[fitted])
    never = _gaussian(margins[fitted], ~forgot[fitted])
    log_odds = norm.logpdf(margins, *unlearned) - norm.logpdf(margins, *never)
    judged, truth = expit(log_odds[~fitted][:, enough]), forgot[~fitted][:, enough]
    scores = Scores(judged[truth], judged[~truth], threshold=0.5)
    found = strength([scores])
    counts = (len(scores.members), len(scores.unseen))
    return ULira(found["AUC"]["value"], found["TPR at 1% FPR"]["value"], counts)


def _enough(mask: np.ndarray) -> np.ndarray:
    return mask.sum(0) >= LEAST


def _gaussian(margins: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each sample's margins over the models in the mask."""
    count = np.maximum(mask.sum(0), 1)
    mean = (margins * mask).sum(0) / count
    variance = (((margins - mean) ** 2) * mask).sum(0) / np.maximum(count - 1, 1)
    return mean, np.maximum(variance**0.5, NARROWEST)
