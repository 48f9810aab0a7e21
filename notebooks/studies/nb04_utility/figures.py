"""The figures of 04_utility."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearnlib.lab.plots import COLOURS, MARKERS, by_method, canvas, headline, runs, title
from unlearnlib.lab.results import Saved
from unlearnlib.lab.verdicts import OURS, SETS, THIRD

RETRAINED = ("retrained", "elsewhere")
SAID = {
    "the paper": "the paper, certified",
    OURS: "ours, certified",
    "trained": "nothing done",
    "retrained": "retrained",
}
ON = {"forgotten": ("#D55E00", "o"), "retained": ("#0072B2", "s"), "test": ("#000000", "^")}
ENDS = {"same seed": "D", "another seed": "s", "warm start": "o"}


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
    fig, axes = canvas(3, height=4.4)
    methods = list(table.method.unique())
    for i, (ax, samples) in enumerate(zip(axes, SETS, strict=True)):
        again = 100 * table[table.method.isin(RETRAINED)][samples]
        ax.axvspan(again.min(), again.max(), color=COLOURS["retrained"], alpha=0.12, lw=0)
        places = by_method(ax, methods, labelled=i % 2 == 0)
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


def against_paper(results: Saved) -> Figure:
    """F1 of the paper's certified method beside ours, doing nothing and retraining (main table)."""
    table = results.table("beside the paper")
    pairs = list(table.pair.unique())
    fig, axes = canvas(len(pairs), height=2.8)
    for ax, pair in zip(axes, pairs, strict=True):
        of_pair = table[table.pair == pair]
        for place, row in enumerate(of_pair.itertuples()):
            scores = [100 * getattr(row, samples) for samples in SETS]
            where = np.arange(3) + 0.18 * (place - 1.5)
            look = {"color": COLOURS[row.method], "marker": MARKERS[row.method]}
            ax.plot(where, scores, **look, ls="none", ms=7, label=SAID.get(row.method, row.method))
            spread = 100 * (row.retained * (1 - row.retained) / row.forgets) ** 0.5
            ax.errorbar(where[0], scores[0], spread, color=look["color"], lw=1, capsize=2)
        ax.set_xticks(range(3), SETS)
        ax.set_ylabel("accuracy (micro F1), %")
        title(ax, _title(results, pair))
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, fontsize=9, loc="outside lower center", ncols=4)
    return fig


def by_sigma(results: Saved) -> Figure:
    """F1 less retraining's by the noise of the certified step, on three sets of images."""
    table, verdicts = results.table("by sigma"), results.table("verdict by sigma")
    pairs = list(table.pair.unique())
    fig, axes = canvas(len(pairs), height=3.2)
    for ax, pair in zip(axes, pairs, strict=True):
        ours = table[(table.pair == pair) & (table.method == OURS)]
        for samples, (colour, marker) in ON.items():
            rows = ours[ours.samples == samples]
            ax.fill_between(rows.sigma, 100 * rows.low, 100 * rows.high, color=colour, alpha=0.2)
            ax.plot(rows.sigma, 100 * rows["mean"], color=colour, marker=marker, label=samples)
        trained = results.rows("differences", pair).query("method == 'trained'")
        margin = 100 * THIRD * float(trained.set_index("samples")["mean"]["forgotten"])
        ax.axhspan(-margin, margin, color="#eeeeee", zorder=0)
        for row in verdicts[verdicts.pair == pair].itertuples():
            if row.verdict == "reproduced":
                ax.axvline(row.sigma, color="#000000", ls=":", lw=1)
        ax.set(xscale="log", xlabel="sigma", ylabel="F1 less retraining's, points")
        ax.set_yscale("symlog", linthresh=max(1.0, 2 * abs(margin)))
        title(ax, _title(results, pair))
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, fontsize=9, loc="outside lower center", ncols=3)
    headline(
        fig, "band: within a third of what there is to unlearn; dotted: there on all three sets"
    )
    return fig


def closeness(results: Saved) -> Figure:
    """Tug-of-War of each method against retraining."""
    table = results.table("scores")
    table = table[table.method != "retrained"]
    pairs = list(table.pair.unique())
    fig, axes = canvas(len(pairs), height=4.4)
    methods = list(table.method.unique())
    for i, (ax, pair) in enumerate(zip(axes, pairs, strict=True)):
        of_pair = table[table.pair == pair]
        places = by_method(ax, methods, labelled=i % 2 == 0)
        for name, place in places.items():
            _dots(ax, of_pair[of_pair.method == name].ToW, place, name)
        best = of_pair[of_pair.method == "trained"].ToW.mean()
        ax.axvline(best, color=COLOURS["trained"], ls="--", lw=1)
        title(ax, _title(results, pair, runs(of_pair.seed.nunique())))
        ax.set_xlabel("Tug-of-War against retraining")
        ax.grid(axis="y", visible=False)
    headline(fig, "1 is retraining with the same seed; dashed: doing nothing. Dots: seeds")
    return fig


