"""What the command does: train, forget, compare, and check a release.

Each takes a model of models.py and returns text to print. Nothing is written before all is done.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from .. import __version__
from ..certificate import PROVED, Certificate
from ..evaluation.metrics import accuracy
from ..lab import files
from ..lab.provenance import versions
from ..objective import Objective
from ..text import number
from ..unlearn import Release
from ..verify import Verification, verify
from . import releases
from .models import Model, read_weights, weights
from .samples import Samples

LARGE = 10.0  # an epsilon, beyond which e^epsilon is no limit worth the name
SHARE = 0.9  # of the accuracy before, below which a release is said to be of no use


def train(model: Model, out: Path) -> str:
    """Train, and write the weights: they are not private, so they are not for publication."""
    releases.refuse_taken(out)
    started = time.perf_counter()
    w = model.train()
    files.save_tensors(out, weights(model.F, w))
    scores = _scores({"trained": w}, _judges(model, []))
    return f"{scores}\n{out} written in {time.perf_counter() - started:.0f} s: keep it to yourself"


def forget(
    model: Model, samples: Samples, rows: Sequence[int], w: Tensor | None, out: Path, *,
    epsilon: float, delta: float, run: dict,
) -> str:  # fmt: skip
    """Answer a request and write the release; w is trained first where it is not given."""
    releases.refuse_taken(out)
    w = model.train() if w is None else w
    release = model.forget(w, rows, epsilon, delta)
    run = run | {"settings": model.settings, "unlearnlib": __version__, "versions": versions()}
    asked = {"names": [samples.names[row] for row in rows], "data": samples.digest}
    judges = _judges(model, rows)
    table = _scores({"trained": w, "released": release.w}, judges)
    tensors = {
        "weights": weights(model.F, release.w),
        "secret": {"estimate": release.estimate, "trained": w},
    }
    words = _model_card(model, release, judges)
    releases.write(out, release.certificate, tensors, run, asked, words)
    lost = _lost(model, w, release.w)
    return (
        f"{release.certificate}\n\n{table}\n{lost}{out} written; publish all of it but private/\n"
        f"The samples and the model from before are still in {out}/private and in "
        f"{files.cache_root()}: verify, then delete them."
    )


def compare(
    model: Model, rows: Sequence[int], w: Tensor | None, *, epsilon: float, delta: float
) -> str:
    """Accuracy and seconds of doing nothing, of a release and of a retraining; nothing is kept."""
    taken, models = {}, {}
    steps = {
        "trained": lambda: model.train() if w is None else w,
        "released": lambda: model.forget(models["trained"], rows, epsilon, delta).w,
        "retrained": lambda: model.train(without=rows),
    }
    for name, step in steps.items():
        started = time.perf_counter()
        models[name] = step()
        taken[name] = time.perf_counter() - started
    seconds = ", ".join(f"{name} {value:.2g} s" for name, value in taken.items())
    return f"{_scores(models, _judges(model, rows))}\n{seconds} (kept trainings take none)"


def check(model: Model, samples: Samples, kept: releases.Kept, folder: Path) -> Verification:
    """Every line of a release's card again, by other means, from the data and its private part."""
    places = {name: row for row, name in enumerate(samples.names)}
    rows = [places[name] for name in kept.asked["names"]]
    w, estimate = kept.secret["trained"], kept.secret["estimate"]
    released = read_weights(model.F, folder / releases.WEIGHTS)
    release = Release(released, kept.certificate, estimate, None, {}, 0.0)
    return verify(model.F, w, rows, release)


# ---- in words ------------------------------------------------------------------------------------


def _judges(model: Model, rows: Sequence[int]) -> dict[str, Objective]:
    """Forgotten, retained and test samples, those that there are."""
    if not len(rows):
        found = {"training": model.F, "test": model.F_test}
    else:
        F_u, F_r = model.F.only(rows), model.F.without(rows)
        found = {"forgotten": F_u, "retained": F_r, "test": model.F_test}
    return {name: F for name, F in found.items() if F is not None}


def _scores(models: dict[str, Tensor], judges: dict[str, Objective]) -> str:
    """A table: a line for each model, its accuracy on each kind of samples."""
    lines = ["accuracy".ljust(12) + "".join(name.rjust(12) for name in judges)]
    for name, w in models.items():
        scores = (f"{accuracy(F, w):.1%}".rjust(12) for F in judges.values())
        lines.append(name.ljust(12) + "".join(scores))
    return "\n".join(lines)


def _lost(model: Model, before: Tensor, after: Tensor) -> str:
    """A warning where the noise took the model's accuracy; else nothing."""
    judge = model.F_test or model.F
    was, left = accuracy(judge, before), accuracy(judge, after)
    if left >= SHARE * was:
        return ""
    return (
        f"\nThe noise took the accuracy from {was:.1%} to {left:.1%}: of this model nothing better "
        "than its ball is proved. A larger --epsilon promises less; without --model you get one "
        "whose certificate is proved and costs little; or retrain.\n\n"
    )


def _at_most(card: Certificate) -> str:
    """What (epsilon, delta) says of a chance, in words."""
    if card.epsilon > LARGE:
        return f"has no useful limit (epsilon is {number(card.epsilon)}) against its chance"
    factor = number(math.exp(card.epsilon))
    return f"is at most {factor} times its chance, plus {number(card.delta)},"


def _model_card(model: Model, release: Release, judges: dict[str, Objective]) -> str:
    """The release in words, for those who get it: only what is public already."""
    card, settings = release.certificate, model.settings
    promise = (
        "Some training samples were removed on request. Whatever test is run on these weights, its "
        f"chance to say that they were used {_at_most(card)} for a model that was trained without "
        "them and released with the same noise. This is a statement about these weights alone: "
        "not about files, backups, earlier models, or other samples."
    )
    caveat = (
        ""
        if card.holds == PROVED
        else "Not all that the certificate rests on is proved; card.json says what is.\n\n"
    )
    described = "\n".join(f"- {name}: {value}" for name, value in settings.items())
    return (
        f"# A model that forgot\n\n{promise}\n\n{caveat}It promises nothing against someone who "
        "kept the model from before, and it takes for granted that the noise was drawn as it says "
        f"below.\n\n## What it is\n\n- promise: ({number(card.epsilon)}, {number(card.delta)})-"
        f"certified unlearning, {card.holds}\n{described}\n- weights: {model.F.p:,}, in "
        f"weights.safetensors\n- noise: sigma = {number(card.sigma)} in each weight, {card.noise}"
        f"\n- rests on: {card.sensitivity.source}\n\n## How to use it\n\n"
        "`safetensors.torch.load_file` reads the weights, by the names of the module. Softmax "
        "regression answers features @ weight.T, classes in the order of the alphabet; its "
        "features are those of `unlearnlib.command.models.FEATURES`.\n\n## How to check it\n\n"
        "`unlearnlib certificate FOLDER` shows the card. Who holds the data and private/ checks "
        "every line with `unlearnlib verify FOLDER --data DATA`.\n"
    )
