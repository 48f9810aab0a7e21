"""The contenders: one rule for all, kept once, and the same each time."""

from dataclasses import replace

import pytest
import torch

from unlearnlib import NegativeCurvatureError
from unlearnlib.evaluation.metrics import tug_of_war
from unlearnlib.lab import contenders, profiles
from unlearnlib.lab.contenders import METHODS, REFERENCES, Method, contender, field, tune
from unlearnlib.lab.experiments import Experiment

SMALL = replace(profiles.load("smoke").mlp_mnist, epochs=3)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path))


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
    assert [trial.get("ToW") for trial in tuned.trials][1:] == [1.0, 1.0]
    assert {(seed, tuning) for seed, tuning, _ in ran} == {(contenders.TUNING_SEED, True)}


def test_a_setting_that_is_refused_is_no_winner_and_is_refused_again(monkeypatch):
    method, ran = fake(
        monkeypatch, {1.0: lambda d: NegativeCurvatureError("lam is too small"), 2.0: lambda d: d.w}
    )
    for _ in range(2):
        tuned = tune(SMALL, method)
        assert tuned.setting == 2.0
        assert tuned.trials[0] == {"setting": 1.0, "refused": "lam is too small"}
    assert len(ran) == 2
    with pytest.raises(NegativeCurvatureError, match="too small"):
        contender(Experiment(SMALL, contenders.TUNING_SEED, tuning=True), "fake", 1.0)


def test_the_trained_model_scores_less_than_retraining_against_itself():
    d = Experiment(SMALL, 0)
    reference = contender(d, "retrained").scores
    assert tug_of_war(reference, reference) == 1
    assert tug_of_war(contender(d, "trained").scores, reference) < 1


@pytest.mark.parametrize("name", ["smoke", "quick"])
def test_solvers_keep_to_their_allowance(name):
    d = Experiment(profiles.load(name).mlp_mnist, 0)
    allowed = contenders.allowance(d)
    assert allowed == d.pair.epochs * d.F_r.n // 10
    assert contenders.CG_STEPS * contenders.hessian_sample(d).n <= allowed
    kept = set(contenders.hessian_sample(d).rows.tolist())
    assert not kept & set(d.forget.tolist())
    solved = contenders.solve_by_lissa(d, d.F_r, d.w, d.F_r.gradient(d.w), lam=d.pair.lam)
    assert solved.steps * contenders.CHAINS * contenders.BATCH <= allowed


def test_what_is_published_has_the_released_noise():
    """Two solvers to the same system, the same noise: the release differs by the solvers' error."""
    d = Experiment(SMALL, 0)
    lam = 100 * SMALL.lam
    by_cg, by_lissa = (contender(d, f"certified ({name})", lam).w for name in ("CG", "LiSSA"))
    noise = contenders.SIGMA * len(d.w) ** 0.5
    assert float((by_cg - d.w).norm()) == pytest.approx(noise, rel=0.05)
    assert float((by_cg - by_lissa).norm()) < noise / 10
