"""The damping `lam` and the size of the forget set, against bound and real error (Table 3)."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from unlearnlib.bounds import trivial_bound
from unlearnlib.errors import NegativeCurvatureError
from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab import curvature, step
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.plots import COLOURS, band, by_seed, canvas, headline, ramp, runs, title
from unlearnlib.lab.profiles import Pair
from unlearnlib.lab.results import Saved

PARTS = {
    "M part": "of the curvature's change, M",
    "lam part": "of the damping, lam",
    "G part": "of the residual gradient, G",
}


def grid(pair: Pair) -> tuple[float, ...]:
    """The pair's dampings, and two more towards the limit, where the step vanishes."""
    most = pair.dampings[-1]
    return (*pair.dampings, 10 * most, 100 * most)


def damping_row(d: Experiment, lam: float, whole: Tensor) -> dict:
    """Bound by parts, and distances of the real step, at one damping.

    whole                  grad F(w), the same at each damping
    nothing, error         distance to the retrained model, without a step and with it
    warm, nothing; warm    the same to the warm-started one
    """
    row = curvature.bound(d, lam) | {"2C": trivial_bound(d.pair.C)}
    row |= {"nothing": distance(d.w, d.retrained.w), "warm, nothing": distance(d.w, d.warm.w)}
    try:
        w = step.estimate(d, lam, whole=whole)
    except NegativeCurvatureError:
        return row | {"refused": True}
    ends = {"error": distance(w, d.retrained.w), "warm": distance(w, d.warm.w)}
    return row | ends | {"step": distance(w, d.w)}


def forget_size_row(d: Experiment) -> dict:
    """Bound, real error and scores of the step at the pair's damping, for one forget set."""
    w = step.estimate(d, d.pair.lam)
    return curvature.bound(d, d.pair.lam) | step.error(d, w) | step.accuracies(d, w)


# ---- figures -----------------------------------------------------------------------------------


def bounds(results: Saved) -> Figure:
    """Bound, its parts, 2C and real error by damping (Table 3)."""
    table = results.table("dampings")
    fig, axes = canvas(table.pair.nunique(), height=4.2)
    for ax, (pair, of_pair) in zip(axes, table.groupby("pair", sort=False), strict=True):
        for part, label in PARTS.items():
            band(ax, of_pair, "lam", part, color=COLOURS[part], ls="--", lw=1, label=label)
        band(
            ax, of_pair, "lam", "bound", color=COLOURS["bound"], label="bound (Theorem 3.4 with G)"
        )
        band(
            ax, of_pair, "lam", "error", color=COLOURS["unlearned"], marker="o", label="real error"
        )
        ax.axhline(of_pair["2C"].iloc[0], color=COLOURS["2C"], lw=1, label="2C: no update at all")
        ax.set(xscale="log", yscale="log", xlabel="damping lam", ylabel="distance to retraining")
        ax.set_ylim(of_pair.error.min() / 10, None)
        title(ax, _title(results, pair, of_pair.seed.nunique()))
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, fontsize=9, loc="outside lower center", ncols=3)
    headline(fig, "constants as measured, none of them proved; lines: means, bands: seeds")
    return fig


def covered(results: Saved) -> Figure:
    """What the real step removes of the distance, by damping (Table 3)."""
    table = results.table("dampings")
    fig, axes = canvas(table.pair.nunique(), height=3.4)
    for ax, (pair, of_pair) in zip(axes, table.groupby("pair", sort=False), strict=True):
        of_pair = of_pair.assign(
            retrained=1 - of_pair.error / of_pair.nothing,
            warm=1 - of_pair.warm / of_pair["warm, nothing"],
        )
        for name, label in (("warm", "to a warm start"), ("retrained", "to the same seed")):
            band(ax, of_pair, "lam", name, 1000, color=COLOURS[name], marker="o", label=label)
        ax.axhline(0, color=COLOURS["trained"], ls="--", lw=1)
        ax.set(xscale="log", xlabel="damping lam", ylabel="of the way, per mille")
        title(ax, _title(results, pair, of_pair.seed.nunique()))
        ax.legend(title="retraining", fontsize=8, title_fontsize=8)
    return fig


def forget_sizes(results: Saved) -> Figure:
    """Bound, real error and F1 by the size of the forget set (bound independent of n_u)."""
    table = results.table("forget sizes")
    fig, (lengths, scores) = canvas(2, height=3.8)
    band(lengths, table, "n_u", "bound", color=COLOURS["bound"], label="bound (Theorem 3.4 with G)")
    band(lengths, table, "n_u", "error", color=COLOURS["unlearned"], marker="o", label="real error")
    lengths.axhline(table["2C"].iloc[0], color=COLOURS["2C"], lw=1, label="2C")
    lengths.set(xscale="log", yscale="log", ylabel="distance to retraining")
    title(lengths, "bound and real error")
    for name in ("trained", "unlearned", "retrained"):
        band(
            scores,
            table,
            "n_u",
            f"forgotten, {name}",
            100,
            color=COLOURS[name],
            marker="o",
            label=name,
        )
    scores.set(xscale="log", ylabel="accuracy on the forgotten images, %")
    _sized(lengths, scores)
    headline(fig, _title(results, "mlp_mnist", table.seed.nunique()))
    return fig


def stationary_sizes(results: Saved) -> Figure:
    """Distance to retraining by the size of the forget set, where training was finished."""
    table = results.table("stationary")
    table = table[table.forget != "one class"]
    fig, (ax,) = canvas(height=4.0)
    band(ax, table, "n_u", "nothing", color=COLOURS["trained"], marker="s", label="nothing is done")
    lams = sorted(table.lam.unique())
    for lam, colour in zip(lams, ramp(len(lams)), strict=True):
        at_lam = table[table.lam == lam]
        by_seed(ax, at_lam, "n_u", "error", color=colour, marker="o", label=f"lam = {lam:g}")
    ax.axhline(results.numbers["stationary 2C"]["value"], color=COLOURS["2C"], lw=1, label="2C")
    ax.set(yscale="log", ylabel="distance to the retrained model")
    _sized(ax)
    told = f"{results.numbers['stationary title']['value']}, {runs(table.seed.nunique())}"
    title(ax, f"{told}, a line each; crosses: refused")
    fig.legend(*ax.get_legend_handles_labels(), fontsize=9, loc="outside lower center", ncols=3)
    return fig


def _sized(*axes: Axes) -> None:
    """Label the axes by the size of the forget set."""
    for ax in axes:
        ax.set(xscale="log", xlabel="images forgotten, n_u")
    if len(axes) > 1:
        axes[-1].legend(fontsize=8)
        axes[0].legend(fontsize=8)


def _title(results: Saved, pair: str, seeds: int) -> str:
    """The title of one panel: data, network and number of seeds."""
    return f"{results.numbers['titles']['value'][pair]}, {runs(seeds)}"


FIGURES = (bounds, covered, forget_sizes, stationary_sizes)
