"""The rows of notebook 05."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from studies import nb05_membership_inference as study
from unlearnlib import InputError
from unlearnlib.evaluation import attacks
from unlearnlib.lab import contenders, profiles
from unlearnlib.lab.contenders import REFERENCES
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.methods import METHODS

SMALL = replace(profiles.load("smoke").mlp_mnist, epochs=3, seeds=(0,))


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        contenders.tune.cache_clear()
        yield
        contenders.tune.cache_clear()


@pytest.mark.parametrize("question", study.QUESTIONS)
def test_every_attack_has_three_metrics_with_their_intervals(question):
    ((d, found),) = contenders.fields(SMALL)
    scores = study.attack_scores(d, found, question)
    assert list(scores) == [*product([*REFERENCES, *METHODS], attacks.ATTACKERS)]
    for runs in scores.values():
        rows = study.strength_rows([runs, runs])
        assert [row["metric"] for row in rows] == list(study.CHANCE)
        assert all(row["low"] <= row["value"] <= row["high"] for row in rows)
        assert all(row["members"] == 2 * len(runs.members) for row in rows)


def test_a_misspelt_question_is_refused():
    with pytest.raises(InputError, match="'unseen', 'retained'"):
        study.attack_scores(Experiment(SMALL, 0), {}, "unsen")


def test_a_model_that_did_not_move_shows_the_attacker_the_same_twice():
    d = Experiment(SMALL, 0)
    others = study._samples(d, "unseen")
    before = {who: attacks.posteriors(F, d.w) for who, F in others.items()}
    members, _ = study._features(d, others, before, d.w)["posteriors"]
    once, again = np.hsplit(members, 2)
    assert np.allclose(once, again)
