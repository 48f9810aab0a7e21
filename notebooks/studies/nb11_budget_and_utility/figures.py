"""The figures of 11_budget_and_utility."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearnlib.lab.plots import band, by_method, canvas, headline, runs, title
from unlearnlib.lab.results import Saved
from unlearnlib.lab.verdicts import TIMES
from unlearnlib.text import number

from .worth import AS_PAPER

MODELS = {
    "paper's network, 2C": ("#666666", "s"),
    "softmax regression, pixels": ("#0072B2", "D"),
    "tanh network, pixels": ("#D55E00", "o"),
    "softmax regression, features": ("#009E73", "^"),
}
FORERUNNERS = {
    "refined (ours)": ("#D55E00", "o"),
    "certified removal": ("#009E73", "^"),
    "Sekhari et al.": ("#332288", "s"),
    "descent-to-delete": ("#E69F00", "P"),
}
EPSILONS = {"claimed": ("#000000", "|"), "realised": ("#0072B2", "D"), "audited": ("#D55E00", "o")}


def decays(results: Saved) -> Figure:
    """Held-out accuracy of softmax regression on features against the seconds of its training."""
    table = results.table("decays")
    fig, axes = canvas(table.pair.nunique(), height=3.2)
    for ax, (pair, rows) in zip(axes, table.groupby("pair", sort=False), strict=True):
        colour, marker = MODELS["softmax regression, features"]
        ax.plot(rows.seconds, 100 * rows["held out"], color=colour, ls="--", label="before noise")
        ax.plot(rows.seconds, 100 * rows["with noise"], color=colour, marker=marker, label="after")
        for _, row in rows.iterrows():
            at = row.seconds, 100 * row["with noise"]
            ax.annotate(number(row.decay), at, (4, -10), textcoords="offset points", fontsize=8)
        ax.margins(0.2)
        ax.set(xlabel="seconds from zero", ylabel="held-out accuracy, %")
        title(ax, results.numbers["titles"]["value"][pair])
    axes[0].legend(fontsize=8)
    headline(fig, f"at each point its decay; noise: that of epsilon = 1; {runs(1)}")
    return fig


def prices(results: Saved) -> Figure:
    """Accuracy of the released weights by epsilon, beside the paper's networks with no promise
    (trade-off).
    """
    table, without = results.table("prices"), results.table("no promise")
    fig, axes = canvas(table.pair.nunique(), height=3.4)
    for ax, (pair, of_pair) in zip(axes, table.groupby("pair", sort=False), strict=True):
        for name, rows in of_pair.groupby("model", sort=False):
            (colour, marker), label = MODELS[name], f"{name}, {runs(rows.seed.nunique())}"
            band(ax, rows, "epsilon", "test", 100, color=colour, marker=marker, label=label)
        bare = 100 * without[without.pair == pair].test.mean()
        ax.axhline(bare, color=MODELS["paper's network, 2C"][0], ls="--")
        ax.axvspan(0.1, 10, color="#eeeeee", zorder=0)
        ax.text(1, 2, "a promise", ha="center", fontsize=8, color="#555555")
        ax.set(xscale="log", ylim=(0, 102), xlabel="epsilon, at delta = 1e-5")
        ax.set_ylabel("test accuracy, %")
        title(ax, results.numbers["titles"]["value"][pair])
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, fontsize=9, loc="outside lower center", ncols=2)
    headline(
        fig,
        "what is released, noise included; dashed: the paper's network itself; n is that of the "
        "first panel, and 1 in others",
    )
    return fig


def requests(results: Saved) -> Figure:
    """Seconds by the size of a random request, beside retraining from zero by the same solver."""
    table, by_adam = results.table("requests"), results.table("Adam")
    table = table[table.asked.isin(TIMES)]
    fig, axes = canvas(table.pair.nunique(), height=3.4)
    for ax, (pair, of_pair) in zip(axes, table.groupby("pair", sort=False), strict=True):
        for name, rows in of_pair.groupby("model", sort=False):
            colour, marker = MODELS[name]
            band(ax, rows, "n_u", "seconds", color=colour, marker=marker, label=name)
            band(ax, rows, "n_u", "retrain", color=colour, ls="--")
            adam = by_adam[(by_adam.pair == pair) & (by_adam.model == name)]
            n_u = rows[rows.asked == AS_PAPER].n_u
            ax.plot(n_u, adam.seconds.astype(float), "*", color=colour, ms=11)
        ax.set(xscale="log", yscale="log", ylabel="seconds", xlabel="images forgotten at once")
        title(ax, results.numbers["titles"]["value"][pair])
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, fontsize=9, loc="outside lower center", ncols=2)
    told = "solid: unlearn, dashed: retrain by the same solver, star: by Adam, to that accuracy"
    headline(fig, f"{told}; epsilon = 1, {runs(table.seed.nunique())}")
    return fig


def errors(results: Saved) -> Figure:
    """Distance to the retrained model in units of Delta, by what a request asks for."""
    table = results.table("requests")
    asked = list(table.asked.unique())
    fig, axes = canvas(table.pair.nunique(), height=2.8, columns=1)
    for ax, (pair, of_pair) in zip(axes, table.groupby("pair", sort=False), strict=True):
        places = by_method(ax, asked)
        for name, rows in of_pair.groupby("model", sort=False):
            (colour, marker), at = MODELS[name], rows.asked.map(places)
            ax.plot(rows.error / rows.Delta, at, marker, color=colour, label=name)
            ax.plot(rows.moved / rows.Delta, at, marker, color=colour, mfc="none")
        ax.axvline(1, color="#000000", lw=1)
        ax.set(xscale="log", xlabel="distance to the retrained model, in Delta")
        title(ax, results.numbers["titles"]["value"][pair], labels=1.7)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, fontsize=9, loc="outside lower center", ncols=2)
    headline(fig, f"filled: released, hollow: doing nothing; {runs(table.seed.nunique())}")
    return fig


def forerunners(results: Saved) -> Figure:
    """Accuracy and seconds of the certified methods that the paper builds on."""
    table = results.table("forerunners, best decay")
    fig, (left, right) = canvas(2, height=3.6)
    for place, (name, (colour, marker)) in enumerate(FORERUNNERS.items()):
        rows = table[table.method == name]
        band(left, rows, "epsilon", "test", 100, color=colour, marker=marker, label=name)
        at_one = rows[rows.epsilon == 1.0]
        if len(at_one):
            right.barh(place, at_one.seconds.mean(), color=colour, height=0.6)
            again, decay = int(at_one.retrained.max()), number(at_one.decay.iloc[0])
            told = f" {100 * at_one.test.mean():.1f}%, decay {decay}, retrained {again}x"
            right.text(right.get_xlim()[0], place - 0.45, told, fontsize=9, va="center")
    left.set(
        xscale="log",
        ylim=(0, 100),
        xlabel="epsilon of each release, delta = 1e-5",
        ylabel="test accuracy, %",
    )
    right.set(xlabel="seconds for the last request", ylim=(len(FORERUNNERS) - 0.4, -0.8))
    right.set_yticks([])
    right.set_title("at epsilon = 1")
    right.grid(axis="y", visible=False)
    left.legend(fontsize=9, loc="lower right")
    headline(
        fig,
        f"softmax regression, {results.numbers['forerunners, data']['value']}; the decay "
        f"of each is chosen on held-out images; {runs(table.seed.nunique())}",
    )
    return fig


def audits(results: Saved) -> Figure:
    """Claimed, realised and audited epsilon by noise: the paper's MLP."""
    table = results.table("audits")
    fig, axes = canvas(2, height=4.2)
    for ax, kind in zip(axes, ("canaries", "shadow models"), strict=True):
        rows = table[(table.audit == kind) & (table.model == "unlearned") & (table.sigma > 0)]
        for name, (colour, marker) in EPSILONS.items():
            band(ax, rows, "sigma", name, color=colour, marker=marker, label=name)
        ceiling = rows.ceiling.max()
        ax.axhline(
            ceiling,
            color=EPSILONS["audited"][0],
            ls=":",
            lw=1.5,
            label="the most that this audit can show",
        )
        _symlog(ax)
        ax.set(xscale="log", xlabel="sigma, noise in each weight", ylabel="epsilon")
        title(ax, f"paper's MLP, {kind}, {runs(rows.seed.nunique())}")
    axes[0].legend(fontsize=8)
    headline(fig, "at delta = 1e-5; audited: lower bound at 95%; the claim is that of 2C")
    return fig


