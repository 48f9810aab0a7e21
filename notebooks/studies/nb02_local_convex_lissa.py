"""LiSSA as a spectral filter; its scale, its noise floor; conjugate gradient beside it
(Proposition 3.5).
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from unlearnlib import bounds
from unlearnlib.lab.plots import COLOURS, MARKERS, canvas, few_decades, headline, ramp, runs, title
from unlearnlib.lab.results import Saved
from unlearnlib.lab.seeds import generator
from unlearnlib.lissa import lissa
from unlearnlib.objective import Objective
from unlearnlib.progress import bar
from unlearnlib.spectrum import minibatch_curvature
from unlearnlib.text import number

RUNS, RUN_CHAINS, RUN_STEPS, RUN_BATCH = 30, 20, 60, 10  # for the mean of LiSSA; ours


def safe_scale(F: Objective, w: Tensor, lam: float) -> float:
    """A scale above half of each minibatch's curvature, so that no run of `many_runs` diverges."""
    sampled = minibatch_curvature(F, w, RUN_BATCH, generator=generator("safe scale", 0))
    return 2 * float(sampled.max()) + lam


def many_runs(F: Objective, w: Tensor, b: Tensor, lam: float, scale: float) -> np.ndarray:
    """Answers of many short runs of LiSSA to the same system: (runs, p)."""
    answers = [
        lissa(
            F,
            w,
            b,
            lam=lam,
            scale=scale,
            steps=RUN_STEPS,
            chains=RUN_CHAINS,
            batch_size=RUN_BATCH,
            checks=1,
            tol=1e-12,
            generator=generator(f"run {k}", 0),
        ).x
        for k in bar(range(RUNS), "runs of LiSSA")
    ]
    return torch.stack(answers).numpy(force=True)


def standard_errors(answers: np.ndarray, expected: np.ndarray) -> float:
    """How far the mean is from what is expected, in standard errors: root mean square over axes.

    Axes along which the answers do not vary, as those of pixels that are always black, are left
    out: there is no chance in them.
    """
    mean, error = answers.mean(0), answers.std(0, ddof=1) / len(answers) ** 0.5
    varies = error > 1e-6 * np.abs(mean).max()
    return float(np.sqrt(np.mean(((mean - expected)[varies] / error[varies]) ** 2)))


# ---- figures -----------------------------------------------------------------------------------


def spectral_filter(results: Saved) -> Figure:
    """What LiSSA makes of each eigenvalue, run and formula (Proposition 3.5)."""
    fig, (ax,) = canvas(height=4.2)
    measured = results.table("filter")
    low, high = measured.eigenvalue.min(), measured.eigenvalue.max()
    a = np.geomspace(low / 2, high * 2, 300)
    ax.plot(a, 1 / a, color="#000000", ls="--", lw=1.2, label="1/a: the inverse")
    settings = measured[["scale", "steps", "name"]].drop_duplicates()
    for row, colour in zip(settings.itertuples(), ramp(len(settings)), strict=True):
        inside = a < 2 * row.scale
        ax.plot(a[inside], bounds.lissa_filter(a[inside], row.scale, row.steps), color=colour)
        at_setting = measured[(measured.scale == row.scale) & (measured.steps == row.steps)]
        label = f"{row.name}: scale {number(row.scale)}, {row.steps:,} steps"
        ax.scatter(at_setting.eigenvalue, at_setting.answer, color=colour, s=10, label=label)
        ax.axhline((row.steps + 1) / row.scale, color=colour, ls=":", lw=0.8)
    ax.set(xscale="log", yscale="log", xlabel="eigenvalue a of H + lam I", ylabel="answer")
    title(ax, f"{results.numbers['small title']['value']}; dotted: (steps + 1)/scale")
    ax.legend(fontsize=8)
    return fig


def filter_at(scale: float, steps: float) -> Figure:
    """The panel: what LiSSA makes of any eigenvalue at this scale, after so many steps."""
    steps = round(steps)
    fig, (ax,) = canvas(height=3.4)
    a = np.geomspace(1e-4, 1e4, 400)
    inside = a < 2 * scale
    ax.plot(a, 1 / a, color=COLOURS["dense solve"], ls="--", lw=1.2, label="1/a: the inverse")
    answer = bounds.lissa_filter(a[inside], scale, steps)
    ax.plot(a[inside], answer, color=COLOURS["LiSSA"], lw=2, label="LiSSA")
    damping = scale / (steps + 1)
    ax.axvline(damping, color="#777777", ls=":", label=f"s/(t+1) = {number(damping)}")
    ax.axvspan(min(2 * scale, a[-1]), a[-1], color="#dddddd", label="a >= 2s: diverges")
    ax.set(xscale="log", yscale="log", xlabel="eigenvalue a of H + lam I", ylabel="answer")
    ax.set(xlim=(a[0], a[-1]), ylim=(1e-5, 1e5))
    ax.legend(loc="lower left")
    headline(
        fig,
        f"scale s = {number(scale)}, t = {steps:,} steps: left of the dotted line every "
        f"eigenvalue gets about {number(1 / damping)}",
    )
    return fig


