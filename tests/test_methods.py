"""The methods compared: one rule for all, kept once, and the same each time."""

from dataclasses import replace

import pytest
import torch

from unlearnlib import NegativeCurvatureError, batchnorm
from unlearnlib.lab import methods, profiles
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.methods import METHODS, REFERENCES, Method, contender, field, settled, tune
from unlearnlib.lab.requests import Asked
from unlearnlib.lab.settings import BATCH, CHAINS, SIGMA, TUNING_SEED
from unlearnlib.linearised import Linearised
from unlearnlib.projected_sgd import Run
from unlearnlib.trainees import Single

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

    method = Method("fake", "k", lambda pair: tuple(outcomes), run)
    monkeypatch.setitem(METHODS, "fake", method)
    return method, ran


def test_every_method_has_as_many_settings():
    for name in profiles.names():
        for pair in profiles.load(name).pairs.values():
            assert {len(method.settings(pair)) for method in METHODS.values()} == {4}


def test_the_field_holds_every_method_and_reference(monkeypatch):
    found = field(SMALL, 0)
    assert list(found) == [*REFERENCES, *METHODS]
    for it in found.values():
        assert it.w.norm() <= SMALL.C + 1 and set(it.scores) == {"forgotten", "retained", "test"}
    d = Experiment(SMALL, 0)
    assert all(not torch.equal(found[name].w, d.w) for name in METHODS)
    for name in METHODS:  # from the store now: running a method again would fail
        monkeypatch.setitem(METHODS, name, replace(METHODS[name], run=None))
    again = field(SMALL, 0)
    assert all(torch.equal(found[name].w, again[name].w) for name in found)


def test_the_best_setting_is_kept_and_a_tie_goes_to_the_mildest(monkeypatch):
    good = {k: lambda d: d.retrained.w for k in (2.0, 3.0)}
    method, ran = fake(monkeypatch, {1.0: lambda d: torch.zeros_like(d.w)} | good)
    tuned = tune(SMALL, method)
    assert tuned.setting == 2.0
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
        assert tuned.setting == 2.0
        assert tuned.trials[0] == {"setting": 1.0, "refused": "lam is too small"}
    assert len(ran) == 2
    with pytest.raises(NegativeCurvatureError, match="too small"):
        contender(Experiment(SMALL, TUNING_SEED, tuning=True), "fake", 1.0)


def test_a_method_that_refuses_everything_says_what_to_do(monkeypatch):
    refused = {1.0: lambda d: NegativeCurvatureError("lam is too small")}
    method, _ = fake(monkeypatch, refused)
    with pytest.raises(NegativeCurvatureError, match="refuses all .* Raise the pair's lam"):
        tune(SMALL, method)


def test_two_requests_of_one_size_are_two_contenders(monkeypatch):
    fake(monkeypatch, {1.0: lambda d: d.retrained.w})
    for name, setting in (("retrained", None), ("fake", 1.0)):
        both = (Asked(SMALL, 0, wanted=wanted) for wanted in ((2, 5, 9), (2, 5, 8)))
        one, other = (contender(d, name, setting).w for d in both)
        assert not one.equal(other)


def test_another_seed_that_refuses_the_setting_takes_a_milder_one(monkeypatch):
    def of_tuning(d):
        return d.retrained.w if d.tuning else NegativeCurvatureError("not here")

    method, _ = fake(monkeypatch, {1.0: lambda d: d.w, 2.0: of_tuning, 3.0: lambda d: 0 * d.w})
    assert tune(SMALL, method).setting == 2.0
    assert settled(Experiment(SMALL, 0), method).setting == 1.0


class Counter:
    """Counts the samples that gradients and Hessian products are taken of."""

    def __init__(self, monkeypatch):
        self.total = 0
        sizes = {"__call__": lambda H, v: H.F.n, "backward": self.gradients}
        for owner, name in ((Linearised, "__call__"), (Single, "backward")):
            monkeypatch.setattr(owner, name, self.counting(getattr(owner, name), sizes[name]))

    @staticmethod
    def gradients(model, positions):
        """Of a batch; NegGrad+ sets as many forgotten samples beside those at the positions."""
        return len(positions) * (2 if model.F.paired else 1)

    def counting(self, method, size):
        def counted(this, *arguments):
            self.total += size(this, *arguments)
            return method(this, *arguments)

        return counted


@pytest.mark.parametrize("name", [m for m in METHODS if m != "certified (LiSSA)"])
@pytest.mark.parametrize("pair", ["mlp_mnist", "allcnn_cifar10"])
def test_no_method_spends_more_than_its_allowance(name, pair, monkeypatch):
    d, method = Experiment(replace(profiles.load("smoke").pairs[pair], epochs=12), 0), METHODS[name]
    vars(d)["trained"] = Run(d.F.initial(), {}, [], None, 0.0)  # as good as trained, for counting
    spent = Counter(monkeypatch)
    method.run(d, method.settings(d.pair)[0])
    assert spent.total <= methods.allowance(d) == d.pair.epochs * d.F_r.n // 10


@pytest.mark.parametrize("name", ["smoke", "quick"])
def test_lissa_keeps_to_its_allowance(name):
    d = Experiment(profiles.load(name).mlp_mnist, 0)
    solved = methods.solve_by_lissa(d, d.F_r, d.w, d.F_r.gradient(d.w), lam=d.pair.lam)
    assert solved.steps * CHAINS * BATCH <= methods.allowance(d)


def test_the_hessian_sample_holds_retained_images_alone():
    d = Experiment(SMALL, 0)
    assert not set(methods.allowed_sample(d).rows.tolist()) & set(d.forget.tolist())


def test_batch_statistics_are_those_of_training_then_those_of_the_retained_images():
    pair = replace(profiles.load("smoke").allcnn_cifar10, norm="batch", epochs=1)
    d = Experiment(pair, 0)
    trained = d.trained.buffers
    used = d.F_trained.buffers
    assert all(torch.equal(used[name], trained[name]) for name in trained)
    published = d.published(d.w)(d.F_test).buffers
    wanted = batchnorm.recomputed_buffers(d.F_r, d.w)
    assert all(torch.equal(published[name], wanted[name]) for name in wanted)
    assert set(contender(d, "certified (CG)", 2000.0).scores) == {"forgotten", "retained", "test"}


def test_what_is_published_has_the_released_noise():
    """Two solvers to the same system, the same noise: the release differs by the solvers' error."""
    d = Experiment(SMALL, 0)
    lam = 100 * SMALL.lam
    by_cg, by_lissa = (contender(d, f"certified ({name})", lam).w for name in ("CG", "LiSSA"))
    noise = SIGMA * len(d.w) ** 0.5
    assert float((by_cg - d.w).norm()) == pytest.approx(noise, rel=0.05)
    assert float((by_cg - by_lissa).norm()) < noise / 10
