"""The numbers that each kind of stored result has today: one MLP, one CNN, all of it small.

python tests/recipes.py        writes them to tests/recipes.json, for who raised a recipe
"""

import json
import os
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import torch

from studies.nb11_budget_and_utility import worlds
from studies.nb12_paper_and_release import training
from unlearnlib.lab import curvature, data, methods, profiles, proved, stationary
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
    """Kind -> numbers, each the length of a vector that the kind keeps, or of a change of it."""
    mlp, cnn = (Experiment(pair, 0) for pair in pairs())
    images = data.load("mnist5k").subset(100, 20)
    problems = [proved.softmax(images), proved.network(images, 0, width=20)]
    settings = {name: method.settings(mlp.pair)[1] for name, method in methods.METHODS.items()}
    canaries, shadows = worlds.Canaries(mlp, SIZES), worlds.Shadows(mlp, SIZES)
    still = stationary.Stationary(mlp.pair, 0)
    held_out = training.trained_on_a_part(mlp, without_forgotten=True)
    vectors = {
        "trained": [d.w - d.F.initial() for d in (mlp, cnn)],
        "retrained": [d.retrained.w - d.w for d in (mlp, cnn)],
        "elsewhere": [d.elsewhere.w - d.w for d in (mlp, cnn)],
        "warm": [d.warm.w - d.w for d in (mlp, cnn)],
        "methods": [methods.contender(mlp, *it).w - mlp.w for it in settings.items()]
        + [methods.contender(cnn, "certified (CG)", 100 * cnn.pair.lam).w - cnn.w],
        "stationary": [still.at(stationary.LEVELS[1]) - still.d.w],
        "proved": [problem.trained(problem.gradient_for(1.0)).w for problem in problems],
        "canaries": changes(canaries.models),
        "shadows": changes(shadows.models),
        "held out": [w - mlp.F.initial() for w in (held_out.last, held_out.best)],
    }
    numbers = {kind: [float(v.double().norm()) for v in own] for kind, own in vectors.items()}
    numbers["constants"] = [*asdict(curvature.measure(mlp)).values()]
    numbers["curvature"] = [methods.largest_curvature(mlp)]
    return {kind: {"recipe": recipe(kind), "numbers": own} for kind, own in numbers.items()}


def changes(models):
    """What unlearning, and what retraining, changed of the trained model."""
    return [models[name] - models["trained"] for name in ("unlearned", "retrained")]


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
