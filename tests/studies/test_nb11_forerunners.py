"""The methods side by side: who takes part, what is chosen on which images, what is counted."""

from dataclasses import replace

import pytest
import torch
from digits import tiny

from studies.nb11_budget_and_utility import forerunners
from studies.nb11_budget_and_utility.forerunners import OURS
from unlearnlib import InputError, gaussian_sigma, noise
from unlearnlib.evaluation.peers import Guo, Neel, Sekhari, neel
from unlearnlib.lab import proved
from unlearnlib.lab.features import PIXELS
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.lab.settings import DRAWS

pytestmark = pytest.mark.usefixtures("own_store")

PEERS = {"Sekhari et al.", "descent-to-delete", "certified removal"}
DECAYS, EPSILONS = [2e-4, 0.15], [1.0, 8.0]
REQUESTS, EACH = 3, 2
SIDES = ("held out", "test")


def compared(images, decays, epsilons, requests, each):
    """The rows of a comparison, as the notebook makes them."""
    split, rows = images.validation(), []
    asked = forerunners.random_requests(len(split.y_train), requests, each, seed=0)
    for decay in decays:
        problem = proved.softmax(split, decay)
        test = problem.objective(images.x_test, images.y_test)
        judges = {"held out": problem.F_test, "test": test}
        for name, method in forerunners.taking_part(problem).items():
            answers = method(problem, asked, seed=0)
            for epsilon in epsilons:
                row = {"method": name, "decay": decay, "epsilon": epsilon, "seed": 0}
                rows.append(row | forerunners.row(answers, epsilon, judges))
    return rows


@pytest.fixture(scope="module")
def images():
    return tiny()


@pytest.fixture(scope="module")
def rows(images):
    return compared(images, DECAYS, EPSILONS, REQUESTS, EACH)


@pytest.fixture(scope="module")
def asked():
    """Three requests for two of the 48 images that are left to train on."""
    order = torch.randperm(48, generator=generator("forerunners", 0))
    return order[:6].view(3, 2)


def row_of(rows, method, decay, epsilon):
    (found,) = (
        row
        for row in rows
        if (row["method"], row["decay"], row["epsilon"]) == (method, decay, epsilon)
    )
    return found


def shares_right(images, estimate, sigma, draws=DRAWS):
    """Mean accuracy of noisy softmax regression, on held-out training images and on test images."""
    judges = {"held out": images.validation(), "test": images}
    right = {}
    for name, found in judges.items():
        x, total = PIXELS(found.x_test), 0.0
        for k in range(draws):
            seed = seed_of(f"forerunner {k}", 0)
            w = estimate + noise.sample_noise(estimate, sigma, seed)
            total += float(((x @ w.view(10, -1).T).argmax(1) == found.y_test).double().mean())
        right[name] = pytest.approx(total / draws)
    return right


# ---- who takes part -----------------------------------------------------------------------------


def test_every_method_takes_part_at_every_epsilon(rows):
    for decay in DECAYS:
        for epsilon in EPSILONS:
            found = [
                row["method"] for row in rows if (row["decay"], row["epsilon"]) == (decay, epsilon)
            ]
            expected = {OURS} | PEERS - ({"descent-to-delete"} if decay == 2e-4 else set())
            assert set(found) == expected and len(found) == len(expected)
    for row in rows:
        assert row["sigma"] > 0 and row["seconds"] > 0 and row["seed"] == 0
        assert all(0 <= row[side] <= 1 for side in SIDES)


def test_descent_whose_training_is_too_long_is_left_out(images, monkeypatch):
    """Just where its training passes LONGEST, and nobody else."""
    mu, L = 0.05, 2**0.5
    length = neel.training_iterations(50, n=48, mu=mu, L=L, beta=0.5 + mu, D=L / mu)
    for longest, missing in ((length, set()), (length - 1, {"descent-to-delete"})):
        monkeypatch.setattr(forerunners, "LONGEST", longest)
        found = compared(images, [mu], [1.0], 1, 1)
        assert {row["method"] for row in found} == {OURS} | PEERS - missing


def test_descent_whose_noise_would_hide_no_rounding_is_left_out(images):
    split = images.validation()
    assert "descent-to-delete" in forerunners.taking_part(proved.softmax(split, 0.05))
    assert "descent-to-delete" not in forerunners.taking_part(proved.softmax(split, 0.3))


# ---- each by itself -----------------------------------------------------------------------------


def test_ours_is_our_last_release(rows, images, asked):
    for decay in DECAYS:
        problem = proved.softmax(images.validation(), decay)
        G = problem.gradient_for(1.0)
        queue = problem.queue(problem.trained(G).w, G, epsilon=1.0)
        releases = [queue.forget(wanted) for wanted in asked]
        assert all(release.certificate.holds == "proved" for release in releases)
        for epsilon in EPSILONS:
            row = row_of(rows, OURS, decay, epsilon)
            assert row["sigma"] == pytest.approx(gaussian_sigma(2 * G / decay, epsilon, 1e-5))
            found = shares_right(images, releases[-1].estimate, row["sigma"])
            assert {side: row[side] for side in SIDES} == found and row["retrained"] == 0
    blur = [row["sigma"] for row in rows if (row["method"], row["epsilon"]) == (OURS, 1.0)]
    assert blur == pytest.approx([0.1] * len(DECAYS))


