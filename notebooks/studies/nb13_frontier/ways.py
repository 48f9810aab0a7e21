"""All ways to forget, by name.

for way in taking_part(case):
    begun = way.begin(case, forget, epsilon, setting, seed)
"""

from __future__ import annotations

from . import balls, descents, forerunners, noiseless, private
from .balls import PAPER
from .cases import Case
from .descents import OURS
from .noiseless import NOTHING, RETRAINING, TO_THE_END
from .way import Way

__all__ = ["NOTHING", "OURS", "PAPER", "RETRAINING", "TO_THE_END", "WAYS", "taking_part"]

WAYS = {
    way.name: way
    for part in (noiseless, balls, descents, private, forerunners)
    for way in part.WAYS
}


def taking_part(case: Case) -> list[Way]:
    return [way for way in WAYS.values() if way.takes(case)]
