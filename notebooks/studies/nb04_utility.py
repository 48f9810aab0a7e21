"""F1 and distance to retraining: seven ways to forget, three pairs of data and network (main
table).
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearnlib.evaluation.metrics import distance, tug_of_war
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.methods import METHODS, estimate, fields, solve_by_cg, tune, whose
from unlearnlib.lab.parallel import train_together
from unlearnlib.lab.plots import COLOURS, MARKERS, by_method, canvas, headline, runs, wrapped
from unlearnlib.lab.profiles import Pair
from unlearnlib.lab.results import Saved
from unlearnlib.lab.settings import TUNING_SEED
from unlearnlib.progress import bar

SETS = ("forgotten", "retained", "test")
RETRAINED = ("retrained", "elsewhere")
ENDS = {"same seed": "D", "another seed": "s", "warm start": "o"}


def tuning_rows(pair: Pair) -> list[dict]:
    """Every trial of every method, on held-out training images, and which one was kept."""
    held_out = Experiment(pair, TUNING_SEED, tuning=True)
    train_together([held_out], ("trained", "retrained", "elsewhere"), f"models of {pair.name}")
    rows = []
    for method in bar(METHODS.values(), f"tuning on {pair.name}"):
        tuned = tune(pair, method)
        for trial in tuned.trials:
            row = {"pair": pair.name, "method": method.name, "knob": method.knob}
            rows.append({**row, **trial, "kept": trial["setting"] == tuned.setting})
    return rows


def scores_rows(pair: Pair) -> list[dict]:
    """F1 on the three sets, its gap to retraining on the forgotten one, and the Tug-of-War."""
    rows = []
    for d, contenders in fields(pair):
        reference = contenders["retrained"].scores
        for name, it in contenders.items():
            gap = abs(it.scores["forgotten"] - reference["forgotten"])
            closeness = {"gap": gap, "ToW": tug_of_war(it.scores, reference)}
            row = {**whose(d, name), **it.scores, **closeness, "seconds": it.seconds}
            rows.append({**row, "setting": it.setting})
    return rows


def distances_rows(pair: Pair) -> list[dict]:
    """How far each contender is from where it began, and from the three kinds of retraining."""
    rows = []
    for d, contenders in fields(pair):
        ends = {
            "trained": "from trained",
            "retrained": "same seed",
            "elsewhere": "another seed",
            "warm": "warm start",
        }
        for name, it in contenders.items():
            lengths = {label: distance(it.w, contenders[end].w) for end, label in ends.items()}
            rows.append({**whose(d, name), **lengths, "norm": float(it.w.double().norm())})
    return rows


def reach_rows(pair: Pair) -> list[dict]:
    """By damping: how much of the way to the warm-started retraining the noiseless step covers."""
    experiments = [Experiment(pair, seed) for seed in pair.seeds]
    train_together(experiments, ("trained", "warm"), f"models of {pair.name}")
    rows = []
    for d in bar(experiments, "dampings"):
        goal = d.warm.w
        for lam in METHODS["certified (CG)"].settings(pair):
            w = estimate(solve_by_cg, d, lam)
            share = 1 - distance(w, goal) / distance(d.w, goal)
            rows.append({"seed": d.seed, "lam": lam, "step": distance(w, d.w), "covered": share})
    return rows


def gradients_rows(pair: Pair) -> list[dict]:
    """||grad F_r|| of the three models that never left, or never saw, the forgotten images."""
    names, rows = ("trained", "retrained", "warm"), []
    experiments = [Experiment(pair, seed) for seed in pair.seeds]
    train_together(experiments, names, f"models of {pair.name}")
    for d in experiments:
        for name in names:
            run = getattr(d, name)
            slope = d.F_r.with_buffers(run.buffers).gradient(run.w)
            rows.append({**whose(d, name), "gradient": float(slope.norm())})
    return rows


# ---- figures -----------------------------------------------------------------------------------


def scores_mlp_mnist(results: Saved) -> Figure:
    """F1 on forgotten, retained and test images: MLP (main table, MNIST)."""
    return _scores(results, "mlp_mnist")


def scores_allcnn_cifar10(results: Saved) -> Figure:
    """The same: AllCNN (main table, CIFAR-10)."""
    return _scores(results, "allcnn_cifar10")


def scores_resnet18_svhn(results: Saved) -> Figure:
    """The same: ResNet-18 (main table, SVHN (a stand-in here))."""
    return _scores(results, "resnet18_svhn")


def _scores(results: Saved, pair: str) -> Figure:
    """F1 on the three sets, one dot a seed, a bar at the mean; the band is retraining, twice."""
    fig, axes = canvas(3, width=4.2, height=4.4)
    table = results.table("scores").query("pair == @pair")
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
    fig, axes = canvas(len(pairs), width=4.6, height=4.4)
    methods = list(table.method.unique())
    for i, (ax, pair) in enumerate(zip(axes, pairs, strict=True)):
        own = table[table.pair == pair]
        places = by_method(ax, methods, labelled=i == 0)
        for name, place in places.items():
            _dots(ax, own[own.method == name].ToW, place, name)
        best = own[own.method == "trained"].ToW.mean()
        ax.axvline(best, color=COLOURS["trained"], ls="--", lw=1)
        ax.set_title(_title(results, pair, runs(own.seed.nunique())), fontsize=9)
        ax.set_xlabel("Tug-of-War against retraining")
        ax.grid(axis="y", visible=False)
    headline(fig, "1 is retraining with the same seed; dashed: doing nothing. Dots: seeds")
    return fig


def distances(results: Saved) -> Figure:
    """Distance of each method to three kinds of retraining (approximation error)."""
    table = results.table("distances")
    pairs = list(table.pair.unique())
    fig, axes = canvas(len(pairs), width=4.6, height=4.4)
    methods = [name for name in table.method.unique() if name not in RETRAINED]
    for i, (ax, pair) in enumerate(zip(axes, pairs, strict=True)):
        own = table[table.pair == pair]
        places = by_method(ax, methods, labelled=i == 0)
        for end, marker in ENDS.items():
            mean = own.groupby("method")[end].mean()
            colours = [COLOURS[name] for name in methods]
            ax.scatter(
                mean[methods], [places[name] for name in methods], c=colours, marker=marker, s=34
            )
            ax.axvline(mean["trained"], color=COLOURS["trained"], ls="--", lw=0.8)
            ax.scatter([], [], color="#444444", marker=marker, label=end)
        ax.set(xlabel="distance ||w - other||, mean over seeds", xlim=(0, None))
        ax.set_title(_title(results, pair, runs(own.seed.nunique())), fontsize=9)
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
    for _, own in table.groupby("seed"):
        ax.plot(own.lam, 100 * own.covered, **look, lw=0.8, ms=4)
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
    fig, axes = canvas(len(pairs), width=4.6, height=3.8)
    for i, (ax, pair) in enumerate(zip(axes, pairs, strict=True)):
        own = table[table.pair == pair]
        places = by_method(ax, methods, labelled=i == 0)
        for name, place in places.items():
            tried = own[own.method == name]
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
    """One dot a seed around a line at the mean."""
    spots = place + np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else [place]
    look = {"color": COLOURS[name], "marker": MARKERS[name], "edgecolor": "white", "linewidth": 0.4}
    ax.scatter(values, spots, s=26, zorder=3, **look)
    ax.plot([values.mean()] * 2, [place - 0.34, place + 0.34], color=COLOURS[name], lw=2)


def _title(results: Saved, pair: str, more: str = "") -> str:
    """What a panel of 4.6 inches says over itself."""
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
