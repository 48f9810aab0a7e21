"""Five attackers on each method, always beside the retrained model (membership table)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from unlearnlib import draws
from unlearnlib.errors import require_choice
from unlearnlib.evaluation import attacks
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.methods import Contender
from unlearnlib.lab.plots import COLOURS, by_method, canvas, headline
from unlearnlib.lab.results import Saved
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.lab.settings import UNSEEN
from unlearnlib.objective import Objective

ATTACKERS = dict(zip(attacks.ATTACKERS, "os^Dv", strict=True))
CHANCE = {"accuracy": 0.5, "AUC": 0.5, "TPR at 1% FPR": 0.01}
QUESTIONS = ("unseen", "retained")


def attack_scores(
    d: Experiment, contenders: dict[str, Contender], question: str
) -> dict[tuple[str, str], attacks.Scores]:
    """What each attacker says of the samples at one seed, by (method, attacker).

    question   "unseen": forgotten against test images, never seen by any model. "retained":
               forgotten against retained images, which is what the released code asks.
    """
    require_choice("question", question, QUESTIONS)
    samples = _samples(d, question)
    original, seed = d.F_trained.buffers, seed_of(f"attack {question}", d.seed)
    before = {who: attacks.posteriors(F.with_buffers(original), d.w) for who, F in samples.items()}
    scores = {}
    for method, contender in contenders.items():
        features = _features(d, samples, before, contender.w)
        for attacker in attacks.ATTACKERS:
            kind = "loss" if attacker == attacks.LOSS_THRESHOLD else "posteriors"
            scores[method, attacker] = attacks.attack(attacker, *features[kind], seed=seed)
    return scores


def strength_rows(runs: list[attacks.Scores]) -> list[dict]:
    """One row for each metric: an attacker's strength over all seeds, with its 95% interval."""
    members = sum(len(run.members) for run in runs)
    strength = attacks.strength(runs)
    return [{"metric": metric, **value, "members": members} for metric, value in strength.items()]


def _samples(d: Experiment, question: str) -> dict[str, Objective]:
    """The forgotten samples ("members"), and those to tell them from ("unseen")."""
    pool = d.F_test if question == "unseen" else d.F_r
    order = draws.order(pool.n, generator(f"{question} pool", d.seed))
    return {"members": d.F_u, "unseen": pool.only(order[: max(UNSEEN, d.F_u.n)])}


def _features(
    d: Experiment, samples: dict[str, Objective], before: dict[str, Tensor], w: Tensor
) -> dict[str, list[np.ndarray]]:
    """What the attackers see of members and unseen samples: losses, and sorted posteriors."""
    publish = d.published(w)
    after = {who: publish(F) for who, F in samples.items()}
    return {
        "loss": [attacks.confidences(F, w) for F in after.values()],
        "posteriors": [
            attacks.features(before[who], attacks.posteriors(F, w)) for who, F in after.items()
        ],
    }


# ---- figures -----------------------------------------------------------------------------------


def attacks_mlp_mnist(results: Saved) -> Figure:
    """Strength of each attacker on each method: MLP (membership table, MNIST)."""
    return _attacks(results, "mlp_mnist", "unseen")


def attacks_allcnn_cifar10(results: Saved) -> Figure:
    """Strength of each attacker on each method: AllCNN (membership table, CIFAR-10)."""
    return _attacks(results, "allcnn_cifar10", "unseen")


def attacks_resnet18_svhn(results: Saved) -> Figure:
    """Strength of each attacker on each method: ResNet-18 (membership table, SVHN's stand-in)."""
    return _attacks(results, "resnet18_svhn", "unseen")


def attacks_retained(results: Saved) -> Figure:
    """Strength of each attacker where it is to tell forgotten from retained (released code)."""
    return _attacks(results, "mlp_mnist", "retained")


def _attacks(results: Saved, pair: str, question: str) -> Figure:
    """Draw each attacker on each method, a panel for each of three metrics, with 95% intervals."""
    table = results.rows(f"attacks, {question}", pair)
    fig, axes = canvas(3, height=5.6)
    for i, (ax, metric) in enumerate(zip(axes, CHANCE, strict=True)):
        _panel(ax, table[table.metric == metric], labelled=i % 2 == 0)
        ax.axvline(CHANCE[metric], color="#000000", ls=":", lw=1)
        ax.set_xlabel(metric)
    for attacker, marker in ATTACKERS.items():
        axes[-1].scatter([], [], color="#444444", marker=marker, s=22, label=attacker)
    axes[-1].legend(fontsize=8, loc="lower right", frameon=True)
    title = results.numbers["titles"]["value"][pair]
    n = results.numbers["seeds"]["value"][pair]
    others = {"unseen": "test images, never seen", "retained": "retained images"}[question]
    headline(
        fig,
        f"{title}: forgotten against {others}; mean of {n} seed{'s' if n > 1 else ''}, bars: "
        "95% over samples; dotted: chance; band: the retrained model, loss threshold",
    )
    return fig


def _panel(ax: Axes, table: pd.DataFrame, labelled: bool) -> None:
    """Draw one metric: a mark for each attacker on each method, with its interval."""
    places = by_method(ax, list(table.method.unique()), labelled)
    shifts = dict(zip(ATTACKERS, np.linspace(-0.3, 0.3, len(ATTACKERS)), strict=True))
    reference = table[
        (table.method == "retrained") & (table.attacker == attacks.LOSS_THRESHOLD)
    ].iloc[0]
    ax.axvspan(reference.low, reference.high, color=COLOURS["retrained"], alpha=0.12, lw=0)
    for row in table.itertuples():
        at = places[row.method] + shifts[row.attacker]
        ax.plot([row.low, row.high], [at, at], color=COLOURS[row.method], lw=1.2)
        ax.scatter(
            row.value, at, color=COLOURS[row.method], marker=ATTACKERS[row.attacker], s=18, zorder=3
        )
    for line in range(len(places) - 1):
        ax.axhline(line + 0.5, color="#eeeeee", lw=0.8, zorder=0)
    ax.grid(axis="y", visible=False)


FIGURES = (attacks_mlp_mnist, attacks_allcnn_cifar10, attacks_resnet18_svhn, attacks_retained)
