"""What the ball `‖w‖ ≤ C` does to training, and why Adam in a ball stops in the wrong place
(Section 3, Algorithm 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.plots import COLOURS, MARKERS, canvas, headline, radius, ramp, runs, title
from unlearnlib.lab.profiles import Pair
from unlearnlib.lab.results import Saved
from unlearnlib.objective import Objective
from unlearnlib.text import number

OPTIMISERS = ("Adam", "Adam, cosine", "SGD")


def gradient_parts(F: Objective, w: Tensor) -> dict[str, float]:
    """Lengths of the two parts of grad F(w): along w, and across it."""
    slope = F.gradient(w)
    along = slope @ w / w.norm()
    across = (slope - along * w / w.norm()).norm()
    return {"along w": float(along.abs()), "across w": float(across)}


def untrained_ratios(pair: Pair, radii: Iterable[float]) -> list[float]:
    """The part across w over that along it, of fresh networks on each sphere: at rest nowhere."""
    ratios = []
    for seed in pair.seeds[:3]:
        d = Experiment(pair, seed)
        for C in radii:
            w = d.F.initial()
            parts = gradient_parts(d.F, w * (C / w.norm()))
            ratios.append(parts["across w"] / parts["along w"])
    return ratios


# ---- figures -----------------------------------------------------------------------------------


def path(results: Saved) -> Figure:
    """Projected gradient descent on two weights whose free minimum lies outside the ball
    (Algorithm 1).
    """
    fig, (ax,) = canvas(height=4.4)
    grid = results.numbers["landscape"]["value"]
    values = np.array(grid["values"])
    levels = values.min() + np.geomspace(3e-3, 1.2, 10)
    ax.contour(grid["w1"], grid["w2"], values, levels=levels, colors="#c9c9c9", linewidths=0.9)
    angle = np.linspace(0, 2 * math.pi, 200)
    C = results.numbers["toy C"]["value"]
    ax.fill(C * np.cos(angle), C * np.sin(angle), color="#0072B2", alpha=0.08)
    ax.plot(C * np.cos(angle), C * np.sin(angle), color="#0072B2", lw=1)
    for name, colour, marker in (("free", "#666666", "s"), ("projected", "#D55E00", "o")):
        steps = results.table(f"path, {name}")
        ax.plot(
            steps.w1, steps.w2, color=colour, marker=marker, ms=4, lw=1.2, label=name, alpha=0.9
        )
    end = results.table("path, projected").iloc[-1]
    slope = results.numbers["slope at the end"]["value"]
    tip = [at - 7 * g for at, g in zip((end.w1, end.w2), slope, strict=True)]
    arrow = {"arrowstyle": "->", "color": "#000000"}
    ax.annotate("", tip, (end.w1, end.w2), arrowprops=arrow)
    ax.text(tip[0], tip[1] + 0.12, "-grad F", ha="center", fontsize=9)
    ax.set(xlabel="weight w1", ylabel="weight w2", aspect="equal")
    title(ax, f"steps, the ball ||w|| <= {number(C)}, and where -grad F points at the end")
    ax.legend(loc="upper left")
    return fig


def binding(results: Saved) -> Figure:
    """Norm, share of projected steps and accuracy, by radius (Section 3)."""
    fig, (norms, share, score) = canvas(3)
    epochs, ends = results.table("epochs"), results.table("ends")
    radii = sorted(ends.C.unique())
    adam = epochs[epochs.optimiser == "Adam"]
    for C, colour in zip(radii, ramp(len(radii)), strict=True):
        mean = adam[adam.C == C].groupby("epoch")[["norm", "projected"]].mean()
        norms.plot(mean.index, mean.norm, color=colour, label=radius(C))
        share.plot(mean.index, 100 * mean.projected, color=colour, label=radius(C))
    norms.set(xlabel="epoch", ylabel="||w||, mean over seeds", ylim=(0, None))
    title(norms, "Adam: the norm, by radius C")
    norms.legend(title="C", ncols=3, fontsize=8, title_fontsize=8, loc=(0.42, 0.36))
    share.set(xlabel="epoch", ylabel="steps projected, %", ylim=(-4, 104))
    title(share, "Adam: how often the ball binds")
    for name in OPTIMISERS:
        test = 100 * ends[ends.optimiser == name].groupby("C").test.agg(["mean", "min", "max"])
        bars = [test["mean"] - test["min"], test["max"] - test["mean"]]
        score.errorbar(
            range(len(test)),
            test["mean"],
            bars,
            color=COLOURS[name],
            marker=MARKERS[name],
            capsize=3,
            label=name,
        )
    score.set_xticks(range(len(radii)), [radius(C) for C in radii])
    score.set(xlabel="radius C", ylabel="test accuracy, %")
    title(score, "what it costs (bars: least to most)")
    score.legend()
    told = results.numbers["title"]["value"]
    headline(fig, f"{told}, {runs(ends.seed.nunique())}")
    return fig


def gradients(results: Saved) -> Figure:
    """What is left of the gradient at the end, along the weights and across them (assumption of
    Theorem 3.4).
    """
    fig, axes = canvas(3)
    ends = results.table("ends")
    radii = sorted(ends.C.unique())
    for ax, name in zip(axes, OPTIMISERS, strict=True):
        for shift, part, colour in ((-0.2, "along w", "#000000"), (0.2, "across w", "#aaaaaa")):
            values = ends[ends.optimiser == name].groupby("C")[part]
            where = np.arange(len(radii)) + shift
            ax.bar(where, values.mean(), 0.38, color=colour, label=part)
            for at, (_, dots) in zip(where, values, strict=True):
                ax.scatter([at] * len(dots), dots, color="#D55E00", s=10, zorder=3)
        ax.set_xticks(range(len(radii)), [radius(C) for C in radii])
        ax.set(xlabel="radius C", ylabel="norm of that part of grad F(w)", yscale="log")
        ax.set_ylim(ends[["along w", "across w"]].min().min() / 2, 3)
        title(ax, f"{name}, then projected")
        ax.legend(ncols=2, fontsize=9)
    headline(
        fig, f"{results.numbers['title']['value']}, {runs(ends.seed.nunique())} (dots); bars: means"
    )
    return fig


def starts(results: Saved) -> Figure:
    """Norms of fresh networks against the released radius (Section 3)."""
    fig, (ax,) = canvas(height=3.0)
    table = results.table("initial norms")
    names = [f"{row.model}\n{row.norm_layer}" for row in table.itertuples()]
    where = np.arange(len(table))
    for shift, norm, colour, label in (
        (-0.2, table.norm, "#56B4E9", "all weights"),
        (0.2, table.norm_layers, "#E69F00", "gains of the norm layers alone"),
    ):
        ax.bar(where + shift, norm, 0.38, color=colour, label=label)
        for at, value in zip(where + shift, norm, strict=True):
            ax.text(at, value + 1, f"{value:.1f}" if value else "", ha="center", fontsize=9)
    C = results.numbers["released C"]["value"]
    ax.axhline(C, color="#000000", ls="--", lw=1)
    ax.text(-0.45, C + 1, f"C = {number(C)}, released default", ha="left", fontsize=8)
    ax.set_xticks(where, names, fontsize=8)
    ax.set(ylabel="norm before training", ylim=(0, 82))
    title(ax, "full width, one initialisation each")
    ax.legend(loc="upper left", bbox_to_anchor=(0, 0.9), fontsize=8)
    return fig


FIGURES = (path, binding, gradients, starts)
