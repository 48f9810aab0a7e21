"""The figures of 10_sequential."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..results import Saved
from . import COLOURS, MARKERS, band, canvas, headline, runs


def gradients(results: Saved) -> Figure:
    """By request: the gradient that it starts from, and the length of its step."""
    table = results.table("requests")
    fig, axes = canvas(2, width=5.4, height=3.8)
    for ax, y, label in zip(
        axes, ("gradient", "step"),
        ("||grad F_r(w)|| at its start", "length of the step"), strict=True,
    ):  # fmt: skip
        for kind, own in table.groupby("kind", sort=False):
            band(ax, own, "request", y, color=COLOURS[kind], marker=MARKERS[kind],
                 label=_with_runs(kind, own))  # fmt: skip
        ax.set(ylabel=label, ylim=(0, None))
        ax.set_xlabel("request")
    axes[0].legend(fontsize=8)
    headline(fig, _title(results))
    return fig


def bounds(results: Saved) -> Figure:
    """By request: worst-case bound, the one with the measured gradient, 2C and the real error."""
    table = results.table("requests")
    own = table[table.kind == "random"]
    fig, (flat, real) = canvas(2, width=5.6, height=3.8)
    band(flat, own, "request", "worst", color=COLOURS["bound"], label="Theorem 3.6, worst case")
    band(flat, own, "request", "measured", color=COLOURS["bound"], ls="--",
         label="with the measured gradient")  # fmt: skip
    flat.axhline(own["2C"].iloc[0], color=COLOURS["2C"], lw=1, label="2C")
    flat.set(yscale="log", ylabel="bound on the distance")
    flat.set_title(f"random images, {runs(own.seed.nunique())}", fontsize=9)
    for kind, its in table.dropna(subset="error").groupby("kind", sort=False):
        band(real, its, "request", "nothing", color=COLOURS[kind], ls=":")
        band(real, its, "request", "error", color=COLOURS[kind], marker=MARKERS[kind],
             label=_with_runs(kind, its))  # fmt: skip
    real.set(ylabel="real distance to retraining", ylim=(0, None))
    real.set_title("dotted: nothing done", fontsize=9)
    for ax in (flat, real):
        ax.set_xlabel("request")
        ax.legend(fontsize=8)
    headline(fig, _title(results))
    return fig


def scores(results: Saved) -> Figure:
    """By request: accuracy on all that was asked to be forgotten so far, and on test images."""
    table = results.table("requests")
    kinds = list(table.kind.unique())
    fig, axes = canvas(len(kinds), width=4.4, height=3.8)
    for ax, kind in zip(axes, kinds, strict=True):
        own = table[table.kind == kind]
        for name in ("trained", "unlearned", "retrained"):
            y = f"forgotten, {name}"
            band(ax, own.dropna(subset=y), "request", y, 100, color=COLOURS[name],
                 marker=MARKERS[name], label=f"forgotten so far, {name}")  # fmt: skip
        band(ax, own, "request", "test", 100, color="#000000", ls=":", label="test images")
        ax.set(ylabel="accuracy, %", ylim=(-4, 104))
        ax.set_title(_with_runs(kind, own), fontsize=9)
        ax.set_xlabel("request")
    fig.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="outside right upper")
    headline(fig, _title(results))
    return fig


def budget(results: Saved) -> Figure:
    """By request: the epsilon of each release, and that of all so far."""
    table = results.table("requests")
    own = table[(table.kind == "random") & (table.seed == table.seed.min())]
    fig, (ax,) = canvas(width=6.4, height=3.6)
    ax.plot(own.request, own.each, color=COLOURS["released"], marker="o", label="this release")
    ax.plot(own.request, own.history, color=COLOURS["bound"], marker="s", label="all so far")
    ax.set(ylabel="epsilon", ylim=(0, None))
    facts = results.numbers
    ax.set_title(
        f"sigma = {facts['sigma']['value']:g}, delta = {facts['delta']['value']:g}, sensitivity "
        f"2C = {own['2C'].iloc[0]:g}: the same for every seed and kind", fontsize=9,
    )  # fmt: skip
    ax.set_xlabel("request")
    ax.legend(fontsize=8)
    return fig


def _with_runs(kind: str, own) -> str:
    return f"{kind}, {runs(own.seed.nunique())}"


def _title(results: Saved) -> str:
    return results.numbers["title"]["value"]
