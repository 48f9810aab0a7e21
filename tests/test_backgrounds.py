"""What digits are drawn over: true pieces of photographs, their colours, and textures."""

import numpy as np
import pytest
import torch

from unlearnlib.lab import backgrounds
from unlearnlib.lab.seeds import generator

COUNT = 40


@pytest.fixture
def g():
    return generator("background test", 0)


def places():
    """Two "photographs" whose pixels say where they are: photograph, row and column."""
    which, row, column = np.indices((2, 60, 200))
    return np.stack([which, row, column], 3).astype(np.uint8)


def test_a_piece_is_a_square_of_one_photograph(g):
    found = (255 * backgrounds.pieces(places(), COUNT, g)).round().long()
    assert found.shape == (COUNT, 3, 32, 32)
    which, top, left = found[:, :, 0, 0].T
    steps = torch.arange(32)
    assert (found[:, 0] == which.view(-1, 1, 1)).all()
    assert (found[:, 1] == (top[:, None] + steps)[:, :, None]).all()
    assert (found[:, 2] == (left[:, None] + steps)[:, None, :]).all()
    assert set(which.tolist()) == {0, 1}


def test_pieces_reach_every_border():
    found = (255 * backgrounds.pieces(places(), 3000, generator("borders", 0))).round().long()
    assert found[:, 1].amin() == 0 and found[:, 1].amax() == 59
    assert found[:, 2].amin() == 0 and found[:, 2].amax() == 199


def plain(monkeypatch):
    monkeypatch.setattr(backgrounds, "CONTRAST", (1.0, 1.0))
    monkeypatch.setattr(backgrounds, "LIGHT", (0.0, 0.0))


def test_recolouring_shuffles_negates_and_turns_and_nothing_else(monkeypatch, g):
    """Each channel is one of the image's own, once, in one of 2 x 2 x 2 ways shared by all."""
    plain(monkeypatch)
    x = torch.rand(COUNT, 3, 32, 32, generator=g)
    seen = set()
    for before, after in zip(x, backgrounds.recoloured(x, g), strict=True):
        turned = [before, before.flip(2), before.mT, before.flip(2).mT]
        ways = [q if sign else 1 - q for sign in (True, False) for q in turned]
        for way, candidate in enumerate(ways):
            order = [
                next((k for k in range(3) if torch.allclose(candidate[k], channel)), None)
                for channel in after
            ]
            if None not in order:
                seen.add((way, tuple(order)))
                assert sorted(order) == [0, 1, 2]
                break
        else:
            raise AssertionError("an image that is none of its own versions")
    assert {way for way, _ in seen} == set(range(8)) and len({order for _, order in seen}) == 6


def test_recolouring_keeps_to_pixels_and_changes_contrast_and_light(monkeypatch, g):
    x = torch.rand(COUNT, 3, 32, 32, generator=g)
    found = backgrounds.recoloured(x, generator("colours", 0))
    assert found.amin() >= 0 and found.amax() <= 1
    wanted = {
        "CONTRAST": (backgrounds.CONTRAST, torch.std),
        "LIGHT": (backgrounds.LIGHT, torch.mean),
    }
    for name, (ends, moment) in wanted.items():
        plain(monkeypatch)
        monkeypatch.setattr(backgrounds, name, ends)
        spread = moment(backgrounds.recoloured(0.5 + 0.1 * (x - 0.5), g), dim=(1, 2, 3)).std()
        plain(monkeypatch)
        still = moment(backgrounds.recoloured(0.5 + 0.1 * (x - 0.5), g), dim=(1, 2, 3)).std()
        assert spread > 5 * still


@pytest.mark.parametrize("fall", [0.0, 1.0, 2.0])
def test_the_amplitude_of_a_texture_falls_as_a_power_of_the_frequency(monkeypatch, g, fall):
    for name, value in (("FALL", fall), ("MEAN", 0.5), ("SPREAD", 0.02)):
        monkeypatch.setattr(backgrounds, name, (value, value))
    monkeypatch.setattr(backgrounds, "TINT", 0.0)
    power = torch.fft.fft2(backgrounds.textures(400, g)).abs().square().mean((0, 1))
    f = torch.fft.fftfreq(32)
    radius = (f[:, None] ** 2 + f**2).sqrt()
    seen = radius > 0
    x, y = radius[seen].log(), power[seen].log() / 2
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    assert slope == pytest.approx(-fall, abs=0.05)


def test_a_texture_has_the_mean_and_the_spread_that_were_drawn(monkeypatch, g):
    """With channels that are not mixed; and mixed, neighbours share what they had alone."""
    for name, value in (("MEAN", 0.4), ("SPREAD", 0.05)):
        monkeypatch.setattr(backgrounds, name, (value, value))
    monkeypatch.setattr(backgrounds, "TINT", 0.0)
    monkeypatch.setattr(backgrounds, "MIXTURE", 0.0)
    found = backgrounds.textures(200, g)
    assert found.shape == (200, 3, 32, 32)
    assert found.mean() == pytest.approx(0.4, abs=0.01)
    assert (found - 0.4).square().mean().sqrt() == pytest.approx(0.05, rel=0.05)
    monkeypatch.setattr(backgrounds, "MIXTURE", 0.6)
    mixed = backgrounds.textures(200, g)

    def shared(x):
        red, green = x[:, 0].flatten(1), x[:, 1].flatten(1)
        pairs = zip(red, green, strict=True)
        return torch.stack([torch.corrcoef(torch.stack(pair))[0, 1].abs() for pair in pairs]).mean()

    assert shared(mixed) > shared(found) + 0.2


def test_a_tint_moves_channels_apart(monkeypatch, g):
    monkeypatch.setattr(backgrounds, "TINT", 0.0)
    plainly = backgrounds.textures(100, g).mean((2, 3)).std(1).mean()
    monkeypatch.setattr(backgrounds, "TINT", 0.15)
    assert backgrounds.textures(100, g).mean((2, 3)).std(1).mean() > plainly + 0.03
