"""The frontier: each way is certified for what it is asked, works in its budget, is tuned apart."""

import math
import pickle
from dataclasses import replace
from functools import partial

import pandas as pd
import pytest
import torch
from digits import tiny

from studies.nb13_frontier import (
    accounts,
    audits,
    cases,
    choice,
    curves,
    descents,
    epsilons,
    figures,
    forerunner_worlds,
    forerunners,
    private,
    tuning,
    ways,
    worlds,
)
from studies.nb13_frontier.way import Way
from unlearnlib import InputError
from unlearnlib.evaluation.peers import Noisy, clipped_gradients, dp_sgd, interpolation, noisy_sgd
from unlearnlib.evaluation.peers.convex import SMOOTHNESS
from unlearnlib.lab import profiles, proved
from unlearnlib.lab.settings import DELTA, TUNING_SEED

pytestmark = pytest.mark.usefixtures("own_store")

WITHOUT = (ways.RETRAINING, ways.TO_THE_END, ways.NOTHING)
WITH_NOISE = [
    way for name, way in ways.WAYS.items() if name not in (*WITHOUT, ways.PAPER)
]  # fmt: skip


@pytest.fixture(scope="module")
def case():
    return cases.of_problem("tiny", proved.softmax(tiny(), 0.01), forget=3)


@pytest.mark.parametrize("epsilon", [1.0, 10.0])
@pytest.mark.parametrize("way", WITH_NOISE, ids=lambda way: way.name)
def test_each_way_is_certified_for_the_epsilon_that_is_asked(case, way, epsilon):
    setting, forget = way.settings(case)[0], case.requests()[cases.AS_PAPER]
    begun = way.begin(case, forget, epsilon, setting, seed=0)
    assert begun.epsilon(DELTA) <= epsilon * (1 + 1e-6)
    if way.name != "certified removal":  # it fixes its noise beforehand, and has some left over
        assert begun.epsilon(DELTA) >= 0.9 * epsilon  # and no more noise than that takes
    assert begun.w.shape == case.w.shape and bool(begun.w.isfinite().all())


KNOB_IS_NOISE = ["output perturbation", "clipped gradients", "clipped models", "DP-SGD"]


@pytest.mark.parametrize("name", KNOB_IS_NOISE)
def test_the_knob_is_the_noise_that_is_left_in_a_weight(case, name):
    """What was learnt beside it does not show: a ball's radius is a small part of that noise."""
    begin = partial(ways.WAYS[name].begin, case, case.requests()[cases.ONE], 1.0, {"noise": 0.1})
    left = torch.cat([begin(seed).w for seed in range(10)])
    assert float(left.std()) == pytest.approx(0.1, rel=0.1)


def test_a_request_of_noisy_sgd_takes_the_steps_that_are_counted(case, monkeypatch):
    taken, run = [], noisy_sgd.run
    monkeypatch.setattr(noisy_sgd, "run", lambda *a, **k: taken.append(k["epochs"]) or run(*a, **k))
    way, forget = ways.WAYS["noisy SGD"], case.requests()[cases.ONE]
    begun = way.begin(case, forget, 1.0, {"steps": 5}, seed=0)
    assert taken == [descents.NOISY_TRAINING, 5] and begun.gradients == 5


def test_two_seeds_draw_two_noises(case):
    forget = case.requests()[cases.AS_PAPER]
    for way in WITH_NOISE:
        drawn = [way.begin(case, forget, 1.0, way.settings(case)[0], seed).w for seed in (0, 1, 0)]
        assert torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0], drawn[1]), way.name


def test_a_group_gets_the_noise_that_it_takes_and_not_much_more():
    rate, steps = private.plan(60_000)
    how = dict(m=5, rate=rate, steps=steps)
    assert how == {"m": 5, "rate": 0.005, "steps": 1000}
    sigma = private.group_sigma(1.0, **how)
    exact = dp_sgd.group_epsilon(DELTA, sigma=sigma, **how, interval=1e-3)
    assert 0.97 < exact <= 1.0


def test_dp_sgd_takes_its_passes_in_batches_and_all_of_a_few_samples_at_once(case, monkeypatch):
    for n in (60_000, 11_124, private.BATCH):
        rate, steps = private.plan(n)
        assert rate * n == pytest.approx(private.BATCH)
        assert private.PASSES <= rate * steps < private.PASSES + rate
    assert private.plan(private.BATCH - 1) == (1.0, private.PASSES)
    seen, train = [], dp_sgd.train
    monkeypatch.setattr(private, "BATCH", 20)
    monkeypatch.setattr(private.dp_sgd, "train", lambda *a, **k: seen.append(k) or train(*a, **k))
    ways.WAYS["DP-SGD"].begin(case, case.requests()[cases.ONE], 1.0, {"noise": 0.1}, seed=0)
    assert (seen[0]["rate"], seen[0]["steps"]) == private.plan(case.F.n) == (1 / 3, 15)
    assert seen[0]["size"] == seen[0]["rate"] * case.F.n  # what a batch holds, in the mean


