"""Which way to take: the one that gets to the accuracy of retraining with the least work.

choice_row(curves, case, asked, proved=True)      a row of the table "choices"
decisions(results)                                the page made of them
"""

from __future__ import annotations

import pandas as pd

from unlearnlib.lab.markdown import markdown
from unlearnlib.lab.results import Saved
from unlearnlib.text import number

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
        "n_u": int(best.n_u),
        "must be proved": proved,
        "take": best.way,
        "gradients": best.gradients,
        "seconds": best.seconds,
        "accuracy": best.accuracy,
        "retraining": whole.accuracy,
        "gradients of retraining": whole.gradients,
        "seconds of retraining": whole.seconds,
    }


COLUMNS = ("model", "n", "to forget", "must be proved", "take", "cost", "accuracy", "row")


def decisions(results: Saved) -> str:
    """The decision page's table: each question, which way to take, at which cost.

    `row` is the place of the deciding row in the table "curves" of results.json, from 0.
    """
    curves, known = results.table("curves"), results.table("known").set_index("case")
    choices = pd.DataFrame(results.numbers["choices"]["value"])
    either = choices.duplicated(["model", "asked", "take"], keep=False)
    choices["must be proved"] = choices["must be proved"].map({True: "yes", False: "no"})
    choices.loc[either, "must be proved"] = "either"
    rows = []
    for choice in choices.drop_duplicates(["model", "asked", "take"]).to_dict("records"):
        deciding = curves[
            (curves.case == choice["model"])
            & (curves.asked == choice["asked"])
            & (curves.way == choice["take"])
            & (curves.gradients == choice["gradients"])
        ]
        rows.append((
            choice["model"], f"{known.n[choice['model']]:,}", f"{choice['n_u']:,}",
            choice["must be proved"], choice["take"],
            f"{number(choice['gradients'])} gradients, {number(choice['seconds'])} s; retraining "
            f"{number(choice['gradients of retraining'])}, "
            f"{number(choice['seconds of retraining'])} s",
            f"{choice['accuracy']:.1%}; retraining {choice['retraining']:.1%}",
            f"{deciding.index[0]}",
        ))  # fmt: skip
    return markdown(COLUMNS, rows)


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