def scales(results: Saved) -> Figure:
    """Residual by scale: divergence, convergence, and a scale too large (Proposition 3.5)."""
    fig, (ax,) = canvas()
    table = results.table("scales")
    fixed, auto = table[~table.diverged & ~table.auto], table[table.auto]
    by_scale = fixed.groupby("scale").residual.agg(["mean", "min", "max"])
    spread = [by_scale["mean"] - by_scale["min"], by_scale["max"] - by_scale["mean"]]
    look = {"color": COLOURS["LiSSA"], "marker": MARKERS["LiSSA"]}
    ax.errorbar(by_scale.index, by_scale["mean"], spread, capsize=3, label="LiSSA", **look)
    ax.scatter(
        auto.scale,
        auto.residual,
        color="#000000",
        marker="D",
        s=30,
        zorder=3,
        label="scale='auto', one a seed",
    )
    gone = sorted(table[table.diverged].scale.unique())
    ax.scatter(gone, [1.6] * len(gone), marker="x", color="#000000", label="diverged (an error)")
    released = results.numbers["released scale"]["value"]
    ax.axvline(released, color="#999999", ls="--", lw=1)
    ax.text(released, 1.25, "released\ndefault ", ha="right", va="top", fontsize=8, color="#777777")
    measured_on = ", ".join(sorted(fixed.residual_on.unique()))
    ax.set(xscale="log", yscale="log", xlabel="scale", ylabel=f"residual on {measured_on}")
    few_decades(ax.yaxis)
    steps = results.numbers["sweep steps"]["value"]
    title(
        ax,
        f"{results.numbers['title']['value']}; up to {steps:,} steps, "
        f"{runs(table.seed.nunique())}, bars: least to most",
    )
    ax.legend(loc="upper right", fontsize=9)
    return fig


def solvers(results: Saved) -> Figure:
    """Residual by passes over the data and by seconds: LiSSA's noise floor, conjugate gradient
    (Theorem 3.6).
    """
    fig, (work, clock) = canvas(2)
    table = results.table("solvers")
    for name in table.solver.unique():
        for k, seed in enumerate(sorted(table.seed.unique())):
            at_seed = table[(table.solver == name) & (table.seed == seed)]
            look = dict(color=COLOURS[name], marker=MARKERS[name], ms=4, lw=1.2)
            label = name if k == 0 else None
            work.plot(at_seed.passes, at_seed.residual, label=label, **look)
            clock.plot(at_seed.seconds, at_seed.residual, label=label, **look)
    for ax, what in ((work, "Hessian products, in passes over the data"), (clock, "seconds")):
        ax.set(xlabel=what, ylabel="relative residual", yscale="log", xscale="log")
        few_decades(ax.xaxis)
    drawn = results.numbers["sampling"]["value"]
    title(work, f"LiSSA: {drawn['chains']} chains, batches of {drawn['batch_size']}")
    title(clock, "the same runs by the clock")
    work.legend(fontsize=9)
    headline(
        fig, f"{results.numbers['title']['value']}, {runs(table.seed.nunique())}, one line each"
    )
    return fig


def exact(results: Saved) -> Figure:
    """Seconds by number of weights: dense solve, LiSSA, conjugate gradient (470x)."""
    fig, (ax,) = canvas()
    table = results.table("exact")
    for name in ("dense solve", "LiSSA", "conjugate gradient"):
        ax.plot(table.p, table[name], color=COLOURS[name], marker=MARKERS[name], label=name)
    last = table.iloc[-1]
    for name in ("LiSSA", "conjugate gradient"):
        ax.annotate(
            f"{number(last['dense solve'] / last[name])}x",
            (last.p, last[name]),
            xytext=(7, -3),
            textcoords="offset points",
            fontsize=9,
            color=COLOURS[name],
        )
    ax.set(xscale="log", yscale="log", xlabel="parameters p", ylabel="seconds")
    few_decades(ax.xaxis)
    ax.margins(x=0.12)
    n = results.numbers["exact n"]["value"]
    told = results.numbers["title"]["value"]
    title(ax, f"{told}, {n:,} of them; MLPs of growing width, median of 3 runs")
    ax.legend(fontsize=9)
    return fig


FIGURES = (spectral_filter, scales, solvers, exact)
