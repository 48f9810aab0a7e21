"""Two models whose certificates are proved: softmax regression, and a network of tanh neurons.

problem = network(images, seed=0, width=490)     or softmax(images, 1e-6, scattering(images.shape))
G = problem.gradient_for(epsilon=1.0)            the gradient to stop at, fixed beforehand
w = problem.trained(G).w                         kept in the store
release = problem.unlearn(w, forget, G, epsilon=1.0)

Inputs are a fixed function of one image each, with ||x|| <= 1 (see lab/features.py): forgetting an
image changes nothing but its own row.

A request takes fewer products with `prepared=problem.prepared(G)`, made once when training ends.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from .. import draws, precision
from ..bounds import strong_convexity_bound
from ..certificate import Constants, chosen, proved
from ..cg import Apply
from ..evaluation.peers import convex
from ..evaluation.peers.convex import HESSIAN_LIPSCHITZ, SAMPLE_GRADIENT, SMOOTHNESS
from ..noise import gaussian_sigma
from ..objective import Objective
from ..refinement import Preconditioner, Refinement, refine
from ..strongly_convex import StronglyConvexUnlearner, unlearn_strongly_convex
from ..unlearn import Release
from .convex_network import ConvexNetwork, strong_convexity
from .data import Images
from .device import device
from .features import PIXELS, Features
from .preconditioners import (
    Kronecker,
    Roots,
    Sharpened,
    Spectrum,
    input_spectrum,
    kronecker,
    network_roots,
    sharpened,
    softmax_roots,
)
from .processes import use_threads
from .seeds import generator, seed_of
from .settings import BLUR, DELTA
from .store import load_or_make

# The next two lines were chosen once, on held-out training images of MNIST. A choice made on the
# very data that is to be protected would cost budget too; make it on public data.
DECAY = 1e-5  # of softmax regression
STRENGTH, SCALE, EXCESS = 5e4, 2.0, 2.0  # of the network: c, U0's entries, decay over curvature
TUNED_ON = "held-out training images of MNIST"
KEPT_SECRET = "from all samples: kept secret, and made anew when it must forget too"
RECIPE = 3  # of what is stored here: raise it when its numbers change
BENDS_SAMPLE = 6000  # samples whose mean Gauss-Newton matrix preconditions a step of training
PREPARED_ON = 20_000  # samples that a preconditioner for requests is made of; more help no further
DIRECTIONS = 3000  # of it that know the Hessian itself: a matrix of 36 MB, a product in no time
SAMPLES_A_DIRECTION = 5  # at least, for a matrix in so many directions to be near its mean


@dataclass(frozen=True)
class Prepared:
    """A preconditioner that was made once, for requests to one model: call it as `refine` does.

    P         the same at each w
    counts    samples of each class that it was made for, (K,)
    anew      makes another at each w, where less than half of some class is left: the Hessian is
              quite another one then
    seconds   that making P took
    """

    P: Sharpened
    counts: Tensor
    anew: Preconditioner
    seconds: float

    def __call__(self, F: Objective, w: Tensor) -> Apply:
        left = _counts(F, len(self.counts))
        return self.P if bool((2 * left >= self.counts).all()) else self.anew(F, w)


@dataclass(frozen=True, eq=False)
class Problem:
    """A model, its data, and what is proved of its objective.

    F, F_test        in float64, on the training and the test images
    net              its own weights are those of the start
    mu, L, M         strong convexity, and Lipschitz constants of gradient and Hessian, everywhere
    sample_gradient  bound on the gradient norm of one sample's loss, without decay
    reach            noise of size sigma in the weights is at most reach * sigma in a logit
    settings         what decides the training besides the data; public, on the card
    features         what the model is given of an image
    tuned_on         what decay or strength were chosen on, for the card
    roots            of each sample's Gauss-Newton matrix, for preconditioners.py
    """

    name: str
    images: Images
    F: Objective
    net: nn.Module
    mu: float
    L: float
    M: float
    sample_gradient: float
    reach: float
    settings: dict
    why: str
    features: Features
    tuned_on: str
    roots: Roots

    @property
    def weight_decay(self) -> float:
        return self.F.weight_decay

    @cached_property
    def F_test(self) -> Objective:
        _, x = self.features.of(self.images)
        return _objective(self.net, x, self.images.y_test, self.weight_decay)

    def objective(self, x: Tensor, y: Tensor) -> Objective:
        """The same model on other images (n, channels, height, width)."""
        return _objective(self.net, self.features(x), y, self.weight_decay)

    @property
    def known(self) -> dict[str, float | str]:
        """What is public besides the constants."""
        inputs = f"{self.features.name}: {self.features.source}"
        public = {"inputs": inputs, "tuned on": self.tuned_on, "preconditioner": KEPT_SECRET}
        return {name: q for name, q in self.settings.items() if name != "weight_decay"} | public

    def gradient_for(self, epsilon: float, requests: int = 1, delta: float = DELTA) -> float:
        """The G at which (epsilon, delta) costs noise of at most BLUR in a logit.

        requests   that epsilon is shared by, all of their releases kept by somebody. It has to be
                   known before training, and so does all else that G depends on: proved constants.
        """
        Delta = BLUR / self.reach / gaussian_sigma(math.sqrt(requests), epsilon, delta)
        return self.mu * Delta / 2

    def sensitivity(self, G: float) -> float:
        """Delta = 2G/mu."""
        return strong_convexity_bound(G, self.mu, G)

    def constants(self, G: float) -> Constants:
        """The constants that go on the card, each with its proof."""
        return Constants(
            M=proved(self.M, self.why),
            L=proved(self.L, self.why),
            lam_min=proved(self.mu, self.why),
            G=chosen(G, "training and refining stop there"),
            sample_gradient=proved(self.sample_gradient, self.why),
        )

    def trained(self, G: float, without: Sequence[int] = ()) -> Refinement:
        """From zero weights to ||grad|| <= G, on all images or without some; kept in the store."""
        F = self.F.without(without) if len(without) else self.F
        key = self.key(G) | {"without": sorted(int(i) for i in without)}

        def make() -> tuple[dict[str, Tensor], dict]:
            start, P = torch.zeros_like(F.initial()), self.anew()
            run = refine(F, start, gradient=G, curvature=curvature(F), preconditioner=P)
            info = {"history": run.history, "gradients": run.gradients, "seconds": run.seconds}
            return {"w": run.w, "slope": run.slope}, info

        kept = load_or_make("proved", key, make, RECIPE)
        w, slope = kept.tensors["w"], kept.tensors["slope"]
        return Refinement(w, slope, kept.info["history"][-1], **kept.info)

    def anew(self) -> Preconditioner:
        """A preconditioner that is made at each w, in no time: a part of each step of training."""
        inputs = self.inputs
        return lambda F, w: kronecker(_some(F, BENDS_SAMPLE), w, inputs, self.roots)

    @cached_property
    def inputs(self) -> Spectrum:
        """Eigenvectors of mean x x^T of all training images; made once, then stored.

        Retraining is given them too, so that it is not charged for what a request has for nothing.
        """

        def make() -> tuple[dict[str, Tensor], dict]:
            started = time.perf_counter()
            found = input_spectrum(curvature(self.F))
            tensors = {"values": found.values, "vectors": found.vectors}
            return tensors, {"seconds": time.perf_counter() - started}

        key = {"features": self.features.key, "data": self.images.digest}
        kept = load_or_make("spectra", key, make)
        return Spectrum(**kept.tensors, seconds=kept.info["seconds"])

    def prepared(self, G: float) -> Prepared:
        """What makes requests to the model `trained(G)` quick; made once, then stored."""

        def make() -> tuple[dict[str, Tensor], dict]:
            made = self.prepare(self.F, self.trained(G).w)
            P = made.P
            tensors = {"positions": P.positions, "inverse": P.inverse}
            return tensors | {"bends": P.P.bends, "U": P.P.U}, {"seconds": made.seconds}

        kept = load_or_make("prepared", self.key(G) | {"directions": DIRECTIONS}, make, RECIPE)
        parts = kept.tensors
        P = Kronecker(parts["bends"], parts["U"], self.inputs, self.weight_decay)
        P = Sharpened(P, parts["positions"], parts["inverse"])
        return Prepared(
            P, _counts(self.F, len(self.images.classes)), self.anew(), kept.info["seconds"]
        )

    def prepare(self, F: Objective, w: Tensor) -> Prepared:
        """Prepare for requests to w, from F: all samples, or those that are left.

        From those that are left it takes eigenvectors of their own, and knows nothing of the rest.
        """
        started, single = time.perf_counter(), curvature(F)
        inputs = self.inputs if F is self.F else input_spectrum(single)
        some = _some(single, PREPARED_ON)
        directions = min(DIRECTIONS, max(1, some.n // SAMPLES_A_DIRECTION))
        P = sharpened(some, w.to(some.dtype), inputs, self.roots, directions)
        return Prepared(
            P, _counts(F, len(self.images.classes)), self.anew(), time.perf_counter() - started
        )

    def unlearn(
        self, w: Tensor, forget: Sequence[int], G: float, on: Objective | None = None,
        prepared: Prepared | None = None, **budget,
    ) -> Release:  # fmt: skip
        """One request to a model trained on F, or on some of it.

        prepared   of `prepared(G)`; without it each step makes a preconditioner of its own
        budget     epsilon or sigma, and delta where it is not DELTA; seed, and whole: the slope
                   that training kept
        """
        terms = self._terms(G, prepared) | budget
        return unlearn_strongly_convex(on or self.F, w, forget, **terms)

    def queue(
        self, w: Tensor, G: float, prepared: Prepared | None = None, **budget
    ) -> StronglyConvexUnlearner:
        """Return an object that answers many requests, one after the other, starting from w."""
        return StronglyConvexUnlearner(self.F, w, **self._terms(G, prepared), **budget)

    def _terms(self, G: float, prepared: Prepared | None) -> dict:
        return {
            "constants": self.constants(G),
            "delta": DELTA,
            "curvature": curvature,
            "preconditioner": prepared or self.anew(),
            "known": self.known,
        }

    def key(self, G: float) -> dict:
        """What decides a training down to G."""
        return self.settings | {"features": self.features.key, "data": self.images.digest, "G": G}


def softmax(
    images: Images, weight_decay: float = DECAY, features: Features = PIXELS,
    tuned_on: str = TUNED_ON,
) -> Problem:  # fmt: skip
    """Softmax regression: mu = decay; the other constants as in evaluation/peers/convex.py."""
    use_threads("network")
    x, _ = features.of(images)
    net = nn.Linear(x.shape[1], len(images.classes), bias=False, device="cpu").double()
    F = _objective(net, x, images.y_train, weight_decay)
    convex.check(F)  # refused unless it is what the constants are proved for
    return Problem(
        "softmax regression",
        images,
        F,
        net,
        mu=convex.strong_convexity(F),
        L=SMOOTHNESS + weight_decay,
        M=HESSIAN_LIPSCHITZ,
        sample_gradient=SAMPLE_GRADIENT,
        reach=1.0,
        why="softmax loss, ||x|| = 1, decay",
        settings={"model": "softmax", "weight_decay": weight_decay},
        features=features,
        tuned_on=tuned_on,
        roots=softmax_roots,
    )


def network(
    images: Images, seed: int, *, width: int, strength: float = STRENGTH, excess: float = EXCESS,
    features: Features = PIXELS, tuned_on: str = TUNED_ON,
) -> Problem:  # fmt: skip
    """The tanh network of `convex_network`, with a decay of `excess` times its curvature.

    width   a public constant, as `neurons` gives: it decides mu, G, sigma and the shape of w, so it
            must be the same in both worlds, with and without the forgotten images.
    """
    use_threads("network")
    shape = {"width": width, "strength": strength, "scale": SCALE, "seed": seed}
    init = shape | {"seed": seed_of("init", seed)}
    x, _ = features.of(images)
    net = ConvexNetwork(x.shape[1], len(images.classes), **init).double()
    decay = excess * net.curvature
    F = _objective(net, x, images.y_train, decay)
    return Problem(
        "tanh network",
        images,
        F,
        net,
        mu=strong_convexity(F),
        L=net.gradient_lipschitz(decay),
        M=net.hessian_lipschitz(),
        sample_gradient=net.sample_gradient(),
        reach=strength,
        why="see lab/convex_network.py",
        settings={"model": "convex network", "weight_decay": decay, **shape},
        features=features,
        tuned_on=tuned_on,
        roots=network_roots,
    )


def neurons(planned: int) -> int:
    """The width of the network for this number of images: 2 sqrt(planned).

    planned   a public number that does not depend on what is forgotten: that of the profile, not
              of the images in memory.
    """
    return 2 * round(math.sqrt(planned))


def curvature(F: Objective) -> Objective:
    """The objective whose Hessian the Newton steps use: all samples, in single precision.

    All, since a step takes about ten products: fewer samples would cost further steps, each with a
    gradient in double precision over all.
    """
    return F.to(torch.float32)


def _counts(F: Objective, classes: int) -> Tensor:
    """Samples of each class, (classes,)."""
    y = F.y if F.rows is None else F.y[F.rows]
    return torch.bincount(y, minlength=classes)


def _some(F: Objective, samples: int) -> Objective:
    return F.only(draws.order(F.n, generator("curvature", 0))[:samples])


def _objective(net: nn.Module, x: Tensor, y: Tensor, weight_decay: float) -> Objective:
    """The objective on these inputs, on the lab's device, which must have float64."""
    where = device()
    precision.check(torch.float64, where)
    return Objective(net.to(where), x, y.to(where), weight_decay=weight_decay)
