"""The figures of 13_frontier."""

from __future__ import annotations

from matplotlib.figure import Figure

from unlearnlib.lab.plots import canvas, headline, title
from unlearnlib.lab.results import Saved

from .cases import AS_PAPER

LOOK = {
    "retraining": ("#0072B2", "D"),
    "retraining, to the end": ("#332288", "*"),
    "nothing is done": ("#666666", "s"),
    "output perturbation": ("#000000", "x"),
    "clipped gradients": ("#009E73", "^"),
    "clipped models": ("#E69F00", "v"),
    "rewind-to-delete": ("#882255", "<"),
    "noisy SGD": ("#56B4E9", ">"),
    "DP-SGD": ("#CC79A7", "P"),
    "refined (ours)": ("#D55E00", "o"),
}

WHEN = ("right after the noise", "best within the budget")


def frontier(results: Saved) -> Figure:
    """Accuracy against compute at epsilon = 1, for the paper's request: every way, beside
    retraining.
    """
    table = results.table("curves")
    table = table[table.asked == AS_PAPER]
    fig, axes = canvas(table.case.nunique(), height=3.6)
    for ax, (case, of_case) in zip(axes, table.groupby("case", sort=False), strict=True):
        for way, rows in of_case.groupby("way", sort=False):
            colour, marker = LOOK[way]
            hollow = {} if rows.proved.all() else {"mfc": "white"}
            look = {"color": colour, "marker": marker, "ms": 5, "lw": 1.3, **hollow}
            ax.plot(rows.gradients, 100 * rows.accuracy, label=way, **look)
        ax.set_xscale("symlog", linthresh=1)
        ax.set(xlim=(-0.1, None), ylim=(0, 102))
        ax.set(xlabel="gradients of all retained images", ylabel="test accuracy, %")
        title(ax, results.numbers["titles"]["value"][case])
    _legend(fig, axes)
    headline(
        fig,
        "epsilon = 1 at delta = 1e-5; first point: right after the noise; hollow: rests on an "
        "assumption; one seed",
    )
    return fig


def sizes(results: Saved) -> Figure:
    """Best accuracy within the budget by how many images are asked for."""
    table = results.table("curves")
    best = table.groupby(["case", "asked", "way"], sort=False).accuracy.max().reset_index()
    asked = list(table.asked.unique())
    fig, axes = canvas(table.case.nunique(), height=3.4)
    for ax, (case, of_case) in zip(axes, best.groupby("case", sort=False), strict=True):
        for way, rows in of_case.groupby("way", sort=False):
            colour, marker = LOOK[way]
            places = [asked.index(name) for name in rows.asked]
            ax.plot(places, 100 * rows.accuracy, color=colour, marker=marker, label=way)
        ax.set_xticks(range(len(asked)), ["one", "the paper's", "a tenth"][: len(asked)])
        ax.set(ylim=(0, 102), xlabel="images to forget", ylabel="test accuracy, %")
        title(ax, results.numbers["titles"]["value"][case])
    _legend(fig, axes)
    headline(fig, "the best within the budget, at epsilon = 1; one seed")
    return fig


def epsilons(results: Saved) -> Figure:
    """Accuracy by epsilon, right after the noise and at the end of the budget."""
    table = results.table("epsilons")
    cases = list(table.case.unique())
    fig, axes = canvas(2 * len(cases), height=3.2)
    panels = [(case, column) for case in cases for column in WHEN]
    for ax, (case, column) in zip(axes, panels, strict=True):
        for way, rows in table[table.case == case].groupby("way", sort=False):
            colour, marker = LOOK[way]
            ax.plot(rows.epsilon, 100 * rows[column], color=colour, marker=marker, label=way)
        ax.set(xscale="log", ylim=(0, 102), xlabel="epsilon", ylabel="test accuracy, %")
        title(ax, f"{results.numbers['titles']['value'][case]}: {column}")
    _legend(fig, axes)
    headline(fig, "the paper's request, knobs as tuned at epsilon = 1; one seed")
    return fig


def _legend(fig: Figure, axes) -> None:
    """One legend below all panels, with every way that stands in some of them."""
    shown = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    fig.legend(shown.values(), shown.keys(), fontsize=9, loc="outside lower center", ncols=3)


FIGURES = (frontier, sizes, epsilons)
