"""Ways without noise: retraining, within the budget or to the end, and doing nothing.

To the end a model with a proof is retrained with the eigenvectors of all inputs, which a request
has for nothing. One that is published makes its own: `input_spectrum`, once.
"""

from __future__ import annotations

import math

from torch import Tensor

from unlearnlib.evaluation.peers import Noisy

from .cases import Case
from .way import Setting, Way, no_knob

RETRAINING, TO_THE_END, NOTHING = "retraining", "retraining, to the end", "nothing is done"


def _retraining(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    return Noisy(case.start, lambda delta: 0.0, 0.0, 0.0)


def _to_the_end(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    w, gradients, seconds = case.retrained(forget)
    return Noisy(w, lambda delta: 0.0, gradients, seconds)


def _nothing(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    return Noisy(case.w, lambda delta: math.inf, 0.0, 0.0)


WAYS = (
    Way(RETRAINING, no_knob, _retraining),
    Way(TO_THE_END, no_knob, _to_the_end, goes_on=False),
    Way(NOTHING, no_knob, _nothing, gap="it promises nothing", goes_on=False),
)
