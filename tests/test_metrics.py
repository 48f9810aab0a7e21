"""Closeness to retraining, against scikit-learn and by its own properties."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from unlearnlib import InputError
from unlearnlib.evaluation.metrics import accuracy, distance, tug_of_war

SHARES = st.floats(0, 1)
SETS = st.fixed_dictionaries({"forgotten": SHARES, "retained": SHARES, "test": SHARES})


def test_accuracy_is_micro_f1(mlp):
    F = mlp.objective(pass_size=7)
    answers = F.outputs(mlp.w, mlp.x).argmax(1)
    assert accuracy(F, mlp.w) == pytest.approx(f1_score(mlp.y, answers, average="micro"))


@given(SETS, SETS)
def test_tug_of_war_is_one_for_equals_and_symmetric(a, b):
    assert tug_of_war(a, a) == 1
    assert 0 <= tug_of_war(a, b) <= 1
    assert tug_of_war(a, b) == pytest.approx(tug_of_war(b, a))


def test_tug_of_war_by_hand():
    assert tug_of_war({"u": 0.9, "r": 0.5}, {"u": 0.8, "r": 1.0}) == pytest.approx(0.9 * 0.5)


def test_tug_of_war_refuses_other_sets_and_percentages():
    with pytest.raises(InputError, match="the same sets"):
        tug_of_war({"u": 0.9}, {"r": 0.9})
    with pytest.raises(InputError, match=r"score on u is 90.*share in \[0, 1\]"):
        tug_of_war({"u": 90}, {"u": 0.9})
    with pytest.raises(InputError, match="retrained u is -1"):
        tug_of_war({"u": 0.9}, {"u": -1})


def test_distance_is_exact_where_single_precision_is_not():
    w = torch.full((10_000,), 1e-23)
    assert distance(w, torch.zeros_like(w)) == pytest.approx(1e-21, rel=1e-6)
