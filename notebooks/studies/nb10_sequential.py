"""Ten requests: random, a whole class, look-alikes; what a history costs (Algorithm 2,
Proposition 4.2).
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from unlearnlib import bounds as theorems
from unlearnlib.evaluation.metrics import accuracy, distance
from unlearnlib.evidence import RETAINED_GRADIENT
from unlearnlib.lab import curvature, step
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.plots import COLOURS, MARKERS, band, canvas, headline, runs, title
from unlearnlib.lab.requests import asked, look_alikes, random_samples, whole_class
from unlearnlib.lab.results import Saved
from unlearnlib.lab.seeds import sample, seed_of
from unlearnlib.lab.settings import DELTA, HESSIAN_SAMPLE, RHO, SIGMA
from unlearnlib.lab.step import solve_on
from unlearnlib.objective import Objective
from unlearnlib.sequential import SequentialUnlearner
from unlearnlib.solution import Solution
from unlearnlib.unlearn import Release


def queue(d: Experiment) -> SequentialUnlearner:
    """An unlearner that answers one request after the other, starting from the trained model.

    Its noise is SIGMA; it solves with the Hessian of a sample of the retained images.
    """
    return SequentialUnlearner(
        d.F_trained,
        d.w,
        C=d.pair.C,
        lam=d.pair.lam,
        delta=DELTA,
        sigma=SIGMA,
        solver=_solve,
        seed=seed_of("noise", d.seed),
    )


def request_row(d: Experiment, queue: SequentialUnlearner, release: Release, gone: Tensor) -> dict:
    """Gradient, length of the step and accuracies of one request.

    gone       all images that were asked for so far
    gradient   ||grad F_r(w)|| where the request starts, on the images still retained after it
    """
    measured, F_gone = release.certificate.measurements, d.F_trained.only(gone)
    return {
        "gradient": measured[RETAINED_GRADIENT],
        "step": measured["length of the update"],
        "forgotten, trained": accuracy(F_gone, d.w),
        "forgotten, unlearned": accuracy(F_gone, queue.w),
        "test": accuracy(d.F_test, queue.w),
        "test, released": accuracy(d.F_test, release.w),
    }


def bound_row(d: Experiment, gradient: float) -> dict:
    """Theorem 3.6 with the constants measured at the trained model.

    The proof wants them at each estimate; here they are the same each time.

    worst      as the theorem has it
    measured   with the measured gradient in place of its worst case
    """
    known, pair = curvature.measure(d), d.pair
    terms = (pair.C, known.M, pair.lam, known.lam_min, known.L, d.F.p, RHO, curvature.residual(d))
    return {
        "worst": theorems.lissa_bound(*terms),
        "measured": theorems.lissa_bound(*terms, gradient=gradient),
        "2C": theorems.trivial_bound(pair.C),
    }


def error_row(d: Experiment, w: Tensor, gone: Tensor) -> dict:
    """Distance of the estimate w, and of the trained model, to one retrained without `gone`."""
    w_r = asked(d, gone).retrained.w
    return {
        "error": distance(w, w_r),
        "nothing": distance(d.w, w_r),
        "forgotten, retrained": accuracy(d.F_trained.only(gone), w_r),
    }


def share_rows(d: Experiment, gone: Tensor, w: Tensor) -> dict[str, float]:
    """The share of the distance to retraining without `gone` that w removes, and the controls."""
    so_far = asked(d, gone)
    row = step.error(so_far, w)
    return step.controls(so_far) | {"sequence": 1 - row["error"] / row["nothing"]}


def with_epsilons(rows: list[dict], queue: SequentialUnlearner) -> list[dict]:
    """The rows of all requests, with the epsilon of each release and of the history so far."""
    budget = queue.budget(DELTA)
    spent = zip(rows, budget.each, budget.history, strict=True)
    return [row | {"each": each, "history": history} for row, each, history in spent]


def _solve(F_r: Objective, w: Tensor, b: Tensor, *, lam: float, tol: float) -> Solution:
    """Solve the damped system with the Hessian of a sample of the images retained so far.

    `tol` is ignored for the tolerance of the ablations: here only the ball certifies.
    """
    return solve_on(sample(F_r, HESSIAN_SAMPLE["mlp"], seed=0))(F_r, w, b, lam=lam)


KINDS = {
    "random": lambda d: random_samples(d, len(d.forget)),
    "one class": lambda d: whole_class(d, 3),
    "look-alikes": lambda d: look_alikes(d, len(d.forget)),
}


# ---- figures -----------------------------------------------------------------------------------


def gradients(results: Saved) -> Figure:
    """Gradient and step by request: random, one class, look-alikes (gradient norm along a
    sequence).
    """
    table = results.table("requests")
    fig, axes = canvas(2, height=3.8)
    for ax, y, label in zip(
        axes,
        ("gradient", "step"),
        ("||grad F_r(w)|| at its start", "length of the step"),
        strict=True,
    ):
        for kind, of_kind in table.groupby("kind", sort=False):
            band(
                ax,
                of_kind,
                "request",
                y,
                color=COLOURS[kind],
                marker=MARKERS[kind],
                label=_with_runs(kind, of_kind),
            )
        ax.set(ylabel=label, ylim=(0, None))
        ax.set_xlabel("request")
    axes[0].legend(fontsize=8)
    headline(fig, _title(results))
    return fig


def bounds(results: Saved) -> Figure:
    """Worst-case bound, with the measured gradient, and real error by request (Proposition 4.2)."""
    table = results.table("requests")
    random = table[table.kind == "random"]
    fig, (flat, real) = canvas(2, height=3.8)
    band(flat, random, "request", "worst", color=COLOURS["bound"], label="Theorem 3.6, worst case")
    band(
        flat,
        random,
        "request",
        "measured",
        color=COLOURS["bound"],
        ls="--",
        label="with the measured gradient",
    )
    flat.axhline(random["2C"].iloc[0], color=COLOURS["2C"], lw=1, label="2C")
    flat.set(yscale="log", ylabel="bound on the distance")
    title(flat, f"random images, {runs(random.seed.nunique())}")
    for kind, of_kind in table.dropna(subset="error").groupby("kind", sort=False):
        band(
            real,
            of_kind.assign(left=of_kind.error / of_kind.nothing),
            "request",
            "left",
            color=COLOURS[kind],
            marker=MARKERS[kind],
            label=_with_runs(kind, of_kind),
        )
    real.axhline(1, color=COLOURS["trained"], ls="--", lw=1)
    real.set(ylabel="real error over doing nothing's")
    title(real, "dashed: nothing done")
    for ax in (flat, real):
        ax.set_xlabel("request")
        ax.legend(fontsize=8)
    headline(fig, _title(results))
    return fig


def scores(results: Saved) -> Figure:
    """F1 on what was forgotten so far, by request (sequential results)."""
    table = results.table("requests")
    kinds = list(table.kind.unique())
    fig, axes = canvas(len(kinds), height=3.8)
    for ax, kind in zip(axes, kinds, strict=True):
        of_kind = table[table.kind == kind]
        for name in ("trained", "unlearned", "retrained"):
            y = f"forgotten, {name}"
            band(
                ax,
                of_kind.dropna(subset=y),
                "request",
                y,
                100,
                color=COLOURS[name],
                marker=MARKERS[name],
                ls="none" if name == "retrained" else "-",
                label=f"forgotten so far, {name}",
            )
        band(ax, of_kind, "request", "test", 100, color="#000000", ls=":", label="test images")
        ax.set(ylabel="accuracy, %", ylim=(-4, 104))
        title(ax, _with_runs(kind, of_kind))
        ax.set_xlabel("request")
    fig.legend(
        *axes[0].get_legend_handles_labels(), fontsize=9, loc="outside lower center", ncols=3
    )
    headline(fig, _title(results))
    return fig


def budget(results: Saved) -> Figure:
    """Epsilon of each release, and of the history."""
    table = results.table("requests")
    rows = table[(table.kind == "random") & (table.seed == table.seed.min())]
    fig, (ax,) = canvas(height=3.6)
    ax.plot(rows.request, rows.each, color=COLOURS["released"], marker="o", label="this release")
    ax.plot(rows.request, rows.history, color=COLOURS["bound"], marker="s", label="all so far")
    ax.set(ylabel="epsilon", ylim=(0, None))
    facts = results.numbers
    title(
        ax,
        f"sigma = {facts['sigma']['value']:g}, delta = {facts['delta']['value']:g}, sensitivity "
        f"2C = {rows['2C'].iloc[0]:g}: the same for every seed and kind",
    )
    ax.set_xlabel("request")
    ax.legend(fontsize=8)
    return fig


def _with_runs(kind: str, table: pd.DataFrame) -> str:
    """The kind of request, and how many seeds its rows come from."""
    return f"{kind}, {runs(table.seed.nunique())}"


def _title(results: Saved) -> str:
    """Data and network, for the headline of a figure."""
    return results.numbers["title"]["value"]


FIGURES = (gradients, bounds, scores, budget)
