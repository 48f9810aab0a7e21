"""The figures of 04_utility."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..results import Saved
from . import COLOURS, MARKERS, by_method, canvas, headline, runs, wrapped

SETS = ("forgotten", "retained", "test")
RETRAINED = ("retrained", "elsewhere")
ENDS = {"same seed": "D", "another seed": "s", "warm start": "o"}


def scores(results: Saved, pair: str) -> Figure:
    """F1 on the three sets, one dot a seed, a bar at the mean; the band is retraining, twice."""
    fig, axes = canvas(3, width=4.2, height=4.4)
    table = results.table("scores").query("pair == @pair")
    methods = list(table.method.unique())
    for i, (ax, samples) in enumerate(zip(axes, SETS, strict=True)):
        again = 100 * table[table.method.isin(RETRAINED)][samples]
        ax.axvspan(again.min(), again.max(), color=COLOURS["retrained"], alpha=0.12, lw=0)
        places = by_method(ax, methods, labelled=i == 0)
        for name, place in places.items():
            _dots(ax, 100 * table[table.method == name][samples], place, name)
        ax.set(xlabel="accuracy (micro F1), %", title=f"on {samples} images")
        ax.grid(axis="y", visible=False)
    headline(
        fig,
        f"{results.numbers['titles']['value'][pair]}, {runs(table.seed.nunique())} (dots; bars: "
        "means); band: least to most of the retrained models",
    )
    return fig


def closeness(results: Saved) -> Figure:
    """Tug-of-War of each method on each pair: 1 is retraining itself."""
    table = results.table("scores")
    table = table[table.method != "retrained"]
    pairs = list(table.pair.unique())
    fig, axes = canvas(len(pairs), width=4.6, height=4.4)
    methods = list(table.method.unique())
    for i, (ax, pair) in enumerate(zip(axes, pairs, strict=True)):
        own = table[table.pair == pair]
        places = by_method(ax, methods, labelled=i == 0)
        for name, place in places.items():
            _dots(ax, own[own.method == name].ToW, place, name)
        best = own[own.method == "trained"].ToW.mean()
        ax.axvline(best, color=COLOURS["trained"], ls="--", lw=1)
        ax.set_title(_title(results, pair, runs(own.seed.nunique())), fontsize=9)
        ax.set_xlabel("Tug-of-War against retraining")
        ax.grid(axis="y", visible=False)
    headline(fig, "1 is retraining with the same seed; dashed: doing nothing. Dots: seeds")
    return fig


def distances(results: Saved) -> Figure:
    """How far from the three kinds of retraining each method ends; where it began is dashed."""
    table = results.table("distances")
    pairs = list(table.pair.unique())
    fig, axes = canvas(len(pairs), width=4.6, height=4.4)
    methods = [name for name in table.method.unique() if name not in RETRAINED]
    for i, (ax, pair) in enumerate(zip(axes, pairs, strict=True)):
        own = table[table.pair == pair]
        places = by_method(ax, methods, labelled=i == 0)
        for end, marker in ENDS.items():
            mean = own.groupby("method")[end].mean()
            colours = [COLOURS[name] for name in methods]
            ax.scatter(
                mean[methods], [places[name] for name in methods], c=colours, marker=marker, s=34
            )
            ax.axvline(mean["trained"], color=COLOURS["trained"], ls="--", lw=0.8)
            ax.scatter([], [], color="#444444", marker=marker, label=end)
        ax.set(xlabel="distance ||w - other||, mean over seeds", xlim=(0, None))
        ax.set_title(_title(results, pair, runs(own.seed.nunique())), fontsize=9)
        ax.grid(axis="y", visible=False)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, title="to retraining:", fontsize=8, loc="outside right center")
    headline(fig, "dashed: the trained model, before anything is done")
    return fig


def reach(results: Saved) -> Figure:
    """Share of the way to the warm-started retraining that a step covers, by its damping."""
    fig, (ax,) = canvas(width=7.0, height=3.2)
    table = results.table("reach")
    look = {"color": COLOURS["unlearned"], "marker": MARKERS["unlearned"]}
    for _, own in table.groupby("seed"):
        ax.plot(own.lam, 100 * own.covered, **look, lw=0.8, ms=4)
    ax.axhline(0, color=COLOURS["trained"], ls="--", lw=1)
    ax.set(xscale="log", xlabel="damping lam", ylabel="of the way, %")
    ax.set_title(
        f"{_title(results, 'mlp_mnist')}, {runs(table.seed.nunique())}, one line each; "
        "without noise",
        fontsize=9,
    )
    return fig


def tuning(results: Saved) -> Figure:
    """Tug-of-War on held-out images of each setting tried; the kept one is ringed."""
    table = results.table("tuning")
    pairs, methods = list(table.pair.unique()), list(table.method.unique())
    fig, axes = canvas(len(pairs), width=4.6, height=3.8)
    for i, (ax, pair) in enumerate(zip(axes, pairs, strict=True)):
        own = table[table.pair == pair]
        places = by_method(ax, methods, labelled=i == 0)
        for name, place in places.items():
            tried = own[own.method == name]
            if "ToW" in tried and tried.ToW.notna().any():
                scored = tried.dropna(subset="ToW")
                ax.scatter(scored.ToW, [place] * len(scored), color=COLOURS[name], s=22)
                best = scored[scored.kept]
                ax.scatter(best.ToW, [place], s=110, facecolor="none", edgecolor="#000000")
        ax.set_title(_title(results, pair), fontsize=9)
        ax.set_xlabel("Tug-of-War on held-out training images")
        ax.grid(axis="y", visible=False)
    headline(fig, "four settings each, one tuning seed; ringed: kept. 1 is retraining")
    return fig


def _dots(ax: Axes, values, place: float, name: str) -> None:
    """One dot a seed around a line at the mean."""
    spots = place + np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else [place]
    look = {"color": COLOURS[name], "marker": MARKERS[name], "edgecolor": "white", "linewidth": 0.4}
    ax.scatter(values, spots, s=26, zorder=3, **look)
    ax.plot([values.mean()] * 2, [place - 0.34, place + 0.34], color=COLOURS[name], lw=2)


def _title(results: Saved, pair: str, more: str = "") -> str:
    """What a panel of 4.6 inches says over itself."""
    title = results.numbers["titles"]["value"][pair]
    return wrapped(", ".join(filter(None, (title, more))), 4.0)
