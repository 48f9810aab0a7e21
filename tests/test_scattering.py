"""The scattering transform against its definition, and what it promises."""

import math

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from unlearnlib import InputError
from unlearnlib.lab.scattering import Scattering, gabor, morlet

SMALL = Scattering(8, scales=2, angles=3)


def images(n=2, channels=1, size=8, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, size, size, generator=g, dtype=torch.float64)


def circular(a, b):
    """The circular convolution of two periodic images, pixel by pixel."""
    N = len(a)
    found = np.zeros_like(a * b)
    for y in range(N):
        for x in range(N):
            found += b[y, x] * np.roll(a, (y, x), (0, 1))
    return found


def by_definition(image, J, L):
    """All maps of one image: convolutions in space, moduli, averages."""
    around = np.pad(image, 2**J, mode="reflect")
    N = len(around)
    phi = gabor(N, 0.8 * 2 ** (J - 1), 1.0, 0.0, 0.0).real
    psi = [[morlet(N, j, math.pi * a / L, L) for a in range(L)] for j in range(J)]

    def read(signal):
        return circular(signal, phi / phi.sum())[2**J : -(2**J) : 2**J, 2**J : -(2**J) : 2**J]

    first = [[np.abs(circular(around, wave)) for wave in waves] for waves in psi]
    second = [
        np.abs(circular(u, wave))
        for j in range(J) for k in range(j + 1, J) for u in first[j] for wave in psi[k]
    ]  # fmt: skip
    return np.array(
        [read(around), *(read(u) for waves in first for u in waves), *map(read, second)]
    )


def test_every_map_is_that_of_the_definition():
    x = images(n=1)
    found = SMALL(x)
    assert found.shape == (1, 1, SMALL.maps, 2, 2) and SMALL.maps == 1 + 2 * 3 + 9
    assert np.allclose(found[0, 0], by_definition(x[0, 0].numpy(), 2, 3), atol=1e-6)


def test_the_usual_transform_has_81_maps():
    assert Scattering(28)(images(size=28)).shape == (2, 1, 81, 7, 7)
    assert Scattering(32)(images(channels=3, size=32)).shape == (2, 3, 81, 8, 8)


def test_wavelets_see_no_constant_and_leave_the_energy_within_bounds():
    """Sums are zero; |phi|^2 + (1/2) sum over psi(f) and psi(-f) is at most 1, so nothing grows."""
    full = Scattering(32)
    psi, N = full.wavelets, 40
    phi = np.fft.fft2(gabor(N, 1.6, 1.0, 0.0, 0.0)).real
    assert psi[..., 0, 0].abs().max() < 1e-12 and phi[0, 0] == pytest.approx(1)
    energy = (psi**2).sum((0, 1)).numpy()
    mirrored = np.roll(energy[::-1, ::-1], (1, 1), (0, 1))
    assert (phi**2 + (energy + mirrored) / 2).max() < 1.01


def test_a_shift_by_a_pixel_moves_features_less_than_pixels():
    x = images(size=32, seed=1)
    smooth = torch.from_numpy(fftconvolve(x, np.ones((1, 1, 3, 3)) / 9, mode="same", axes=(2, 3)))
    shifted = smooth.roll(1, 3)
    moved = [
        float((f(shifted) - f(smooth)).norm() / f(smooth).norm())
        for f in (lambda v: v, Scattering(32))
    ]
    assert moved[1] < moved[0] / 2


def test_an_image_has_its_features_whoever_is_beside_it():
    x = images(n=5, channels=2)
    alone = torch.cat([SMALL(one[None]) for one in x])
    assert torch.allclose(SMALL(x), alone, atol=1e-12)
    assert torch.allclose(SMALL(x)[:, 1], SMALL(x[:, 1:])[:, 0], atol=1e-12)


def test_single_precision_is_near_double():
    x = images()
    found = SMALL(x.float())
    assert found.dtype == torch.float32 and torch.allclose(found.double(), SMALL(x), atol=1e-5)


def test_it_agrees_with_kymatio_but_for_its_aliasing():
    kymatio = pytest.importorskip("kymatio.numpy", exc_type=ImportError)
    x = images(size=32)
    theirs = kymatio.Scattering2D(J=2, shape=(32, 32), L=8)(x[:, 0].numpy())
    mine = Scattering(32)(x)[:, 0].numpy()
    assert np.allclose(np.sort(mine.mean((2, 3))), np.sort(theirs.mean((2, 3))), atol=0.01)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(8, 8), r"shape \(8, 8\)"),
        (torch.zeros(1, 1, 8, 9), r"shape \(1, 1, 8, 9\)"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.uint8), "uint8"),
    ],
)
def test_what_is_no_image_of_that_size_is_refused(x, message):
    with pytest.raises(InputError, match=message):
        SMALL(x)


@pytest.mark.parametrize("size", [4, 30])
def test_a_size_must_be_a_multiple_of_the_average(size):
    with pytest.raises(InputError, match="multiple of 4"):
        Scattering(size)(torch.zeros(1, 1, size, size))
