"""The figures of 03_certificate_and_noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from unlearnlib.lab.plots import COLOURS, canvas, headline, ramp, runs, title
from unlearnlib.lab.results import Saved
from unlearnlib.text import number

from .bound import TERMS

BARS = dict(zip(TERMS, ("#AA4499", "#999933", "#88CCEE", "#332288", "#CC6677"), strict=True))
POINTS = {
    "doing nothing": "s",
    "one Newton step": "^",
    "Theorem 3.4": "v",
    "refined": "o",
    "Sekhari et al.": "D",
    "descent-to-delete": "P",
}


def waterfall(results: Saved) -> Figure:
    """What each term adds to the bound, in four settings (Theorem 3.6, Proposition 4.1)."""
    table = results.table("terms")
    settings = list(table.setting.unique())
    fig, axes = canvas(len(settings), height=2.6)
    for i, (ax, setting) in enumerate(zip(axes, settings, strict=True)):
        by_term = table[table.setting == setting].set_index("term").value
        start, names = 0.0, [*TERMS, "bound"]
        for place, (name, colour) in enumerate((BARS | {"bound": COLOURS["bound"]}).items()):
            left = 0.0 if name == "bound" else start
            ax.barh(place, by_term[name], left=left, color=colour)
            end, whole = left + by_term[name], by_term["bound"]
            if by_term[name] > 0.25 * whole:
                look = {"x": end, "ha": "right", "color": "#ffffff"}
            elif left > 0.5 * whole:
                look = {"x": left, "ha": "right", "color": "#000000"}
            else:
                look = {"x": end, "ha": "left", "color": "#000000"}
            ax.text(y=place, s=f" {number(by_term[name])} ", va="center", fontsize=9, **look)
            start = end
        ax.axvline(by_term["2C"], color=COLOURS["2C"], lw=1.5)
        ax.set_yticks(range(len(names)), names if i % 2 == 0 else [""] * len(names))
        ax.set(xlim=(0, 1.02 * by_term["bound"]), ylim=(len(names) - 0.4, -0.6))
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.set_xlabel("of the bound")
        title(ax, f"{setting}; line: 2C = {number(by_term['2C'])}")
    return fig


def region(results: Saved) -> Figure:
    """Where the bound is below 2C, by damping and smallest eigenvalue (Theorem 3.4)."""
    table = results.table("region")
    M, C = (results.numbers[name]["value"] for name in ("region M", "region C"))
    grid = table.pivot(index="lam_min", columns="lam", values="ratio")
    fig, (ax, cut) = canvas(2, height=4.0)
    values = np.ma.masked_invalid(grid.to_numpy())
    shown = ax.pcolormesh(
        grid.columns / (M * C),
        grid.index / (M * C),
        values,
        shading="nearest",
        norm=LogNorm(0.1, 10),
        cmap="PuOr_r",
    )
    fig.colorbar(shown, ax=ax, label="bound over 2C")
    ax.axhline(1, color="#000000", lw=1.5)
    ax.text(
        grid.columns.min() / (M * C),
        1.05,
        " useful above lam_min = MC, whatever lam",
        fontsize=8,
        va="bottom",
    )
    ax.set(xscale="log", xlabel="lam / MC", ylabel="lam_min / MC")
    for least, colour in zip(_some(grid.index, 5), ramp(5), strict=True):
        row = grid.loc[least].replace(np.inf, np.nan).dropna()
        cut.plot(row.index / (M * C), row, color=colour, label=f"{least / (M * C):.2g}")
    cut.axhline(1, color=COLOURS["2C"], lw=1.5)
    cut.set(xscale="log", yscale="log", xlabel="lam / MC", ylabel="bound over 2C")
    cut.legend(title="lam_min / MC", fontsize=8, title_fontsize=8)
    return fig


def _some(values: pd.Index, count: int) -> list[float]:
    """So many of the values, evenly spaced from first to last."""
    places = np.linspace(0, len(values) - 1, count).round().astype(int)
    return [values[place] for place in places]


def mechanisms(results: Saved) -> Figure:
    """Classical against exact noise, and the delta that the classical one gives (Theorem 2.3)."""
    table = results.table("mechanisms")
    fig, (sizes, truth) = canvas(2, height=3.8)
    for (delta, at_delta), colour in zip(
        table.groupby("delta"), ramp(table.delta.nunique()), strict=True
    ):
        sizes.plot(
            at_delta.epsilon,
            at_delta.classical / at_delta.analytic,
            color=colour,
            label=f"delta = {number(delta)}",
        )
        truth.plot(at_delta.epsilon, at_delta["delta of the classical"] / delta, color=colour)
    for ax in (sizes, truth):
        ax.axhline(1, color="#000000", lw=1)
        ax.axvspan(1, table.epsilon.max(), color="#eeeeee", zorder=0)
        ax.set(xscale="log", xlabel="epsilon")
    sizes.set(ylabel="classical sigma over the exact one")
    truth.set(yscale="log", ylim=(1e-6, None), ylabel="its true delta over the one promised")
    sizes.legend(fontsize=9)
    headline(fig, "grey: where the classical formula has no proof")
    return fig


def one_step(results: Saved) -> Figure:
    """The bound on a network whose constants are all proved, and the accuracy that it costs
    (Theorem 3.4).
    """
    table = results.table("one step")
    fig, (left, right) = canvas(2, height=4.0)
    kinds = table.drop_duplicates(["strength", "excess"]).sort_values("test")
    colours = dict(
        zip(zip(kinds.strength, kinds.excess, strict=True), ramp(len(kinds)), strict=True)
    )
    _bound_by_share(left, table, colours)
    _accuracy_and_reach(right, table, colours, images=results.numbers["images"]["value"])
    headline(fig, f"{results.numbers['one step, data']['value']}, {runs(table.seed.nunique())}")
    return fig


def _bound_by_share(ax: Axes, table: pd.DataFrame, colours: dict) -> None:
    """Draw bound and real error over the stability bound, a line for each network."""
    for key, of_network in table.groupby(["strength", "excess"]):
        mean = of_network.groupby("share")[["bound", "nothing", "error"]].mean()
        look = {"color": colours[key], "lw": 1.5}
        ax.plot(mean.index, mean.bound / mean.nothing, **look)
        ax.plot(mean.index, mean.error / mean.nothing, ls=":", marker=".", **look)
    ax.axhline(1, color=COLOURS["2C"], lw=1.5)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="share of images forgotten",
        ylabel="over what doing nothing certifies",
    )
    title(ax, "solid: Theorem 3.4, dotted: the real error")


def _accuracy_and_reach(ax: Axes, table: pd.DataFrame, colours: dict, images: int) -> None:
    """Draw the share of images up to which the bound is useful, by accuracy of the network."""
    for key, of_network in table.groupby(["strength", "excess"]):
        ax.scatter(100 * of_network.test.mean(), of_network.most.mean(), color=colours[key], s=60)
        ax.annotate(
            f"c = {key[0]:g}, {key[1]:g}x",
            (100 * of_network.test.mean(), of_network.most.mean()),
            xytext=(6, 2),
            textcoords="offset points",
            fontsize=8,
        )
    ax.set(
        yscale="log",
        xlabel="test accuracy of the network, %",
        ylabel="useful up to this share of images",
    )
    ax.axhline(1 / images, color="#999999", ls=":", lw=1)
    title(ax, "strength c and decay, in curvatures; dotted: one image")
    ax.margins(x=0.2)


def exhaustion(results: Saved) -> Figure:
    """Largest real error over every small forget set, against each bound."""
    table = results.table("exhaustion")
    problems = list(table.problem.unique())
    fig, axes = canvas(len(problems), height=3.6)
    for ax, problem in zip(axes, problems, strict=True):
        of_problem = table[table.problem == problem]
        names = list(of_problem.method.unique())
        for place, name in enumerate(names):
            for shift, (_, row) in zip(
                (-0.17, 0.17), of_problem[of_problem.method == name].iterrows(), strict=False
            ):
                ax.plot([row.largest, row.bound], [place + shift] * 2, color="#bbbbbb", lw=2)
                ax.plot(row.largest, place + shift, POINTS[name], color=COLOURS["unlearned"], ms=6)
                ax.plot(row.bound, place + shift, "|", color=COLOURS["bound"], ms=13, mew=2)
        ax.set_yticks(range(len(names)), names if ax is axes[0] else [""] * len(names), fontsize=9)
        ax.set(
            xscale="log", xlabel="distance to the retrained model", ylim=(len(names) - 0.4, -0.6)
        )
        sets = " and ".join(
            f"{row.sets} of size {row.n_u}"
            for row in of_problem.drop_duplicates("n_u").itertuples()
        )
        title(ax, f"{problem}; forget sets: {sets}")
    headline(fig, "marker: largest real error; bar: bound; a line each for forget sets by size")
    return fig


FIGURES = (waterfall, region, mechanisms, one_step, exhaustion)
