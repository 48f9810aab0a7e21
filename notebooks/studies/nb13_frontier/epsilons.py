"""Accuracy along epsilon, every way at the setting that is kept at epsilon = 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from unlearnlib.lab.parallel import each

from .cases import AS_PAPER, Case
from .curves import curve
from .figures import WHEN
from .way import Setting
from .ways import taking_part

EPSILONS = (0.1, 1.0, 10.0, 50.0)


def along_epsilon(
    builders: Sequence[Callable[[], Case]], settings: Mapping[tuple[str, str, str], Setting]
) -> list[dict]:
    """The rows of all cases, in several processes; settings as of `tuning.tuned_together`."""
    calls = [partial(_of_case, build, settings) for build in builders]
    return [row for rows in each(calls, "epsilons") for row in rows]


def _of_case(
    build: Callable[[], Case], settings: Mapping[tuple[str, str, str], Setting]
) -> list[dict]:
    """A row a way and epsilon: accuracy right after the noise, and the best within the budget."""
    case, rows = build(), []
    forget = case.requests()[AS_PAPER]
    for way in taking_part(case):
        setting = settings[case.name, way.name, AS_PAPER]
        for epsilon in EPSILONS:
            points = curve(case, forget, way, epsilon, setting, case.seed)
            scores = [point["accuracy"] for point in points]
            found = dict(zip(WHEN, (scores[0], max(scores)), strict=True))
            rows.append({"case": case.name, "way": way.name, "epsilon": epsilon} | found)
    return rows
