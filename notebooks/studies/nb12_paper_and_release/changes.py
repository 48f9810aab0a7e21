"""What the rows say: how far each switch moves each score, and what it leaves of the promise.

A score has moved where it changes, in the mean over the seeds of its switch, by more than two
retrainings differ at any seed, and by more than two seeds of the paper's reading differ. For a
distance the second alone decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from .outcome import COLUMNS

ROUNDING = 1e-9  # so that one image more is not more than one image
PROMISES = ("finite", "infinite", "no theorem")


def changes(table: pd.DataFrame, against: Mapping[str, str]) -> list[dict]:
    """One dict for each switch and column: change, yardstick, moved.

    table     `rows`, of switches and references
    against   switch -> its reference; both are compared at the seeds that the switch has
    """
    by_name = {name: own.set_index("seed") for name, own in table.groupby("switch", sort=False)}
    found = []
    for switch, reference in against.items():
        own, other = by_name[switch], by_name[reference]
        prefix = "BatchNorm, " if reference.startswith("BatchNorm") else ""
        goal = by_name["BatchNorm, retrained" if prefix else "retrained"]
        another = by_name[f"{prefix}another seed" if prefix else "retrained, another seed"]
        for column in COLUMNS:
            change = float((own[column] - other.loc[own.index, column]).mean())
            seeds = two_seeds(by_name[f"{prefix}paper's reading"][column])
            retrainings = float((goal[column] - another[column]).abs().max())
            differ = seeds if column == "distance" else max(seeds, retrainings)
            moved = abs(change) > differ + ROUNDING
            row = {"switch": switch, "column": column, "change": change}
            found.append({**row, "yardstick": differ, "moved": moved})
    return found


def two_seeds(values: pd.Series) -> float:
    """The mean difference of two seeds; 0 where there is one."""
    listed = list(values)
    apart = [abs(a - b) for i, a in enumerate(listed) for b in listed[:i]]
    return sum(apart) / len(apart) if apart else 0.0


def promises(table: pd.DataFrame) -> dict[str, str]:
    """Of each switch: whether its epsilon is finite, infinite, or nothing is proved."""
    first = table.groupby("switch", sort=False).first()
    return {name: _promise(first.epsilon.get(name)) for name in first.index}


def _promise(epsilon: float | None) -> str:
    if epsilon is None or math.isnan(epsilon):
        return "no theorem"
    return "infinite" if math.isinf(epsilon) else "finite"
