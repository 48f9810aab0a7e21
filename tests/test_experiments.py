"""One call gives a notebook its pair; what stands in is named, and training happens once."""

from dataclasses import replace

import pytest
import torch

from unlearnlib.errors import DataError
from unlearnlib.evaluation.metrics import accuracy
from unlearnlib.lab import data, experiments, profiles
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.seeds import generator


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path))
    experiments.images.cache_clear()
    yield
    experiments.images.cache_clear()


SMALL = profiles.load("smoke").mlp_mnist


def test_the_forget_set_is_as_large_as_the_profile_says_and_not_trained_on():
    digits = Experiment(SMALL, 0)
    assert digits.F.n == SMALL.train and len(digits.forget) == SMALL.forget
    assert digits.title == digits.images.title
    assert not torch.equal(digits.w, digits.retrained.w)
    assert accuracy(digits.F, digits.w) > 0.5  # ten classes


def test_training_happens_once(monkeypatch):
    first = Experiment(SMALL, 0).w
    monkeypatch.setattr(experiments, "projected_sgd", lambda *a, **k: pytest.fail("trained again"))
    later = {"lam": 9.0, "dampings": (9.0, 90.0), "radii": (20.0, float("inf"))}
    assert torch.equal(Experiment(replace(SMALL, **later), 0).w, first)


def test_the_key_tells_apart_whatever_decides_the_training():
    d, reordered = Experiment(SMALL, 0), Experiment(SMALL, 0)
    vars(reordered)["images"] = replace(d.images, x_train=d.images.x_train.flip(0))
    keys = [
        d.key("trained"),
        Experiment(SMALL, 1).key("trained"),
        d.key("retrained"),
        Experiment(replace(SMALL, lr=2 * SMALL.lr), 0).key("trained"),
    ]
    keys.append(reordered.key("trained"))
    assert not any(a == b for k, a in enumerate(keys) for b in keys[:k])


RUNS = ("trained", "retrained", "elsewhere", "warm", "again")


def test_another_recipe_of_training_is_another_key_and_is_trained_again(monkeypatch):
    d = Experiment(replace(SMALL, epochs=1), 0)
    before, trained = {name: d.key(name) for name in RUNS}, d.w
    assert replace(d).identity["training"] == experiments.TRAINING
    with monkeypatch.context() as patch:
        patch.setattr(experiments, "TRAINING", experiments.TRAINING + 1)
        patch.setattr(Experiment, "train", lambda *a, **k: pytest.fail("trained again"))
        again = replace(d)
        assert all(again.key(name) != before[name] for name in RUNS)
        with pytest.raises(pytest.fail.Exception, match="trained again"):
            again.trained  # noqa: B018
    monkeypatch.setattr(Experiment, "train", lambda *a, **k: pytest.fail("trained again"))
    assert replace(d).w.equal(trained)


def without_mnist(monkeypatch):
    really = data.load

    def load(name):
        if name == "mnist":
            raise DataError("MNIST is not here.")
        return really(name)

    monkeypatch.setattr(data, "load", load)


def test_a_stand_in_is_warned_of_named_and_asked_to_forget_one_in_sixty(monkeypatch):
    without_mnist(monkeypatch)
    wanted = replace(SMALL, dataset="mnist", stand_in="mnist5k", train=0, test=0, forget=1000)
    digits = Experiment(wanted, 0)
    with pytest.warns(UserWarning, match="mnist can't be had, and mnist5k stands in"):
        assert digits.title.endswith("standing in for MNIST")
    assert len(digits.forget) == 4000 // 60
    with pytest.raises(DataError, match="not here"):
        Experiment(replace(wanted, stand_in=""), 0).images  # noqa: B018


@pytest.mark.filterwarnings("ignore:mnist can't be had")
@pytest.mark.parametrize(("train", "asked"), [(20_000, 200), (4_000, 1_000), (3_000, 1_000)])
def test_of_a_stand_in_with_fewer_images_the_same_share_is_forgotten(monkeypatch, train, asked):
    without_mnist(monkeypatch)
    wanted = replace(SMALL, dataset="mnist", stand_in="mnist5k", train=train, forget=1_000)
    digits = Experiment(wanted, 0)
    assert (digits.F.n, len(digits.forget)) == (min(train, 4_000), asked)


