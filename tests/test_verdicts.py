"""When a claim counts as reproduced: each branch. What a null test adds is in test_nulls.py."""

import pandas as pd
import pytest

from unlearnlib.lab import verdicts


@pytest.mark.parametrize(
    ("rule", "arguments", "verdict"),
    [
        (verdicts.comes_to_rest, ({"Adam": [0.1, 0.05]}, "Adam"), "reproduced"),
        (verdicts.comes_to_rest, ({"Adam": [3.0, 0.1]}, "Adam"), "partly"),
        (verdicts.comes_to_rest, ({"Adam": [3.0, 0.11]}, "Adam"), "not reproduced"),
        (verdicts.unbiased, ({"LiSSA": 1.5}, "LiSSA"), "reproduced"),
        (verdicts.unbiased, ({"LiSSA": 1.51}, "LiSSA"), "not reproduced"),
        (verdicts.approaches, ({"w": 0.5}, "w"), "reproduced"),
        (verdicts.approaches, ({"w": 0.1}, "w"), "partly"),
        (verdicts.approaches, ({"w": 0.09}, "w"), "not reproduced"),
    ],
)
def test_the_rules_on_both_sides_of_their_boundary(rule, arguments, verdict):
    found, why = rule(*arguments)
    assert found == verdict and why


@pytest.mark.parametrize(
    ("to_plateau", "to_end", "verdict"),
    [
        ((11, 12), (20, 30), "reproduced"),
        ((10, 12), (20, 30), "partly"),
        ((1, 2), (11, 9), "partly"),
        ((1, 2), (10, 9), "not reproduced"),
    ],
)
def test_faster_than_either_retraining_on_every_pair(to_plateau, to_end, verdict):
    found, why = verdicts.faster(pd.Series(to_plateau), pd.Series(to_end), claimed=10)
    assert found == verdict and "of 2 pairs" in why


def test_the_470_is_judged_at_the_papers_size_alone():
    assert verdicts.faster_than_exact(470, 60_000, 26_506)[0] == "reproduced"
    assert verdicts.faster_than_exact(469, 60_000, 26_506)[0] == "not reproduced"
    for factor in (5, 5000):
        for n, p in ((4_000, 6_000), (60_000, 6_000), (4_000, 26_506)):
            assert verdicts.faster_than_exact(factor, n, p)[0] == "not judged"


def by(columns, *rows):
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize(
    ("row", "verdict"),
    [((100, 41), "reproduced"), ((100, 50), "reproduced"), ((100, 51), "partly")],
)
def test_a_bound_must_halve_at_every_seed(row, verdict):
    assert verdicts.tightens(by([1.0, 1e5], (100, 41), row))[0] == verdict
    assert verdicts.tightens(by([1.0, 1e5], (100, 51)))[0] == "not reproduced"


@pytest.mark.parametrize(
    ("row", "verdict"), [((8, 7.9), "reproduced"), ((8, 7.9999), "partly"), ((7.9, 8), "partly")]
)
def test_an_error_must_fall_by_more_than_a_hair_at_every_seed(row, verdict):
    assert verdicts.reduces(by([1.0, 1e5], (8, 5), row))[0] == verdict
    assert verdicts.reduces(by([1.0, 1e5], (5, 8)))[0] == "not reproduced"


def test_a_damping_that_was_refused_is_left_out():
    lams = [0.1, 1.0, 1e5]
    assert verdicts.reduces(by(lams, (float("nan"), 7.9, 5), (1.0, 7.9, 5)))[0] == "reproduced"


@pytest.mark.parametrize(
    ("row", "verdict"),
    [((50, 50.1), "reproduced"), ((50, 80), "partly"), ((50, 200), "not reproduced")],
)
def test_a_bound_is_independent_up_to_a_tenth(row, verdict):
    assert verdicts.independent(by([1, 100], (50, 50), row))[0] == verdict


@pytest.mark.parametrize(
    ("error", "test", "verdict"),
    [
        ((2, 4, 10), (0.9, 0.9, 0.9), "reproduced"),
        ((2, 5, 10), (0.9, 0.9, 0.9), "partly"),  # another radius, at no cost
        ((2, 4, 10), (0.9, 0.8, 0.9), "partly"),  # at a cost
        ((2, 9.9, 10), (0.5, 0.9, 0.9), "not reproduced"),  # another, at a cost
        ((9, 10, 10), (0.9, 0.9, 0.9), "not reproduced"),
    ],
)
def test_a_ball_must_halve_the_error_at_little_cost(error, test, verdict):
    radii = [4.0, 20.0, float("inf")]
    assert verdicts.constrained(by(radii, error), by(radii, test))[0] == verdict


@pytest.mark.parametrize(
    ("gradient", "bound", "verdict"),
    [
        ((1, 0.2), (10, 8), "reproduced"),
        ((1, 0.2), (10, 9.9), "partly"),
        ((1, 0.9), (10, 8), "partly"),
        ((1, 0.9), (10, 9.9), "not reproduced"),
    ],
)
def test_gradient_and_bound_must_both_fall(gradient, bound, verdict):
    assert verdicts.falls(by([1, 10], gradient), by([1, 10], bound))[0] == verdict


@pytest.mark.parametrize(
    ("met", "verdict"), [((3, 9), "reproduced"), ((3, 2), "partly"), ((2, 3), "not reproduced")]
)
def test_lam_min_must_be_above_mc_at_every_seed(met, verdict):
    assert verdicts.above([2, 4], met)[0] == verdict


COUNTED = [(3, "reproduced"), (1, "partly"), (0, "not reproduced")]


