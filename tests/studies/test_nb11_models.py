"""Which proved models take part, with which decay; and how long Adam takes to be as good."""

from dataclasses import replace

import pytest
import torch
from digits import tiny

from studies.nb11_budget_and_utility import adam, models
from unlearnlib.evaluation.metrics import accuracy
from unlearnlib.lab import profiles, proved
from unlearnlib.lab.features import PIXELS
from unlearnlib.lab.settings import DRAWS
from unlearnlib.noise import gaussian_sigma, with_noise

pytestmark = pytest.mark.usefixtures("own_store")

PROFILE = replace(profiles.load("smoke"), angles=2, pieces=6, drawings=60, neurons=16)


@pytest.fixture(scope="module")
def images():
    return tiny()


@pytest.fixture(scope="module")
def problem(images):
    return proved.softmax(images, 0.01)


@pytest.mark.parametrize(
    ("pair", "name", "source"),
    [
        ("mlp_mnist", "scattering", "2 angles"),
        ("allcnn_cifar10", "patches", "6 pieces"),
        ("resnet18_svhn", "learnt from public digits", "60 drawings"),
    ],
)
def test_what_is_seen_suits_grey_digits_things_and_digits_in_colour(images, pair, name, source):
    found = models.features_of(PROFILE.pairs[pair], images, PROFILE)
    assert found.name == name and source in found.source


def test_the_line_up_is_softmax_and_tanh_on_pixels_and_softmax_on_features(images):
    pair = PROFILE.mlp_mnist
    features = models.features_of(pair, images, PROFILE)
    entries = models.line_up(pair, images, features, 3e-4, PROFILE)
    built = [entry.build() for entry in entries]
    assert [entry.label for entry in entries] == [
        "softmax regression, pixels",
        "tanh network, pixels",
        "softmax regression, features",
    ]
    assert [entry.row["model"] for entry in entries] == [entry.label for entry in entries]
    assert {entry.row["pair"] for entry in entries} == {pair.name}
    assert [problem.features for problem in built] == [PIXELS, PIXELS, features]
    assert built[1].F.p == 16 * 17 and built[0].weight_decay == proved.DECAY
    assert built[2].weight_decay == 3e-4
    assert images.title in built[2].tuned_on and "held-out" in built[2].tuned_on


# ---- what a decay is chosen on ------------------------------------------------------------------


def test_a_fifth_of_the_training_images_is_held_out(problem):
    aside = models.held_out(problem)
    assert len(aside) == len(set(aside)) == 12 and aside == models.held_out(problem)


def test_a_decay_is_judged_on_what_it_was_not_trained_on(problem):
    aside, row = models.held_out(problem), models.decay_row(problem)
    G = problem.gradient_for(1.0)
    run, judge = problem.trained(G, without=aside), problem.F.only(aside)
    assert row["held out"] == accuracy(judge, run.w)
    assert (row["decay"], row["gradients"]) == (0.01, run.gradients)
    sigma = gaussian_sigma(problem.sensitivity(G), 1.0, 1e-5)
    noisy = [accuracy(judge, with_noise(run.w, sigma, seed)) for seed in range(30)]
    assert min(noisy) <= row["with noise"] <= max(noisy)
    assert row["with noise"] * DRAWS * len(aside) == pytest.approx(
        round(row["with noise"] * DRAWS * len(aside))
    )


def test_the_decay_that_is_best_with_its_noise_is_taken():
    def row(decay, bare, noisy):
        return {"decay": decay, "held out": bare, "with noise": noisy}

    assert models.best_decay([row(1, 0.9, 0.7), row(2, 0.8, 0.75), row(3, 0.7, 0.7)]) == 2
    assert models.best_decay([row(1, 0.9, 0.7), row(2, 0.9, 0.7)]) == 2  # it takes less time


# ---- Adam ---------------------------------------------------------------------------------------


def test_adam_stops_at_the_first_epoch_that_is_as_good(problem):
    gone, lr = range(10), 0.1
    every = adam.until_as_good(problem, gone, lr, wanted=-1.0)
    assert every["epochs"] == 1 and 0 < every["seconds"] and every["lr"] == lr
    last = adam.until_as_good(problem, gone, lr, wanted=every["best"])
    longer = adam.until_as_good(problem, gone, lr, wanted=every["best"] + adam.AS_GOOD / 2)
    assert 1 <= last["epochs"] == longer["epochs"] <= adam.EPOCHS
    never = adam.until_as_good(problem, gone, lr, wanted=2.0)
    assert never["epochs"] is None and never["seconds"] is None
    assert never["best"] == every["best"]


def test_adam_never_sees_what_is_forgotten(problem, monkeypatch):
    seen, true = [], adam.by_adam
    monkeypatch.setattr(adam, "by_adam", lambda F, *a, **k: seen.append(F) or true(F, *a, **k))
    adam.until_as_good(problem, [3, 5], 0.1, wanted=1.0)
    assert seen[0].rows.tolist() == [i for i in range(60) if i not in (3, 5)]
    assert seen[0].dtype == torch.float32
    adam.best_rate(problem)
    held_out = models.held_out(problem)
    assert all(not set(F.rows.tolist()) & set(held_out) for F in seen[1:])
    assert len(seen) == 1 + len(adam.RATES)


def test_its_rate_is_measured_in_a_logit(problem, images):
    """A network whose weights reach a thousand times further gets a rate a thousand times less."""
    assert adam.best_rate(problem) in adam.RATES
    network = proved.network(images, 0, strength=1e3, width=16)
    assert adam.best_rate(network) * network.reach in [pytest.approx(q) for q in adam.RATES]
