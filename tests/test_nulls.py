"""A rule that can't tell retraining from doing nothing may not judge."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from unlearnlib.lab import nulls, verdicts
from unlearnlib.lab.nulls import Judged, judge, judge_by, over_pairs, without_null
from unlearnlib.lab.verdicts import OURS, SETS

YES, NO, SOME, NEITHER = "reproduced", "not reproduced", "partly", "not judged"
GOOD = {"elsewhere": YES, "trained": NO, "noise alone": NO}


def rule(verdicts_by_name):
    return lambda who: (verdicts_by_name[who], f"of {who}")


@pytest.mark.parametrize("ours", [YES, NO, SOME, NEITHER])
def test_a_rule_that_passes_its_null_test_judges(ours):
    found = judge(rule(GOOD | {OURS: ours}), OURS)
    assert (found.verdict, found.why) == (ours, f"of {OURS}")
    assert found.null == {
        "another retraining": YES, "doing nothing": NO, "noise alone": NO
    }  # fmt: skip


@pytest.mark.parametrize(
    ("who", "said", "what"),
    [
        ("elsewhere", NO, "another retraining"),
        ("elsewhere", SOME, "another retraining"),
        ("elsewhere", NEITHER, "another retraining"),
        ("trained", YES, "doing nothing"),
        ("noise alone", YES, "noise alone"),
    ],
)
@pytest.mark.parametrize("ours", [YES, NO, SOME])
def test_a_rule_that_fails_it_does_not(who, said, what, ours):
    found = judge(rule(GOOD | {who: said, OURS: ours}), OURS)
    assert found.verdict == NEITHER
    assert f"by this rule {what} would be {said!r} (of {who})" in found.why
    assert f"of {OURS}" in found.why


@pytest.mark.parametrize("said", [SOME, NEITHER])
def test_nothing_done_need_not_be_refuted_outright(said):
    assert judge(rule(GOOD | {"trained": said, OURS: YES}), OURS).verdict == YES


def test_a_verdict_on_a_change_counts_if_its_measure_passes():
    assert judge_by(rule(GOOD), (SOME, "why")) == Judged(
        SOME, "why", judge_by(rule(GOOD), ("", "")).null
    )
    failing = judge_by(rule(GOOD | {"elsewhere": NO}), (NO, "why"))
    assert failing.verdict == NEITHER and failing.why.endswith("why")


def test_a_verdict_of_costs_needs_none_and_says_so():
    assert without_null((YES, "fast"), "of costs") == Judged(YES, "fast", "none: of costs")


@pytest.mark.parametrize(
    ("each", "verdict"),
    [
        ((YES, YES, NO), YES),
        ((YES, YES, NEITHER), YES),
        ((YES, NO, NO), SOME),
        ((YES, NO, NEITHER), NEITHER),
        ((NO, NO, NEITHER), NO),
        ((NO, SOME, NEITHER), SOME),
        ((NO, NEITHER, NEITHER), NEITHER),
        ((NEITHER,) * 3, NEITHER),
        ((NO,), NO),
        ((YES, NO), SOME),
    ],
)
def test_most_configurations(each, verdict):
    judged = {f"pair {k}": Judged(v, "so", {"doing nothing": NO}) for k, v in enumerate(each)}
    found = over_pairs(judged)
    assert found.verdict == verdict
    assert found.why.startswith(f"pair 0 {each[0]}: so")
    assert found.null["pair 0, doing nothing"] == NO and len(found.null) == len(each)


def test_pairs_that_need_no_null_test_say_why():
    judged = {name: without_null((YES, "so"), "of costs") for name in ("MLP", "AllCNN")}
    assert over_pairs(judged) == Judged(
        YES, "MLP reproduced: so; AllCNN reproduced: so", "none: of costs"
    )


# ---- each rule of closeness, on models whose verdict is known ----------------------------------

SIGNAL = 0.03  # what there is to unlearn; the margin is 0.01


def interval(mean, width=0.002):
    return {"mean": mean, "low": mean - width, "high": mean + width, "seeds": 2}


def differences(**changed):
    """F1 less retraining's on the three sets: by model, as `close` takes it."""
    table = {
        "trained": (SIGNAL, 0.0, 0.002),
        "elsewhere": (0.001, 0.0, -0.001),
        "noise alone": (SIGNAL - 0.015, -0.015, -0.015),
        "fine-tuning": (0.025, 0.001, 0.002),
        "certified (CG)": (0.004, 0.0, 0.0),
    } | {name.replace("_", " "): means for name, means in changed.items()}
    rows = {
        (name, samples): interval(mean)
        for name, means in table.items()
        for samples, mean in zip(SETS, means, strict=True)
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def closeness(**changed):
    return partial(verdicts.close, differences(**changed), ["fine-tuning"])


def test_who_is_close_on_all_three_sets_is_reproduced():
    found = judge(closeness(), OURS)
    assert found.verdict == YES
    assert found.null == {
        "another retraining": YES, "doing nothing": NO, "noise alone": NO
    }  # fmt: skip


@pytest.mark.parametrize("sigma_damage", np.linspace(0.0, SIGNAL, 31))
def test_noise_that_lowers_all_alike_passes_at_no_sigma(sigma_damage):
    means = (SIGNAL - sigma_damage, -sigma_damage, -sigma_damage)
    rows = differences()
    for samples, mean in zip(SETS, means, strict=True):
        rows.loc[("noise alone", samples)] = interval(mean)
    assert verdicts.close(rows, ["fine-tuning"], "noise alone")[0] != YES


@pytest.mark.parametrize("samples", SETS)
@pytest.mark.parametrize(("off", "verdict"), [(0.0079, YES), (0.009, NEITHER), (0.0121, NO)])
@pytest.mark.parametrize("sign", [1, -1])
def test_each_set_counts_on_both_sides_of_the_margin(samples, off, verdict, sign):
    rows = differences()
    rows.loc[(OURS, samples)] = interval(sign * off)
    found, why = verdicts.close(rows, ["fine-tuning"], OURS)
    assert found == verdict and samples in why
    assert ("seeds could tell" in why) == (verdict == NEITHER)


def test_where_there_is_nothing_to_unlearn_nobody_is_judged():
    rows = differences(trained=(0.0019, 0.0, 0.0))
    found = judge(partial(verdicts.close, rows, []), OURS)
    assert found.verdict == NEITHER and "not shown that there is anything to unlearn" in found.why
    assert verdicts.close(rows, [], OURS)[0] == NEITHER


def test_two_retrainings_that_differ_too_much_leave_it_unjudged():
    found = judge(closeness(elsewhere=(0.02, 0.0, 0.0)), OURS)
    assert found.verdict == NEITHER and "another retraining would be" in found.why


def test_a_method_that_is_surely_nearer_takes_the_claim():
    """Ours 2 to 6 thousandths away; the other within 1 and, on the other sets, close as well."""
    rows = differences()
    rows.loc[("fine-tuning", "forgotten")] = interval(0.0, width=0.001)
    verdict, why = verdicts.close(rows, ["fine-tuning"], OURS)
    assert verdict == NO and "nearer on the forgotten images is fine-tuning" in why
    rows.loc[("fine-tuning", "test")] = interval(-0.02)  # bought with the others
    assert verdicts.close(rows, ["fine-tuning"], OURS)[0] == YES
    rows.loc[("fine-tuning", "test")] = interval(0.0)
    rows.loc[(OURS, "forgotten")] = interval(0.0015)  # it holds zero: not surely farther
    rows.loc[("fine-tuning", "forgotten")] = interval(0.0, width=0.0002)
    assert verdicts.close(rows, ["fine-tuning"], OURS)[0] == YES


@pytest.mark.parametrize(
    ("ours", "again", "verdict"),
    [(0.5, 0.9, YES), (0.4, 0.9, SOME), (0.05, 0.9, NO), (0.5, 0.4, NEITHER), (0.0, -0.3, NEITHER)],
)
def test_a_distance_judges_where_another_retraining_is_near(ours, again, verdict):
    shares = {OURS: ours, "elsewhere": again, "trained": 0.0, "noise alone": -0.2}
    assert judge(partial(verdicts.approaches, shares), OURS).verdict == verdict


def advantages(ours, trained=0.03, elsewhere=0.002, noise=0.025, width=0.002):
    means = {OURS: ours, "trained": trained, "elsewhere": elsewhere, "noise alone": noise}
    rows = {name: interval(mean, width) for name, mean in means.items()}
    return partial(verdicts.hidden, pd.DataFrame.from_dict(rows, orient="index"))


@pytest.mark.parametrize(
    ("ours", "verdict"), [(0.0, YES), (0.0079, YES), (0.009, NEITHER), (0.0121, NO), (-0.02, NO)]
)
def test_an_attack_must_see_what_it_sees_after_retraining(ours, verdict):
    """Below retraining is a signal too."""
    assert judge(advantages(ours), OURS).verdict == verdict


@pytest.mark.parametrize(
    "changed", [{"trained": 0.0019}, {"elsewhere": 0.012}, {"noise": 0.0}, {"width": 0.02}]
)
def test_an_attack_without_power_judges_nobody(changed):
    """It sees nothing; or retrainings differ as much; or noise looks like it; or it blurs."""
    assert judge(advantages(0.0, **changed), OURS).verdict == NEITHER


def test_an_attack_that_sees_nothing_says_so_of_everybody():
    blind = advantages(0.05, trained=0.0019)
    assert {blind(who)[0] for who in (OURS, "trained", "elsewhere")} == {NEITHER}


def test_an_optimiser_that_rests_is_the_control_of_the_one_that_does_not():
    runs = {"Adam": [3.0, 2.9], "SGD": [0.03, 0.1], "the start": [5.0, 5.0]}
    found = judge(
        partial(verdicts.comes_to_rest, runs), "Adam",
        right={"SGD to the end": "SGD"}, wrong={"no step at all": "the start"},
    )  # fmt: skip
    assert found.verdict == NO and found.null["SGD to the end"] == YES
    runs["SGD"] = [0.03, 0.11]
    again = judge(partial(verdicts.comes_to_rest, runs), "Adam", {"SGD": "SGD"}, {})
    assert again.verdict == NEITHER


def test_a_mean_agrees_with_its_formula_if_a_wrong_formula_does_not():
    scores = {"LiSSA": 1.1, "other half": 1.0, "a tenth off": 4.0}
    rule = partial(verdicts.unbiased, scores)
    assert (
        judge(rule, "LiSSA", {"the other half": "other half"}, {"off": "a tenth off"}).verdict
        == YES
    )
    scores["a tenth off"] = 1.2
    assert (
        judge(rule, "LiSSA", {"the other half": "other half"}, {"off": "a tenth off"}).verdict
        == NEITHER
    )


def test_the_names_of_the_null_test_are_those_of_contenders():
    from unlearnlib.lab.contenders import REFERENCES
    from unlearnlib.lab.methods import METHODS

    assert {*nulls.RIGHT.values(), *nulls.WRONG.values()} <= {*REFERENCES, *METHODS}
