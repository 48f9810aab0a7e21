"""The figures of 12_paper_and_release."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from unlearnlib.lab.plots import COLOURS, MARKERS, canvas, headline, runs
from unlearnlib.lab.results import Saved
from unlearnlib.text import number

SHOWN = {  # column -> (heading, factor)
    "forgotten": ("F1\nforgotten", 100),
    "retained": ("F1\nretained", 100),
    "test": ("F1\ntest", 100),
    "distance": ("distance", 1),
    "loss AUC": ("loss\nattack\nAUC", 100),
    "both AUC": ("two\nmodels\nAUC", 100),
    "both accuracy": ("two\nmodels\nacc.", 100),
}
DARK = 0.62  # of the colour scale, from where text is white
NOISE = {"logistic regression": ("#000000", "x"), "decision tree": ("#999933", "+")}
MODELS = ("trained", "released", "retrained")


def table(results: Saved) -> Figure:
    """Change of each score, and what is left of epsilon, by difference."""
    switches = results.table("switches")
    changes = results.table("changes").set_index(["switch", "column"])
    fig, (ax,) = canvas(height=0.33 * len(switches) + 1.5)
    for line, row in enumerate(switches.itertuples()):
        for place, column in enumerate(SHOWN):
            _cell(ax, place, line, changes.loc[(row.switch, column)], SHOWN[column][1])
        _promise(ax, len(SHOWN), line, row)
    ax.set_xlim(-0.5, len(SHOWN) + 0.9)
    ax.set_ylim(len(switches) - 0.5, -0.5)
    places = [*range(len(SHOWN)), len(SHOWN) + 0.2]
    ax.set_xticks(places, [*(heading for heading, _ in SHOWN.values()), "epsilon"], fontsize=9)
    ax.set_yticks(range(len(switches)), _names(switches), fontsize=9)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    headline(
        fig,
        f"{results.numbers['title']['value']}: change against the row without the switch, F1 and "
        "attacks in points. Bold and coloured: more than two retrainings differ (for distances: "
        "two seeds)",
    )
    return fig


def _cell(ax: Axes, place: int, line: int, cell: pd.Series, factor: float) -> None:
    """The change in words; where it has moved, orange for more and blue for less."""
    strength = 0.0
    if cell.moved:
        times = abs(cell.change) / max(cell.yardstick, 1e-9)
        strength = 0.25 + 0.6 * min(1.0, math.log10(max(1.0, times)))
        colour = COLOURS["unlearned" if cell.change > 0 else "retrained"]
        ax.add_patch(_box(place, line, colour, strength))
    change = factor * cell.change
    text = "0" if change == 0 else f"{change:+.2g}" if abs(change) < 100 else f"{change:+.0f}"
    ax.text(
        place,
        line,
        text,
        ha="center",
        va="center",
        fontsize=9,
        color="white" if strength > DARK else "black" if cell.moved else "#777777",
        fontweight="bold" if cell.moved else "normal",
    )


def _promise(ax: Axes, place: float, line: int, row) -> None:
    kept = row.promise == "finite"
    text = number(row.epsilon) if kept else row.promise
    if row.printed > 0:
        text += f"\nprints {number(row.printed)}"
    if not kept:
        ax.add_patch(_box(place, line, COLOURS["released"], 0.5, width=1.36))
    ax.text(
        place + 0.2,
        line,
        text,
        ha="center",
        va="center",
        fontsize=9,
        fontweight="normal" if kept else "bold",
    )


def _box(place: float, line: int, colour: str, alpha: float, width: float = 0.94) -> Rectangle:
    return Rectangle((place - 0.47, line - 0.44), width, 0.88, color=colour, alpha=alpha, lw=0)


def _names(switches: pd.DataFrame) -> list[str]:
    return [f"{row.switch}, n = {row.seeds}" for row in switches.itertuples()]


def protocol(results: Saved) -> Figure:
    """What an attack scores under each protocol, on noise too (membership table)."""
    noise, models = results.table("noise attacks"), results.table("model attacks")
    fig, axes = canvas(2, height=4.6)
    protocols = list(noise.protocol.unique())
    for ax, metric in zip(axes, ("AUC", "accuracy"), strict=True):
        for line, name in enumerate(protocols):
            _constant(ax, line, noise[noise.protocol == name], metric)
            groups = [(noise, "attacker", who, *NOISE[who]) for who in NOISE]
            groups += [(models, "model", who, COLOURS[who], MARKERS[who]) for who in MODELS]
            shifts = np.linspace(-0.28, 0.28, len(groups))
            for shift, (rows, key, who, colour, marker) in zip(shifts, groups, strict=True):
                values = rows[(rows.protocol == name) & (rows[key] == who)][metric]
                _mark(ax, values, line + shift, colour, marker, None if line else _label(key, who))
            ax.axhline(line + 0.5, color="#dddddd", lw=0.8)
        ax.set_yticks(range(len(protocols)), protocols if ax is axes[0] else [], fontsize=9)
        ax.set_ylim(len(protocols) - 0.5, -0.5)
        ax.set_xlabel(metric)
        ax.grid(axis="y", visible=False)
    fig.legend(
        *axes[0].get_legend_handles_labels(), fontsize=9, loc="outside lower center", ncols=3
    )
    n = noise.seed.nunique()
    title = results.numbers["title of the MLP's data"]["value"]
    headline(fig, f"{title}, {runs(n)}, lines from least to most; black bars: a constant answer")
    return fig


def _constant(ax: Axes, line: int, rows: pd.DataFrame, metric: str) -> None:
    value = 0.5 if metric == "AUC" else rows.constant.mean()
    ax.plot([value, value], [line - 0.44, line + 0.44], color="black", lw=2, alpha=0.7, zorder=1)


def _mark(
    ax: Axes, values: pd.Series, at: float, colour: str, marker: str, label: str | None
) -> None:
    ax.plot([values.min(), values.max()], [at, at], color=colour, lw=1.2)
    ax.plot(values.mean(), at, color=colour, marker=marker, ls="", ms=6, mew=1.6, label=label)


def _label(key: str, who: str) -> str:
    return f"pure noise, {who}" if key == "attacker" else f"{who}, logistic regression"


FIGURES = (table, protocol)
