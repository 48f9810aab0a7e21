"""When a claim counts as reproduced: each branch, and no credit for doing nothing."""

import pandas as pd
import pytest

from unlearnlib.lab import verdicts

METHODS = ["certified (CG)", "fine-tuning"]


@pytest.mark.parametrize(
    ("rule", "arguments", "verdict"),
    [
        (verdicts.forgets, (0.1, 0.04), "reproduced"),
        (verdicts.forgets, (0.1, 0.05), "not reproduced"),
        (verdicts.costs_accuracy, (0.9, 0.6), "reproduced"),
        (verdicts.costs_accuracy, (0.9, 0.8), "partly"),
        (verdicts.shapes, ([5.0, 9.0], [5.0, 8.0]), "reproduced"),
        (verdicts.shapes, ([5.0, 9.0], [5.0, 9.0]), "not reproduced"),
        (verdicts.comes_to_rest, ([3.0, 0.5],), "partly"),
        (verdicts.comes_to_rest, ([3.0, 0.6],), "not reproduced"),
        (verdicts.unbiased, ([0.001, 0.01],), "reproduced"),
        (verdicts.unbiased, ([0.001, 0.02],), "partly"),
        (verdicts.faster_by_formula, (pd.Series([11.0, 12.0]), 10), "partly"),
        (verdicts.faster_by_formula, (pd.Series([9.0, 8.0]), 10), "not reproduced"),
    ],
)
def test_the_rules_on_both_sides_of_their_boundary(rule, arguments, verdict):
    found, why = rule(*arguments)
    assert found == verdict and why


def gaps(ours, trained, elsewhere=0.01, other=0.05):
    columns = ["certified (CG)", "fine-tuning", "trained", "elsewhere"]
    rows = [[o, other, trained, elsewhere] for o in ours]
    return pd.DataFrame(rows, columns=columns)


def test_the_closest_wins_if_it_beats_doing_nothing_by_more_than_chance():
    assert verdicts.closest(gaps([0.01, 0.02, 0.01], trained=0.06), METHODS)[0] == "reproduced"
    assert verdicts.closest(gaps([0.01, 0.09, 0.09], trained=0.06), METHODS)[0] == "partly"
    assert verdicts.closest(gaps([0.01, 0.09], trained=0.06), METHODS)[0] == "partly"  # half
    assert verdicts.closest(gaps([0.09, 0.09], trained=0.2), METHODS)[0] == "not reproduced"


def test_no_credit_for_being_as_close_as_doing_nothing():
    """The smallest gap of all methods, and the trained model's."""
    verdict, why = verdicts.closest(gaps([0.02] * 3, trained=0.02), METHODS)
    assert verdict == "not reproduced" and "won 0 of 3" in why
    within_chance = gaps([0.02] * 3, trained=0.025, elsewhere=0.01)
    assert verdicts.closest(within_chance, METHODS)[0] == "not reproduced"


def auc(*pairs):
    """(ours, trained) for each pair; retrained at 0.5, from 0.48 to 0.52, and again at 0.51."""
    rows = {}
    for k, (ours, trained) in enumerate(pairs):
        rows[k, "retrained"] = (0.5, 0.48, 0.52)
        rows[k, "certified (CG)"] = (ours, 0, 1)
        rows[k, "trained"] = (trained, 0, 1)
        rows[k, "elsewhere"] = (0.51, 0, 1)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"])
    table.index = pd.MultiIndex.from_tuples(table.index, names=["pair", "method"])
    return table


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [
        ([(0.51, 0.6), (0.51, 0.6), (0.7, 0.6)], "reproduced"),
        ([(0.51, 0.6), (0.7, 0.6), (0.7, 0.6)], "partly"),
        ([(0.51, 0.51), (0.51, 0.51), (0.7, 0.6)], "partly"),  # inside, and so is the trained one
        ([(0.51, 0.505), (0.7, 0.6)], "not reproduced"),
        ([(0.501, 0.508)] * 3, "partly"),  # nearer by less than two retrainings differ
        ([(0.4, 0.6), (0.4, 0.6)], "not reproduced"),  # below the interval is a signal too
    ],
)
def test_membership_is_judged_by_the_retrained_model(pairs, verdict):
    assert verdicts.competitive(auc(*pairs))[0] == verdict


def test_faster_on_all_on_some_on_none():
    def judged(*factors):
        return verdicts.faster(pd.Series(factors), claimed=10)[0]

    assert [judged(11, 12), judged(9, 12), judged(10, 12), judged(1, 10)] == [
        "reproduced", "partly", "partly", "not reproduced"
    ]  # fmt: skip


def test_the_470_is_judged_at_the_papers_size_alone():
    assert verdicts.faster_than_exact(500, 60_000, 26_506)[0] == "reproduced"
    assert verdicts.faster_than_exact(400, 60_000, 26_506)[0] == "not reproduced"
    for factor in (5, 5000):
        for n, p in ((4_000, 6_000), (60_000, 6_000), (4_000, 26_506)):
            verdict, why = verdicts.faster_than_exact(factor, n, p)
            assert verdict == "partly" and "not judged" in why


