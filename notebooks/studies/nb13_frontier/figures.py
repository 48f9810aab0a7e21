"""The figures of 13_frontier."""

from __future__ import annotations

from matplotlib.figure import Figure

from unlearnlib.lab.plots import canvas, headline, title
from unlearnlib.lab.results import Saved

from .audits import SOUND
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
    "the paper's step": ("#117733", "X"),
    "certified removal": ("#44AA99", "h"),
    "Sekhari et al.": ("#999933", "p"),
    "descent-to-delete": ("#AA4499", "d"),
    "refined (ours)": ("#D55E00", "o"),
}

AS_PUBLISHED = ", as published"  # ends the name of a method at its authors' setting: dashed
WHEN = ("right after the noise", "best within the budget")


def frontier(results: Saved) -> Figure:
    """Accuracy against compute at epsilon = 1, for the paper's request: every way, beside
    retraining.
    """
    return _against(results, "gradients", "gradients of all retained samples", 1.0)


def seconds(results: Saved) -> Figure:
    """The same against seconds since the request, on the machine that the page names."""
    return _against(results, "seconds", "seconds since the request", 0.1)


def _against(results: Saved, cost: str, label: str, linear: float) -> Figure:
    """Accuracy by a cost, drawn linearly up to `linear` and by its logarithm from there."""
    table = results.table("curves")
    table = table[table.asked == AS_PAPER]
    fig, axes = canvas(table.case.nunique(), height=3.6)
    for ax, (case, of_case) in zip(axes, table.groupby("case", sort=False), strict=True):
        for way, rows in of_case.groupby("way", sort=False):
            hollow = {} if rows.proved.all() else {"mfc": "white"}
            ax.plot(rows[cost], 100 * rows.accuracy, label=way, ms=5, lw=1.3, **look(way), **hollow)
        ax.set_xscale("symlog", linthresh=linear)
        ax.set(xlim=(-0.1 * linear, None), ylim=(0, 102))
        ax.set(xlabel=label, ylabel="test accuracy, %")
        title(ax, results.numbers["titles"]["value"][case])
    _legend(fig, axes)
    headline(
        fig,
        "epsilon = 1 at delta = 1e-5; first point: right after the noise; hollow: rests on an "
        "assumption; one seed",
    )
    return fig


def look(way: str) -> dict:
    """Colour, marker and line of a way; dashed where it is as its authors published it."""
    colour, marker = LOOK[way.removesuffix(AS_PUBLISHED)]
    return {"color": colour, "marker": marker, "ls": "--" if way.endswith(AS_PUBLISHED) else "-"}


def sizes(results: Saved) -> Figure:
    """Best accuracy within the budget by how many images are asked for; refining at its end."""
    table = results.table("curves")
    best = table.groupby(["case", "asked", "way"], sort=False).accuracy.max().reset_index()
    asked = list(table.asked.unique())
    fig, axes = canvas(table.case.nunique(), height=3.4)
    for ax, (case, of_case) in zip(axes, best.groupby("case", sort=False), strict=True):
        for way, rows in of_case.groupby("way", sort=False):
            places = [asked.index(name) for name in rows.asked]
            ax.plot(places, 100 * rows.accuracy, label=way, **look(way))
        ax.set_xticks(range(len(asked)), ["one", "the paper's", "a tenth"][: len(asked)])
        ax.set(ylim=(0, 102), xlabel="samples to forget", ylabel="test accuracy, %")
        title(ax, results.numbers["titles"]["value"][case])
    _legend(fig, axes)
    headline(fig, "the best within the budget, refining at its end; epsilon = 1; one seed")
    return fig


def epsilons(results: Saved) -> Figure:
    """Accuracy by epsilon, right after the noise and at the end of the budget."""
    table = results.table("epsilons")
    cases = list(table.case.unique())
    fig, axes = canvas(2 * len(cases), height=3.2)
    panels = [(case, column) for case in cases for column in WHEN]
    for ax, (case, column) in zip(axes, panels, strict=True):
        for way, rows in table[table.case == case].groupby("way", sort=False):
            ax.plot(rows.epsilon, 100 * rows[column], label=way, **look(way))
        ax.set(xscale="log", ylim=(0, 102), xlabel="epsilon", ylabel="test accuracy, %")
        title(ax, f"{results.numbers['titles']['value'][case]}: {column}")
    _legend(fig, axes)
    headline(
        fig, "the paper's request, knobs as tuned at epsilon = 1; refining at its end; one seed"
    )
    return fig


def _legend(fig: Figure, axes) -> None:
    """One legend below all panels, with every way that stands in some of them."""
    shown = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    fig.legend(shown.values(), shown.keys(), fontsize=9, loc="outside lower center", ncols=3)


def audits(results: Saved) -> Figure:
    """What an audit shows of each method: as it is, with less noise, and broken (audits)."""
    table = results.table("audits")
    fig, [ax] = canvas(1, height=4.2)
    ways = list(table.way.unique())
    sound = table.release == SOUND
    less = table.release.str.startswith("noise x")
    kinds = {SOUND: sound, "with less noise": less, "broken": ~(sound | less)}
    for (kind, rows), (colour, marker) in zip(kinds.items(), KINDS, strict=True):
        places = [ways.index(way) for way in table[rows].way]
        ax.plot(table[rows].audited, places, marker, color=colour, ms=7, ls="", label=kind)
    ax.axvline(1, color="#000000", lw=1, ls="--", label="claimed")
    ax.set_yticks(range(len(ways)), ways)
    ax.set_xscale("symlog", linthresh=1)
    ax.set(xlabel="epsilon is at least this", xlim=(-0.05, None))
    ax.invert_yaxis()
    _legend(fig, [ax])
    power = results.numbers["power"]["value"][0]
    headline(fig, f"worst pairs, {power['releases']:,} releases a world; {power['level']:.1%} each")
    return fig


KINDS = (("#0072B2", "o"), ("#E69F00", "v"), ("#D55E00", "X"))
FIGURES = (frontier, seconds, sizes, audits, epsilons)
