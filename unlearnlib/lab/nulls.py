"""A rule may judge only where it tells retraining from doing nothing, on the results at hand.

    judged = judge(rule, "certified (CG)")       # judged.verdict, judged.why, judged.null

`rule(who)` judges any model of the results. Before our method's turn it is asked about models whose
verdict is known: an independent retraining must be called "reproduced", and neither doing nothing
nor noise alone may be. If it fails at one of them, then whatever it says of the method says nothing
of the method, and the verdict is "not judged".

Rules on costs, on constants and on the path of the algorithm ask nothing about closeness to
retraining, so that these models are no test of them: they need none.

A margin that is a third of what there is to unlearn shuts out doing nothing by construction. What
the test adds is the other side: it is met only where the runs can tell retraining from that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

REPRODUCED, PARTLY, NOT_REPRODUCED = "reproduced", "partly", "not reproduced"
NOT_JUDGED = "not judged"
Verdict = tuple[str, str]
Rule = Callable[[str], Verdict]

# who must be called reproduced, and who must not, by the names of contenders
RIGHT = {"another retraining": "elsewhere"}
WARM = {"a warm-started retraining": "again"}  # where the reference is a point in weight space
WRONG = {"doing nothing": "trained", "noise alone": "noise alone"}


@dataclass(frozen=True)
class Judged:
    """A verdict with its reason and its null test.

    null   what the rule said of the models that it was tested on; or, in words, why it needs none
    """

    verdict: str
    why: str
    null: dict[str, str] | str


def judge(
    rule: Rule, ours: str, right: Mapping[str, str] = RIGHT, wrong: Mapping[str, str] = WRONG
) -> Judged:
    """Ask `rule` about `ours`, and let its answer count only if it passes its null test.

    right, wrong   what a model is -> its name, for models that must, or must not, be called
                   "reproduced"
    """
    return judge_by(rule, rule(ours), right, wrong)


def judge_by(
    measure: Rule,
    verdict: Verdict,
    right: Mapping[str, str] = RIGHT,
    wrong: Mapping[str, str] = WRONG,
) -> Judged:
    """Let a verdict count only if the measure behind it passes its null test.

    For a claim on how a measure changes, say with a damping: `measure` says of any one model
    whether it is close to retraining.
    """
    said = {what: measure(who) for what, who in {**right, **wrong}.items()}
    misjudged = [
        f"{what} would be {found!r} ({why})"
        for what, (found, why) in said.items()
        if (found == REPRODUCED) != (what in right)
    ]
    null = {what: found for what, (found, _) in said.items()}
    if misjudged and verdict[0] != NOT_JUDGED:
        return Judged(NOT_JUDGED, f"by this rule {' and '.join(misjudged)}; {verdict[1]}", null)
    return Judged(*verdict, null)


def without_null(verdict: Verdict, reason: str) -> Judged:
    """A verdict that needs no null test, with the reason: it is not about closeness to retraining.

    Say "of costs", "of constants", "of the algorithm's path", ...
    """
    return Judged(*verdict, f"none: {reason}")


def over_pairs(judged: Mapping[str, Judged]) -> Judged:
    """The verdict on a claim about most configurations, from the verdicts on each of them.

    Reproduced if it is in more than half of them all, whatever the others say; if it can no longer
    be, "partly" where it is in some, or partly, and else not reproduced; before that, not judged.
    """
    verdicts = [each.verdict for each in judged.values()]
    won, lost = verdicts.count(REPRODUCED), verdicts.count(NOT_REPRODUCED) + verdicts.count(PARTLY)
    if 2 * won > len(verdicts):
        verdict = REPRODUCED
    elif 2 * lost >= len(verdicts):
        verdict = PARTLY if won or PARTLY in verdicts else NOT_REPRODUCED
    else:
        verdict = NOT_JUDGED
    why = "; ".join(f"{pair} {each.verdict}: {each.why}" for pair, each in judged.items())
    nulls = {pair: each.null for pair, each in judged.items()}
    if any(isinstance(null, str) for null in nulls.values()):
        return Judged(verdict, why, next(iter(nulls.values())))
    found = {f"{pair}, {what}": said for pair, null in nulls.items() for what, said in null.items()}
    return Judged(verdict, why, found)
