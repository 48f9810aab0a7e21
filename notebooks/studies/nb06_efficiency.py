"""Seconds against retraining and against the exact Hessian; the speed-up as a formula ("10x",
"470x").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from unlearnlib.lab.clock import now, seconds_of
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.methods import solve_by_cg, solve_by_lissa
from unlearnlib.lab.plots import COLOURS, MARKERS, by_method, canvas, few_decades, headline, title
from unlearnlib.lab.profiles import PAIRS, Pair
from unlearnlib.lab.results import Saved
from unlearnlib.lab.settings import SIGMA, TUNING_SEED
from unlearnlib.lab.step import released
from unlearnlib.objective import Objective
from unlearnlib.projected_sgd import project
from unlearnlib.solution import Solution
from unlearnlib.text import number

PAIR_COLOURS = {"mlp_mnist": "#000000", "allcnn_cifar10": "#D55E00", "resnet18_svhn": "#0072B2"}
SOLVERS = {"certified (CG)": solve_by_cg, "certified (LiSSA)": solve_by_lissa}
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


@dataclass(frozen=True)
class Request:
    """A certified request in its parts, in seconds, and the solver's answer.

    retained    the gradient over all retained images
    forgotten   that over the forgotten ones, which is enough where training kept that over all
    rest        the solve and the noise
    """

    retained: float
    forgotten: float
    rest: float
    solution: Solution

    @property
    def whole(self) -> float:
        return self.retained + self.rest

    @property
    def kept(self) -> float:
        return self.forgotten + self.rest


def request(d: Experiment, method: str, lam: float) -> Request:
    """One request by a solver at its tuned damping, timed once."""
    F_u, F_r = d.F_trained.only(d.forget), d.F_trained.without(d.forget)
    started = now()
    b = F_r.gradient(d.w)
    retained = now() - started
    forgotten, started = seconds_of(lambda: F_u.gradient(d.w), 1), now()
    solution = SOLVERS[method](d, F_r, d.w, b, lam=lam)
    released(d, project(d.w - solution.x, d.pair.C), SIGMA)
    return Request(retained, forgotten, now() - started, solution)


def median_request(d: Experiment, method: str, lam: float, runs: int) -> Request:
    """Of several requests the one of median length."""
    requests = [request(d, method, lam) for _ in range(runs)]
    return sorted(requests, key=lambda one: one.whole)[runs // 2]


def residual_on_all(d: Experiment, solution: Solution, lam: float) -> float:
    """||(H + lam I) x - b|| / ||b|| with the Hessian of all retained images."""
    F_r = d.F_trained.without(d.forget)
    b = F_r.gradient(d.w)
    return float((F_r.hvp(d.w, solution.x) + lam * solution.x - b).norm() / b.norm())


def dense_seconds(F: Objective, w: Tensor, b: Tensor, columns: int = 64) -> tuple[float, float]:
    """Seconds to form the dense Hessian on all samples, and to solve with it.

    All p columns are products of the same cost: `columns` of them are timed at once, and counted
    p/columns times. The solve, by Cholesky, is timed on a positive definite matrix of that size:
    it takes the same seconds for any.
    """
    block = torch.zeros(min(columns, F.p), F.p, dtype=w.dtype, device=w.device)
    block.fill_diagonal_(1.0)
    F.only(range(min(F.n, 1000))).hvp(w, block)  # the first call pays for set-up
    forming = seconds_of(lambda: F.hvp(w, block), 1) * F.p / len(block)
    H = torch.eye(F.p, dtype=w.dtype, device=w.device)
    solve = lambda: torch.cholesky_solve(b[:, None], torch.linalg.cholesky(H))  # noqa: E731
    return forming, seconds_of(solve, 1)


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
        title(ax, f"{_name(results, pair)}; done after {epochs} of {len(of_pair)}")
    headline(fig, "retraining is charged up to the dashed epoch, one seed")
    return fig


def seconds(results: Saved) -> Figure:
    """Seconds of each method against retraining (more than 10x)."""
    table, needed = results.table("seconds"), results.table("retraining").set_index("pair")
    fig, axes = canvas(len(needed), height=3.8)
    methods = list(table.method.unique())
    for i, (ax, pair) in enumerate(zip(axes, needed.index, strict=True)):
        taken = table[table.pair == pair].set_index("method").seconds
        places = by_method(ax, methods, labelled=i % 2 == 0)
        ends = needed.loc[pair]
        for name, value in taken.items():
            ax.barh(places[name], value, color=COLOURS[name], height=0.6)
            factor = f" {number(ends['to plateau'] / value)}x"
            ax.text(value, places[name], factor, va="center", fontsize=9)
        for column, style in (("to plateau", "-"), ("to the end", "--")):
            ax.axvline(ends[column], color=COLOURS["retrained"], lw=2, ls=style)
        ax.set(xscale="log", xlabel="seconds")
        ax.set_xlim(
            min(taken.min(), ends["to plateau"]) / 3, 8 * max(taken.max(), ends["to the end"])
        )
        title(ax, _name(results, pair))
        ax.grid(axis="y", visible=False)
    headline(
        fig, "x: times faster than retraining to its plateau (line; dashed: to the end); n = 1"
    )
    return fig


def exact(results: Saved) -> Figure:
    """The exact Hessian and both solvers, at the same size (470x)."""
    fig, (ax,) = canvas(height=2.4)
    facts = results.numbers["exact facts"]["value"]
    names = ("dense solve", "LiSSA", "conjugate gradient")
    for place, name in enumerate(names):
        ax.barh(place, facts[name], color=COLOURS[name], height=0.6)
        factor = f"  {number(facts['dense solve'] / facts[name])}x" if place else ""
        ax.text(facts[name], place, f" {number(facts[name])} s{factor}", va="center", fontsize=9)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set(xscale="log", xlabel="seconds")
    ax.margins(x=0.25)
    ax.grid(axis="y", visible=False)
    told = results.numbers["titles"]["value"]["mlp_mnist"]
    title(ax, f"{told}: MLP with p = {facts['p']:,} weights, n = {facts['n']:,}, one thread")
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
    told = results.numbers["titles"]["value"]["mlp_mnist"]
    headline(fig, f"{told}; MLP, medians of 3; dotted: proportional")
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
        ax.plot(n, curve, color=colour, label=PAIRS[row.pair])
        size = at_paper["n"][row.pair]
        ax.scatter(size, cost.speed_up(size, **setting), color=colour, s=50, zorder=3)
    ax.axhline(10, color="#999999", ls="--", lw=1)
    ax.text(520, 11, "the paper's 10x", fontsize=8, color="#777777")
    ax.axhline(1, color="#999999", lw=0.8)
    ax.set(xscale="log", yscale="log", xlabel="training samples n", ylabel="times faster")
    title(
        ax,
        f"{at_paper['epochs']} epochs against {at_paper['chains']} chains of "
        f"{at_paper['steps']:,} steps, batches of {at_paper['batch_size']}; dots: the paper's n",
    )
    ax.legend(fontsize=9, loc="lower right")
    return fig


def _name(results: Saved, pair: str) -> str:
    """Network and data of a pair."""
    return f"{PAIRS[pair]}: {results.numbers['titles']['value'][pair]}"


FIGURES = (plateaus, seconds, exact, growth, speed_up)
