"""Public digits, drawn anew: what a drawing keeps, and that nothing private has a part in it."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from unlearnlib.lab import data, drawn, features
from unlearnlib.lab.seeds import generator

FEW = 200


@pytest.fixture(scope="module")
def public():
    return drawn.images(FEW)


def plainly(monkeypatch):
    """Digits are drawn as they are: not turned, moved or scaled, with a middling pen."""
    for name in ("TURN", "SLANT", "MOVE"):
        monkeypatch.setattr(drawn, name, (0.0, 0.0))
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


@pytest.mark.parametrize("what", ["TURN", "SLANT", "MOVE", "SIZE", "PEN", "EDGE"])
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
    """The part that MNIST-M's test images lie on is never seen."""
    dark = np.full((2, 427, 640, 3), 100, dtype=np.uint8)
    dark[:, :, data.PATCH_BORDER :] = 255
    monkeypatch.setattr(data, "photographs", lambda: dark)
    plainly(monkeypatch)
    corners = drawn.images(FEW).x_train[:, :, :3, :3]
    assert (corners == 255).all()


def test_they_are_the_same_each_time_whatever_data_there_is(public, monkeypatch, tmp_path):
    monkeypatch.setenv("UNLEARNLIB_DATA", str(tmp_path))
    assert drawn.images(FEW).digest == public.digest
    assert len(public.y_train) == 180 and len(public.y_test) == 20
    assert public.shape == (3, 32, 32) and set(public.y_train.tolist()) == set(range(10))


def test_the_network_learns_them_once_and_is_fixed(own_store):
    net = drawn.network(40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn, "projected_sgd", None)  # it comes from the store
        again = drawn.network(40)
    x = torch.rand(3, 3, 32, 32)
    assert not net.training and net(x).shape == (3, 48, 8, 8)
    assert torch.equal(net(x), again(x))
    assert features.digits(40).key == features.digits(40).key != features.digits(41).key
    assert "40 drawings" in features.digits(40).source
