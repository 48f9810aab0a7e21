"""What a proved model is given of an image: a fixed and public function of that image alone.

    inputs = scattering(images.shape)
    x_train, x_test = inputs.of(images)       (n, d), ||x|| <= 1; kept in the store

As no statistic of the data enters, forgetting an image changes the inputs of no other, and a
certificate for the model on these inputs is one for the images. `Features` takes any function that
you can say this of, a frozen network that was trained on public data included.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from ..errors import require
from ..progress import bar
from . import drawn
from .data import Images, brightness
from .device import device
from .patches import Patches
from .scattering import Scattering
from .store import load_or_make

BIAS = 0.3  # the last input; with it ||x|| = 1
ROUNDED = 1 - 2**-20  # so that a norm in single precision is at most 1
AT_ONCE = 8  # images; more would not stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Features:
    """Images as inputs of a proved model: call it with (n, channels, height, width), uint8.

    name       what it is, for the card
    source     what it was made from, for the card: it has to be public
    transform  images -> (n, ...), floating point
    settings   what decides it besides the name, as JSON: results are kept under them
    dtype      of the inputs; they are scaled in float64
    """

    name: str
    source: str
    transform: Callable[[Tensor], Tensor] = field(repr=False)
    settings: dict = field(default_factory=dict)
    dtype: torch.dtype = torch.float32

    @property
    def key(self) -> dict:
        """What decides the inputs of given images."""
        return {"name": self.name, **self.settings}

    def __call__(self, images: Tensor) -> Tensor:
        """Inputs (n, d), ||x|| <= 1: the features scaled to norm 1, and BIAS as the last one."""
        one = self._inputs(images[:1].to(device()))
        # filled in place: many small tensors between large passing ones would tear up the memory
        found = one.new_empty(len(images), one.shape[1])
        for start in bar(range(0, len(images), AT_ONCE), self.name):
            some = slice(start, start + AT_ONCE)
            found[some] = self._inputs(images[some].to(device()))
        return found

    def of(self, images: Images) -> tuple[Tensor, Tensor]:
        """Inputs of the training and of the test images; computed once, then stored."""

        def make() -> tuple[dict[str, Tensor], dict]:
            return {"train": self(images.x_train), "test": self(images.x_test)}, {}

        kept = load_or_make("features", self.key | {"data": images.digest}, make)
        return kept.tensors["train"], kept.tensors["test"]

    def _inputs(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            found = self.transform(images).double().flatten(1)
        require(
            len(found) == len(images) and bool(found.isfinite().all()),
            f"{self.name} gives {tuple(found.shape)} for {len(images)} images, or a number that is "
            "not finite; it must give each image a finite vector of its own.",
        )
        return within(unit(found), self.dtype)


def unit(found: Tensor) -> Tensor:
    """Vectors (n, d) scaled to norm sqrt(1 - BIAS^2), with BIAS appended: (n, d + 1)."""
    found = found / found.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return torch.cat([math.sqrt(1 - BIAS**2) * found, found.new_full((len(found), 1), BIAS)], 1)


def within(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Inputs of norm 1 in another precision: shorter by more than rounding can make them longer."""
    return x if dtype == x.dtype else (ROUNDED * x).to(dtype)


def centred(x: Tensor) -> Tensor:
    """Vectors (n, ...) without their mean, (n, d)."""
    return x.flatten(1) - x.flatten(1).mean(1, keepdim=True)


# ---- those that come with the package ------------------------------------------------------------

PIXELS = Features(
    "pixels",
    "images averaged over 2 x 2 pixels",
    lambda images: centred(avg_pool2d(images.double(), 2)),
    dtype=torch.float64,
)


def scattering(shape: tuple[int, int, int], angles: int = 8) -> Features:
    """The scattering transform of images of this shape, (channels, size, size).

    Each map is scaled to norm 1 on its own: the fine ones count as much as the averages.
    """
    transform = Scattering(shape[-1], angles=angles)
    source = f"a formula: wavelets at {transform.scales} scales and {angles} angles"

    def maps(images: Tensor) -> Tensor:
        found = transform(brightness(images)).flatten(3)
        return found / found.norm(dim=3, keepdim=True).clamp_min(1e-12)

    return Features("scattering", source, maps, {"angles": angles})


def patches(shape: tuple[int, int, int], count: int = 600) -> Features:
    """Products with `count` pieces of two photographs, for images (channels, height, width)."""
    transform = Patches(shape[0], count)
    source = f"{count} pieces of the photographs that ship in scikit-learn"
    return Features(
        "patches", source, lambda images: centred(transform(brightness(images))), {"count": count}
    )


def digits(drawings: int = 100_000) -> Features:
    """What a network sees in a digit that learnt from so many drawings of public ones: `drawn`."""
    return network(drawn.network(drawings), "learnt from public digits", drawn.source(drawings))


def network(net: nn.Module, name: str, source: str) -> Features:
    """The outputs of a network that is fixed and public, such as one trained on public data.

    net   a module from images in [0, 1], (n, channels, height, width), to (n, ...). It is put in
          eval mode; its weights are a part of the key under which results are kept.
    source   what it was trained on. If that is the very data that is to be forgotten, the
          certificate holds for nothing: say what it was.
    """
    net = net.eval()
    digest = hashlib.sha256()
    for key, value in net.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    settings = {"kind": str(net), "weights": digest.hexdigest()}
    return Features(name, source, lambda images: net(brightness(images)), settings)
