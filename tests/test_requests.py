"""Who asks to be forgotten: the sets are what their names say."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unlearnlib import InputError
from unlearnlib.lab import contenders, profiles
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.requests import Asked, asked, in_turn, look_alikes, random_samples, whole_class
from unlearnlib.lab.store import Stored

SMALL = replace(profiles.load("smoke").mlp_mnist, epochs=1)


@pytest.fixture(scope="module")
def d():
    return Experiment(SMALL, 0)


def test_a_random_set_is_the_experiments_own_and_grows_by_addition(d):
    assert random_samples(d, SMALL.forget).sort().values.equal(d.forget)
    assert random_samples(d, 20)[:7].equal(random_samples(d, 7))


def test_a_class_is_all_of_it_and_nothing_else(d):
    forget = whole_class(d, 3)
    left = torch.ones(d.F.n, dtype=torch.bool)
    left[forget] = False
    assert (d.F.y[forget] == 3).all() and not (d.F.y[left] == 3).any()
    with pytest.raises(InputError, match=r"no training image has the label 12; there are \[0, 1"):
        whole_class(d, 12)


def test_look_alikes_are_the_nearest_in_pixels(d):
    forget, x = look_alikes(d, 5), d.F.x.flatten(1)
    apart = [float((x[i] - x[forget[0]]).norm()) for i in range(d.F.n)]
    assert apart[forget[0]] == 0
    assert sorted(apart)[:5] == pytest.approx([apart[i] for i in forget], rel=1e-4)


def test_requests_in_turn_are_disjoint_and_make_up_the_set():
    forget = torch.arange(23)
    parts = in_turn(forget, 10)
    assert torch.cat(parts).equal(forget) and {len(part) for part in parts} == {2, 3}
    with pytest.raises(InputError, match="23 images cannot be 24 requests"):
        in_turn(forget, 24)


@pytest.mark.parametrize("count", [0, SMALL.train])
def test_sets_of_no_size_are_refused(d, count):
    with pytest.raises(InputError, match=f"{count} of {SMALL.train} images"):
        random_samples(d, count)


def test_a_share_is_no_number_of_images_or_requests(d):
    with pytest.raises(InputError, match="count is 0.1; .*a whole number"):
        random_samples(d, 0.1)
    with pytest.raises(InputError, match="requests is 2.5; .*a whole number"):
        in_turn(torch.arange(9), 2.5)


def test_asked_is_the_same_experiment_with_another_forget_set(tmp_path, monkeypatch, d):
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path))
    other = Asked(SMALL, 0, wanted=(9, 2, 5))
    assert other.forget.tolist() == [2, 5, 9]
    assert other.identity == d.identity and other.F_r.n == d.F.n - 3
    own = Asked(SMALL, 0, wanted=tuple(d.forget.flip(0).tolist()))
    assert own.retrained.w.equal(d.retrained.w)
    assert len(list((tmp_path / "store" / "retrained").iterdir())) == 1


def test_an_experiment_that_is_asked_keeps_its_pair_seed_and_held_out_images():
    d = Experiment(SMALL, 4, tuning=True)
    assert asked(d, torch.tensor([9, 2])) == Asked(SMALL, 4, tuning=True, wanted=(9, 2))


def test_two_requests_of_one_size_are_answered_each_for_itself(monkeypatch):
    keys, kept = [], {"seconds": 0.0}
    made = Stored({"w": torch.zeros(1)}, kept, Path(), fresh=True, commit="")
    monkeypatch.setattr(
        contenders, "load_or_make", lambda kind, key, *a, **b: (keys.append(key), made)[1]
    )
    for wanted in ((2, 5, 9), (2, 5, 8)):
        contenders.contender(Asked(SMALL, 0, wanted=wanted), "certified (CG)", (1.0, 0.01))
    assert keys[0] != keys[1]


@pytest.mark.parametrize("name", ["retrained", "elsewhere", "warm"])
def test_two_requests_of_one_size_are_retrained_each_without_its_own(tmp_path, monkeypatch, name):
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path))
    one, other = (Asked(SMALL, 0, wanted=wanted) for wanted in ((2, 5, 9), (2, 5, 8)))
    assert one.w.equal(other.w)
    assert not getattr(one, name).w.equal(getattr(other, name).w)
    assert len(list((tmp_path / "store" / name).iterdir())) == 2
