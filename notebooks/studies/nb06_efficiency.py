"""Seconds against retraining and against the exact Hessian; the speed-up as a formula ("10x",
"470x").
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.plots import COLOURS, MARKERS, by_method, canvas, few_decades, headline, wrapped
from unlearnlib.lab.profiles import PAIRS, Pair
from unlearnlib.lab.results import Saved
from unlearnlib.lab.settings import TUNING_SEED
from unlearnlib.objective import Objective
from unlearnlib.text import number

PAIR_COLOURS = {"mlp_mnist": "#000000", "allcnn_cifar10": "#D55E00", "resnet18_svhn": "#0072B2"}
PLATEAU = 0.005  # validation accuracy that retraining may still miss of its best, half a point


@dataclass(frozen=True)
class Cost:
    """Seconds a sample, as measured on one machine for one model.

    gradient        of a training step, in the batches that training takes
    product         of a LiSSA step: a Hessian product in its small batches
    whole_gradient  of the gradient over all retained samples
    """

    gradient: float
    product: float
    whole_gradient: float

    def retraining(self, n: int, epochs: float) -> float:
        """Seconds to retrain on n samples: epochs n c_gradient."""
        return epochs * n * self.gradient

    def update(self, n: int, steps: int, chains: int, batch_size: int) -> float:
        """Seconds of the update: steps chains batch_size c_product + n c_whole."""
        return steps * chains * batch_size * self.product + n * self.whole_gradient

    def speed_up(self, n: int, epochs: float, steps: int, chains: int, batch_size: int) -> float:
        """Retraining's seconds over the update's. It grows with n towards epochs c_g / c_whole."""
        return self.retraining(n, epochs) / self.update(n, steps, chains, batch_size)


def epochs_needed(pair: Pair) -> tuple[int, list[float]]:
    """How many epochs retraining needs, and its validation accuracy after each epoch.

    The first whose accuracy is within half a point of the best of the whole run: training on from
    there is not counted against retraining. Read off held-out training images, at the tuning seed.
    """
    history = Experiment(pair, TUNING_SEED, tuning=True).retrained.history
    reached = [epoch["validation"] for epoch in history]
    return plateau(reached), reached


def plateau(accuracies: Sequence[float]) -> int:
    """The number of the first epoch within PLATEAU of the best."""
    near = np.asarray(accuracies) >= max(accuracies) - PLATEAU
    return int(near.argmax()) + 1


def dense_seconds(
    F: Objective, w: Tensor, b: Tensor, sizes: Sequence[int]
) -> tuple[list[float], float]:
    """Seconds to form the dense Hessian on so many samples each, and to solve with the last.

    The solve, by Cholesky, takes the same seconds for any damping and any n; so the one used is
    large enough (Gershgorin) for the Hessian of few samples to be positive definite.
    """
    F.only(range(sizes[0])).hvp(w, w.new_ones(64, F.p))  # the first call pays for set-up
    forming = []
    for n in sizes:
        started = time.perf_counter()
        H = F.only(range(n)).hessian(w)
        forming.append(time.perf_counter() - started)
    started = time.perf_counter()
    H.diagonal().add_(float(H.abs().sum(1).max()))
    torch.cholesky_solve(b[:, None], torch.linalg.cholesky(H))
    return forming, time.perf_counter() - started


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Slope and offset of the least-squares line through (x, y)."""
    slope, offset = np.polyfit(x, y, 1)
    return float(slope), float(offset)


# ---- figures -----------------------------------------------------------------------------------


def plateaus(results: Saved) -> Figure:
    """Validation accuracy by epoch, and where retraining counts as done (more than 10x)."""
    curves, needed = results.table("validation"), results.table("retraining").set_index("pair")
    fig, axes = canvas(len(needed), height=3.2)
    for ax, pair in zip(axes, needed.index, strict=True):
        of_pair = curves[curves.pair == pair]
        epochs = needed.loc[pair, "epochs needed"]
        ax.plot(of_pair.epoch, 100 * of_pair.accuracy, color=COLOURS["retrained"], marker="D", ms=3)
        ax.axvline(epochs, color="#000000", ls="--", lw=1)
        ax.set(xlabel="epoch", ylabel="validation accuracy, %")
        ax.set_title(f"{_title(results, pair)}\ndone after {epochs} of {len(of_pair)}", fontsize=9)
    headline(fig, "retraining is charged up to the dashed epoch, one seed")
    return fig


def seconds(results: Saved) -> Figure:
    """Seconds of each method against retraining (more than 10x)."""
    table, needed = results.table("seconds"), results.table("retraining").set_index("pair")
    fig, axes = canvas(len(needed), height=4.0)
    methods = list(table.method.unique())
    for i, (ax, pair) in enumerate(zip(axes, needed.index, strict=True)):
        timed = table[table.pair == pair].set_index("method")
        taken, times = timed.seconds, timed.runs.iloc[0]
        retraining = needed.loc[pair, "seconds"]
        places = by_method(ax, methods, labelled=i % 2 == 0)
        for name, place in places.items():
            if name not in taken:
                continue
            ax.barh(place, taken[name], color=COLOURS[name], height=0.6)
            ax.text(
                taken[name] * 1.15,
                place,
                f"{number(retraining / taken[name])}x",
                va="center",
                fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
                zorder=4,
            )
        ax.axvline(retraining, color=COLOURS["retrained"], lw=2)
        ax.set(xscale="log", xlabel="seconds")
        ax.set_xlim(min(taken.min(), retraining) / 3, max(taken.max(), retraining) * 6)
        text = f"retraining (line): {number(retraining)} s; bars: median of {times}"
        ax.set_title(f"{_title(results, pair)}\n{text}", fontsize=9)
        ax.grid(axis="y", visible=False)
    headline(fig, "x: times faster than retraining (line: median of 3); one seed")
    return fig


