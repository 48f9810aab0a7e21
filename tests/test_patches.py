"""Features from pieces of photographs, against the steps written out piece by piece."""

import numpy as np
import pytest
import torch

from unlearnlib import InputError
from unlearnlib.lab import patches
from unlearnlib.lab.patches import Patches

SMALL = Patches(3, count=4, side=5)


def images(n=2, size=12, channels=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, size, size, generator=g, dtype=torch.float64)


def by_definition(image, transform):
    """All features of one image (channels, h, w), one piece at a time."""
    whiten, mean, dictionary = (part.numpy() for part in transform.fitted)
    side, last = transform.side, image.shape[1] - transform.side + 1
    middle = (last // 2, -(-last // 2))

    def quarters(image):
        total = np.zeros((2, transform.count, 2, 2, last, last))
        for y in range(last):
            for x in range(last):
                piece = image[:, y : y + side, x : x + side].ravel()
                piece = piece - piece.mean()
                piece = piece / np.sqrt(piece.var() + 10 / 255**2)
                a = dictionary @ whiten @ (piece - mean)
                total[0, :, :, :, y, x] = np.maximum(0, a - 0.5)[:, None, None]
                total[1, :, :, :, y, x] = np.maximum(0, -a - 0.5)[:, None, None]
        halves = slice(0, middle[1]), slice(middle[0], None)
        return np.array(
            [[total[:, :, 0, 0, a, b].mean((2, 3)) for b in halves] for a in halves]
        ).transpose(2, 0, 1, 3)

    return np.sqrt((quarters(image) + quarters(image[:, :, ::-1])) / 2).ravel()


@pytest.mark.parametrize("size", [12, 13])
def test_features_are_those_of_the_definition(size):
    x = images(size=size)
    found = SMALL(x)
    assert found.shape == (2, 8 * 4)
    for image, mine in zip(x.numpy(), found.numpy(), strict=True):
        assert np.allclose(mine, by_definition(image, SMALL), atol=1e-9)


def test_an_image_and_its_mirror_image_have_the_same_features():
    x = images()
    assert torch.allclose(SMALL(x), SMALL(x.flip(3)), atol=1e-12)
    assert not torch.allclose(SMALL(x), SMALL(x.flip(2)), atol=1e-3)


def test_brightness_and_contrast_hardly_matter():
    x = images()
    assert torch.allclose(SMALL(x), SMALL(0.5 * x + 0.2), atol=1e-2)


def test_whitened_pieces_of_photographs_hardly_correlate():
    whiten, mean, dictionary = Patches(3, count=4000).fitted
    assert torch.allclose(dictionary.norm(dim=1), torch.ones(4000).double())
    g = torch.Generator().manual_seed(3)
    photograph = patches.photographs(3)[0]
    pieces = patches.even(Patches(3)._pieces(photograph, 20_000, g))
    white = torch.corrcoef(((pieces - mean) @ whiten).T) - torch.eye(108)
    assert white.abs().mean() < torch.corrcoef(pieces.T).abs().mean() / 5


def test_the_dictionary_is_the_same_each_time_and_another_for_another_seed():
    again, other = Patches(3, count=4, side=5), Patches(3, count=4, side=5, seed=1)
    assert torch.equal(SMALL.fitted[2], again.fitted[2])
    assert not torch.equal(SMALL.fitted[2], other.fitted[2])


def test_grey_images_have_grey_pieces():
    grey = Patches(1, count=3, side=5)
    assert grey.fitted[2].shape == (3, 25) and grey(images(channels=1)).shape == (2, 24)
    assert [p.shape[0] for p in patches.photographs(1)] == [1] * 6


def test_single_precision_is_near_double():
    x = images()
    found = SMALL(x.float())
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), SMALL(x), atol=1e-3)


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(1, 1, 8, 8),
        torch.zeros(1, 3, 5, 8),
        torch.zeros(3, 8, 8),
        torch.ones(1, 3, 8, 8).byte(),
    ],
)
def test_what_is_no_image_of_that_kind_is_refused(x):
    with pytest.raises(InputError, match="give floating-point images"):
        SMALL(x)