def test_requests_hold_each_other_and_are_of_these_sizes(case):
    one, paper, tenth = case.requests().values()
    assert (len(one), len(paper), len(tenth)) == (1, 3, case.F.n // 10)
    assert set(one.tolist()) <= set(paper.tolist()) and len(set(tenth.tolist())) == len(tenth)


def test_tuning_sees_neither_the_test_images_nor_what_it_is_judged_on(case):
    held_out, problem = case.held_out, case.problem
    aside = problem.F.n // 5
    assert held_out.judge.n == aside and held_out.F.n == problem.F.n - aside
    assert not set(held_out.judge.rows.tolist()) & set(held_out.F.rows.tolist())
    assert held_out.judge.x is not problem.F_test.x
    assert not torch.equal(held_out.w, case.w)


def test_few_images_leave_two_models_and_many_have_all(monkeypatch):
    smoke = profiles.load("smoke")
    assert len(cases.line_up(smoke)) == 2
    monkeypatch.setattr(cases, "FEW", 0)
    monkeypatch.setattr(cases.lineup, "DECAYS", (1e-5,))  # for time
    builders = pickle.loads(pickle.dumps(cases.line_up(smoke)))  # as another process has them
    labels = [build.args[1] for build in builders[1:-1]]
    features = f"{cases.SOFTMAX}, features"
    assert labels == [f"{cases.SOFTMAX}, pixels", "tanh network, pixels", features, features]
    built = [build().name for build in (builders[0], builders[2], builders[3], builders[-1])]
    named = ["MLP, pixels", "tanh network, pixels", features, f"{cases.SOFTMAX}, letters"]
    assert [name.partition(" (")[0] for name in built] == named


# ---- curves --------------------------------------------------------------------------------------


def published(w, gradients):
    return lambda case, forget, epsilon, setting, seed: Noisy(w, lambda delta: 0, gradients, 7.0)


@pytest.mark.parametrize("gradients, points", [(0.0, 11), (3.0, 8), (9.5, 1), (12.0, 1)])
def test_noisy_work_is_part_of_the_budget(case, gradients, points):
    way = Way(f"spends {gradients}", None, published(case.start, gradients))
    rows = curves.curve(case, case.requests()[cases.ONE], way, 1.0, {}, seed=0)
    assert len(rows) == points
    assert [row["gradients"] for row in rows] == [gradients + k for k in range(points)]
    seconds = [row["seconds"] for row in rows]
    assert seconds[0] == 7.0 and seconds == sorted(set(seconds))  # on from what the start took


def test_along_epsilon_a_row_has_what_came_first_and_what_was_best(case, monkeypatch):
    def curve(case, forget, way, epsilon, setting, seed):
        assert len(forget) == 3 and setting == {"knob": 1}
        return [{"accuracy": part * epsilon} for part in (0.01, 0.02, 0.015)]

    monkeypatch.setattr(epsilons, "curve", curve)
    monkeypatch.setattr(epsilons, "taking_part", lambda case: [Way("a way", None, None)])
    settings = {(case.name, "a way", cases.AS_PAPER): {"knob": 1}}
    rows = epsilons.along_epsilon([lambda: case], settings)
    assert [row["epsilon"] for row in rows] == list(epsilons.EPSILONS)
    found = [[row[when] / row["epsilon"] for when in figures.WHEN] for row in rows]
    assert found == [[pytest.approx(0.01), pytest.approx(0.02)]] * len(rows)


def test_retraining_starts_from_weights_that_know_no_image_and_nothing_stays_as_it_is(case):
    forget = case.requests()[cases.ONE]
    begun = ways.WAYS[ways.RETRAINING].begin(case, forget, 1.0, {}, seed=0)
    assert torch.equal(begun.w, case.start) and begun.epsilon(DELTA) == 0
    nothing = ways.WAYS[ways.NOTHING].begin(case, forget, 1.0, {}, seed=0)
    assert torch.equal(nothing.w, case.w) and nothing.epsilon(DELTA) == math.inf
    rows = curves.curve(case, forget, ways.WAYS[ways.NOTHING], 1.0, {}, seed=0)
    assert len(rows) == 1


def test_the_mean_counts_what_a_curve_had_reached_and_nothing_before_it_began():
    rows = [{"gradients": g, "accuracy": a} for g, a in ((5.0, 0.5), (6.0, 1.0))]
    assert curves.mean_accuracy(rows) == pytest.approx((0.5 + 5 * 1.0) / cases.EPOCHS)
    assert curves.mean_accuracy([{"gradients": 0.0, "accuracy": 0.3}]) == pytest.approx(0.3)
    assert curves.mean_accuracy([{"gradients": 63.0, "accuracy": 0.9}]) == 0


def test_settings_are_tried_on_the_held_out_images_at_the_tuning_seed(case, monkeypatch):
    tried, curve = [], curves.curve
    monkeypatch.setattr(tuning, "curve", lambda *a: tried.append(a) or curve(*a))
    tuning.tuned(case, ways.WAYS["output perturbation"])
    assert [a[0] is case.held_out and a[-1] == TUNING_SEED for a in tried] == [True] * 4
    assert {len(a[1]) for a in tried} == {len(case.held_out.requests()[cases.AS_PAPER])}


def test_a_way_that_is_trained_for_a_size_is_tuned_for_each_and_others_for_the_papers(
    case, monkeypatch
):
    """Of each setting the score is the size of the request: the larger, the better."""
    settings = lambda case: [{"k": 1.0}, {"k": 2.0}]  # noqa: E731
    some = [Way("any", settings, None), Way("sized", settings, None, sized=True)]
    monkeypatch.setattr(tuning, "taking_part", lambda case: some)
    monkeypatch.setattr(
        tuning,
        "curve",
        lambda case, forget, way, epsilon, setting, seed: [
            {"gradients": 0.0, "accuracy": setting["k"] * (len(forget) - 2)}
        ],
    )
    kept, rows = tuning.tuned_together([lambda: case])
    assert [kept["tiny", "any", asked]["k"] for asked in cases.SIZES] == [2.0, 2.0, 2.0]
    assert [kept["tiny", "sized", asked]["k"] for asked in cases.SIZES] == [1.0, 2.0, 2.0]
    named = ["any", *(f"sized, {asked}" for asked in cases.SIZES)]
    assert [row["way"] for row in rows] == [name for name in named for _ in range(2)]
    assert sum(row["kept"] for row in rows) == 4


def test_the_best_setting_is_kept_and_what_is_refused_cannot_win(case):
    good, bad = case.held_out.w, torch.zeros_like(case.w)

    def begin(case, forget, epsilon, setting, seed):
        if setting["k"] == 2:
            raise InputError("no")
        return Noisy(good if setting["k"] == 1 else bad, lambda delta: 0, 0.0, 0.0)

    settings = lambda case: [{"k": float(k)} for k in range(3)]  # noqa: E731
    best = tuning.tuned(case, Way("three", settings, begin, goes_on=False))
    assert best.setting == {"k": 1.0}
    assert [("refused" in trial) for trial in best.trials] == [False, False, True]


def test_of_ways_beyond_the_budget_the_better_first_release_is_kept(case):
    good, bad = case.held_out.w, torch.zeros_like(case.w)

    def begin(case, forget, epsilon, setting, seed):
        return Noisy(good if setting["k"] == 1 else bad, lambda delta: 0, 50.0, 0.0)

    settings = lambda case: [{"k": float(k)} for k in range(3)]  # noqa: E731
    best = tuning.tuned(case, Way("late", settings, begin))
    assert best.setting == {"k": 1.0} and {trial["score"] for trial in best.trials} == {0.0}


# ---- what is read off them -----------------------------------------------------------------------


def table(*rows):
    names = ("way", "proved", "gradients", "accuracy", "mean so far")
    every = {"case": "a", "asked": "one", "n_u": 1}
    rows = [every | dict(zip(names, row, strict=True)) for row in rows]
    return pd.DataFrame([row | {"seconds": row["gradients"] / 10} for row in rows])


ROWS = [
    (ways.TO_THE_END, True, 100.0, 0.950, 0.0),
    (ways.RETRAINING, True, 10.0, 0.949, 0.7),
    (ways.NOTHING, False, 0.0, 0.99, 0.99),
    ("assumed", False, 2.0, 0.948, 0.8),
    ("proved", True, 5.0, 0.9481, 0.69),
    ("early", True, 1.0, 0.9479, 0.9),
]


def test_the_cheapest_way_that_is_as_good_as_retraining_to_the_end():
    curves_ = table(*ROWS)
    assert choice.choice_row(curves_, "a", "one", proved=True)["take"] == "proved"
    row = choice.choice_row(curves_, "a", "one", proved=False)
    assert (row["take"], row["gradients"]) == ("assumed", 2.0)
    assert (row["seconds"], row["seconds of retraining"], row["n_u"]) == (0.2, 10.0, 1)
    assert (row["accuracy"], row["retraining"], row["gradients of retraining"]) == (
        0.948,
        0.95,
        100,
    )
    few = choice.choice_row(table(*ROWS[:1]), "a", "one", proved=True)
    assert few["take"] == ways.TO_THE_END


def test_ahead_is_by_how_much_the_mean_exceeds_that_of_retraining():
    assert choice.ahead(table(*ROWS), "assumed", "one") == {"a": pytest.approx(0.1)}
    assert choice.ahead(table(*ROWS), "absent", "one") == {}


def test_no_published_formula_asks_for_less_than_the_exact_one():
    rows = accounts.account_rows(1.0)
    assert len(rows) == 5 and all(row["ratio"] >= 1 for row in rows)
    assert rows[3]["published"] == 81 and rows[3]["exact"] == 26  # Chien et al., their arrays
    assert rows[0]["ratio"] ** 2 == pytest.approx(103.6 / 55.7, rel=1e-3)


def test_the_decision_page_names_the_row_that_decides():
    rows = [row | {"asked": "one"} for row in table(*ROWS).to_dict("records")]
    choices = [choice.choice_row(table(*ROWS), "a", "one", proved) for proved in (True, False)]
    known = pd.DataFrame([{"case": "a", "n": 1500}])
    numbers = {"choices": {"value": choices}}
    saved = type("Saved", (), {"numbers": numbers, "table": staticmethod(
        lambda name: {"curves": pd.DataFrame(rows), "known": known}[name])})  # fmt: skip
    page = choice.decisions(saved).splitlines()
    assert page[0].startswith("| model | n | to forget | must be proved | take |")
    assert page[2].startswith("| a | 1,500 | 1 | yes | proved |") and page[2].endswith("| 4 |")
    assert "| no | assumed | 2 gradients, 0.2 s; retraining 100, 10 s | 94.8%;" in page[3]
    assert page[3].endswith("| 3 |")


# ---- the paper's step, and settings of others ----------------------------------------------------


@pytest.fixture(scope="module")
def network():
    pair = profiles.load("smoke").mlp_mnist
    return cases.of_network(pair, pair.seeds[0])


def test_the_papers_step_hides_its_ball_and_counts_its_products(network):
    paper, forget = network.paper, network.requests()[cases.AS_PAPER]
    estimate, gradients = paper.step(forget, paper.dampings[-1])
    begin = ways.WAYS[ways.PAPER].begin
    begun = begin(network, forget, 1.0, {"lam": paper.dampings[-1]}, seed=0)
    assert float(estimate.norm()) <= paper.C and not torch.equal(estimate, network.w)
    sigma = 2 * paper.C / interpolation.gdp_of(1.0, DELTA)
    assert float((begun.w - estimate).std()) == pytest.approx(sigma, rel=0.05)
    assert begun.epsilon(DELTA) == pytest.approx(1.0, rel=1e-6)
    assert begun.gradients == gradients > 1
    taking = [way.name for way in ways.taking_part(network)]
    assert ways.PAPER in taking and "Sekhari et al." not in taking


def test_what_is_published_of_others_is_what_they_are_run_at(case, monkeypatch):
    asked = []
    for module, name in ((clipped_gradients, "unlearn"), (noisy_sgd, "run")):
        told = lambda F, *a, real=getattr(module, name), **k: (  # noqa: E731
            asked.append((F.weight_decay, k)) or real(F, *a, **k)
        )
        monkeypatch.setattr(module, name, told)
    forget = case.requests()[cases.ONE]
    for name in ("clipped gradients", "noisy SGD"):
        way = ways.WAYS[f"{name}, as published"]
        [setting] = way.settings(case)
        assert way.begin(case, forget, 1.0, setting, seed=0).epsilon(DELTA) == pytest.approx(1.0)
    (decay, clip), _, (mu, request) = asked
    assert decay == 10 and clip["steps"] == 1
    assert (clip["radius"], clip["limit"], clip["lr"]) == (0.01, 100.0, 1e-4)
    assert mu == pytest.approx(1e-6 * case.F.n) and request["epochs"] == 1
    assert request["lr"] == pytest.approx(1 / (SMOOTHNESS + mu))
    assert case.F.weight_decay == 0.01  # the case's own stays


def test_a_forerunner_takes_part_where_its_dense_hessian_is_small(case, monkeypatch):
    name = "certified removal"
    assert name in [way.name for way in ways.taking_part(case)]
    monkeypatch.setattr(forerunners, "SMALL", case.F.p - 1)
    assert name not in [way.name for way in ways.taking_part(case)]


def test_descent_to_delete_is_refused_where_its_training_would_not_end(case):
    with pytest.raises(InputError, match="a stronger decay takes fewer"):
        ways.WAYS["descent-to-delete"].begin(
            case, case.requests()[cases.ONE], 1.0, {"decay": 1e-5}, seed=0
        )


# ---- audits --------------------------------------------------------------------------------------

LEVEL = 0.99


AUDITED = pytest.mark.parametrize("build", audits.PAIRS, ids=lambda build: build.__name__)


@AUDITED
def test_an_audit_refutes_what_is_broken_and_nothing_else(build):
    rows = {row["release"]: row["audited"] for row in audits.audit_rows(build, 200, LEVEL)}
    sound, less, broken = rows.values()
    assert sound <= worlds.EPSILON < less and broken > sound


@AUDITED
def test_the_family_of_a_method_is_claimed_at_epsilon_1_and_grows_as_the_noise_shrinks(build):
    pair = build()
    assert pair.epsilon(1.0) == pytest.approx(1.0, rel=0.02)
    assert pair.epsilon(2.0) < pair.epsilon(1.0) < pair.epsilon(0.5)
    assert 0 < pair.advantage(2.0) < pair.advantage(1.0) < pair.advantage(0.5) < 1


@pytest.mark.parametrize("build", forerunner_worlds.PAIRS, ids=lambda build: build.__name__)
def test_worlds_of_a_forerunner_attain_what_they_say_and_never_more_than_the_bound(build):
    """Their releases, without noise to speak of, differ by so much of what the noise hides."""
    pair, share = build(), 1e-3
    means = [
        torch.cat([pair.release(forgotten, share, seed) for seed in range(3)]).mean()
        for forgotten in (True, False)
    ]
    sigma = torch.cat([pair.release(False, 1.0, seed) for seed in range(100)]).std()
    apart = float((means[0] - means[1]).abs() / sigma) / worlds.GDP
    assert 0.2 < pair.attained <= 1 and apart == pytest.approx(pair.attained, rel=0.25)


def test_the_worlds_of_noisy_sgd_attain_what_training_leaves_of_its_bound():
    """Five steps of training come to within 1/32 of their end, and leave noise of their own."""
    pair, c = worlds.noisy(), 0.5
    ends = [float(pair.release(forgotten, 1e-9, 0)) for forgotten in (True, False)]
    Z = noisy_sgd.distance([4], m=1, g=1.0, lr=1.0, c=c)
    sigma = interpolation.steps_sigma(3, worlds.GDP, start=Z, gap=0.0, contraction=c)
    spread = sigma * math.sqrt(sum(c ** (2 * k) for k in range(5 + 3)))
    assert pair.attained == pytest.approx(abs(ends[0] - ends[1]) / spread / worlds.GDP)
    assert 0.95 < pair.attained < 0.97


def test_a_gap_in_a_proof_is_not_closed_by_proved_constants(case):
    assert case.known.source == cases.PROVED
    unproved = {name for name, way in ways.WAYS.items() if not way.proved(case)}
    assert unproved == {"certified removal", ways.NOTHING}


def test_a_coin_shows_nothing_and_more_right_guesses_show_more():
    pair = worlds.output()
    shown = [audits.bound(pair, right, 10_000, LEVEL) for right in (5000, 5100, 5600, 6000, 10_000)]
    assert shown[:2] == [0.0, 0.0] and shown == sorted(shown) and math.isfinite(shown[-1])
    chance = (1 + pair.advantage(1.0)) / 2
    assert audits.bound(pair, int(chance * 10_000), 10_000, LEVEL) < 1.0


def test_more_releases_notice_milder_cuts_of_the_noise():
    shares = [audits.power(releases, LEVEL) for releases in (20, 200, 4000, 100_000)]
    assert shares == sorted(shares) and shares[0] < 0.3 and 0.6 <= shares[2] < shares[3] < 1


def test_a_case_is_named_after_its_data_as_results_call_it(network):
    assert network.name == "MLP, pixels (MNIST)"
    images = replace(tiny(), title="CIFAR-10 (JPEG re-encoding), 100 of 50,000 training images")
    assert cases._data(images) == "CIFAR-10 (JPEG re-encoding)"