def exact(results: Saved) -> Figure:
    """The exact Hessian by number of images, and both solvers (470x)."""
    fig, (ax,) = canvas(height=4.0)
    table = results.table("exact")
    facts = results.numbers["exact facts"]["value"]
    slope, offset, full = facts["slope"], facts["offset"], facts["n"]
    n = np.geomspace(table.n.min(), full, 60)
    black = COLOURS["dense solve"]
    ax.plot(n, slope * n + offset, color=black, ls="--", label="dense solve, extrapolated in n")
    ax.scatter(
        table.n,
        table.seconds,
        color=black,
        marker="X",
        s=40,
        zorder=3,
        label="dense solve, measured",
    )
    for name in ("LiSSA", "conjugate gradient"):
        ax.scatter(
            full, facts[name], color=COLOURS[name], marker=MARKERS[name], s=60, zorder=3, label=name
        )
        ax.annotate(
            f"{number((slope * full + offset) / facts[name])}x",
            (full, facts[name]),
            xytext=(-8, 0),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color=COLOURS[name],
        )
    ax.set(xscale="log", yscale="log", xlabel="samples n", ylabel="seconds")
    few_decades(ax.xaxis)
    ax.set_title(
        f"{_title(results, 'mlp_mnist', 7)}\nMLP with p = {facts['p']:,} weights, one thread",
        fontsize=9,
    )
    ax.legend(fontsize=8)
    return fig


def growth(results: Saved) -> Figure:
    """Cost by images, steps and weights (complexity of LiSSA)."""
    fig, axes = canvas(3, height=3.6)
    table = results.table("growth")
    for ax, (quantity, label) in zip(
        axes, (("n", "samples n"), ("p", "weights p"), ("s", "steps s (CG: products)")), strict=True
    ):
        of_quantity = table[table.varied == quantity]
        for name in of_quantity.solver.unique():
            of_solver = of_quantity[of_quantity.solver == name]
            ax.plot(
                of_solver["at"],
                of_solver.seconds,
                color=COLOURS[name],
                marker=MARKERS[name],
                label=name,
            )
            guide = of_solver.seconds.iloc[-1] * of_solver["at"] / of_solver["at"].iloc[-1]
            ax.plot(of_solver["at"], guide, color=COLOURS[name], ls=":", lw=1)
        ax.set(xscale="log", yscale="log", xlabel=label, ylabel="seconds")
        few_decades(ax.xaxis)
        ax.tick_params(axis="x", labelsize=8, rotation=30)
        ax.legend(fontsize=8)
    title = results.numbers["titles"]["value"]["mlp_mnist"]
    headline(fig, f"{title}; MLP, medians of 3; dotted: proportional")
    return fig


def speed_up(results: Saved) -> Figure:
    """The speed-up as a formula, by images (more than 10x)."""
    fig, (ax,) = canvas(height=4.8)
    n = np.geomspace(500, 1e6, 200)
    at_paper = results.numbers["paper's setting"]["value"]
    for row in results.table("costs").itertuples():
        cost = Cost(row.gradient, row.product, row.whole_gradient)
        setting = {name: at_paper[name] for name in ("epochs", "steps", "chains", "batch_size")}
        colour = PAIR_COLOURS[row.pair]
        curve = [cost.speed_up(k, **setting) for k in n]
        ax.plot(n, curve, color=colour, label=f"{PAIRS[row.pair]}: {_title(results, row.pair, 20)}")
        size = at_paper["n"][row.pair]
        ax.scatter(size, cost.speed_up(size, **setting), color=colour, s=50, zorder=3)
    ax.axhline(10, color="#999999", ls="--", lw=1)
    ax.text(520, 11, "the paper's 10x", fontsize=8, color="#777777")
    ax.axhline(1, color="#999999", lw=0.8)
    ax.set(xscale="log", yscale="log", xlabel="training samples n", ylabel="times faster")
    ax.set_title(
        f"{at_paper['epochs']} epochs against {at_paper['chains']} chains of "
        f"{at_paper['steps']:,} steps, batches of {at_paper['batch_size']}; dots: the paper's n"
    )
    ax.legend(fontsize=7, loc="upper left", bbox_to_anchor=(-0.1, -0.16))
    return fig


def _title(results: Saved, pair: str, inches: float = 4.0) -> str:
    """Data and network of a pair, wrapped to the width of a panel."""
    return wrapped(results.numbers["titles"]["value"][pair], inches)


FIGURES = (plateaus, seconds, exact, growth, speed_up)
