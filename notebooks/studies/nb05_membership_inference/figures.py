"""The figures of 05_membership_inference."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearnlib.evaluation import attacks
from unlearnlib.lab.plots import COLOURS, MARKERS, by_method, canvas, headline, runs, title
from unlearnlib.lab.results import Saved

SHOWN = {attacks.LOSS_THRESHOLD: "o", "logistic regression": "s"}


def seen(results: Saved) -> Figure:
    """How sure each model is of forgotten and of unseen images, where it has memorised them."""
    table = results.table("sureness")
    models = list(table.model.unique())
    fig, axes = canvas(len(models), height=2.8)
    for ax, model in zip(axes, models, strict=True):
        for samples, colour in (("forgotten", "#D55E00"), ("never seen", "#0072B2")):
            rows = table[(table.model == model) & (table.samples == samples)]
            ax.plot(rows.margin, 100 * rows.below, color=colour, label=samples)
        ax.set(xlabel="margin log p/(1 - p)", ylabel="images below, %", title=model)
    axes[0].legend(fontsize=9)
    return fig


def overfitted(results: Saved) -> Figure:
    """AUC of two attackers where the network has memorised what it is to forget (MLP)."""
    table = results.table("attacks, overfitted")
    fig, (ax,) = canvas(height=4.2)
    _panel(ax, table[table.metric == "AUC"])
    _legend(fig)
    headline(fig, results.numbers["overfitted title"]["value"] + BAND)
    return fig


def attacked(results: Saved) -> Figure:
    """AUC of two attackers on each method, for each pair (membership table)."""
    table = results.table("attacks, unseen").query("metric == 'AUC'")
    pairs = list(table.pair.unique())
    fig, axes = canvas(len(pairs), height=4.2)
    for i, (ax, pair) in enumerate(zip(axes, pairs, strict=True)):
        _panel(ax, table[table.pair == pair], labelled=i % 2 == 0)
        n = results.numbers["seeds"]["value"][pair]
        title(ax, f"{results.numbers['titles']['value'][pair]}, {runs(n)}")
    _legend(fig)
    headline(fig, "forgotten against test images, never seen" + BAND)
    return fig


def retained(results: Saved) -> Figure:
    """AUC of two attackers that are to tell forgotten from retained (released code)."""
    table = results.table("attacks, retained").query("metric == 'AUC'")
    fig, (ax,) = canvas(height=4.2)
    _panel(ax, table)
    _legend(fig)
    headline(
        fig, results.numbers["titles"]["value"]["mlp_mnist"] + ": forgotten against retained" + BAND
    )
    return fig


BAND = "; bars: 95% over samples; dotted: chance; band: the retrained model, loss threshold"
STANDARDS = {
    "U-LiRA AUC": "U-LiRA: AUC",
    "KLoM, 95th percentile": "KLoM, 95th percentile, forgotten",
    "KLoM, retained": "KLoM, mean, retained",
    "challenge score": "challenge score (no bound)",
}


def standards(results: Saved) -> Figure:
    """Standards of the field, U-LiRA, KLoM and the challenge score, of four ways to forget."""
    table = results.table("standards")
    fig, axes = canvas(len(STANDARDS), height=2.2)
    for i, (ax, (column, label)) in enumerate(zip(axes, STANDARDS.items(), strict=True)):
        places = by_method(ax, list(table.method), labelled=i % 2 == 0)
        null = float(table[table.method == "retrained"][column].iloc[0])
        ax.axvline(null, color=COLOURS["retrained"], ls="--", lw=1)
        for row, value in zip(table.itertuples(), table[column], strict=True):
            look = {"color": COLOURS[row.method], "marker": MARKERS[row.method]}
            ax.scatter(value, places[row.method], s=50, **look)
        ax.set_xlabel(label, fontsize=9)
        ax.grid(axis="y", visible=False)
    headline(fig, results.numbers["shadows"]["value"]["title"] + "; dashed: retraining again")
    return fig


def _legend(fig: Figure) -> None:
    ax = fig.axes[0]
    for attacker, marker in SHOWN.items():
        ax.scatter([], [], color="#444444", marker=marker, s=22, label=attacker)
    handles, labels = ax.get_legend_handles_labels()
    fig.legend(handles, labels, fontsize=9, loc="outside lower center", ncols=len(SHOWN))


def _panel(ax: Axes, table, labelled: bool = True) -> None:
    """Draw one mark for each attacker on each method, with its interval."""
    places = by_method(ax, list(table.method.unique()), labelled)
    shifts = dict(zip(SHOWN, np.linspace(-0.2, 0.2, len(SHOWN)), strict=True))
    by_loss = table[table.attacker == attacks.LOSS_THRESHOLD].set_index("method")
    reference = by_loss.loc["retrained"]
    ax.axvspan(reference.low, reference.high, color=COLOURS["retrained"], alpha=0.12, lw=0)
    ax.axvline(0.5, color="#000000", ls=":", lw=1)
    for row in table[table.attacker.isin(list(SHOWN))].itertuples():
        at, look = places[row.method] + shifts[row.attacker], {"color": COLOURS[row.method]}
        ax.plot([row.low, row.high], [at, at], lw=1.2, **look)
        ax.scatter(row.value, at, marker=SHOWN[row.attacker], s=22, zorder=3, **look)
    ax.set_xlabel("AUC")
    ax.grid(axis="y", visible=False)


FIGURES = (seen, overfitted, attacked, retained, standards)
