"""Random numbers that are the same on every device: drawn where the generator is, then moved."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def normal(
    shape: int | tuple[int, ...],
    like: Tensor,
    generator: Generator | None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Standard normal numbers of this shape, drawn in `dtype` and given the type of `like`."""
    return torch.randn(shape, generator=generator, dtype=dtype, device=home(generator)).to(like)


def order(n: int, generator: Generator | None) -> Tensor:
    """The numbers 0 ... n - 1 in random order, on the generator's device."""
    return torch.randperm(n, generator=generator, device=home(generator))


def uniform(shape: int | tuple[int, ...], generator: Generator | None) -> Tensor:
    """Numbers of [0, 1) in float64, on the generator's device."""
    return torch.rand(shape, generator=generator, dtype=torch.float64, device=home(generator))


def integers(high: int, shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    """Whole numbers from 0 to high - 1, on the generator's device."""
    return torch.randint(high, shape, generator=generator, device=home(generator))


def coins(count: int, generator: Generator | None) -> Tensor:
    """So many fair coins: booleans, on the generator's device."""
    return torch.rand(count, generator=generator, device=home(generator)) < 0.5


def home(generator: Generator | None) -> torch.device:
    """Where draws are made: on the generator's device; on the CPU if there is none."""
    return torch.device("cpu") if generator is None else generator.device


def fixed(seed: int) -> Generator:
    """A generator on the CPU that starts from this seed."""
    return torch.Generator("cpu").manual_seed(seed)
