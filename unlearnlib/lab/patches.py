"""Features of an image from small pieces of two public photographs: nothing learnt from its data.

    transform = Patches(channels=3)
    transform(x)                          (n, 3, height, width) in [0, 1] -> (n, 8 * count)

Coates and Ng (2011) compare every piece of an image with a dictionary of pieces, and found that it
hardly matters how the dictionary was learnt. Ours is a random choice from the two photographs that
ship in scikit-learn, so that no image that may ever be forgotten has a part in it.

1. A piece of `side` x `side` pixels loses its mean and is divided by its contrast,
   sqrt(variance + EVEN); then it is whitened, z -> (Cov + SOFT I)^(-1/2) (z - mean), with mean and
   covariance of the photographs' pieces.
2. Its products a_k with `count` pieces of the photographs, whitened and of norm 1, give two
   features each: max(0, a_k - CLEAR) and max(0, -a_k - CLEAR).
3. Each is averaged over the pieces of a quarter of the image, then over the image and its mirror
   image, and its square root is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, unfold

from .. import draws
from ..errors import require
from . import data

EVEN = 10 / 255**2  # variance below which a piece counts as even
SOFT = 0.1  # of the whitening
CLEAR = 0.5  # what a product must exceed
SHRUNK = (1, 2, 4)  # the photographs are cut up at these scales
LOOKED_AT = 100_000  # of their pieces


@dataclass(frozen=True)
class Patches:
    """The transform of images with that many channels; call it with (n, channels, h, w) in [0, 1].

    count   pieces in the dictionary; there are 8 features of each
    side    of a piece, in pixels
    seed    which pieces they are
    """

    channels: int
    count: int = 600
    side: int = 6
    seed: int = 0

    def __call__(self, x: Tensor) -> Tensor:
        """(n, 8 * count), in the dtype of x."""
        self._check(x)
        return ((self._quarters(x) + self._quarters(x.flip(3))) / 2).sqrt().flatten(1)

    def _quarters(self, x: Tensor) -> Tensor:
        """Both features of each piece of the dictionary, in each quarter: (n, 2, 4, count)."""
        whiten, mean, dictionary = (part.to(x) for part in self.fitted)
        kernel = whiten @ dictionary.T
        pieces = even(unfold(x, self.side).transpose(1, 2))
        products = pieces @ kernel - mean @ kernel
        high, wide = (size - self.side + 1 for size in x.shape[2:])
        each = torch.eye(high * wide, dtype=x.dtype, device=x.device).view(-1, 1, high, wide)
        quarters = adaptive_avg_pool2d(each, 2).flatten(1).T  # (4, positions)
        found = [quarters @ (sign * products - CLEAR).clamp_min_(0) for sign in (1, -1)]
        return torch.stack(found, 1)

    @cached_property
    def fitted(self) -> tuple[Tensor, Tensor, Tensor]:
        """The whitening matrix, the mean piece, and the dictionary (count, channels side^2)."""
        g = draws.fixed(self.seed)
        each = LOOKED_AT // (2 * len(SHRUNK))
        pieces = even(torch.cat([self._pieces(p, each, g) for p in photographs(self.channels)]))
        mean = pieces.mean(0)
        values, vectors = torch.linalg.eigh(torch.cov(pieces.T))
        whiten = vectors @ torch.diag((values + SOFT).rsqrt()) @ vectors.T
        chosen = pieces[torch.randperm(len(pieces), generator=g, device="cpu")[: self.count]]
        white = (chosen - mean) @ whiten
        return whiten, mean, white / white.norm(dim=1, keepdim=True)

    def _pieces(self, photograph: Tensor, count: int, g: torch.Generator) -> Tensor:
        """That many pieces from random places, (count, channels side^2)."""
        windows = photograph.unfold(1, self.side, 1).unfold(2, self.side, 1)
        y, x = (
            torch.randint(windows.shape[k], (count,), generator=g, device="cpu") for k in (1, 2)
        )
        return windows[:, y, x].transpose(0, 1).flatten(1)

    def _check(self, x: Tensor) -> None:
        fits = x.dim() == 4 and x.shape[1] == self.channels and min(x.shape[2:]) > self.side
        require(
            fits and x.is_floating_point(),
            f"x has shape {tuple(x.shape)} and dtype {x.dtype}; give floating-point images (n, "
            f"{self.channels}, height, width) of more than {self.side} pixels a side.",
        )


def even(pieces: Tensor) -> Tensor:
    """Pieces (..., pixels) without their mean, divided by their contrast."""
    centred = pieces - pieces.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + EVEN).sqrt()


def photographs(channels: int) -> list[Tensor]:
    """The two photographs at each scale, (channels, height, width) in [0, 1]; grey for one."""
    found = []
    for pixels in data.photographs():
        photograph = torch.from_numpy(pixels).permute(2, 0, 1)[None].double() / 255
        if channels == 1:
            photograph = photograph.mean(1, keepdim=True)
        for times in SHRUNK:
            size = [side // times for side in photograph.shape[2:]]
            found.append(interpolate(photograph, size, mode="bilinear", antialias=True)[0])
    return found