def test_images_of_your_own_stand_in_for_nothing(monkeypatch):
    own = replace(data.load("mnist5k"), name="pets", title="pets")
    monkeypatch.setattr(data, "load", lambda name: own)
    pets = Experiment(replace(SMALL, dataset="my/pets", train=0, test=0, forget=7), 0)
    assert pets.title == "pets" and len(pets.forget) == 7


def test_purposes_share_no_random_numbers():
    def draw(purpose, seed):
        return torch.rand(3, generator=generator(purpose, seed)).tolist()

    assert draw("forget", 0) == draw("forget", 0)
    assert len({tuple(draw(p, s)) for p in ("forget", "batches") for s in (0, 1)}) == 4


def test_tuning_meets_no_test_image():
    """A fifth of the training images stand in for them, and are not trained on."""
    whole, part = Experiment(SMALL, 0).images, Experiment(SMALL, 0, tuning=True).images

    def rows(x):
        return {row.numpy().tobytes() for row in x}

    assert len(part.x_test) == len(whole.x_train) // 5
    assert rows(part.x_train) | rows(part.x_test) == rows(whole.x_train)
    assert not rows(part.x_train) & rows(part.x_test)
    assert not rows(part.x_test) & rows(whole.x_test)
    assert part.y_test.bincount().tolist() == pytest.approx(
        (whole.y_train.bincount() / 5).tolist(), abs=1
    )


def test_tuning_watches_the_validation_accuracy():
    d = Experiment(replace(SMALL, epochs=2), 0, tuning=True)
    found = [epoch["validation"] for epoch in d.retrained.history]
    assert len(found) == 2 and found[-1] == accuracy(d.F_test, d.retrained.w)
    assert "validation" not in Experiment(replace(SMALL, epochs=2), 0).trained.history[0]


def test_the_five_models_are_five():
    d = Experiment(SMALL, 0)
    assert d.F_u.n + d.F_r.n == d.F.n and d.F_u.n == SMALL.forget
    runs = {name: getattr(d, name).w for name in RUNS}
    assert len({w.numpy().tobytes() for w in runs.values()}) == 5
    # another start is further away; training on goes down on the retained images
    apart = {name: float((w - d.w).norm()) for name, w in runs.items()}
    assert apart["warm"] < apart["elsewhere"]
    assert max(d.F_r.value(runs[name]) for name in ("warm", "again")) < d.F_r.value(d.w)
    other = Experiment(SMALL, 1000)
    assert (other.F.initial() != d.F.initial()).any()
    assert not torch.equal(runs["elsewhere"], other.w)  # which was trained on all images


def test_the_accuracy_so_far_is_that_on_a_sample_of_all_test_images(monkeypatch):
    """Images that are read from folders come class by class."""
    monkeypatch.setattr(experiments, "MONITORED", 50)
    d = Experiment(profiles.load("smoke").mlp_mnist, seed=0)
    order = d.images.y_test.argsort()
    y = d.images.y_test[order]
    vars(d)["images"] = replace(d.images, x_test=d.images.x_test[order], y_test=y)
    seen = []
    monkeypatch.setattr(experiments, "accuracy", lambda F, w: seen.append(F) or 0.5)
    assert d._accuracy_so_far(d.F.initial(), {}) == {"test": 0.5}
    assert seen[0].n == 50 and len(seen[0].batch(slice(0, 50))[1].unique()) == 10


def test_the_seeds_of_a_pair_share_their_images():
    """Half a gigabyte each, if every experiment normalised all of CIFAR-10 for itself."""
    first, second = Experiment(SMALL, 0), Experiment(replace(SMALL, C=3.0), 1)
    assert first.F.x.data_ptr() == second.F.x.data_ptr()
    assert first.F_test.x.data_ptr() == second.F_test.x.data_ptr()
    held_out = [Experiment(SMALL, seed, tuning=True) for seed in (0, 1)]
    assert held_out[0].F.x.data_ptr() == held_out[1].F.x.data_ptr() != first.F.x.data_ptr()
