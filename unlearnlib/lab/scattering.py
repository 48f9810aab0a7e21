"""The scattering transform: fixed features of one image, with nothing learnt from any data.

    transform = Scattering(28)                  images of 28 x 28
    transform(x)                                (n, channels, 28, 28) -> (n, channels, 81, 7, 7)

Of each channel x, with wavelets psi_(j,a) at scale 2^j and angle a, and a Gaussian phi of width
about 2^J (Mallat, 2012; Bruna and Mallat, 2013):

    order 0   x * phi
    order 1   |x * psi_(j1,a1)| * phi
    order 2   ||x * psi_(j1,a1)| * psi_(j2,a2)| * phi,   j1 < j2

read off at every 2^J-th pixel: 1 + J L + L^2 J (J - 1)/2 maps for L angles. A map hardly moves if
the image is shifted by less than 2^J pixels. It is a function of one image alone, so forgetting an
image changes the features of no other.

Convolutions are circular, on the image reflected at its edges, and nothing is subsampled before the
last step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from ..errors import require

WIDTH = 0.8  # of a Gaussian envelope, in units of its scale
FREQUENCY = 3 * math.pi / 4  # of the finest wavelet
COPIES = range(-2, 3)  # of a filter, added up so that it is periodic


@dataclass(frozen=True)
class Scattering:
    """The transform of square images; call it with (n, channels, size, size).

    size     pixels a side, a multiple of 2^scales
    scales   J: features are averages over about 2^J pixels
    angles   L, between 0 and 180 degrees
    """

    size: int
    scales: int = 2
    angles: int = 8

    def __call__(self, x: Tensor) -> Tensor:
        """(n, channels, maps, size / 2^J, size / 2^J), in the dtype of x."""
        self._check(x)
        around = pad(x.flatten(0, 1)[:, None], (2**self.scales,) * 4, mode="reflect")
        spectrum = torch.fft.fft2(around)
        psi = self.wavelets.to(spectrum)
        maps, later = [self._averaged(around)], []
        for j in range(self.scales):
            first = torch.fft.ifft2(spectrum * psi[j]).abs()  # (n, angles, N, N)
            maps.append(self._averaged(first))
            again = torch.fft.fft2(first)[:, :, None]
            for coarser in range(j + 1, self.scales):
                second = torch.fft.ifft2(again * psi[coarser]).abs().flatten(1, 2)
                later.append(self._averaged(second))
        return torch.cat(maps + later, 1).unflatten(0, x.shape[:2])

    @property
    def maps(self) -> int:
        J, L = self.scales, self.angles
        return 1 + J * L + L * L * J * (J - 1) // 2

    @cached_property
    def wavelets(self) -> Tensor:
        """Fourier transforms of psi, (J, L, N, N) for N = size + 2^(J + 1) pixels a side.

        They are real: a wave's real part is even around the origin, and its imaginary part odd.
        """
        N = self.size + 2 ** (self.scales + 1)
        angles = [math.pi * a / self.angles for a in range(self.angles)]
        waves = [[morlet(N, j, angle, self.angles) for angle in angles] for j in range(self.scales)]
        return torch.from_numpy(np.fft.fft2(np.asarray(waves)).real)

    @cached_property
    def average(self) -> Tensor:
        """phi along one side, at whole pixels to six standard deviations: a Gaussian, of sum 1."""
        width = WIDTH * 2 ** (self.scales - 1)
        reach = math.ceil(6 * width)
        taps = torch.exp(-(torch.arange(-reach, reach + 1, device="cpu") ** 2) / (2 * width**2))
        return (taps / taps.sum()).double()

    def _averaged(self, maps: Tensor) -> Tensor:
        """(n, k, N, N) convolved with phi, one side after the other, at every 2^J-th pixel."""
        every, taps = 2**self.scales, self.average.to(maps)
        side, reach = self.size // every, len(taps) // 2
        beyond = max(0, reach - every)  # the image begins 2^J pixels into the maps
        around = pad(maps, (beyond,) * 4, mode="circular")
        start, end = every + beyond - reach, every + beyond + reach + every * (side - 1) + 1
        flat = around[..., start:end, start:end].flatten(0, 1)[:, None]
        down = conv2d(flat, taps.view(1, 1, -1, 1), stride=(every, 1))
        both = conv2d(down, taps.view(1, 1, 1, -1), stride=(1, every))
        return both.view(*maps.shape[:2], side, side)

    def _check(self, x: Tensor) -> None:
        fits = x.dim() == 4 and x.shape[-2:] == (self.size, self.size) and x.is_floating_point()
        given = f"x has shape {tuple(x.shape)} and dtype {x.dtype}"
        require(
            fits, f"{given}; give floating-point images (n, channels, {self.size}, {self.size})."
        )
        whole = self.size % 2**self.scales == 0 and self.size > 2**self.scales
        require(whole, f"size is {self.size}; it must be a multiple of {2**self.scales}, and more.")


def morlet(N: int, j: int, angle: float, angles: int) -> np.ndarray:
    """The wavelet at scale 2^j on a periodic grid, (N, N): a wave in an envelope, of sum 0."""
    width, slant = WIDTH * 2**j, 4 / angles
    wave = gabor(N, width, slant, angle, FREQUENCY / 2**j)
    envelope = gabor(N, width, slant, angle, 0.0)
    return wave - wave.sum() / envelope.sum() * envelope


def gabor(N: int, width: float, slant: float, angle: float, frequency: float) -> np.ndarray:
    """A Gaussian of sum about 1 times a plane wave of this frequency along `angle`: (N, N).

    width   standard deviation along the angle; across it, width / slant
    """
    total = np.zeros((N, N), dtype=complex)
    for shifts in product(COPIES, repeat=2):
        y, x = (np.arange(N) + N * shift for shift in shifts)
        along = np.cos(angle) * y[:, None] + np.sin(angle) * x
        across = np.cos(angle) * x - np.sin(angle) * y[:, None]
        envelope = np.exp(-(along**2 + (slant * across) ** 2) / (2 * width**2))
        total += envelope * np.exp(1j * frequency * along)
    return slant / (2 * math.pi * width**2) * total