def planner(results: Saved) -> Figure:
    """The noise that k releases need, and what a kept history costs."""
    table = results.table("plans")
    fig, (noise, cost) = canvas(2, height=3.8)
    for seen, colour, label in (
        ("all", "#D55E00", "every release is seen"),
        ("last", "#0072B2", "only the last is seen"),
    ):
        rows = table[table.seen == seen]
        noise.plot(rows.requests, rows.sigma, "o-", color=colour, label=label)
        cost.plot(rows.requests, rows.history, "o-", color=colour, label=label)
    noise.set(xscale="log", yscale="log", xlabel="requests", ylabel="sigma over Delta")
    cost.set(xscale="log", yscale="log", xlabel="requests", ylabel="epsilon of all releases")
    cost.axhline(results.numbers["planned epsilon"]["value"], color="#000000", lw=1)
    noise.legend(fontsize=8)
    return fig


def sequence(results: Saved) -> Figure:
    """Accuracy and epsilon along a sequence within one budget."""
    table = results.table("sequence")
    fig, (score, spent) = canvas(2, height=3.6)
    for name, rows in table.groupby("model", sort=False):
        colour, _ = MODELS[name]
        band(score, rows, "request", "test", 100, color=colour, label=name)
        band(spent, rows, "request", "history", color=colour, label=name)
    score.set(xlabel="request", ylabel="test accuracy of the release, %")
    spent.set(xlabel="request", ylabel="epsilon of all releases so far", ylim=(0, 1.1))
    score.legend(fontsize=8)
    title_of = results.numbers["titles"]["value"][table.pair.iloc[0]]
    headline(fig, f"{title_of}; {runs(table.seed.nunique())}")
    return fig


def _symlog(ax: Axes) -> None:
    """Logarithmic, with room for zero."""
    ax.set_yscale("symlog", linthresh=1.0)
    ax.set_ylim(-0.2, 10 ** math.ceil(math.log10(max(10, ax.get_ylim()[1]))))


FIGURES = (decays, prices, requests, errors, sequence, planner, forerunners, audits)