def peer(method, F, decay):
    """As its theorem asks, for six samples in all and two a request."""
    known = {"epsilon": 1.0, "delta": 1e-5, "L": 2**0.5}
    if method == "Sekhari et al.":
        return Sekhari.train(F, M=(2 / 27) ** 0.5, capacity=6, **known)
    ball = {"beta": 0.5 + decay, "D": 2**0.5 / decay}
    return Neel.train(F, iterations=50, per_request=2, **ball, **known)


@pytest.mark.parametrize("method", ["Sekhari et al.", "descent-to-delete"])
def test_output_noise_is_that_of_the_methods_own_sensitivity(method, rows, images, asked):
    F = proved.softmax(images.validation(), 0.15).F
    made = peer(method, F, 0.15)
    last = [made.forget(wanted) for wanted in asked][-1]
    for epsilon in EPSILONS:
        row = row_of(rows, method, 0.15, epsilon)
        assert row["sigma"] == pytest.approx(gaussian_sigma(last.sensitivity, epsilon, 1e-5))
        assert {side: row[side] for side in SIDES} == shares_right(
            images, last.estimate, row["sigma"]
        )
        assert row["retrained"] == 0


def removal(images, asked, decay, epsilon):
    F = proved.softmax(images.validation(), decay).F
    share = gaussian_sigma(1.0, epsilon, 1e-5) / gaussian_sigma(1.0, 1.0, 1e-5)
    made = Guo.train(
        F, epsilon=epsilon, delta=1e-5, sigma=0.1 * 48 * decay * share, seed=seed_of("removal", 0)
    )
    for wanted in asked:
        made.forget(wanted)
    return made


def test_removal_counts_how_often_it_trained_anew(rows, images, asked):
    counts, stronger = [], compared(images, [0.3], EPSILONS, REQUESTS, EACH)
    for decay, epsilon in ((2e-4, 1.0), (0.3, 1.0), (0.3, 8.0)):
        row = row_of(rows + stronger, "certified removal", decay, epsilon)
        made = removal(images, asked, decay, epsilon)
        assert row["retrained"] == made.trainings - 1  # the first is no answer to a request
        assert row["sigma"] == pytest.approx(made.sigma)
        assert {side: row[side] for side in SIDES} == shares_right(images, made.w, 0.0, draws=1)
        counts.append(row["retrained"])
    assert counts[0] == REQUESTS and 0 in counts


def test_the_noise_of_removal_blurs_a_logit_by_a_tenth_at_most(images):
    """A shift b/n of the gradient moves the minimiser by no more than b/(n mu)."""
    F = proved.softmax(images.validation(), 0.3).F
    n, mu = F.n, 0.3
    models = torch.stack(
        [
            Guo.train(F, epsilon=1.0, delta=1e-5, sigma=0.1 * n * mu, G=1e-6, seed=s).w
            for s in range(40)
        ]
    )
    x = PIXELS(images.x_test[:10])
    blur = (x @ models.view(40, 10, -1).transpose(1, 2)).std(0)
    assert 0.03 < blur.mean() < 0.1 and blur.max() < 0.13


# ---- what is chosen -----------------------------------------------------------------------------


def test_the_best_decay_is_best_on_the_held_out_images():
    def row(method, epsilon, seed, decay, held_out, test):
        return {
            "method": method,
            "epsilon": epsilon,
            "seed": seed,
            "decay": decay,
            "held out": held_out,
            "test": test,
        }

    given = [
        row("a", 1.0, 0, 0.1, 0.5, 0.9),
        row("a", 1.0, 0, 0.2, 0.7, 0.1),
        row("a", 1.0, 0, 0.3, 0.6, 1.0),
        row("b", 1.0, 0, 0.1, 0.9, 0.2),
        row("a", 2.0, 0, 0.1, 0.3, 0.0),
        row("a", 2.0, 0, 0.2, 0.2, 1.0),
        row("a", 1.0, 1, 0.1, 0.8, 0.3),
        row("a", 1.0, 1, 0.2, 0.4, 0.9),
    ]
    assert forerunners.best(given) == [given[1], given[3], given[4], given[6]]


def test_the_best_of_real_rows_is_one_for_each_method_and_epsilon(rows):
    best = forerunners.best(rows)
    assert len(best) == (1 + len(PEERS)) * len(EPSILONS)
    for row in best:
        rivals = [
            other["held out"]
            for other in rows
            if all(other[key] == row[key] for key in ("method", "epsilon"))
        ]
        assert row["held out"] == max(rivals)


def judged(images, **changed):
    rows = compared(replace(images, **changed), [0.3], [8.0], 1, 1)
    return [[row[side] for row in rows] for side in SIDES]


def test_no_method_sees_the_images_that_judge_it(images):
    """Others in their place change the score on their own side alone, and so no model."""
    held_out, test = judged(images)
    assert judged(images, y_test=(images.y_test + 1) % 10)[0] == held_out

    pairs = images.x_train[:, None] == images.validation().x_test
    inverted, mine = images.x_train.clone(), pairs.flatten(2).all(2).any(1)
    assert int(mine.sum()) == 12
    inverted[mine] = 255 - inverted[mine]
    other, same = judged(images, x_train=inverted)
    assert same == test and other != held_out


# ---- what is refused ----------------------------------------------------------------------------


def test_more_than_half_of_the_images_is_refused(images):
    with pytest.raises(InputError, match="capacity is 25 of 48 samples.*half"):
        compared(images, [0.3], [1.0], 1, 25)
