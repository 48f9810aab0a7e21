"""The style of all figures: one look, one colour for each method, one way to save.

A figure is a function of a notebook's results.json alone, in the notebook's study, so that
restyling never retrains: `make figures` draws all of them again.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ..errors import ProfileError
from ..text import number
from .files import write_whole
from .results import Saved, results_path

# Okabe and Ito's palette and one of Tol's: colour-blind readers tell them apart, and so does a
# printer, by lightness
COLOURS = {
    "trained": "#666666",
    "unlearned": "#D55E00",
    "released": "#CC79A7",
    "retrained": "#0072B2",
    "LiSSA": "#009E73",
    "conjugate gradient": "#E69F00",
    "dense solve": "#000000",
    "Adam": "#56B4E9",
    "Adam, cosine": "#332288",
    "SGD": "#882255",
    "certified (CG)": "#E69F00",  # as the solver
    "certified (LiSSA)": "#009E73",
    "fine-tuning": "#999933",
    "negative gradient": "#AA4499",
    "NegGrad+": "#CC6677",
    "Fisher forgetting": "#117733",
    "L-CODEC": "#88CCEE",
    "noise alone": "#000000",
    "the paper": "#882255",
    "elsewhere": "#0072B2",  # retrained as well
    "warm": "#44AA99",
    "bound": "#000000",
    "M part": "#AA4499",
    "lam part": "#999933",
    "G part": "#88CCEE",
    "2C": "#882255",
    "retained": "#D55E00",
    "forget": "#56B4E9",
    "random": "#D55E00",
    "one class": "#0072B2",
    "look-alikes": "#009E73",
}
MARKERS = {
    "trained": "s",
    "unlearned": "o",
    "released": "v",
    "retrained": "D",
    "LiSSA": "o",
    "conjugate gradient": "^",
    "dense solve": "X",
    "Adam": "v",
    "Adam, cosine": "^",
    "SGD": "o",
    "certified (CG)": "^",
    "certified (LiSSA)": "o",
    "fine-tuning": "P",
    "negative gradient": "v",
    "NegGrad+": "<",
    "Fisher forgetting": ">",
    "L-CODEC": "h",
    "noise alone": "x",
    "the paper": "*",
    "elsewhere": "D",
    "warm": "d",
    "retained": "o",
    "forget": "v",
    "random": "o",
    "one class": "s",
    "look-alikes": "^",
}
LABELS = {"elsewhere": "retrained, another seed", "warm": "retrained, warm start"}
DPI = 110
LABELS_TAKE = 0.9  # inches beside a panel
PAGE = 7.3  # inches: the 700 pixels that a page shows, so that a point in a figure is one there


def style() -> None:
    """Set the look of every figure; called by `canvas`."""
    sns.set_theme(
        context="notebook",
        style="ticks",
        rc={
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "legend.frameon": False,
            "font.size": 10,
            "axes.titlesize": 9,
            "axes.labelsize": 10,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.fontsize": 9,
            "axes.grid": True,
            "grid.color": "#e6e6e6",
        },
    )


def canvas(count: int = 1, height: float = 3.4, columns: int = 2) -> tuple[Figure, list[Axes]]:
    """Return a figure as wide as a page and its panels, in rows of `columns`.

    height   of a row, in inches
    """
    style()
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    size = (PAGE, height * rows)
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for empty in axes.flat[count:]:
        empty.set_axis_off()
    return fig, list(axes.flat[:count])


def save(draw: Callable[[Saved], Figure], results: Saved) -> Figure | None:
    """Draw a figure from the results alone, and write it to figures/<profile>/<notebook>/.

    `draw` is a function of a study, and the file has its name. The figure is handed back, to be
    shown; None if it is of a pair that the profile leaves out, which is then said. Raises what
    `Saved.table` does where the results lack what it draws.
    """
    try:
        fig, png = draw(results), io.BytesIO()
    except ProfileError as reason:
        print(f"no {draw.__name__}: {reason}")
        return None
    fig.savefig(png, dpi=DPI, format="png")
    path = results_path(results.notebook, results.profile).with_name(f"{draw.__name__}.png")
    write_whole(path, png.getvalue())
    plt.close(fig)
    return fig


def by_method(ax: Axes, methods: list[str], labelled: bool = True) -> dict[str, int]:
    """Give each method a line on the y axis, the first on top, and return its position."""
    names = [LABELS.get(name, name) for name in methods]
    ax.set_yticks(range(len(methods)), names if labelled else [""] * len(methods), fontsize=9)
    ax.set_ylim(len(methods) - 0.4, -0.6)
    return {name: place for place, name in enumerate(methods)}


def band(ax: Axes, table: pd.DataFrame, x: str, y: str, factor: float = 1.0, **look) -> None:
    """Draw the mean over seeds as a line, with a band from the smallest to the largest value."""
    stats = factor * table.groupby(x)[y].agg(["mean", "min", "max"])
    ax.fill_between(stats.index, stats["min"], stats["max"], color=look["color"], alpha=0.15, lw=0)
    ax.plot(stats.index, stats["mean"], **{"ms": 5, "lw": 1.5} | look)


def title(ax: Axes, text: str, labels: float = LABELS_TAKE) -> None:
    """Put a title over one panel, in lines that fit it beside labels of so many inches."""
    room = PAGE / ax.get_gridspec().ncols - labels
    ax.set_title(wrapped(text, room))


def by_seed(ax: Axes, table: pd.DataFrame, x: str, y: str, factor: float = 1.0, **look) -> None:
    """Draw a thin line for each seed, with a dot where there is a value and a cross where not.

    A cross stands on the lower edge: the value was refused there, and a mean of the seeds that are
    left would jump.
    """
    for k, (_, rows) in enumerate(table.sort_values(x).groupby("seed")):
        label = look["label"] if k == 0 else None
        ax.plot(rows[x], factor * rows[y], **{"lw": 0.8, "ms": 4} | look | {"label": label})
        gone = rows[rows[y].isna()][x]
        ax.plot(
            gone, [0.02] * len(gone), "x", color=look["color"], transform=ax.get_xaxis_transform()
        )


def headline(fig: Figure, text: str) -> None:
    """Put a title over all axes: the data, and how many runs."""
    fig.suptitle(wrapped(text, fig.get_figwidth(), 10), fontsize=10, x=0.01, ha="left")


def wrapped(text: str, inches: float, size: float = 9) -> str:
    """Break the text into lines that fit this many inches at this font size."""
    return textwrap.fill(text, int(inches * 130 / size))


def runs(n: int) -> str:
    """The number of seeds, as titles and axis labels show it: "n = 3 seeds"."""
    return f"n = {n} seed{'' if n == 1 else 's'}"


def radius(C: float) -> str:
    """A radius as text for an axis; "none" if it is infinite."""
    return "none" if math.isinf(C) else number(C)


def few_decades(axis: Axis) -> None:
    """Label 1, 2 and 5 with plain numbers, on a logarithmic axis of about one decade."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axis.set_minor_formatter(NullFormatter())


def ramp(count: int) -> list[tuple[float, float, float]]:
    """Colours of an ordered quantity, light to dark, told apart by lightness alone."""
    return sns.color_palette("viridis_r", count)
