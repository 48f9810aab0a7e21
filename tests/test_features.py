"""Fixed features of an image: norms, independence of other images, keys, and what is refused."""

import math

import pytest
import torch

from unlearnlib import InputError
from unlearnlib.lab import data, features
from unlearnlib.lab.features import Features
from unlearnlib.lab.scattering import Scattering

pytestmark = pytest.mark.usefixtures("own_store")


def colours(n=7, size=16, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, 3, size, size), generator=g, dtype=torch.uint8)


KINDS = {
    "pixels": lambda: features.PIXELS,
    "scattering": lambda: features.scattering((3, 16, 16)),
    "patches": lambda: features.patches((3, 16, 16), count=5),
    "network": lambda: features.network(net(), "small net", "drawn at random"),
}


def net(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5, stride=3), torch.nn.ReLU())


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    return request.param()


def test_every_input_has_norm_1_and_never_more(kind):
    x = torch.cat([colours(), torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), 255)]).byte()
    sizes = kind(x).double().norm(dim=1)
    assert (sizes <= 1 + 1e-12).all()
    assert torch.allclose(sizes[:7], torch.ones(7).double(), rtol=0, atol=2e-6)


def test_an_image_has_its_inputs_whoever_is_beside_it(kind):
    x = colours(120)
    whole = kind(x)
    alone = torch.cat([kind(x[i : i + 1]) for i in (0, 60, 119)])
    torch.testing.assert_close(whole[[0, 60, 119]], alone, rtol=0, atol=1e-6)


def test_the_last_input_is_the_constant(kind):
    assert torch.allclose(kind(colours())[:, -1].double(), torch.tensor(0.3).double(), atol=1e-6)


def test_they_are_made_once_for_the_same_images_and_settings(monkeypatch):
    images = data.load("mnistm").subset(20, 10)
    made = features.PIXELS.of(images)
    assert made[0].shape == (20, 3 * 16 * 16 + 1) and made[1].shape[0] == 10
    others = features.PIXELS.of(data.load("mnistm").subset(30, 10))
    assert others[0].shape[0] == 30
    monkeypatch.setattr(Features, "__call__", lambda *a: pytest.fail("made again"))
    for one, other in zip(made, features.PIXELS.of(images), strict=True):
        assert torch.equal(one, other)


def test_each_kind_of_setting_has_a_key_of_its_own():
    kinds = [make() for make in KINDS.values()]
    kinds += [features.patches((3, 16, 16), count=6), features.scattering((3, 16, 16), angles=3)]
    kinds += [features.network(net(1), "small net", "")]
    assert len({repr(kind.key) for kind in kinds}) == len(kinds)
    assert KINDS["network"]().key == KINDS["network"]().key


def test_scattering_has_as_many_angles_as_are_asked_for():
    few = features.scattering((3, 16, 16), angles=3)
    assert few(colours(2)).shape[1] == 3 * Scattering(16, angles=3).maps * 4 * 4 + 1
    assert "3 angles" in few.source


def test_scattering_scales_each_map_on_its_own():
    x = colours(2)
    maps = Scattering(16)(x.float() / 255).flatten(3)
    by_hand = (maps / maps.norm(dim=3, keepdim=True)).flatten(1).double()
    by_hand = math.sqrt(0.91) * by_hand / by_hand.norm(dim=1, keepdim=True)
    found = features.scattering((3, 16, 16))(x)[:, :-1].double()
    assert torch.allclose(found, by_hand, rtol=0, atol=2e-6)


def test_floating_point_images_are_taken_as_they_are():
    x = colours(2)
    for make in KINDS.values():
        whole, scaled = make()(x), make()(x.float() / 255)
        torch.testing.assert_close(whole, scaled, rtol=0, atol=1e-5)


def test_a_network_is_run_in_eval_mode():
    noisy = torch.nn.Sequential(torch.nn.Dropout(0.5), net()).train()
    found = features.network(noisy, "dropout", "drawn at random")
    assert torch.equal(found(colours()), found(colours()))


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda x: x.float()[:3] + 1, r"odd gives \(3, 768\) for 7 images"),
        (lambda x: x.float() / 0, "not finite"),
    ],
)
def test_a_transform_that_does_not_give_each_image_a_vector_is_refused(transform, message):
    with pytest.raises(InputError, match=message):
        Features("odd", "a formula", transform)(colours())
