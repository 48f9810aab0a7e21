"""The figures of 05_membership_inference."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...evaluation import attacks
from ..results import Saved
from . import COLOURS, by_method, canvas, headline

ATTACKERS = dict(zip(attacks.ATTACKERS, "os^Dv", strict=True))
CHANCE = {"accuracy": 0.5, "AUC": 0.5, "TPR at 1% FPR": 0.01}


def scores(results: Saved, pair: str, question: str = "unseen") -> Figure:
    """Each attacker on each method by the three metrics, with 95% intervals."""
    fig, axes = canvas(3, width=4.4, height=5.6)
    table = results.table(f"attacks, {question}").query("pair == @pair")
    for i, (ax, metric) in enumerate(zip(axes, CHANCE, strict=True)):
        _panel(ax, table[table.metric == metric], labelled=i == 0)
        ax.axvline(CHANCE[metric], color="#000000", ls=":", lw=1)
        ax.set_xlabel(metric)
    for attacker, marker in ATTACKERS.items():
        axes[-1].scatter([], [], color="#444444", marker=marker, s=22, label=attacker)
    axes[-1].legend(fontsize=8, loc="lower right", frameon=True)
    title = results.numbers["titles"]["value"][pair]
    n = results.numbers["seeds"]["value"][pair]
    others = {"unseen": "test images, never seen", "retained": "retained images"}[question]
    headline(
        fig,
        f"{title}: forgotten against {others}; mean of {n} seed{'s' if n > 1 else ''}, bars: "
        "95% over samples; dotted: chance; band: the retrained model, loss threshold",
    )
    return fig


def _panel(ax: Axes, table, labelled: bool) -> None:
    places = by_method(ax, list(table.method.unique()), labelled)
    shifts = dict(zip(ATTACKERS, np.linspace(-0.3, 0.3, len(ATTACKERS)), strict=True))
    reference = table[
        (table.method == "retrained") & (table.attacker == attacks.LOSS_THRESHOLD)
    ].iloc[0]
    ax.axvspan(reference.low, reference.high, color=COLOURS["retrained"], alpha=0.12, lw=0)
    for row in table.itertuples():
        at = places[row.method] + shifts[row.attacker]
        ax.plot([row.low, row.high], [at, at], color=COLOURS[row.method], lw=1.2)
        ax.scatter(row.value, at, color=COLOURS[row.method], marker=ATTACKERS[row.attacker], s=18,
                   zorder=3)  # fmt: skip
    for line in range(len(places) - 1):
        ax.axhline(line + 0.5, color="#eeeeee", lw=0.8, zorder=0)
    ax.grid(axis="y", visible=False)