def test_an_update_approximates_from_half_of_the_way_on():
    found = [verdicts.approximates(share)[0] for share in (0.6, 0.2, 0.01, -1.0)]
    assert found == ["reproduced", "partly", "not reproduced", "not reproduced"]


def by(columns, *rows):
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize(
    ("bound", "error", "verdict"),
    [
        ((100, 41), (7.9, 5), "reproduced"),
        ((100, 41), (9, 8), "partly"),  # to doing nothing, not below
        ((100, 41), (7, 7.9), "partly"),  # the bound alone: the error rises
        ((100, 41), (8.00001, 8), "partly"),  # the bound alone: it hardly changes
        ((100, 99), (9, 5), "partly"),  # the error alone
        ((100, 99), (7, 7.9), "not reproduced"),
    ],
)
def test_a_larger_damping_must_gain_on_doing_nothing(bound, error, verdict):
    tables = [by([1.0, 1e5], row) for row in (bound, error, (8, 8))]
    found, why = verdicts.tightens(*tables)
    assert found == verdict
    change = error[1] / error[0] - 1
    assert ("falls with lam" if change < -1e-3 else "rises" if change > 1e-3 else "hardly") in why


def test_the_error_must_fall_at_every_seed():
    bound, error, nothing = (by([1.0, 1e5], one, other) for one, other in (
        ((100, 41), (100, 41)), ((7.9, 5), (7, 7.9)), ((8, 8), (8, 8))
    ))  # fmt: skip
    assert verdicts.tightens(bound, error, nothing)[0] == "partly"


def test_a_damping_that_was_refused_is_left_out():
    lams = [0.1, 1.0, 1e5]
    tables = by(lams, (1e9, 100, 41)), by(lams, (float("nan"), 7.9, 5)), by(lams, (8, 8, 8))
    assert verdicts.tightens(*tables)[0] == "reproduced"


@pytest.mark.parametrize(
    ("row", "verdict"),
    [((50, 50.1), "reproduced"), ((50, 80), "partly"), ((50, 200), "not reproduced")],
)
def test_a_bound_is_independent_up_to_a_tenth(row, verdict):
    assert verdicts.independent(by([1, 100], (50, 50), row))[0] == verdict


@pytest.mark.parametrize(
    ("error", "nothing", "test", "verdict"),
    [
        ((2, 4, 10), (3, 5, 11), (0.9, 0.9, 0.9), "reproduced"),
        ((2, 4, 10), (2, 4, 10), (0.9, 0.9, 0.9), "partly"),  # the ball's merit, not the step's
        ((2, 4, 10), (3, 5, 11), (0.9, 0.8, 0.9), "partly"),  # at a cost
        ((2, 8, 10), (3, 9, 11), (0.9, 0.9, 0.9), "partly"),  # another radius, at none
        ((2, 9.9, 10), (3, 11, 11), (0.5, 0.9, 0.9), "not reproduced"),  # another, at a cost
        ((9, 10, 10), (9, 10, 10), (0.9, 0.9, 0.9), "not reproduced"),
    ],
)
def test_a_ball_must_halve_the_error_at_little_cost(error, nothing, test, verdict):
    radii = [4.0, 20.0, float("inf")]
    tables = [by(radii, row) for row in (error, nothing, test, (1, 0.2, 0))]
    assert verdicts.constrained(*tables)[0] == verdict


def test_a_ball_that_was_never_reached_is_said_to_be_so():
    radii = [20.0, float("inf")]
    same = by(radii, (5, 5))
    verdict, why = verdicts.constrained(same, same, same, by(radii, (0, 0)))
    assert verdict == "not reproduced" and "which no step ever reaches" in why


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
    ("error", "verdict"), [(4, "reproduced"), (8, "partly"), (9.99, "not reproduced")]
)
def test_a_sequence_must_come_nearer_than_doing_nothing(error, verdict):
    assert verdicts.follows(by([1, 10], (5, error)), by([1, 10], (5, 10)))[0] == verdict


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
    within = pd.DataFrame({"audited": [1.0 if m else 1.1 for m in met], "claimed": 1.0})
    lost = pd.Series([0.011 if m else 0.01 for m in met])
    for judged in (
        verdicts.bounds_gain(gains),
        verdicts.never_exceeded(exceeded),
        verdicts.none_refuted(within),
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
        ((0.0, 0.01), "proved", 0.9, "reproduced"),
        ((0.0, 0.02), "proved", 0.9, "partly"),
        ((0.02, 0.02), "proved", 0.9, "not reproduced"),
        ((0.0, 0.0), "conditional", 0.9, "not reproduced"),
        ((0.0, 0.0), "proved", 1.1, "not reproduced"),
    ],
)
def test_a_budget_is_affordable_where_it_is_proved_and_costs_a_point(lost, holds, error, verdict):
    requests = pd.DataFrame({"holds": ["proved", holds], "error": [0.1, error], "Delta": 1.0})
    found = verdicts.affords_its_noise(dict(zip("ab", lost, strict=True)), requests)
    assert found[0] == verdict
