"""Your own data and model, by hand: what the command `unlearnlib` does (ours)."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_breast_cancer

from unlearnlib.command import releases, work
from unlearnlib.command.models import Model, read_weights
from unlearnlib.command.samples import Samples
from unlearnlib.evaluation.metrics import accuracy
from unlearnlib.lab.data import Images
from unlearnlib.lab.plots import canvas, headline
from unlearnlib.lab.results import Saved

FIFTH = 5  # one row of the table in five is set aside, to judge by
THIN = 1000  # in log10(1 + 1000 x): columns from a thousandth to thousands come out alike
COLOURS = {"trained": "#666666", "released": "#D55E00", "retrained": "#0072B2"}

MODULE = """import torch

def make():
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear({inputs}, 64), torch.nn.ReLU(),
        torch.nn.Linear(64, {classes}))
"""


def photographs(images: Images, folder: Path) -> Path:
    """Write images as files, FOLDER/{train,test}/CLASS/NNNN.png: what stands for your own."""
    splits = {"train": (images.x_train, images.y_train), "test": (images.x_test, images.y_test)}
    for split, (x, y) in splits.items():
        for k, (pixels, label) in enumerate(zip(x, y, strict=True)):
            path = folder / split / images.classes[label] / f"{k:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[0].numpy()).save(path)
    return folder


def patients(folder: Path) -> tuple[Path, Path]:
    """Write two tables, to train and to judge by, of 569 tumours that ship in scikit-learn.

    Their columns differ in size. To scale them by their own means would let every row have a part
    in every other; a formula lets none.
    """
    table = load_breast_cancer(as_frame=True)
    rows = np.log10(1 + THIN * table.data)
    rows["label"] = table.target_names[table.target]
    rows.insert(0, "patient", [f"patient {k}" for k in range(len(rows))])
    aside = np.arange(len(rows)) % FIFTH == 0
    paths = folder / "patients.csv", folder / "others.csv"
    for path, chosen in zip(paths, (~aside, aside), strict=True):
        rows[chosen].to_csv(path, index=False)
    return paths


def release_row(
    name: str, model: Model, samples: Samples, asked: list[int], out: Path, epsilon: float,
    delta: float,
) -> dict:  # fmt: skip
    """Train, release, retrain; write the release and check it from its files."""
    w, started = model.train(), time.perf_counter()
    budget = dict(epsilon=epsilon, delta=delta)
    work.forget(model, samples, asked, w, out, run={}, **budget)
    seconds = time.perf_counter() - started
    kept = releases.read(out)
    found = work.check(model, samples, kept, out)
    released = read_weights(model.F, out / releases.WEIGHTS)
    models = {"trained": w, "released": released, "retrained": model.train(without=asked)}
    return {
        "data and model": name,
        "n": model.F.n,
        "forgotten": len(asked),
        "epsilon": kept.certificate.epsilon,
        "rests on": kept.certificate.sensitivity.source.partition(":")[0],
        "confirmed": found.confirmed,
        "seconds": seconds,
        **{name: accuracy(model.F_test, w) for name, w in models.items()},
    }


def altered(model: Model, samples: Samples, out: Path) -> bool:
    """Whether a release is confirmed whose card claims half of its epsilon."""
    path = out / "card.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"epsilon": card["epsilon"] / 2}))
    try:
        return work.check(model, samples, releases.read(out), out).confirmed
    finally:
        path.write_text(json.dumps(card))


def accuracies(results: Saved) -> Figure:
    """Test accuracy before a request, of its release and of a retraining: three kinds of model."""
    table = results.table("releases")
    fig, [ax] = canvas(1, height=3.0)
    for k, (name, colour) in enumerate(COLOURS.items()):
        places = np.arange(len(table)) + 0.22 * (k - 1)
        ax.barh(places, 100 * table[name], height=0.2, color=colour, label=name)
    ax.set_yticks(range(len(table)), table["data and model"])
    ax.invert_yaxis()
    ax.set(xlabel="test accuracy, %", xlim=(0, 100))
    fig.legend(fontsize=9, loc="outside lower center", ncols=3)
    data = "; ".join(results.datasets)
    headline(fig, f"{data}: epsilon = {table.epsilon[0]:.3g}, one seed, on what no training saw")
    return fig


FIGURES = (accuracies,)
