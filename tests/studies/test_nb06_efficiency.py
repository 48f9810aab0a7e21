"""The arithmetic of notebook 06; the clock itself is not tested."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from studies import nb06_efficiency as study
from studies.nb06_efficiency import Cost, dense_seconds, plateau
from unlearnlib.lab.settings import TUNING_SEED

PAPER = dict(epochs=50, steps=1000, chains=10, batch_size=10)


def test_retraining_is_done_within_half_a_point_of_its_best():
    assert plateau([0.5, 0.8, 0.896, 0.9, 0.9]) == 3
    assert plateau([0.5, 0.8, 0.894, 0.9, 0.85]) == 4
    assert plateau([0.9]) == 1


def test_the_epochs_needed_are_read_off_held_out_images(monkeypatch):
    asked, reached = [], [0.5, 0.8, 0.897, 0.9]

    def stood_in(pair, seed, tuning=False):
        asked.append((pair, seed, tuning))
        history = [{"validation": accuracy} for accuracy in reached]
        return SimpleNamespace(retrained=SimpleNamespace(history=history))

    monkeypatch.setattr(study, "Experiment", stood_in)
    assert study.epochs_needed("a pair") == (3, reached)
    assert asked == [("a pair", TUNING_SEED, True)]


def test_the_speed_up_by_hand():
    cost = Cost(gradient=2e-6, product=1e-5, whole_gradient=1e-6)
    assert cost.retraining(60_000, 50) == pytest.approx(6.0)
    assert cost.update(60_000, 1000, 10, 10) == pytest.approx(1.0 + 0.06)
    assert cost.speed_up(60_000, **PAPER) == pytest.approx(6.0 / 1.06)


@given(st.floats(1e-7, 1e-2), st.floats(1e-7, 1e-2), st.floats(1e-7, 1e-2))
def test_the_speed_up_grows_with_n_towards_its_limit(gradient, product, whole):
    cost = Cost(gradient, product, whole)
    found = [cost.speed_up(n, **PAPER) for n in (1e2, 1e4, 1e6, 1e15)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(50 * gradient / whole, rel=1e-3)


def test_the_dense_way_is_timed_by_its_columns(softmax, monkeypatch):
    """Two of p columns take so many seconds, so all of them take p/2 as many."""
    F, asked = softmax.objective(weight_decay=0.1), []
    monkeypatch.setattr(study, "seconds_of", lambda job, times: asked.append(job()) or 3.0)
    forming, solving = dense_seconds(F, softmax.w, torch.ones_like(softmax.w), columns=2)
    assert forming == pytest.approx(3.0 * F.p / 2) and solving == 3.0
    assert torch.allclose(asked[0], F.hessian(softmax.w)[:2])
    assert torch.allclose(asked[1], torch.ones(F.p, 1, dtype=softmax.w.dtype))
