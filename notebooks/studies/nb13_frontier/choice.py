"""Which way to take: the one that gets to the accuracy of retraining with the least work.

choice_row(curves, case, asked, proved=True)
"""

from __future__ import annotations

import pandas as pd

from .ways import NOTHING, RETRAINING, TO_THE_END

AS_GOOD = 0.002  # of test accuracy that may be missing; ours


def choice_row(curves: pd.DataFrame, case: str, asked: str, proved: bool) -> dict:
    """Of the ways to answer this request the cheapest that is as good as retraining to the end.

    curves   the table "curves": case, asked, way, proved, gradients, accuracy
    proved   ask that the epsilon rests on no assumption
    """
    rows = curves[(curves.case == case) & (curves.asked == asked)]
    whole = rows[rows.way == TO_THE_END].iloc[0]
    among = rows[(rows.way != NOTHING) & (rows.proved | (not proved))]
    best = among[among.accuracy >= whole.accuracy - AS_GOOD].sort_values("gradients").iloc[0]
    return {
        "model": case,
        "asked": asked,
        "must be proved": proved,
        "take": best.way,
        "gradients": best.gradients,
        "accuracy": best.accuracy,
        "times less than retraining to the end": whole.gradients / max(best.gradients, 1),
    }


def ahead(curves: pd.DataFrame, way: str, asked: str) -> dict[str, float]:
    """By how much a way is more accurate than retraining at equal work, in the mean, by case."""
    table = curves[curves.asked == asked]
    return {
        case: _mean(rows[rows.way == way]) - _mean(rows[rows.way == RETRAINING])
        for case, rows in table.groupby("case", sort=False)
        if way in set(rows.way)
    }


def _mean(rows: pd.DataFrame) -> float:
    return float(rows["mean so far"].iloc[0])
