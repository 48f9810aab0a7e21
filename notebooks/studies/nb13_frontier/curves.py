"""Accuracy against compute at a given epsilon.

rows = curve(case, forget, way, 1.0, setting, seed=0)      gradients spent, accuracy
"""

from __future__ import annotations

from torch import Tensor

from unlearnlib.evaluation.metrics import accuracy
from unlearnlib.lab.store import load_or_make

from .cases import EPOCHS, Case
from .way import Setting, Way, left

RECIPE = 3  # of a stored curve: raise it when its numbers change


def curve(
    case: Case, forget: Tensor, way: Way, epsilon: float, setting: Setting, seed: int
) -> list[dict]:
    """Accuracy by work: right after the noise, and after each epoch of training on from there.

    gradients   of all retained images, since the request
    seconds     since the request, without those that judging takes
    """
    named = {"way": way.name, "epsilon": epsilon, "setting": setting, "seed": seed}
    key = {"case": case.key, "without": forget.tolist(), **named}
    made = load_or_make(
        "frontier",
        key,
        lambda: ({}, {"rows": _made(case, forget, way, epsilon, setting, seed)}),
        RECIPE,
    )
    return made.info["rows"]


def _made(
    case: Case, forget: Tensor, way: Way, epsilon: float, setting: Setting, seed: int
) -> list[dict]:
    begun = way.begin(case, forget, epsilon, setting, seed)
    scores, a_pass = [accuracy(case.judge, begun.w)], 0.0
    further = int(EPOCHS - begun.gradients) if way.goes_on else 0
    if further > 0:
        after, a_pass = case.train_on(left(case, forget), begun.w, further, seed)
        scores += after
    return [
        {
            "gradients": begun.gradients + epoch,
            "seconds": begun.seconds + epoch * a_pass,
            "accuracy": score,
        }
        for epoch, score in enumerate(scores)
    ]


def mean_accuracy(rows: list[dict]) -> float:
    """The mean accuracy at 1, 2, ..., EPOCHS gradients of what a curve had reached until then.

    0 where it had published nothing yet.
    """
    at = [
        [row["accuracy"] for row in rows if row["gradients"] <= work]
        for work in range(1, EPOCHS + 1)
    ]
    return sum(reached[-1] if reached else 0.0 for reached in at) / EPOCHS
