"""The contenders: one rule for all, kept once, and the same each time."""

from dataclasses import replace

import pytest
import torch

from unlearnlib import NegativeCurvatureError, batchnorm
from unlearnlib.evaluation.metrics import accuracy
from unlearnlib.lab import profiles
from unlearnlib.lab.contenders import REFERENCES, contender, field, settled, tune
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.methods import METHODS, NOISE, Method
from unlearnlib.lab.requests import Asked
from unlearnlib.lab.settings import TUNING_SEED

SMALL = replace(profiles.load("smoke").mlp_mnist, epochs=3)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path))
    tune.cache_clear()


def fake(monkeypatch, outcomes):
    """A method whose setting k gives outcomes[k], a w or an error; and the settings it ran."""
    ran = []

    def run(d, setting):
        ran.append((d.seed, d.tuning, setting))
        outcome = outcomes[setting](d)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    method = Method("fake", ("k",), lambda pair: tuple((k,) for k in outcomes), run)
    monkeypatch.setitem(METHODS, "fake", method)
    return method, ran


def test_the_field_holds_every_method_and_reference(monkeypatch):
    found = field(SMALL, 0)
    assert list(found) == [*REFERENCES, *METHODS]
    for it in found.values():
        assert it.w.norm() <= SMALL.C + 1 and set(it.scores) == {"forgotten", "retained", "test"}
    d = Experiment(SMALL, 0)
    assert all(not torch.equal(found[name].w, d.w) for name in METHODS)
    assert all(
        found["trained"].scores[name] == accuracy(F, d.w)
        for name, F in (("forgotten", d.F_u), ("test", d.F_test))
    )
    for name in METHODS:  # from the store now: running a method again would fail
        monkeypatch.setitem(METHODS, name, replace(METHODS[name], run=None))
    again = field(SMALL, 0)
    assert all(torch.equal(found[name].w, again[name].w) for name in found)


def test_the_scores_come_in_one_order_however_the_file_holds_them():
    found = contender(Experiment(SMALL, 0), "trained")
    assert list(found.right) == list(found.scores) == ["forgotten", "retained", "test"]


def test_the_best_setting_is_kept_and_a_tie_goes_to_the_mildest(monkeypatch):
    good = {k: lambda d: d.retrained.w for k in (2.0, 3.0)}
    method, ran = fake(monkeypatch, {1.0: lambda d: torch.zeros_like(d.w)} | good)
    tuned = tune(SMALL, method)
    assert tuned.setting == (2.0,)
    scored = [trial["ToW"] for trial in tuned.trials]
    assert scored[0] < scored[1] == scored[2] <= 1
    assert {(seed, tuning) for seed, tuning, _ in ran} == {(TUNING_SEED, True)}


def test_a_setting_that_is_refused_is_no_winner_and_is_refused_again(monkeypatch):
    method, ran = fake(
        monkeypatch, {1.0: lambda d: NegativeCurvatureError("lam is too small"), 2.0: lambda d: d.w}
    )
    for _ in range(2):
        tune.cache_clear()
        tuned = tune(SMALL, method)
        assert tuned.setting == (2.0,)
        assert tuned.trials[0] == {"setting": (1.0,), "refused": "lam is too small"}
    assert len(ran) == 2
    with pytest.raises(NegativeCurvatureError, match="too small"):
        contender(Experiment(SMALL, TUNING_SEED, tuning=True), "fake", (1.0,))


def test_a_method_that_refuses_everything_says_what_to_do(monkeypatch):
    refused = {1.0: lambda d: NegativeCurvatureError("lam is too small")}
    method, _ = fake(monkeypatch, refused)
    with pytest.raises(NegativeCurvatureError, match="refuses all .* Raise the pair's lam"):
        tune(SMALL, method)


def test_two_requests_of_one_size_are_two_contenders(monkeypatch):
    fake(monkeypatch, {1.0: lambda d: d.retrained.w})
    for name, setting in (("retrained", ()), ("fake", (1.0,))):
        both = (Asked(SMALL, 0, wanted=wanted) for wanted in ((2, 5, 9), (2, 5, 8)))
        one, other = (contender(d, name, setting).w for d in both)
        assert not one.equal(other)


def test_another_seed_that_refuses_the_setting_takes_a_milder_one(monkeypatch):
    def of_tuning(d):
        return d.retrained.w if d.tuning else NegativeCurvatureError("not here")

    method, _ = fake(monkeypatch, {1.0: lambda d: d.w, 2.0: of_tuning, 3.0: lambda d: 0 * d.w})
    assert tune(SMALL, method).setting == (2.0,)
    assert settled(Experiment(SMALL, 0), method).setting == (1.0,)


def test_the_noise_is_the_same_draw_for_every_sigma_and_the_step_is_made_once(monkeypatch):
    d, (lam, *_), name = Experiment(SMALL, 0), SMALL.dampings[::-1], "certified (CG)"
    step = contender(d, name, (lam, 0.0)).w
    monkeypatch.setitem(METHODS, name, replace(METHODS[name], run=None))
    one, ten = ((contender(d, name, (lam, sigma)).w - step) for sigma in (0.01, 0.1))
    assert torch.allclose(10 * one, ten, atol=1e-5)
    assert float(one.norm()) == pytest.approx(0.01 * len(step) ** 0.5, rel=0.05)


def test_noise_alone_is_the_trained_model_with_the_noise_of_the_certified_ones():
    d, lam = Experiment(SMALL, 0), SMALL.dampings[-1]
    alone, step = contender(d, NOISE, (0.01,)).w, contender(d, "certified (CG)", (lam, 0.0)).w
    noise = contender(d, "certified (CG)", (lam, 0.01)).w - step
    assert torch.allclose(alone - d.w, noise, atol=1e-6)


def test_a_step_that_is_refused_is_refused_at_every_sigma(monkeypatch):
    def refuse(d, lam):
        raise NegativeCurvatureError("lam is too small")

    name = "certified (CG)"
    monkeypatch.setitem(METHODS, name, replace(METHODS[name], run=refuse))
    for sigma in (0.0, 0.01):
        with pytest.raises(NegativeCurvatureError, match="too small"):
            contender(Experiment(SMALL, 0), name, (1.0, sigma))


def test_batch_statistics_are_those_of_training_then_those_of_the_retained_images():
    pair = replace(profiles.load("smoke").allcnn_cifar10, norm="batch", epochs=1)
    d = Experiment(pair, 0)
    trained = d.trained.buffers
    used = d.F_trained.buffers
    assert all(torch.equal(used[name], trained[name]) for name in trained)
    published = d.published(d.w)(d.F_test).buffers
    wanted = batchnorm.recomputed_buffers(d.F_r, d.w)
    assert all(torch.equal(published[name], wanted[name]) for name in wanted)
    assert set(contender(d, "certified (CG)", (2000.0, 1e-3)).scores) == {
        "forgotten",
        "retained",
        "test",
    }
