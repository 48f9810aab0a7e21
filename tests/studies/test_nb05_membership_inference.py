"""The rows of notebook 05."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from studies.nb05_membership_inference import attacked as study
from studies.nb05_membership_inference import shadows
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
        assert [row["metric"] for row in rows] == ["accuracy", "AUC", "TPR at 1% FPR"]
        assert all(row["low"] <= row["value"] <= row["high"] for row in rows)
        assert all(row["members"] == 2 * len(runs.members) for row in rows)


def test_two_attackers_are_those_asked_for():
    ((d, found),) = contenders.fields(SMALL)
    scores = study.attack_scores(d, found, "unseen", study.TWO)
    assert {attacker for _, attacker in scores} == set(study.TWO)


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


def test_the_auc_of_retraining_is_at_no_distance_from_itself():
    ((d, found),) = contenders.fields(SMALL)
    scores = [study.losses(d, found)]
    same = study.difference_row(scores, "retrained")
    assert same == {"mean": 0.0, "low": 0.0, "high": 0.0, "seeds": 1}
    other = study.difference_row(scores, "trained")
    ours, theirs = (
        attacks.strength([scores[0][name]])["AUC"]["value"] for name in ("trained", "retrained")
    )
    assert other["mean"] == pytest.approx(ours - theirs) and other["low"] <= other["mean"]
    assert len(scores[0]["trained"].members) == d.F_u.n  # none is spent on a threshold


def test_the_overfitted_network_knows_few_images_for_long():
    pair = study.overfitted(SMALL)
    assert (pair.train, pair.forget, pair.epochs) == (study.FEW, study.FEW // 4, study.EPOCHS)


# ---- shadow models -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(own_cache):
    d = Experiment(SMALL, 0)
    return shadows.Shadows(d, shadows.Sizes(base=60, pool=20, models=8, epochs=30))


@pytest.mark.parametrize("n", [480, 600, 1200, 1500, 4000, 60_000])
def test_the_pool_has_two_halves_at_every_size(n):
    size = shadows.sizes(n)
    assert size.pool % 2 == size.models % 2 == 0 and size.base + size.pool <= n


def test_each_image_of_the_pool_was_forgotten_by_half_of_the_models(small):
    assert small.forgot.sum(0).tolist() == [4] * 20 and small.forgot.sum(1).tolist() == [10] * 8
    assert (small.forgot[0] != small.forgot[1]).all()


def test_a_shadow_model_has_seen_its_half_and_the_oracle_none(small):
    """Trained for long, a model is surer of its own half; the oracle does not know the halves."""
    margins = np.stack([attacks.margins(small.F_pool, w) for w in small.models["trained"]])
    oracle = np.stack([attacks.margins(small.F_pool, w) for w in small.models["oracle"]])
    own, other = margins[small.forgot].mean(), margins[~small.forgot].mean()
    assert own > other + 1
    assert abs(oracle[small.forgot].mean() - oracle[~small.forgot].mean()) < 1


def test_a_step_starts_from_the_model_and_has_noise_of_its_own(small):
    moved = small.certified - small.models["trained"]
    noise = shadows.SIGMA * moved.shape[1] ** 0.5
    assert (moved.norm(dim=1) > 0.8 * noise).all() and not moved[0].equal(moved[1])


def test_the_margins_of_those_that_forgot_are_theirs():
    forgot = np.array([[True, False], [False, True]])
    margins = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert shadows._of_those_that_forgot(margins, forgot).tolist() == [[1.0, 4.0]]


@pytest.mark.parametrize("method", shadows.RELEASED)
def test_every_standard_has_its_row(small, method):
    row = shadows.standard_row(small, method)
    assert 0 <= row["U-LiRA AUC"] <= 1 and row["KLoM"] >= 0 and 0 <= row["challenge F"] <= 1
    if method == "retrained":  # the oracle's first half against its second
        assert row["challenge score"] == pytest.approx(row["challenge F"])


def test_doing_nothing_is_found_and_retraining_is_not(small):
    nothing, null = (shadows.standard_row(small, name) for name in ("trained", "retrained"))
    assert nothing["U-LiRA AUC"] > null["U-LiRA AUC"] + 0.1
