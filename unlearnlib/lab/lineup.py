"""The proved models that take part: on which data, from which features, with which decay.

features = features_of(pair, images, profile)
rows = [decay_row(proved.softmax(images, decay, features)) for decay in DECAYS]
for entry in line_up(pair, images, features, best_decay(rows), profile):
    problem = entry.build()              one at a time, as features take a gigabyte
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from unlearnlib import draws
from unlearnlib.evaluation.metrics import accuracy
from unlearnlib.lab import proved
from unlearnlib.lab.data import Images
from unlearnlib.lab.features import Features, digits, patches, scattering
from unlearnlib.lab.profiles import Pair, Profile
from unlearnlib.lab.proved import Problem
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.lab.settings import DELTA, DRAWS
from unlearnlib.noise import gaussian_sigma, with_noise

DECAYS = (3e-7, 1e-6, 3e-6, 1e-5)  # of softmax regression on features; ours
PIXELS, FEATURES = "pixels", "features"


@dataclass(frozen=True)
class Entry:
    """A model that takes part: its pair, its name, what it is given, and how to build it.

    given   PIXELS or FEATURES
    """

    pair: str
    model: str
    given: str
    build: Callable[[], Problem]

    @property
    def label(self) -> str:
        return f"{self.model}, {self.given}"

    @property
    def row(self) -> dict[str, str]:
        """What each row about it begins with."""
        return {"pair": self.pair, "model": self.label}


def features_of(pair: Pair, images: Images, profile: Profile) -> Features:
    """Scattering for grey digits, what public digits teach for coloured ones, else photographs."""
    if pair.paper_dataset == "mnist":
        return scattering(images.shape, profile.angles)
    if pair.paper_dataset == "svhn":
        return digits(profile.drawings)
    return patches(images.shape, profile.pieces)


def held_out(problem: Problem) -> list[int]:
    """A fifth of the training images: what decays and learning rates are chosen on."""
    return draws.order(problem.F.n, generator("held out", 0))[: problem.F.n // 5].tolist()


def decay_row(problem: Problem) -> dict:
    """Accuracy on held-out training images, and the work of training on the others.

    with noise   the same at epsilon = 1, the mean over DRAWS
    gradients    of one training, a Hessian product as two
    """
    aside, G = held_out(problem), problem.gradient_for(1.0)
    run, judge = problem.trained(G, without=aside), problem.F.only(aside)
    sigma = gaussian_sigma(problem.sensitivity(G), 1.0, DELTA)
    noisy = [with_noise(run.w, sigma, seed_of(f"decay {k}", 0)) for k in range(DRAWS)]
    return {
        "decay": problem.weight_decay,
        "held out": accuracy(judge, run.w),
        "with noise": sum(accuracy(judge, w) for w in noisy) / DRAWS,
        "seconds": run.seconds,
        "gradients": run.gradients,
    }


def best_decay(rows: Sequence[dict]) -> float:
    """The decay that is best on held-out images once the noise is added; of equals the largest."""
    return max(rows, key=lambda row: (row["with noise"], row["decay"]))["decay"]


def line_up(
    pair: Pair, images: Images, features: Features, decay: float, profile: Profile
) -> list[Entry]:
    """Softmax regression and the tanh network on pixels, and softmax regression on the features."""
    tuned = f"held-out training images of {images.title}"
    builders = {
        ("softmax regression", PIXELS): lambda: proved.softmax(images),
        ("tanh network", PIXELS): lambda: proved.network(images, 0, width=profile.neurons),
        ("softmax regression", FEATURES): lambda: proved.softmax(images, decay, features, tuned),
    }
    return [Entry(pair.name, *named, build) for named, build in builders.items()]
