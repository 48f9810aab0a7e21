"""Two models whose certificates are proved: softmax regression, and a network of tanh neurons.

problem = network(images, seed=0, width=490)
G = problem.gradient_for(epsilon=1.0)            the gradient to stop at, fixed beforehand
w = problem.trained(G)                           kept in the store
release = problem.unlearn(w, forget, G, epsilon=1.0)

Inputs are images averaged over 2 x 2 pixels, each centred and scaled on its own to ||x|| <= 1: no
statistic of the data enters, so forgetting an image changes nothing but its own row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from .. import draws, precision
from ..bounds import strong_convexity_bound
from ..certificate import Constants, chosen, proved
from ..evaluation.peers import convex
from ..evaluation.peers.convex import HESSIAN_LIPSCHITZ, SAMPLE_GRADIENT, SMOOTHNESS
from ..noise import gaussian_sigma
from ..objective import Objective
from ..refinement import Refinement, refine
from ..strongly_convex import StronglyConvexUnlearner, unlearn_strongly_convex
from ..unlearn import Release
from .convex_network import ConvexNetwork, strong_convexity
from .data import Images
from .device import device
from .processes import use_threads
from .seeds import generator, seed_of
from .settings import BLUR, DELTA
from .store import load_or_make

# The next three lines were chosen once, on held-out training images of MNIST. A choice made on the
# very data that is to be protected would cost budget too; make it on public data.
BIAS = 0.3  # the last input; with it ||x|| = 1
DECAY = 1e-5  # of softmax regression
STRENGTH, SCALE, EXCESS = 5e4, 2.0, 2.0  # of the network: c, U0's entries, decay over curvature
TUNED_ON = "held-out training images of MNIST"
CURVATURE_SAMPLE = 6000


def features(x: Tensor) -> Tensor:
    """Images (n, channels, height, width), any units, as inputs (n, d) of norm 1; BIAS if flat."""
    flat = avg_pool2d(x.double(), 2).flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    flat = flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return torch.cat([math.sqrt(1 - BIAS**2) * flat, flat.new_full((len(flat), 1), BIAS)], 1)


@dataclass(frozen=True, eq=False)
class Problem:
    """A model, its data, and what is proved of its objective.

    F, F_test        in float64, on the training and the test images
    net              its own weights are those of the start
    mu, L, M         strong convexity, and Lipschitz constants of gradient and Hessian, everywhere
    sample_gradient  bound on the gradient norm of one sample's loss, without decay
    reach            noise of size sigma in the weights is at most reach * sigma in a logit
    settings         what decides the training besides the data; public, on the card
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

    @property
    def weight_decay(self) -> float:
        return self.F.weight_decay

    @cached_property
    def F_test(self) -> Objective:
        return self.objective(self.images.x_test, self.images.y_test)

    def objective(self, x: Tensor, y: Tensor) -> Objective:
        """The same model on other images."""
        return _objective(self.net, x, y, self.weight_decay)

    @property
    def known(self) -> dict[str, float | str]:
        """What is public besides the constants."""
        public = {"inputs": "images averaged over 2 x 2 pixels", "tuned on": TUNED_ON}
        return {name: q for name, q in self.settings.items() if name != "weight_decay"} | public

    def gradient_for(self, epsilon: float) -> float:
        """The G at which (epsilon, DELTA) costs noise of at most BLUR in a logit.

        A function of proved constants alone, so of nothing in the data.
        """
        Delta = BLUR / self.reach / gaussian_sigma(1.0, epsilon, DELTA)
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
        key = {"G": G, "without": sorted(int(i) for i in without), "data": self.images.digest}

        def make() -> tuple[dict[str, Tensor], dict]:
            run = refine(F, torch.zeros_like(F.initial()), gradient=G, curvature=curvature(F))
            info = {"history": run.history, "gradients": run.gradients, "seconds": run.seconds}
            return {"w": run.w}, info

        kept = load_or_make("proved", self.settings | key, make)
        return Refinement(kept.tensors["w"], kept.info["history"][-1], **kept.info)

    def unlearn(
        self, w: Tensor, forget: Sequence[int], G: float, on: Objective | None = None, **budget
    ) -> Release:
        """One request to a model trained on F, or on some of it; `budget`: epsilon, sigma, seed."""
        return unlearn_strongly_convex(on or self.F, w, forget, **self._terms(G), **budget)

    def queue(self, w: Tensor, G: float, **budget) -> StronglyConvexUnlearner:
        """Return an object that answers many requests, one after the other, starting from w."""
        return StronglyConvexUnlearner(self.F, w, **self._terms(G), **budget)

    def _terms(self, G: float) -> dict:
        return {
            "constants": self.constants(G),
            "delta": DELTA,
            "curvature": curvature,
            "known": self.known,
        }


def softmax(images: Images, weight_decay: float = DECAY) -> Problem:
    """Softmax regression: mu = decay; the other constants as in evaluation/peers/convex.py."""
    use_threads("mlp")
    net = nn.Linear(_inputs(images), len(images.classes), bias=False, device="cpu").double()
    F = _objective(net, images.x_train, images.y_train, weight_decay)
    convex.inputs(F)  # refused unless it is what the constants are proved for
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
    )


def network(
    images: Images, seed: int, *, width: int, strength: float = STRENGTH, excess: float = EXCESS
) -> Problem:
    """The tanh network of `convex_network`, with a decay of `excess` times its curvature.

    width   a public constant, as `neurons` gives: it decides mu, G, sigma and the shape of w, so it
            must be the same in both worlds, with and without the forgotten images.
    """
    use_threads("network")
    shape = {"width": width, "strength": strength, "scale": SCALE, "seed": seed}
    init = shape | {"seed": seed_of("init", seed)}
    net = ConvexNetwork(_inputs(images), len(images.classes), **init).double()
    decay = excess * net.curvature
    F = _objective(net, images.x_train, images.y_train, decay)
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
    )


def neurons(planned: int) -> int:
    """The width of the network for this number of images: 2 sqrt(planned).

    planned   a public number that does not depend on what is forgotten: that of the profile, not
              of the images in memory.
    """
    return 2 * round(math.sqrt(planned))


def curvature(F: Objective) -> Objective:
    """The objective whose Hessian the Newton steps use: some samples, in single precision."""
    order = draws.order(F.n, generator("curvature", 0))
    return F.only(order[:CURVATURE_SAMPLE]).to(torch.float32)


def _objective(net: nn.Module, x: Tensor, y: Tensor, weight_decay: float) -> Objective:
    """The objective on these images, on the lab's device, which must have float64."""
    where = device()
    precision.check(torch.float64, where)
    x = features(x.to(where))
    return Objective(net.to(where), x, y.to(where), weight_decay=weight_decay)


def _inputs(images: Images) -> int:
    return features(images.x_test[:1]).shape[1]
