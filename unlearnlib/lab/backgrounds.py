"""What digits are drawn over: photographs in all colours, and textures made by a formula.

    g = generator("drawn", 0)
    recoloured(pieces(data.photographs(), 500, g), g)       (500, 3, 32, 32), in [0, 1]
    textures(500, g)                                        likewise

A network that sees digits over two photographs learns the two photographs. Over many colours and
textures it learns digits, and knows them again over photographs that it never saw.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor

from .data import brightness

SIDE = 32
# Of a piece of a photograph, each drawn evenly between its ends
CONTRAST, LIGHT = (0.5, 1.4), (-0.15, 0.15)
# Of a texture: the power of the frequency with which it falls off, its mean and its spread
FALL, MEAN, SPREAD = (0.5, 1.6), (0.2, 0.8), (0.02, 0.3)
TINT, MIXTURE = 0.15, 0.6  # how far apart its channels are in the mean, and how much they share


def between(ends: tuple[float, float], count: int, g: Generator) -> Tensor:
    """Numbers drawn evenly between two ends, (count, 1, 1, 1)."""
    low, high = ends
    return low + (high - low) * torch.rand(count, 1, 1, 1, generator=g, device="cpu")


def pieces(photographs: np.ndarray, count: int, g: Generator) -> Tensor:
    """Squares at random places of photographs, uint8 (n, height, width, 3)."""
    n, height, width, _ = photographs.shape
    which, top, left = (
        torch.randint(size, (count, 1, 1), generator=g, device="cpu")
        for size in (n, height - SIDE + 1, width - SIDE + 1)
    )
    steps = torch.arange(SIDE, device="cpu")
    found = torch.from_numpy(photographs)[which, top + steps[:, None], left + steps]
    return brightness(found.permute(0, 3, 1, 2))


def recoloured(x: Tensor, g: Generator) -> Tensor:
    """Each image with its channels shuffled, a negative or not, turned or not, dimmed or lit."""
    count = len(x)

    def coin() -> Tensor:
        return between((0, 1), count, g) < 0.5

    order = torch.rand(count, 3, generator=g, device="cpu").argsort(1)
    x = x.gather(1, order[:, :, None, None].expand_as(x))
    x = torch.where(coin(), 1 - x, x)
    x = torch.where(coin(), x.flip(3), x)
    x = torch.where(coin(), x.transpose(2, 3), x)
    mean = x.mean((2, 3), keepdim=True)
    x = mean + between(CONTRAST, count, g) * (x - mean) + between(LIGHT, count, g)
    return x.clamp(0, 1)


def textures(count: int, g: Generator) -> Tensor:
    """Gaussian noise in three mixed channels whose amplitude falls as a power of the frequency."""

    def normal(*size: int) -> Tensor:
        return torch.randn(count, *size, generator=g, device="cpu")

    frequency = torch.fft.fftfreq(SIDE, device="cpu")
    radius = (frequency[:, None] ** 2 + frequency**2).sqrt().clamp_min(1 / SIDE)
    amplitude = radius ** -between(FALL, count, g)
    field = torch.fft.ifft2(torch.fft.fft2(normal(3, SIDE, SIDE)) * amplitude).real
    field = field / field.std((1, 2, 3), keepdim=True)
    mixed = torch.einsum(
        "nij,njhw->nihw", torch.eye(3, device="cpu") + MIXTURE * normal(3, 3), field
    )
    level = between(MEAN, count, g) + TINT * normal(3, 1, 1)
    return (level + between(SPREAD, count, g) * mixed).clamp(0, 1)
