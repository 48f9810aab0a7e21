"""What the rows say: how far each switch moves each score, and what it leaves of the promise.

A score has moved where it changes, in the mean over the seeds of its switch, by more than two
retrainings differ at any seed, and by more than two seeds of the paper's reading differ. For a
distance the second alone decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

ROUNDING = 1e-9  # so that one image more is not more than one image


def by_switch(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each switch and reference, by seed; `table` is "rows"."""
    return {name: rows.set_index("seed") for name, rows in table.groupby("switch", sort=False)}


def change_row(rows: Mapping[str, pd.DataFrame], switch: str, reference: str, column: str) -> dict:
    """How far a switch moves one score from its reference, at the seeds that the switch has.

    rows        of `by_switch`
    yardstick   how far two retrainings, or two seeds of the paper's reading, differ
    moved       whether the change is larger than that
    """
    prefix = "BatchNorm, " if reference.startswith("BatchNorm") else ""
    after, before = rows[switch][column], rows[reference][column]
    change = float((after - before.loc[after.index]).mean())
    yardstick = two_seeds(rows[f"{prefix}paper's reading"][column])
    if column != "distance":
        goal = rows[f"{prefix}retrained"][column]
        another = rows["BatchNorm, another seed" if prefix else "retrained, another seed"][column]
        yardstick = max(yardstick, float((goal - another).abs().max()))
    return {
        "switch": switch,
        "column": column,
        "change": change,
        "yardstick": yardstick,
        "moved": abs(change) > yardstick + ROUNDING,
    }


def two_seeds(values: pd.Series) -> float:
    """The mean difference of two seeds; 0 where there is one."""
    listed = list(values)
    apart = [abs(a - b) for i, a in enumerate(listed) for b in listed[:i]]
    return sum(apart) / len(apart) if apart else 0.0


def promise(epsilon: float | None) -> str:
    """Say what an epsilon promises: "finite", "infinite", or "no theorem" where none is proved."""
    if epsilon is None or math.isnan(epsilon):
        return "no theorem"
    return "infinite" if math.isinf(epsilon) else "finite"
