"""A way to forget: its knobs, the weights that it begins with, and what its epsilon rests on.

begun = way.begin(case, forget, epsilon, setting, seed)      Noisy, certified for epsilon
case.train_on(left(case, forget), begun.w, epochs, seed)     costs no privacy any more

Knobs are given in units of a logit, so that one list suits all models: weights in 1/case.scale,
gradients in case.scale. A setting that a method's authors published is taken as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from unlearnlib.evaluation.peers import Noisy
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.objective import Objective

from .cases import PROVED, Case

Setting = dict[str, float]
NOTHING_ASSUMED = "nothing"


@dataclass(frozen=True)
class Way:
    """A way to forget.

    settings   (case) -> values of the knobs to try, mildest first
    begin      (case, forget, epsilon, setting, seed) -> Noisy: what it publishes first
    takes      (case) -> whether its theorem speaks of this case
    rests_on   the constants that the epsilon takes for granted, in words; proved in some cases
    gap        what no constant makes up for: "" where the proof is whole
    goes_on    whether it is trained on, without noise, where the budget allows that
    sized      whether it is trained for requests of one size, and so tuned for each
    """

    name: str
    settings: Callable[[Case], Sequence[Setting]] = field(repr=False)
    begin: Callable[[Case, Tensor, float, Setting, int], Noisy] = field(repr=False)
    takes: Callable[[Case], bool] = field(repr=False, default=lambda case: True)
    rests_on: str = NOTHING_ASSUMED
    gap: str = ""
    goes_on: bool = True
    sized: bool = False

    def proved(self, case: Case) -> bool:
        """Whether its epsilon is proved in this case."""
        sure = self.rests_on == NOTHING_ASSUMED or case.known.source == PROVED
        return sure and not self.gap


def left(case: Case, forget: Tensor) -> Objective:
    """The objective on what is retained."""
    return case.F.without(forget)


def drawn(purpose: str, seed: int) -> dict:
    """A generator of batches and a seed of noise, for this purpose."""
    return {"generator": generator(purpose, seed), "seed": seed_of(purpose, seed)}


def no_knob(case: Case) -> list[Setting]:
    return [{}]


def published(**setting: float) -> Callable[[Case], list[Setting]]:
    """The one setting that a method's authors used."""
    return lambda case: [setting]
