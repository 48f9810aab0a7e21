"""The radius `C` against bound, real error and accuracy (ablation)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearnlib.bounds import trivial_bound
from unlearnlib.lab import curvature, step
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.plots import COLOURS, MARKERS, canvas, radius, runs, title
from unlearnlib.lab.results import Saved


def radius_row(d: Experiment, lam: float) -> dict:
    """Bound, real error and scores in one ball: that of d, for both trainings.

    start, norm   of the weights before training (and before any projection), and after it
    projected     the largest share of an epoch's steps that ended outside the ball
    """
    known, w = curvature.measure(d), step.estimate(d, lam)
    row = {"lam_min": known.lam_min, "M": known.M, "G": curvature.residual(d)}
    row |= {"start": float(d.F.initial().norm()), "norm": float(d.w.double().norm())}
    row["projected"] = max(epoch["projected"] for epoch in d.trained.history)
    row |= {"bound": curvature.bound(d, lam)["bound"], "2C": trivial_bound(d.pair.C)}
    return row | step.error(d, w) | step.accuracies(d, w)


def acts(row: pd.Series, C: float) -> str:
    """What the ball did to training, in words, from the mean of `radius_row` over seeds."""
    if row.start > C:
        return f"training starts outside, at norm {row.start:.1f}, and ends at {row.norm:.1f}"
    if row.projected == 0:
        return "the ball acts on no step, so that all is as without it"
    return f"the ball projects up to {row.projected:.0%} of an epoch's steps"


# ---- figures -----------------------------------------------------------------------------------


def bounds(results: Saved) -> Figure:
    """Bound, 2C and real error by radius (ablation of C)."""
    lines = {
        "bound": "bound (Theorem 3.4 with G)",
        "2C": "2C",
        "nothing": "nothing is done",
        "error": "real error",
    }
    look = {
        "bound": COLOURS["bound"],
        "2C": COLOURS["2C"],
        "nothing": COLOURS["trained"],
        "error": COLOURS["unlearned"],
    }
    table = results.table("radii")
    fig, axes = canvas(table.pair.nunique(), height=4.0)
    for ax, (pair, of_pair) in zip(axes, table.groupby("pair", sort=False), strict=True):
        for name, label in lines.items():
            size = {"ms": 9} if name == "nothing" else {}
            finite = of_pair[np.isfinite(of_pair[name])]
            _by_radius(ax, finite, name, of_pair, color=look[name], label=label, **size)
        ax.set(yscale="log", ylabel="distance to retraining")
        _finished(ax, results, pair, of_pair)
    fig.legend(
        *axes[0].get_legend_handles_labels(), fontsize=9, loc="outside lower center", ncols=3
    )
    return fig


def scores(results: Saved) -> Figure:
    """Accuracy by radius."""
    table = results.table("radii")
    fig, axes = canvas(table.pair.nunique(), height=3.8)
    for ax, (pair, of_pair) in zip(axes, table.groupby("pair", sort=False), strict=True):
        for name in ("trained", "unlearned", "retrained"):
            _by_radius(
                ax,
                of_pair,
                f"forgotten, {name}",
                of_pair,
                100,
                color=COLOURS[name],
                marker=MARKERS[name],
                label=f"forgotten images, {name}",
            )
        for name, style in (("trained", ":"), ("retrained", "--")):
            _by_radius(
                ax,
                of_pair,
                f"test, {name}",
                of_pair,
                100,
                color="#000000",
                ls=style,
                marker="",
                label=f"test images, {name}",
            )
        ax.set(ylabel="accuracy (micro F1), %")
        _finished(ax, results, pair, of_pair)
    fig.legend(
        *axes[0].get_legend_handles_labels(), fontsize=9, loc="outside lower center", ncols=3
    )
    return fig


def _by_radius(
    ax: Axes, rows: pd.DataFrame, y: str, whole: pd.DataFrame, factor: float = 1.0, **look
) -> None:
    """Draw mean and range by radius, the radii evenly spaced so that "none" has a place."""
    places = {C: i for i, C in enumerate(sorted(whole.C.unique()))}
    values = factor * rows.groupby("C")[y].agg(["mean", "min", "max"])
    where = [places[C] for C in values.index]
    ax.fill_between(where, values["min"], values["max"], color=look["color"], alpha=0.15, lw=0)
    ax.plot(where, values["mean"], **{"marker": "o", "ms": 5, "lw": 1.5} | look)


def _finished(ax: Axes, results: Saved, pair: str, of_pair: pd.DataFrame) -> None:
    """Add radii, axis label and title to a panel."""
    radii = sorted(of_pair.C.unique())
    ax.set_xticks(range(len(radii)), [radius(C) for C in radii])
    ax.set_xlabel("radius C of both trainings")
    told = f"{results.numbers['titles']['value'][pair]}, {runs(of_pair.seed.nunique())}"
    title(ax, told)


FIGURES = (bounds, scores)