def distances(results: Saved) -> Figure:
    """Distance of each method to three kinds of retraining (approximation error)."""
    table = results.table("distances")
    pairs = list(table.pair.unique())
    fig, axes = canvas(len(pairs), height=4.4)
    methods = [name for name in table.method.unique() if name not in RETRAINED]
    for i, (ax, pair) in enumerate(zip(axes, pairs, strict=True)):
        of_pair = table[table.pair == pair]
        places = by_method(ax, methods, labelled=i % 2 == 0)
        for end, marker in ENDS.items():
            mean = of_pair.groupby("method")[end].mean()
            colours = [COLOURS[name] for name in methods]
            ax.scatter(
                mean[methods], [places[name] for name in methods], c=colours, marker=marker, s=34
            )
            ax.axvline(mean["trained"], color=COLOURS["trained"], ls="--", lw=0.8)
            ax.scatter([], [], color="#444444", marker=marker, label=end)
        ax.set(xlabel="distance, mean over seeds", xlim=(0, None))
        title(ax, _title(results, pair, runs(of_pair.seed.nunique())))
        ax.grid(axis="y", visible=False)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, fontsize=9, loc="outside lower center", ncols=3)
    headline(fig, "distance to three retrained models; dashed: the trained model, before anything")
    return fig


def reach(results: Saved) -> Figure:
    """Share of the way to a warm-started retraining, by damping (approximation error)."""
    fig, (ax,) = canvas(height=3.2)
    table = results.table("reach")
    look = {"color": COLOURS["unlearned"], "marker": MARKERS["unlearned"]}
    for _, at_seed in table.groupby("seed"):
        ax.plot(at_seed.lam, 100 * at_seed.covered, **look, lw=0.8, ms=4)
    ax.axhline(0, color=COLOURS["trained"], ls="--", lw=1)
    ax.set(xscale="log", xlabel="damping lam", ylabel="of the way, %")
    title(
        ax,
        f"{_title(results, 'mlp_mnist')}, {runs(table.seed.nunique())}, one line each; "
        "without noise",
    )
    return fig


def tuning(results: Saved) -> Figure:
    """Tug-of-War on held-out images for each setting tried."""
    table = results.table("tuning")
    pairs, methods = list(table.pair.unique()), list(table.method.unique())
    fig, axes = canvas(len(pairs), height=3.8)
    for i, (ax, pair) in enumerate(zip(axes, pairs, strict=True)):
        of_pair = table[table.pair == pair]
        places = by_method(ax, methods, labelled=i % 2 == 0)
        for name, place in places.items():
            tried = of_pair[of_pair.method == name]
            if "ToW" in tried and tried.ToW.notna().any():
                scored = tried.dropna(subset="ToW")
                ax.scatter(scored.ToW, [place] * len(scored), color=COLOURS[name], s=22)
                best = scored[scored.kept]
                ax.scatter(best.ToW, [place], s=110, facecolor="none", edgecolor="#000000")
        title(ax, _title(results, pair))
        ax.set_xlabel("Tug-of-War on held-out training images")
        ax.grid(axis="y", visible=False)
    headline(fig, "each setting of the knobs, one tuning seed; ringed: kept. 1 is retraining")
    return fig


def _dots(ax: Axes, values, place: float, name: str) -> None:
    """Draw one dot a seed, and a bar at their mean."""
    spots = place + np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else [place]
    look = {"color": COLOURS[name], "marker": MARKERS[name], "edgecolor": "white", "linewidth": 0.4}
    ax.scatter(values, spots, s=26, zorder=3, **look)
    ax.plot([values.mean()] * 2, [place - 0.34, place + 0.34], color=COLOURS[name], lw=2)


def _title(results: Saved, pair: str, more: str = "") -> str:
    """The title of one panel: data and network, then `more`."""
    return ", ".join(filter(None, (results.numbers["titles"]["value"][pair], more)))


FIGURES = (
    tuning,
    scores_mlp_mnist,
    scores_allcnn_cifar10,
    scores_resnet18_svhn,
    against_paper,
    closeness,
    by_sigma,
    distances,
    reach,
)