@pytest.mark.parametrize(("count", "verdict"), COUNTED)
def test_all_some_or_none(count, verdict):
    """Of three cases, `count` lie on the right side of the limit, the others on it or beyond."""
    met = [k < count for k in range(3)]
    gains = pd.DataFrame({"bound": [1.0 if m else 2.0 for m in met], "nothing": 2.0})
    exceeded = pd.DataFrame({"largest": [2.0 if m else 2.1 for m in met], "bound": 2.0})
    lost = pd.Series([0.011 if m else 0.01 for m in met])
    for judged in (
        verdicts.bounds_gain(gains),
        verdicts.never_exceeded(exceeded),
        verdicts.loses(lost),
    ):
        assert judged[0] == verdict and judged[1].endswith(f"{count} of 3")


@pytest.mark.parametrize(
    ("beyond", "verdict"), [((True, True), "reproduced"), ((True, False), "partly")]
)
def test_the_classical_sigma_is_judged_up_to_one_and_beyond(beyond, verdict):
    enough = pd.Series([True, *beyond], index=[1.0, 2.0, 3.0])
    assert verdicts.classical_suffices(enough)[0] == verdict
    assert verdicts.classical_suffices(~enough.where([False, True, True], True))[0] != "reproduced"


@pytest.mark.parametrize(
    ("lost", "holds", "error", "verdict"),
    [
        ((0.0, 0.003), "proved", 0.9, "reproduced"),
        ((0.0, 0.0031), "proved", 0.9, "partly"),
        ((0.02, 0.02), "proved", 0.9, "not reproduced"),
        ((0.0, 0.0), "conditional", 0.9, "not reproduced"),
        ((0.0, 0.0), "proved", 1.1, "not reproduced"),
    ],
)
def test_a_budget_is_affordable_where_it_is_proved_and_costs_little(lost, holds, error, verdict):
    requests = pd.DataFrame({"holds": ["proved", holds], "error": [0.1, error], "Delta": 1.0})
    found = verdicts.affords_its_noise(dict(zip("ab", lost, strict=True)), requests)
    assert found[0] == verdict


@pytest.mark.parametrize(
    ("times", "verdict"),
    [
        ((10.0, 4.0, 2.0), "reproduced"),
        ((9.9, 4.0, 2.0), "partly"),
        ((99.0, 3.9, 2.0), "partly"),
        ((99.0, 99.0, 1.9), "partly"),
        ((9.9, 3.9, 1.9), "not reproduced"),
    ],
)
def test_requests_are_fast_where_each_size_is(times, verdict):
    faster = dict(zip(("one image", "as many as the paper", "a tenth"), times, strict=True))
    assert verdicts.answers_fast(pd.Series(faster))[0] == verdict


@pytest.mark.parametrize(("shown", "verdict"), [(1.0, "reproduced"), (1.01, "not reproduced")])
def test_an_audit_refutes_what_it_shows_more_than(shown, verdict):
    found = pd.DataFrame({"audited": [shown], "claimed": [1.0]}, index=["a release"])
    assert verdicts.not_refuted(found, "a release")[0] == verdict


def test_audits_have_teeth_where_they_catch_all_that_is_broken_and_nothing_else():
    def judged(sound, less, broken):
        releases = ["nothing is broken", "noise x 0.5", "a step less"]
        shown = {"release": releases, "audited": [sound, less, broken], "claimed": 1.0}
        return verdicts.audits_have_teeth(pd.DataFrame(shown))

    assert judged(1.0, 1.1, 1.1)[0] == "reproduced"
    assert judged(0.5, 1.0, 1.1)[0] == "partly"
    assert judged(0.5, 1.0, 0.9)[0] == judged(1.1, 2.0, 2.0)[0] == "not reproduced"
    why = judged(0.5, 1.0, 1.1)[1]
    assert why == "refuted 0 of 1 that are sound; caught 1 of 2 that are broken or short of noise"


def test_a_release_is_confirmed_or_not():
    found = {"all releases": True, "an altered one": False}
    assert verdicts.confirmed(found, "all releases") == ("reproduced", "all releases: confirmed")
    assert verdicts.confirmed(found, "an altered one") == (
        "not reproduced",
        "an altered one: not confirmed",
    )


def test_a_way_outruns_retraining_by_a_point_in_every_case():
    ahead = {"a": {"x": 0.01, "y": 0.02}, "b": {"x": 0.5, "y": -0.5}}
    assert verdicts.outruns(ahead)[0] == "reproduced"
    ahead["a"]["x"] = 0.0099
    found, why = verdicts.outruns(ahead)
    assert found == "partly" and why == "a point ahead in every case: none; in some: a, b"
    assert verdicts.outruns({"a": {"x": 0.0099, "y": -1.0}})[0] == "not reproduced"


def test_a_way_is_cheapest_where_it_is_taken():
    assert verdicts.cheapest({"x": "ours", "y": "ours"}, "ours")[0] == "reproduced"
    assert verdicts.cheapest({"x": "ours", "y": "theirs"}, "ours")[0] == "partly"
    assert verdicts.cheapest({"x": "theirs"}, "ours")[0] == "not reproduced"


def test_many_models_show_a_third_of_what_doing_nothing_shows_at_most():
    strength = {"trained": 0.8, "retrained": 0.49, "close": 0.4001, "far": 0.6001}
    assert verdicts.untold(strength, "retrained")[0] == "reproduced"
    assert verdicts.untold(strength, "close")[0] == "reproduced"
    assert verdicts.untold(strength, "far")[0] == "not reproduced"
    assert verdicts.untold(strength, "trained")[0] == "not reproduced"
    for seen, verdict in ((0.511, "not reproduced"), (0.509, "not judged")):
        assert verdicts.untold({"trained": seen, "w": seen}, "w")[0] == verdict
