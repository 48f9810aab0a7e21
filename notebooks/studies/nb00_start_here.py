"""A toy where unlearning can be seen, a network where it can't, and the certificate of each
(overview).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearnlib.lab.plots import COLOURS, MARKERS, canvas, headline, runs, title
from unlearnlib.lab.results import Saved
from unlearnlib.text import number

SETS = ("forgotten", "retained", "test")
MODELS = ("trained", "unlearned", "retrained")
LINES = {"trained": "-", "unlearned": "-", "retrained": "--"}


def toy(results: Saved) -> Figure:
    """Forgetting where it can be seen: points, separating lines, and the plane of two weights
    (illustrates Theorem 3.4).
    """
    fig, (left, right) = canvas(2, height=4.2)
    points = results.table("toy points")
    weights = {row.model: (row.w1, row.w2) for row in results.table("toy weights").itertuples()}
    _points(left, points, weights)
    _plane(right, results, weights)
    return fig


def _points(ax: Axes, points: pd.DataFrame, weights: dict) -> None:
    """Draw the points, the ones to forget in orange, and the line of each model."""
    for label, marker in ((1, "o"), (-1, "s")):
        for forgotten, colour in ((False, "#bbbbbb"), (True, "#D55E00")):
            group = points[(points.y == label) & (points.forgotten == forgotten)]
            ax.scatter(group.x1, group.x2, marker=marker, color=colour, edgecolor="white", s=46)
    for model in MODELS:
        w1, w2 = weights[model]
        t = np.array([-1.0, 1.0])
        ax.plot(t, -t * w1 / w2, color=COLOURS[model], ls=LINES[model], label=model)
    count = int(points.forgotten.sum())
    ax.set(xlabel="x1", ylabel="x2", xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
    title(ax, f"{len(points)} points, {count} of them (orange) to forget")
    ax.legend(loc="lower left", fontsize=8, frameon=True)


def _plane(ax: Axes, results: Saved, weights: dict) -> None:
    """Draw the loss on the retained points over both weights, and the step as an arrow."""
    grid = results.numbers["toy landscape"]["value"]
    F_r = np.array(grid["values"])
    levels = F_r.min() + np.geomspace(2e-4, 0.5, 9)
    ax.contour(grid["w1"], grid["w2"], F_r, levels=levels, colors="#9db8cc", linewidths=0.9)
    for model, size in (("trained", 70), ("retrained", 190), ("unlearned", 45)):
        ax.scatter(
            *weights[model],
            color=COLOURS[model],
            marker=MARKERS[model],
            s=size,
            label=model,
            zorder=3,
        )
    ax.annotate(
        "",
        weights["unlearned"],
        weights["trained"],
        arrowprops={"arrowstyle": "->", "color": COLOURS["unlearned"]},
    )
    ax.set(xlabel="weight w1", ylabel="weight w2", aspect="equal")
    title(ax, "loss on the retained points; the arrow is one Newton step")
    ax.legend(fontsize=8, frameon=True)


def forgetting(results: Saved) -> Figure:
    """Forgetting on a network: accuracy on forgotten, retained and test images (main table, one
    pair).
    """
    fig, (ax,) = canvas()
    table = results.table("accuracy")
    for i, model in enumerate(MODELS):
        for j, samples in enumerate(SETS):
            values = table[(table.model == model) & (table.samples == samples)].accuracy * 100
            place = j + 0.22 * (i - 1)
            spots = place + np.linspace(-0.05, 0.05, len(values)) if len(values) > 1 else [place]
            ax.plot([place - 0.09, place + 0.09], [values.mean()] * 2, color=COLOURS[model], lw=3)
            ax.scatter(
                spots,
                values,
                color=COLOURS[model],
                marker=MARKERS[model],
                s=28,
                zorder=3,
                label=model if j == 0 else None,
                edgecolor="white",
                linewidth=0.5,
            )
    ax.set_xticks(range(len(SETS)), [f"{name} images" for name in SETS])
    ax.set(ylabel="accuracy (micro F1), %")
    title(ax, f"{results.numbers['title']['value']}, {runs(table.seed.nunique())}")
    ax.legend(loc="center")
    return fig


def price(results: Saved) -> Figure:
    """Accuracy under noise, and the epsilon that the noise buys (Theorem 2.3)."""
    fig, (ax,) = canvas(height=4.0)
    table = results.table("noise")
    spread = table.groupby("sigma").accuracy.agg(["mean", "min", "max"]) * 100
    ax.fill_between(spread.index, spread["min"], spread["max"], color="#CC79A7", alpha=0.25)
    ax.plot(spread.index, spread["mean"], color=COLOURS["released"], marker="v", label="released")
    ax.axhline(10, color="#999999", ls=":", lw=1)
    ax.text(spread.index[0], 11, "chance", ha="left", va="bottom", color="#777777", fontsize=8)
    needed = results.numbers["sigma for epsilon 1"]["value"]
    ax.axvline(needed, color="#000000", ls="--", lw=1)
    ax.annotate(
        f"epsilon = 1 takes\nsigma = {number(needed)}",
        (needed, 60),
        xytext=(-6, 0),
        textcoords="offset points",
        ha="right",
        fontsize=9,
    )
    ax.set(xscale="log", xlabel="sigma, noise in each weight", ylabel="test accuracy, %")
    ax.set_ylim(0, 100)
    top = ax.secondary_xaxis("top")
    budget = table.drop_duplicates("sigma").set_index("sigma").epsilon
    marks = budget.iloc[::2]
    top.set_xticks(marks.index, [number(value) for value in marks], fontsize=8)
    top.minorticks_off()
    top.set_xlabel("epsilon that it buys at 2C, delta = 1e-5", fontsize=9)
    told = results.numbers["title"]["value"]
    headline(fig, f"{told}, {runs(table.seed.nunique())}; band: least to most")
    return fig


FIGURES = (toy, forgetting, price)
