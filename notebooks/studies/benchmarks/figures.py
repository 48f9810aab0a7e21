"""The figure of `make bench`: how many times faster than its task's reference each contender is."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from unlearnlib.lab.plots import canvas, headline, wrapped
from unlearnlib.lab.results import Saved
from unlearnlib.text import number

COLOURS = {"ours": "#D55E00", "reference": "#0072B2", "theirs": "#999933", "prepared": "#666666"}
THEIRS = ("curvlinops", "dense", "released")


def speed(results: Saved) -> Figure:
    """How many times faster than its reference each contender is, task by task, and the residual
    that it reached.
    """
    timed = results.table("timings").dropna(subset=["times faster"]).reset_index(drop=True)
    fig, (ax,) = canvas(height=0.27 * (len(timed) + 2 * timed.task.nunique()))
    place, places, labels = 0.0, [], []
    for task, of_task in timed.groupby("task", sort=False):
        ax.text(
            0.0,
            place,
            wrapped(task, 9),
            transform=ax.get_yaxis_transform(),
            fontsize=9,
            weight="bold",
            va="center",
        )
        for _, row in of_task.iterrows():
            place += 1
            colour = COLOURS[_side(row)]
            ax.barh(place, row["times faster"] - 1, left=1, color=colour, height=0.7)
            ax.plot(row["times faster"], place, "o", ms=4, color=colour)
            text = f" {number(row['times faster'])}x" + _residual(row)
            ax.text(max(row["times faster"], 1), place, text, fontsize=8, va="center")
            places.append(place)
            labels.append(row.contender)
        place += 1.6
    ax.axvline(1, color="#000000", lw=1)
    ax.set(xscale="log", xlabel="times faster than the reference (1)")
    ax.set_yticks(places, labels, fontsize=8)
    ax.set_ylim(place - 0.6, -0.8)
    ax.set_xlim(min(0.2, timed["times faster"].min() / 2), timed["times faster"].max() * 30)
    ax.grid(axis="y", visible=False)
    headline(fig, "orange: this package; grey: prepared beforehand; green: others; blue: reference")
    return fig


def _side(row: pd.Series) -> str:
    """Whose contender this is: a key of COLOURS."""
    if row["times faster"] == 1:
        return "reference"
    if row.contender.startswith("("):
        return "prepared"
    return "theirs" if any(name in row.contender for name in THEIRS) else "ours"


def _residual(row: pd.Series) -> str:
    """The residual that the contender reached, as text; empty where it has none."""
    value = row.get("residual")
    return f", residual {number(value)}" if value is not None and value == value else ""


FIGURES = (speed,)
