"""Public digits, drawn anew: what a drawing keeps, and that nothing private has a part in it."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import avg_pool2d

from unlearnlib.lab import data, drawn, features, models
from unlearnlib.lab.seeds import generator

FEW = 200


def photographs(seed, count=2):
    """What may stand for the photographs: noise of their shape."""
    size = (count, 427, 640, 3)
    return np.random.RandomState(seed).randint(256, size=size, dtype=np.uint8)


def plainly(monkeypatch):
    """Digits are drawn as they are: not turned, moved or scaled, with a middling pen."""
    for name in ("TURN", "SLANT", "MOVE"):
        monkeypatch.setattr(drawn, name, (0.0, 0.0))
    monkeypatch.setattr(drawn, "BEND", 0.0)
    for name, value in (("SIZE", 1.0), ("PEN", 0.5), ("EDGE", 12.0)):
        monkeypatch.setattr(drawn, name, (value, value))


def drawings(count=FEW):
    return drawn.strokes(count, generator("drawn", 0))


def test_a_plain_drawing_is_the_digit_itself(monkeypatch):
    """Averaged over its 8 x 8 cells it is light where the digit is, and nowhere else."""
    plainly(monkeypatch)
    x, y = drawings()
    assert x.shape == (FEW, 1, 28, 28) and x.dtype == torch.uint8
    known = load_digits()
    cells = torch.nn.functional.interpolate(x[:, :, 4:24, 4:24].double(), (8, 8), mode="area")
    cells, digits = cells.flatten(1), torch.from_numpy(known.images).flatten(1)
    likeness = torch.corrcoef(torch.cat([cells, digits]))[:FEW, FEW:]
    found = likeness.max(1)
    assert (found.values > 0.8).all() and torch.equal(
        y, torch.from_numpy(known.target)[found.indices]
    )


def test_where_there_is_no_stroke_there_is_no_ink(monkeypatch):
    """With the softest of pens, whose ink would spread over the whole drawing."""
    plainly(monkeypatch)
    monkeypatch.setattr(drawn, "PEN", (0.3, 0.3))
    monkeypatch.setattr(drawn, "EDGE", (4.0, 4.0))
    x, _ = drawings()
    frame = torch.ones(28, 28, dtype=torch.bool)
    frame[3:25, 3:25] = False
    assert not x[:, 0, frame].any() and x.amax() > 150


@pytest.mark.parametrize("what", ["TURN", "SLANT", "MOVE", "SIZE", "PEN", "EDGE", "BEND"])
def test_each_way_to_draw_makes_drawings_differ(what, monkeypatch):
    ends = getattr(drawn, what)
    plainly(monkeypatch)
    plain, _ = drawings(20)
    monkeypatch.setattr(drawn, what, ends)
    other, _ = drawings(20)
    assert (plain.float() - other.float()).abs().mean() > 1


def test_a_turn_is_a_turn(monkeypatch):
    """By a quarter to the left: rows become columns."""
    plainly(monkeypatch)
    upright, _ = drawings(20)
    monkeypatch.setattr(drawn, "TURN", (np.pi / 2, np.pi / 2))
    turned, _ = drawings(20)
    apart = [(turned.int() - torch.rot90(upright, k, (2, 3)).int()).abs().max() for k in (1, 3)]
    assert min(apart) <= 1


def test_the_photographs_are_those_of_training_images_alone(monkeypatch):
    """The part that MNIST-M's test images lie on is never seen; the other part is, by half."""

    def drawings_over(others, ours):
        both = photographs(others)
        both[:, :, data.PATCH_BORDER :] = photographs(ours)[:, :, data.PATCH_BORDER :]
        monkeypatch.setattr(data, "photographs", lambda: both)
        return drawn.images(FEW)[0]

    one, half = drawings_over(0, 1), FEW // 2
    assert torch.equal(one, drawings_over(2, 1))
    other = drawings_over(0, 3)
    assert torch.equal(one[half:], other[half:])  # over textures
    assert (one[:half] != other[:half]).flatten(1).any(1).all()


def test_they_are_the_same_each_time_whatever_data_there_is(monkeypatch, tmp_path):
    x, y = drawn.images(FEW)
    monkeypatch.setenv("UNLEARNLIB_DATA", str(tmp_path))
    again, labels = drawn.images(FEW)
    assert torch.equal(x, again) and torch.equal(y, labels)
    assert x.shape == (FEW, 3, 32, 32) and x.dtype == torch.uint8
    assert set(y.tolist()) == set(range(10))


def test_a_digit_is_taken_from_what_it_lies_on(monkeypatch):
    """On white paper the ink is dark, on black it is light: |background - digit|."""
    digits, y = drawings(20)
    inner = digits.float() / 255

    def over(level):
        plain = torch.full((10, 3, 32, 32), level)
        monkeypatch.setattr(drawn, "recoloured", lambda x, g: plain)
        monkeypatch.setattr(drawn, "textures", lambda count, g: plain)
        seen, labels = drawn.images(20)
        assert torch.equal(labels, y)
        return seen[:, :, 2:30, 2:30].float() / 255

    assert (over(0.0) - inner).abs().max() < 0.01
    assert (over(1.0) - (1 - inner)).abs().max() < 0.01


def test_it_sees_at_two_scales_each_of_norm_1():
    net = models.build("allcnn", in_shape=(3, 32, 32), width=0.25, norm="group", seed=0).eval()
    x, layers = torch.rand(4, 3, 32, 32), list(net)
    fine = avg_pool2d(torch.nn.Sequential(*layers[:15])(x), 2)
    coarse = torch.nn.Sequential(*layers[:24])(x)
    found = drawn.TwoMaps(net)(x)
    for part, whole in zip(found.split([48, 48], dim=1), (fine, coarse), strict=True):
        assert part.shape == whole.shape == (4, 48, 8, 8)
        assert torch.allclose(part.flatten(1).norm(dim=1), torch.ones(4))
        ratio = whole.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        assert torch.allclose(part * ratio, whole, atol=1e-5)


def test_the_network_learns_them_once_and_is_fixed(own_store):
    net = drawn.network(40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn, "projected_sgd", None)  # it comes from the store
        again = drawn.network(40)
    x = torch.rand(3, 3, 32, 32)
    assert not net.training and net(x).shape == (3, 96, 8, 8)
    assert torch.equal(net(x), again(x))
    assert features.digits(40).key == features.digits(40).key != features.digits(41).key
    assert "40 drawings" in features.digits(40).source
