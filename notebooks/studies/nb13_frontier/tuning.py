"""The one rule by which all knobs are tuned.

settings, rows = tuned_together(builders)          all cases, in several processes
settings[case.name, way.name, asked]               what is kept, for a request of this size

**The rule.** Each setting is tried once, at epsilon = 1, on a request as large as the paper's, on a
fifth of the training images that no training saw. Kept is the one whose accuracy is highest in the
mean over the budget: EPOCHS gradients of all retained images, noisy ones included. Where that is
equal, as of ways whose first release takes more than the budget, that release decides. A way that
is trained for requests of one size is tuned for each size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from unlearnlib.errors import UnlearnError
from unlearnlib.lab.parallel import each
from unlearnlib.lab.settings import TUNING_SEED
from unlearnlib.text import number

from .cases import AS_PAPER, SIZES, Case
from .curves import curve, mean_accuracy
from .way import Setting, Way
from .ways import taking_part


@dataclass(frozen=True)
class Tuned:
    """The setting kept, and the trials: {"setting", "score", "first"} or {"setting", "refused"}."""

    setting: Setting
    trials: list[dict]


def tuned(case: Case, way: Way, asked: str = AS_PAPER) -> Tuned:
    """The setting that is best on held-out images; the mildest of equals."""
    settings, held_out = list(way.settings(case)), case.held_out
    if len(settings) == 1:
        return Tuned(settings[0], [])
    forget, trials = held_out.requests()[asked], []
    for setting in settings:
        try:
            rows = curve(held_out, forget, way, 1.0, setting, TUNING_SEED)
            scores = {"score": mean_accuracy(rows), "first": rows[0]["accuracy"]}
            trials.append({"setting": setting} | scores)
        except UnlearnError as refusal:
            trials.append({"setting": setting, "refused": str(refusal)})
    return Tuned(max(trials, key=_worth)["setting"], trials)


def _worth(trial: dict) -> tuple[float, float]:
    return trial.get("score", -1.0), trial.get("first", -1.0)


def tuned_together(
    builders: Sequence[Callable[[], Case]],
) -> tuple[dict[tuple[str, str, str], Setting], list[dict]]:
    """What is kept, by case, way and request, and a row a trial."""
    settings, rows = {}, []
    for case, kept in each([partial(_of_case, build) for build in builders], "tuning"):
        for (way, asked), (best, sized) in kept.items():
            settings[case, way, asked] = best.setting
            if sized or asked == AS_PAPER:
                name = f"{way}, {asked}" if sized else way
                rows += [_row(case, name, trial, best) for trial in best.trials]
    return settings, rows


def _of_case(build: Callable[[], Case]) -> tuple[str, dict[tuple[str, str], tuple[Tuned, bool]]]:
    """For each way and size of request what is kept, and whether that size has its own."""
    case, kept = build(), {}
    for way in taking_part(case):
        paper = tuned(case, way)
        for asked in SIZES:
            best = tuned(case, way, asked) if way.sized and asked != AS_PAPER else paper
            kept[way.name, asked] = best, way.sized
    return case.name, kept


def _row(case: str, way: str, trial: dict, best: Tuned) -> dict:
    said = ", ".join(f"{knob} {number(value)}" for knob, value in trial["setting"].items())
    kept = trial["setting"] == best.setting
    return {"case": case, "way": way, "kept": kept} | trial | {"setting": said}
