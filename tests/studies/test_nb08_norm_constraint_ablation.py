"""The rows of notebook 08: a ball that does not bind changes nothing but the bound."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from studies import nb08_norm_constraint_ablation as study
from unlearnlib.lab import profiles
from unlearnlib.lab.experiments import Experiment

pytestmark = pytest.mark.usefixtures("own_store")

SMALL = replace(profiles.load("smoke").mlp_mnist, epochs=3, forget=30)


def test_a_ball_that_does_not_bind_changes_nothing_but_the_bound():
    balls = [Experiment(replace(SMALL, C=C), 0) for C in (2.0, 50.0, math.inf)]
    tight, loose, none = (study.radius_row(d, lam=50.0) for d in balls)
    assert tight["norm"] == pytest.approx(2.0)
    assert {k: loose[k] for k in ("norm", "error", "nothing")} == {
        k: none[k] for k in ("norm", "error", "nothing")
    }
    assert none["bound"] == none["2C"] == math.inf > loose["bound"] > tight["bound"]
    assert tight["projected"] > 0 == loose["projected"] == none["projected"]
    assert loose["start"] == none["start"] == pytest.approx(float(balls[2].F.initial().norm()))


@pytest.mark.parametrize(
    ("start", "projected", "said"),
    [
        (9.0, 0.0, "acts on no step"),
        (9.0, 0.3, "projects up to 30%"),
        (21.2, 0.3, "starts outside"),
    ],
)
def test_what_the_ball_did_is_said_in_words(start, projected, said):
    row = pd.Series({"start": start, "norm": 12.0, "projected": projected})
    assert said in study.acts(row, 20.0)
