"""The figures of 11_budget_and_utility."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearnlib.lab.plots import band, canvas, few_decades, headline, runs, title
from unlearnlib.lab.results import Saved
from unlearnlib.text import number

MODELS = {
    "paper's MLP, 2C": ("#666666", "s"),
    "softmax regression": ("#0072B2", "D"),
    "tanh network": ("#D55E00", "o"),
}
FORERUNNERS = {
    "refined (ours)": ("#D55E00", "o"),
    "certified removal": ("#009E73", "^"),
    "Sekhari et al.": ("#332288", "s"),
    "descent-to-delete": ("#E69F00", "P"),
}
EPSILONS = {"claimed": ("#000000", "|"), "realised": ("#0072B2", "D"), "audited": ("#D55E00", "o")}


def prices(results: Saved) -> Figure:
    """Accuracy of the released weights by epsilon: three models, each with its own Delta
    (trade-off).
    """
    table = results.table("prices")
    fig, (ax,) = canvas(height=4.2)
    for name, (colour, marker) in MODELS.items():
        rows = table[table.method == name]
        label = f"{name}: Delta = {number(rows.Delta.iloc[0])}, {runs(rows.seed.nunique())}"
        band(ax, rows, "epsilon", "test", 100, color=colour, marker=marker, label=label)
    ax.axvspan(0.1, 10, color="#eeeeee", zorder=0)
    ax.text(1, 2, "a promise", ha="center", fontsize=8, color="#777777")
    ax.set(
        xscale="log",
        ylim=(0, 100),
        xlabel="epsilon, at delta = 1e-5",
        ylabel="test accuracy of what is released, %",
    )
    ax.legend(fontsize=8, loc="lower right")
    return fig


def requests(results: Saved) -> Figure:
    """Seconds, real error and Delta by the size of the request, where Delta is proved."""
    table = results.table("requests")
    fig, (clock, error) = canvas(2, height=4.0)
    for name, rows in table.groupby("model", sort=False):
        colour, marker = MODELS[name]
        band(clock, rows, "n_u", "seconds", color=colour, marker=marker)
        band(clock, rows, "n_u", "retrain", color=colour, ls="--")
        band(error, rows, "n_u", "error", color=colour, marker=marker, label=name)
        band(error, rows, "n_u", "Delta", color=colour, ls="--")
        band(error, rows, "n_u", "moved", color=colour, ls=":")
    clock.set(xscale="log", yscale="log", ylabel="seconds")
    title(clock, "solid: unlearn, dashed: retrain from zero")
    few_decades(clock.yaxis)
    error.set(xscale="log", yscale="log", ylabel="distance to the retrained model")
    title(error, "solid: real error, dashed: Delta, dotted: doing nothing")
    for ax in (clock, error):
        ax.set_xlabel("images forgotten at once")
    fig.legend(fontsize=9, loc="outside lower center", ncols=3)
    headline(fig, f"{results.numbers['title']['value']}, {runs(table.seed.nunique())}; epsilon = 1")
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
        colour, marker = MODELS[name]
        band(score, rows, "request", "test", 100, color=colour, marker=marker, label=name)
        band(spent, rows, "request", "history", color=colour, marker=marker, label=name)
    score.set(xlabel="request", ylabel="test accuracy of the release, %")
    spent.set(xlabel="request", ylabel="epsilon of all releases so far", ylim=(0, 1.1))
    score.legend(fontsize=8)
    headline(fig, f"{results.numbers['title']['value']}, {runs(table.seed.nunique())}")
    return fig


def _symlog(ax: Axes) -> None:
    """Logarithmic, with room for zero."""
    ax.set_yscale("symlog", linthresh=1.0)
    ax.set_ylim(-0.2, 10 ** math.ceil(math.log10(max(10, ax.get_ylim()[1]))))


FIGURES = (prices, requests, sequence, planner, forerunners, audits)
