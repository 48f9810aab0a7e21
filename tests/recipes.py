"""The numbers that each kind of stored result has today: one MLP, one CNN, all of it small.

PYTHONPATH=notebooks .venv/bin/python tests/recipes.py        writes them to tests/recipes.json
"""

import json
import os
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import torch

from studies.nb05_membership_inference import shadows as many
from studies.nb11_budget_and_utility import worlds
from studies.nb12_paper_and_release import training
from studies.nb13_frontier import cases, curves, ways
from unlearnlib.lab import (
    contenders,
    curvature,
    data,
    drawn,
    features,
    methods,
    profiles,
    proved,
    stationary,
)
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.files import cache_root, load_tensors

KEPT = Path(__file__).with_suffix(".json")
SIZES = worlds.Sizes(images=60, epochs=2, canaries=10, mislabelled=4, models=2)


def pairs():
    """An MLP whose ball is reached in training, and a CNN."""
    smoke = profiles.load("smoke")
    mlp = replace(smoke.mlp_mnist, train=300, test=100, forget=10, epochs=4, C=5.0)
    return mlp, replace(smoke.allcnn_cifar10, train=60, test=20, forget=4, epochs=1)


def made():
    """Kind -> recipe, and by name the length of each vector that it keeps, or of a change."""
    networks = mlp, cnn = [Experiment(pair, 0) for pair in pairs()]
    runs = {name: changed(networks, name) for name in ("retrained", "elsewhere", "warm", "again")}
    canaries, shadows = worlds.Canaries(mlp, SIZES), worlds.Shadows(mlp, SIZES)
    halves = many.Shadows(mlp, many.Sizes(base=60, pool=20, models=2, epochs=2))
    still = stationary.Stationary(mlp.pair, 0)
    held_out = training.trained_on_a_part(mlp, without_forgotten=True)
    vectors = runs | {
        "trained": {d.pair.name: d.w - d.F.initial() for d in networks},
        "methods": by_method(mlp)
        | {"CNN": forgotten(cnn, "certified (CG)", (100 * cnn.pair.lam, 1e-3))},
        "stationary": {"level": still.at(stationary.LEVELS[1]) - still.d.w},
        "proved": {problem.name: proved_weights(problem) for problem in problems()},
        "features": inputs(),
        "drawn": {"maps": maps()},
        "spectra": {problem.name: problem.inputs.values for problem in problems()},
        "prepared": {problem.name: solved(problem) for problem in problems()},
        "canaries": changes(canaries.models),
        "shadows": changes(shadows.models),
        "halves": {"both": halves.models["trained"] - halves.models["oracle"]},
        "held out": {"last": held_out.last - mlp.F.initial(), "best": held_out.best - mlp.w},
    }
    numbers = {
        kind: {name: float(v.detach().double().norm()) for name, v in by_name.items()}
        for kind, by_name in vectors.items()
    }
    numbers["constants"] = asdict(curvature.measure(mlp))
    numbers["curvature"] = {"largest": methods.largest_curvature(mlp)}
    numbers["frontier"] = frontier()
    return {kind: {"recipe": recipe(kind), "numbers": own} for kind, own in numbers.items()}


def changed(networks, run):
    """What another run of each network changes of the trained model."""
    return {d.pair.name: getattr(d, run).w - d.w for d in networks}


def by_method(d):
    """What each method changes, at its second setting."""
    chosen = {name: method.settings(d.pair)[1] for name, method in methods.METHODS.items()}
    return {name: forgotten(d, name, setting) for name, setting in chosen.items()}


def forgotten(d, method, setting):
    return contenders.contender(d, method, setting).w - d.w


def problems():
    images = data.load("mnist5k").subset(100, 20)
    return proved.softmax(images), proved.network(images, 0, width=20)


def proved_weights(problem):
    return problem.trained(problem.gradient_for(1.0)).w


def inputs():
    """Inputs of a few images, weighted so that the largest are not the only ones that count."""
    few = data.load("mnist5k").subset(10, 10)
    kinds = features.PIXELS, features.scattering(few.shape), features.patches(few.shape, count=20)
    found = {kind.name: kind.of(few)[0] for kind in kinds}
    return {name: x * torch.linspace(-1, 1, x.shape[1]) for name, x in found.items()}


def maps():
    """What the network of public digits sees in an image, weighted as each map has norm 1."""
    seen = drawn.network(40)(torch.linspace(0, 1, 3072).view(1, 3, 32, 32)).flatten()
    return seen * torch.linspace(-1, 1, len(seen))


def frontier():
    """The mean accuracy of a curve, of some ways to forget."""
    images = data.load("mnist5k").subset(100, 400)
    case = cases.of_problem("softmax", proved.softmax(images), forget=5)
    asked, found = case.requests()[cases.AS_PAPER], {}
    for name in (ways.RETRAINING, "clipped gradients", ways.OURS):
        setting = ways.WAYS[name].settings(case)[-1]
        rows = curves.curve(case, asked, ways.WAYS[name], 1.0, setting, 0)
        found[name] = sum(row["accuracy"] for row in rows) / len(rows)
    return found


def solved(problem):
    """What is prepared for requests, applied to a vector."""
    prepared = problem.prepared(problem.gradient_for(1.0))
    return prepared.P(torch.linspace(-1, 1, problem.F.p))


def changes(models):
    """What unlearning, and what retraining, changed of the trained model."""
    return {name: models[name] - models["trained"] for name in ("unlearned", "retrained")}


def recipe(kind):
    """The recipes that a kind was made by, as the files in the store have them."""
    found = set()
    for path in (cache_root() / "store" / kind).glob("*.safetensors"):
        identity = json.loads(load_tensors(path)[1]["identity"])
        training = identity["key"].get("training")
        of_training = "" if training is None else f", training {training}"
        found.add(f"recipe {identity['recipe']}{of_training}")
    return ", ".join(sorted(found))


def version():
    """What the numbers depend on beside the code: torch, to the second number."""
    return ".".join(torch.__version__.split(".")[:2])


def main():
    with tempfile.TemporaryDirectory() as cache:
        os.environ |= {"UNLEARNLIB_CACHE": cache, "UNLEARNLIB_WORKERS": "1"}
        kept = {"torch": version(), "kinds": made()}
    KEPT.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
