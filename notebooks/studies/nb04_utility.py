"""F1 and distance to retraining: seven methods, three pairs of data and network (main table)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearnlib.evaluation.metrics import distance, tug_of_war
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.methods import Contender, Method, contender, estimate_by, solve_by_cg, tune
from unlearnlib.lab.plots import (
    COLOURS,
    MARKERS,
    by_method,
    canvas,
    headline,
    panels,
    runs,
    wrapped,
)
from unlearnlib.lab.profiles import Pair
from unlearnlib.lab.results import Saved

SETS = ("forgotten", "retained", "test")
RETRAINED = ("retrained", "elsewhere")
GOALS = {
    "trained": "from trained",
    "retrained": "same seed",
    "elsewhere": "another seed",
    "warm": "warm start",
}
ENDS = {"same seed": "D", "another seed": "s", "warm start": "o"}


def network_row(d: Experiment, model: str) -> dict:
    """Accuracy of the "trained" or the "retrained" network, and what training left to remove.

    signal   accuracy on the forgotten images less that on the test images
    """
    scores = contender(d, model).scores
    return {"norm": d.pair.norm, **scores, "signal": scores["forgotten"] - scores["test"]}


def tuning_row(pair: Pair, method: Method, trial: dict) -> dict:
    """One trial of a method's knob: its setting, its Tug-of-War, and whether it was kept."""
    kept = trial["setting"] == tune(pair, method).setting
    return {"knob": method.knob, **trial, "kept": kept}


def score_row(contenders: dict[str, Contender], method: str) -> dict:
    """F1 of one method on the three sets, and how close it comes to retraining.

    gap   difference to retraining's F1 on the forgotten images
    ToW   Tug-of-War against retraining: 1 where F1 agrees on all three sets
    """
    contender, reference = contenders[method], contenders["retrained"].scores
    gap = abs(contender.scores["forgotten"] - reference["forgotten"])
    closeness = {"gap": gap, "ToW": tug_of_war(contender.scores, reference)}
    run = {"seconds": contender.seconds, "setting": contender.setting}
    return contender.scores | closeness | run


def distance_row(contenders: dict[str, Contender], method: str) -> dict:
    """Distances of one method's weights to the trained model and to three retrained ones."""
    w = contenders[method].w
    lengths = {label: distance(w, contenders[end].w) for end, label in GOALS.items()}
    return lengths | {"norm": float(w.double().norm())}


def reach_row(d: Experiment, lam: float) -> dict:
    """At one damping: length of the noiseless step, and the share of the way that it covers.

    covered   of the way from the trained model to the warm-started retraining: 1 is all of it
    """
    w, goal = estimate_by(solve_by_cg, d, lam), d.warm.w
    share = 1 - distance(w, goal) / distance(d.w, goal)
    return {"step": distance(w, d.w), "covered": share}


def gradient_row(d: Experiment, model: str) -> dict:
    """||grad F_r|| of one of d's models: "trained", "retrained" or "warm"."""
    run = getattr(d, model)
    slope = d.F_r.with_buffers(run.buffers).gradient(run.w)
    return {"gradient": float(slope.norm())}


# ---- figures -----------------------------------------------------------------------------------


def scores_mlp_mnist(results: Saved) -> Figure:
    """F1 on forgotten, retained and test images: MLP (main table, MNIST)."""
    return _scores(results, "mlp_mnist")


def scores_allcnn_cifar10(results: Saved) -> Figure:
    """F1 on forgotten, retained and test images: AllCNN (main table, CIFAR-10)."""
    return _scores(results, "allcnn_cifar10")


def scores_resnet18_svhn(results: Saved) -> Figure:
    """F1 on forgotten, retained and test images: ResNet-18 (main table, SVHN's stand-in)."""
    return _scores(results, "resnet18_svhn")


def _scores(results: Saved, pair: str) -> Figure:
    """F1 on the three sets, one dot a seed, a bar at the mean; the band is retraining, twice."""
    table = results.rows("scores", pair)
    fig, axes = canvas(3, width=4.2, height=4.4)
    methods = list(table.method.unique())
    for i, (ax, samples) in enumerate(zip(axes, SETS, strict=True)):
        again = 100 * table[table.method.isin(RETRAINED)][samples]
        ax.axvspan(again.min(), again.max(), color=COLOURS["retrained"], alpha=0.12, lw=0)
        places = by_method(ax, methods, labelled=i == 0)
        for name, place in places.items():
            _dots(ax, 100 * table[table.method == name][samples], place, name)
        ax.set(xlabel="accuracy (micro F1), %", title=f"on {samples} images")
        ax.grid(axis="y", visible=False)
    headline(
        fig,
        f"{results.numbers['titles']['value'][pair]}, {runs(table.seed.nunique())} (dots; bars: "
        "means); band: least to most of the retrained models",
    )
    return fig


