"""Stopping early; training to the end; where the step does track retraining (Proposition 4.1)."""

from __future__ import annotations

from matplotlib.figure import Figure
from torch import Tensor

from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab import curvature, step
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.plots import (
    COLOURS,
    MARKERS,
    band,
    by_seed,
    canvas,
    few_decades,
    headline,
    ramp,
    runs,
    title,
)
from unlearnlib.lab.results import Saved
from unlearnlib.lab.stationary import Stationary
from unlearnlib.objective import Objective


def stop_row(d: Experiment, lam: float, gradient: str) -> dict:
    """Bound, real error and scores of the step from where d's training stopped.

    gradient   that the step starts from: "retained", or "forget", the paper's cheap form
    whole      ||grad F(w)||, what training left over
    signal     n_u/(n - n_u) ||grad F_u(w)||, the pull of the forgotten images
    G          ||grad F_r|| at the retrained model, as Proposition 4.1 wants it
    """
    F, w = d.F_trained, step.estimate(d, lam, gradient)
    row = {"G": curvature.residual(d), "signal": signal(F, d.w, d.forget)}
    row |= {"whole": float(F.gradient(d.w).norm()), **curvature.bound(d, lam)}
    return row | {
        "gradient": gradient,
        **step.error(d, w),
        **step.accuracies(d, w),
        "step": distance(w, d.w),
    }


def leftover_row(model: Stationary, level: float, lam: float, gradient: str) -> dict:
    """Gradients and real error of the step from where ||grad F|| came down to `level`.

    One image in a hundred is forgotten.
    """
    w, forget = model.at(level), model.d.forget
    row = {"level": level, "whole": float(model.F.gradient(w).norm())}
    row |= {"signal": signal(model.F, w, forget), "gradient": gradient}
    return row | model.step_row(forget, lam, level, gradient)


def signal(F: Objective, w: Tensor, forget: Tensor) -> float:
    """The pull of the forgotten images: n_u/(n - n_u) ||grad F_u(w)||."""
    pull = len(forget) / (F.n - len(forget)) * F.only(forget).gradient(w)
    return float(pull.norm())


# ---- figures -----------------------------------------------------------------------------------


def stops(results: Saved) -> Figure:
    """Gradients, bound, error and F1 by the epoch at which training stops (Proposition 4.1)."""
    table = results.table("stops").query("gradient == 'retained'")
    fig, (gradients, lengths, scores) = canvas(3, height=4.0)
    for name, colour, label in (
        ("whole", COLOURS["trained"], "left over, ||grad F(w)||"),
        ("G", COLOURS["retrained"], "G, at the retrained model"),
        ("signal", COLOURS["unlearned"], "pull of the forgotten images"),
    ):
        band(gradients, table, "epochs", name, color=colour, marker="o", label=label)
    for name, colour, label in (
        ("bound", COLOURS["bound"], "bound of Proposition 4.1"),
        ("G part", COLOURS["G part"], "its part of G"),
        ("nothing", COLOURS["trained"], "real error, nothing done"),
        ("error", COLOURS["unlearned"], "real error"),
    ):
        band(lengths, table, "epochs", name, color=colour, marker="o", label=label)
    for name in ("trained", "unlearned", "retrained"):
        band(
            scores,
            table,
            "epochs",
            f"forgotten, {name}",
            100,
            color=COLOURS[name],
            marker=MARKERS[name],
            label=name,
        )
    gradients.set(yscale="log", ylabel="norm of a gradient")
    lengths.set(yscale="log", ylabel="distance to retraining")
    scores.set(ylabel="accuracy on the forgotten images, %")
    for ax in (gradients, lengths, scores):
        ax.set(xscale="log", xlabel="epochs of training, and of retraining")
        few_decades(ax.xaxis)
        ax.legend(fontsize=8)
    told = results.numbers["title"]["value"]
    headline(fig, f"{told}, {runs(table.seed.nunique())}; lines: means, bands: seeds")
    return fig


def sides(results: Saved) -> Figure:
    """Length of the step from the retained, and from the forgotten, gradient (the paper's cheap
    gradient).
    """
    table = results.table("stops")
    fig, (ax,) = canvas(height=3.6)
    for side, label in (
        ("retained", "retained images: forgetting and training on"),
        ("forget", "forgotten images: forgetting alone"),
    ):
        band(
            ax,
            table[table.gradient == side],
            "epochs",
            "step",
            color=COLOURS[side],
            marker=MARKERS[side],
            label=label,
        )
    ax.set(xscale="log", yscale="log", xlabel="epochs of training", ylabel="length of the step")
    few_decades(ax.xaxis)
    title(ax, f"{results.numbers['title']['value']}, {runs(table.seed.nunique())}")
    ax.legend(title="step from the gradient on", fontsize=8, title_fontsize=8)
    return fig


def leftovers(results: Saved) -> Figure:
    """Error of the step by the gradient that training left over (Proposition 4.1)."""
    table = results.table("leftovers")
    fig, (ax,) = canvas(height=4.0)
    band(ax, table, "level", "nothing", color=COLOURS["trained"], marker="s", ms=9, label="no step")
    for side, label in (
        ("retained", "step from the retained gradient"),
        ("forget", "step from the forgotten one"),
    ):
        band(
            ax,
            table[table.gradient == side],
            "level",
            "error",
            color=COLOURS[side],
            marker=MARKERS[side],
            label=label,
        )
    signal = table.signal.mean()
    ax.axvline(signal, color="#000000", ls=":", lw=1)
    ax.text(signal, ax.get_ylim()[1], " pull of the forgotten images", fontsize=8, va="top")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="||grad F(w)|| at most, when training stopped",
        ylabel="distance to the retrained model",
    )
    ax.invert_xaxis()
    title(ax, _stationary(results, table.seed.nunique()))
    ax.legend(fontsize=8)
    return fig


def regime(results: Saved) -> Figure:
    """What the step leaves of the distance, by damping and forget set."""
    table = results.table("stationary")
    fig, (ax,) = canvas(height=4.0)
    sets = list(table.groupby("forget").n_u.mean().sort_values().index)
    colours = [*ramp(len(sets) - 1), COLOURS["one class"]]
    sets = [name for name in sets if name != "one class"] + ["one class"]
    for name, colour in zip(sets, colours, strict=True):
        of_set = table[table.forget == name]
        of_set = of_set.assign(left=of_set.error / of_set.nothing)
        marker = "s" if name == "one class" else "o"
        by_seed(ax, of_set, "lam", "left", 100, color=colour, marker=marker, label=name)
    ax.axhline(100, color=COLOURS["trained"], ls="--", lw=1)
    ax.set(xscale="log", yscale="log", xlabel="damping lam", ylabel="of the distance left, %")
    few_decades(ax.yaxis)
    title(ax, _stationary(results, table.seed.nunique()))
    fig.legend(
        *ax.get_legend_handles_labels(),
        title="forgotten (a line a seed; cross: refused)",
        fontsize=9,
        title_fontsize=9,
        loc="outside lower center",
        ncols=3,
    )
    return fig


def _stationary(results: Saved, seeds: int) -> str:
    """The title of a figure of fully trained models."""
    return f"{results.numbers['stationary title']['value']}, {runs(seeds)}"


FIGURES = (stops, sides, leftovers, regime)