def closeness(results: Saved) -> Figure:
    """Tug-of-War of each method against retraining."""
    table = results.table("scores")
    table = table[table.method != "retrained"]
    pairs = list(table.pair.unique())
    fig, axes = panels(len(pairs), width=4.6, height=4.4)
    methods = list(table.method.unique())
    for i, (ax, pair) in enumerate(zip(axes, pairs, strict=True)):
        of_pair = table[table.pair == pair]
        places = by_method(ax, methods, labelled=i == 0)
        for name, place in places.items():
            _dots(ax, of_pair[of_pair.method == name].ToW, place, name)
        best = of_pair[of_pair.method == "trained"].ToW.mean()
        ax.axvline(best, color=COLOURS["trained"], ls="--", lw=1)
        ax.set_title(_title(results, pair, runs(of_pair.seed.nunique())), fontsize=9)
        ax.set_xlabel("Tug-of-War against retraining")
        ax.grid(axis="y", visible=False)
    headline(fig, "1 is retraining with the same seed; dashed: doing nothing. Dots: seeds")
    return fig


def distances(results: Saved) -> Figure:
    """Distance of each method to three kinds of retraining (approximation error)."""
    table = results.table("distances")
    pairs = list(table.pair.unique())
    fig, axes = panels(len(pairs), width=4.6, height=4.4)
    methods = [name for name in table.method.unique() if name not in RETRAINED]
    for i, (ax, pair) in enumerate(zip(axes, pairs, strict=True)):
        of_pair = table[table.pair == pair]
        places = by_method(ax, methods, labelled=i == 0)
        for end, marker in ENDS.items():
            mean = of_pair.groupby("method")[end].mean()
            colours = [COLOURS[name] for name in methods]
            ax.scatter(
                mean[methods], [places[name] for name in methods], c=colours, marker=marker, s=34
            )
            ax.axvline(mean["trained"], color=COLOURS["trained"], ls="--", lw=0.8)
            ax.scatter([], [], color="#444444", marker=marker, label=end)
        ax.set(xlabel="distance ||w - other||, mean over seeds", xlim=(0, None))
        ax.set_title(_title(results, pair, runs(of_pair.seed.nunique())), fontsize=9)
        ax.grid(axis="y", visible=False)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, title="to retraining:", fontsize=8, loc="outside right center")
    headline(fig, "dashed: the trained model, before anything is done")
    return fig


def reach(results: Saved) -> Figure:
    """Share of the way to a warm-started retraining, by damping (approximation error)."""
    fig, (ax,) = canvas(width=7.0, height=3.2)
    table = results.table("reach")
    look = {"color": COLOURS["unlearned"], "marker": MARKERS["unlearned"]}
    for _, at_seed in table.groupby("seed"):
        ax.plot(at_seed.lam, 100 * at_seed.covered, **look, lw=0.8, ms=4)
    ax.axhline(0, color=COLOURS["trained"], ls="--", lw=1)
    ax.set(xscale="log", xlabel="damping lam", ylabel="of the way, %")
    ax.set_title(
        f"{_title(results, 'mlp_mnist')}, {runs(table.seed.nunique())}, one line each; "
        "without noise",
        fontsize=9,
    )
    return fig


def tuning(results: Saved) -> Figure:
    """Tug-of-War on held-out images for each setting tried."""
    table = results.table("tuning")
    pairs, methods = list(table.pair.unique()), list(table.method.unique())
    fig, axes = panels(len(pairs), width=4.6, height=3.8)
    for i, (ax, pair) in enumerate(zip(axes, pairs, strict=True)):
        of_pair = table[table.pair == pair]
        places = by_method(ax, methods, labelled=i == 0)
        for name, place in places.items():
            tried = of_pair[of_pair.method == name]
            if "ToW" in tried and tried.ToW.notna().any():
                scored = tried.dropna(subset="ToW")
                ax.scatter(scored.ToW, [place] * len(scored), color=COLOURS[name], s=22)
                best = scored[scored.kept]
                ax.scatter(best.ToW, [place], s=110, facecolor="none", edgecolor="#000000")
        ax.set_title(_title(results, pair), fontsize=9)
        ax.set_xlabel("Tug-of-War on held-out training images")
        ax.grid(axis="y", visible=False)
    headline(fig, "four settings each, one tuning seed; ringed: kept. 1 is retraining")
    return fig


def _dots(ax: Axes, values, place: float, name: str) -> None:
    """Draw one dot a seed, and a bar at their mean."""
    spots = place + np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else [place]
    look = {"color": COLOURS[name], "marker": MARKERS[name], "edgecolor": "white", "linewidth": 0.4}
    ax.scatter(values, spots, s=26, zorder=3, **look)
    ax.plot([values.mean()] * 2, [place - 0.34, place + 0.34], color=COLOURS[name], lw=2)


def _title(results: Saved, pair: str, more: str = "") -> str:
    """The title of one panel, 4.6 inches wide: data and network, then `more`."""
    title = results.numbers["titles"]["value"][pair]
    return wrapped(", ".join(filter(None, (title, more))), 4.0)


FIGURES = (
    tuning,
    scores_mlp_mnist,
    scores_allcnn_cifar10,
    scores_resnet18_svhn,
    closeness,
    distances,
    reach,
)
