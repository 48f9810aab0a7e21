"""The paper and its released code: each switch does what it says, and nothing else uses it."""

import ast
import math
from dataclasses import replace
from importlib.util import resolve_name
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import studies
import unlearnlib
from studies.nb12_paper_and_release import (
    changes,
    noise,
    outcome,
    reading,
    scoring,
    steps,
    switches,
    training,
    unsquared,
)
from unlearnlib import Objective, bounds, gaussian_epsilon, project
from unlearnlib.errors import NegativeCurvatureError
from unlearnlib.evaluation import attacks
from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab import profiles, verdicts
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.requests import Asked
from unlearnlib.lab.settings import SIGMA
from unlearnlib.lab.step import hessian_sample, solve_on

pytestmark = pytest.mark.usefixtures("own_store")

ROOTS = (Path(unlearnlib.__file__).parent, Path(studies.__file__).parent)
SMALL = replace(profiles.load("smoke").mlp_mnist, epochs=3, seeds=(0,), forget=32, lam=20.0)


@pytest.fixture(scope="module")
def d(own_store):
    return Experiment(SMALL, 0)


# ---- nothing depends on it -----------------------------------------------------------------------


def imported(source, package):
    """Dotted names that a module of that package imports, what it takes from them included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{start}.{alias.name}" for alias in node.names)


def uses_release(source, package):
    return any(
        f"{name}.".startswith("studies.nb12_paper_and_release.")
        for name in imported(source, package)
    )


def test_nothing_else_imports_the_switches():
    """Nothing in the package does, and no other study."""
    others = [
        (root, file)
        for root in ROOTS
        for file in root.rglob("*.py")
        if "nb12_paper_and_release" not in file.parts
    ]
    assert len(others) > 60
    for root, file in others:
        package = ".".join(file.relative_to(root.parent).parent.parts)
        assert not uses_release(file.read_text(encoding="utf-8"), package), file


@pytest.mark.parametrize(
    ("source", "package"),
    [
        ("import studies.nb12_paper_and_release", "unlearnlib"),
        ("from studies import nb12_paper_and_release as release", "unlearnlib.lab"),
        ("def f():\n    from .nb12_paper_and_release.steps import cheap", "studies"),
        ("from ..nb12_paper_and_release import reading", "studies.nb11_budget_and_utility"),
    ],
)
def test_that_check_sees_every_way_to_import_them(source, package):
    assert uses_release(source, package)
    assert not uses_release("from .figures import nb12_paper_and_release", "studies.benchmarks")


def test_every_switch_has_a_row_to_be_compared_with():
    known = switches.REFERENCES | switches.SWITCHES
    for switch in switches.SWITCHES.values():
        assert known[switch.against].pair == switch.pair
    assert not switches.SWITCHES["classical epsilon"].of_the_code
    assert sum(switch.of_the_code for switch in switches.SWITCHES.values()) == 13


def test_each_pair_runs_its_own_switches_each_at_as_many_seeds_as_it_says():
    profile = profiles.load("smoke")
    both = switches.pairs(profile)
    assert both[switches.CNN].norm == "batch" and both[switches.MLP] == profile.mlp_mnist
    known = switches.REFERENCES | switches.SWITCHES
    first = [it.name for pair in both.values() for it in switches.due(pair, 0)]
    assert sorted(first) == sorted(known)
    for pair in both.values():
        third = switches.due(pair, 2)
        assert third == [it for it in switches.due(pair, 0) if it.seeds is None]
    assert [it.name for it in switches.due(both[switches.CNN], 1)] == []


def test_without_the_cnn_the_switches_on_it_are_left_out():
    quick = profiles.load("quick")
    pairs, tried = switches.pairs(quick), switches.tried(quick)
    assert list(pairs) == [switches.MLP]
    left_out = [s.name for s in switches.SWITCHES.values() if s not in tried]
    assert left_out == ["BatchNorm buffers kept", "scored in training mode"]
    assert {switch.name for switch in tried} < {it.name for it in switches.due(quick.mlp_mnist, 0)}
    assert switches.tried(profiles.load("smoke")) == list(switches.SWITCHES.values())


# ---- unsquared norms -----------------------------------------------------------------------------


def tensors(w):
    return w[:12], w[12:]  # weight and bias of softmax regression


def test_unsquared_norms_have_the_gradient_and_hessian_of_their_formula(softmax, vectors):
    """Against automatic differentiation of the formula; the gradient has the decay alone."""
    F, v = unsquared.Unsquared(softmax.objective(weight_decay=0.3), lam=2.0), vectors(15, seed=7)

    def norms(w):
        return sum(p.norm() for p in tensors(w))

    def formula(w):
        return softmax.by_hand()(w) + 0.3 * norms(w)

    assert torch.allclose(F.gradient(softmax.w), torch.func.grad(formula)(softmax.w))
    H = softmax.hessian_by_hand() + 2.3 * torch.func.hessian(norms)(softmax.w)
    assert torch.allclose(F.hvp(softmax.w, v), H @ v)
    assert torch.allclose(
        F.only([1, 2]).hvp(softmax.w, v) - softmax.objective([1, 2]).hvp(softmax.w, v),
        2.3 * torch.func.hessian(norms)(softmax.w) @ v,
    )


def test_no_damping_lifts_a_tensors_own_direction(softmax):
    for lam in (1.0, 1e6):
        F = unsquared.Unsquared(softmax.objective(), lam)
        assert max(unsquared.lifts(F, softmax.w)) < 1e-14 * lam
    first, second = unsquared.directions(F, softmax.w)
    p, q = tensors(softmax.w)
    assert torch.allclose(first, torch.cat([p / p.norm(), 0 * q]))
    assert torch.allclose(second, torch.cat([0 * p, q / q.norm()]))
    across = torch.zeros_like(softmax.w)
    across[0], across[1] = -p[1], p[0]
    lifted = across @ F.hvp(softmax.w, across) / (across @ across)
    bare = across @ softmax.objective().hvp(softmax.w, across) / (across @ across)
    assert float(lifted - bare) == pytest.approx(1e6 / float(p.norm()))


def test_an_indefinite_system_is_solved(mlp, vectors):
    F, b = unsquared.Unsquared(mlp.objective(), 0.05), vectors(43, seed=8)
    eye = torch.eye(43, dtype=torch.float64)
    H = torch.stack([F.hvp(mlp.w, e) for e in eye])
    assert torch.linalg.eigvalsh(H)[0] < -1e-3
    solution = unsquared.solve_indefinite(F, mlp.w, b)
    dense = torch.linalg.solve(H, b)
    assert solution.residual < 1e-3 and solution.converged
    assert distance(solution.x, dense) < 1e-2 * float(dense.norm())


# ---- the update and the noise --------------------------------------------------------------------


def test_the_reading_is_the_projected_step_with_its_noise(d):
    o, (estimate, lam) = reading.reading(d), reading.newton_estimate(d)
    assert lam == SMALL.lam
    spread = float((o.after.w - estimate).double().std())
    assert spread == pytest.approx(SIGMA, rel=0.05)
    assert o.epsilon == gaussian_epsilon(2 * SMALL.C, SIGMA, 1e-5)


def test_sums_take_a_step_as_many_times_as_long_as_there_are_batches(d):
    def step(o):
        return o.after.w - reading.noisy(d, torch.zeros_like(d.w)) - d.w

    cheap, summed = step(steps.cheap(d)), step(steps.batch_sums(d))
    assert steps.batch_sums(d).facts == {"batches": 8}
    assert distance(summed, 8 * cheap) < 1e-2 * float(summed.norm())


def test_an_estimate_outside_the_ball_stays_there_without_projection():
    tight = Experiment(replace(SMALL, C=2.0), 0)
    facts = steps.unprojected(tight).facts
    assert facts["norm of the estimate"] > 2.0 and facts["moved by projection"] > 0
    assert steps.unprojected(tight).epsilon is None
    kept, _ = reading.newton_estimate(tight)
    assert float(kept.norm()) <= 2.0 < facts["norm of the estimate"]


def test_public_noise_can_be_subtracted_by_anyone(d):
    o, (estimate, _) = noise.public_noise(d), reading.newton_estimate(d)
    theirs = SIGMA * torch.randn(len(d.w), generator=torch.Generator().manual_seed(0))
    added = distance(o.after.w, estimate)
    assert added == pytest.approx(SIGMA * math.sqrt(len(d.w)), rel=0.05) and math.isinf(o.epsilon)
    assert distance(o.after.w - theirs, estimate) < 1e-5 * added
    assert distance(reading.reading(d).after.w - theirs, estimate) > added


def test_a_sequence_is_ten_steps_and_its_releases_compose(d):
    with_noise, without = noise.ten_requests(d), noise.ten_requests_without_noise(d)
    w = d.w
    for k in range(1, 11):
        gone = torch.cat(d.forget.tensor_split(10)[:k])
        F_r = d.F.without(gone)
        b = F_r.gradient(w)
        x = solve_on(hessian_sample(d))(F_r, w, b, lam=SMALL.lam).x
        w = project(w - x, SMALL.C)
    assert distance(without.after.w, w) < 1e-6 and math.isinf(without.epsilon)
    mu = math.sqrt(10) * bounds.trivial_bound(SMALL.C) / SIGMA
    assert with_noise.epsilon == pytest.approx(gaussian_epsilon(mu, 1.0, 1e-5))


def test_the_classical_mechanism_prints_too_little(d):
    facts = noise.classical_epsilon(d).facts
    by_hand = 2 * SMALL.C * math.sqrt(2 * math.log(1.25e5)) / SIGMA
    assert facts["printed"] == pytest.approx(by_hand)
    assert facts["exact"] == reading.reading(d).epsilon > 1000 * facts["printed"]


def test_released_lissa_reports_its_damping(d):
    facts = steps.lissa_as_released(d).facts
    assert facts["effective damping"] == pytest.approx(1000 / (facts["steps"] + 1))
    assert facts["relative residual"] > 0.1


def test_a_refused_damping_is_raised_by_tens():
    tried = []

    def step(lam):
        tried.append(lam)
        if lam < 50:
            raise NegativeCurvatureError("too small")
        return torch.zeros(1)

    assert reading.least_refused(step, 1.0)[1] == 100.0 and tried == [1.0, 10.0, 100.0]
    with pytest.raises(NegativeCurvatureError):
        reading.least_refused(step, 0.1)


# ---- the training --------------------------------------------------------------------------------


def test_a_fifth_is_held_out_and_part_of_the_forget_set_with_it(d):
    trained, held = training.split(d)
    assert sorted([*trained.tolist(), *held.tolist()]) == list(range(d.F.n))
    assert len(held) == d.F.n // 5
    share = len(set(d.forget.tolist()) & set(held.tolist())) / len(d.forget)
    assert training.never_trained(d) == pytest.approx(share) and 0 < share < 0.5


def test_the_epoch_kept_has_the_least_validation_loss(d):
    wild = Experiment(replace(SMALL, lr=0.01, epochs=20), 0)
    found = training.trained_on_a_part(wild, without_forgotten=False)
    held = wild.F.only(training.split(wild)[1])
    by_hand = [
        held.value(w) - SMALL.weight_decay / 2 * float(w.double().square().sum())
        for w in (found.best, found.last)
    ]
    assert by_hand == pytest.approx([min(found.losses), found.losses[-1]], rel=1e-4)
    assert len(found.losses) == 20 and min(found.losses) < found.losses[-1]


def test_the_retrained_model_of_a_split_never_meets_a_forgotten_image(d):
    """Spoil the forgotten images: it must not notice, and the trained one must."""
    spoilt = Experiment(replace(SMALL, name="resnet18_svhn"), 0)
    x = d.F.x.clone()
    x[d.forget] = 1e3
    vars(spoilt)["F"] = Objective(d.F.model, x, d.F.y, weight_decay=SMALL.weight_decay)
    vars(spoilt)["identity"] = d.identity | {"data": "spoilt"}
    for out, same in ((True, True), (False, False)):
        clean, other = (training.trained_on_a_part(e, without_forgotten=out) for e in (d, spoilt))
        assert (clean.losses == other.losses) is same
        assert torch.equal(clean.last, other.last) is same


def test_two_requests_of_one_size_are_retrained_each_without_its_own(d):
    other = Asked(SMALL, 0, wanted=tuple(((d.forget + 1) % d.F.n).tolist()))
    assert len(other.forget) == len(d.forget) and other.identity == d.identity
    one, other = (training.trained_on_a_part(e, without_forgotten=True) for e in (d, other))
    assert not one.last.equal(other.last)


# ---- the scoring ---------------------------------------------------------------------------------


def features(n, m, seed=0):
    r = np.random.default_rng(seed)
    return r.normal(size=(n, 20)), r.normal(size=(m, 20))


def test_an_attack_on_noise_is_at_chance_only_under_our_protocol():
    found = {
        protocol: [
            scoring.by_protocol(protocol, "decision tree", features(60, 600, s), s)
            for s in range(4)
        ]
        for protocol in scoring.PROTOCOLS
    }
    auc = {name: np.mean([one["AUC"] for one in runs]) for name, runs in found.items()}
    assert abs(auc["ours"] - 0.5) < 0.08 and abs(auc["unbalanced"] - 0.5) < 0.08
    assert auc["scored where fitted"] > 0.8 and auc["as released"] > 0.8
    assert all(one["accuracy"] > 0.85 for one in found["unbalanced"])
    assert found["as released"][0]["constant"] == pytest.approx(600 / 660)


def test_the_released_attack_is_scikit_learns_on_its_own_rows():
    members, others = features(30, 300)
    y = np.repeat([1, 0], [30, 300])
    x = np.concatenate([members, others])
    learner = attacks.LEARNERS["logistic regression"](0).fit(x, y)
    said = learner.predict_proba(x)[:, 1]
    pairs = (said[:30, None] > said[None, 30:]).mean()
    found = scoring.by_protocol("as released", "logistic regression", (members, others), 0)
    assert found["AUC"] == pytest.approx(pairs, abs=1e-6)
    assert found["accuracy"] == pytest.approx(((said > 0.5) == y).mean())


def test_a_real_model_is_attacked_with_the_images_that_each_protocol_takes(d):
    models = scoring.attacked_models(d)
    assert list(models) == ["trained", "released", "retrained"]
    o = models["released"]
    assert o.after.w.equal(reading.reading(d).after.w) and models["trained"].after.w.equal(d.w)
    assert scoring.model_row(o, "ours") == outcome.attack_held_out(o) | {"constant": 0.5}
    most = len(d.forget) / d.F.n
    assert scoring.model_row(o, "as released")["constant"] == pytest.approx(1 - most)
    row, unbalanced = scoring.model_row(o, "unbalanced"), scoring.attack_unbalanced(d)
    assert unbalanced.row()["both AUC"] == row["AUC"]
    assert unbalanced.facts["constant answer"] == pytest.approx(1 - most)


def test_noise_has_the_shape_of_the_features_of_two_models(d):
    forgotten, retained = noise_like = scoring.noise_features(d)
    classes = len(d.images.classes)
    assert forgotten.shape == (d.F_u.n, 2 * classes) and retained.shape == (d.F_r.n, 2 * classes)
    row = scoring.noise_row(d, noise_like, "as released", "decision tree")
    assert row["AUC"] > 0.8 and row["constant"] == pytest.approx(1 - d.F_u.n / d.F.n)


def test_training_mode_scores_by_the_batch_and_overwrites_its_own_buffers(
    batchnorm_net, batchnorm_data
):
    F = Objective(batchnorm_net, *batchnorm_data)
    other, before = scoring.in_training_mode(F), {k: b.clone() for k, b in F.buffers.items()}
    x, w = F.batch(slice(0, F.n))[0], F.initial()
    with torch.no_grad():
        assert torch.allclose(other.outputs(w, x), batchnorm_net.train()(x))
    for name, buffer in other.buffers.items():
        assert torch.equal(buffer, dict(batchnorm_net.named_buffers())[name])
        assert not torch.equal(buffer, before[name])
    assert all(torch.equal(F.buffers[name], b) for name, b in before.items())


def test_stale_buffers_are_those_of_the_original():
    pair = replace(profiles.load("smoke").allcnn_cifar10, norm="batch", train=40, test=40, forget=4)
    cnn = Experiment(pair, 0)
    o, right = scoring.stale_buffers(cnn), reading.reading(cnn)
    assert torch.equal(o.after.w, right.after.w) and math.isinf(o.epsilon)
    stale = o.after.at(cnn.F_test).buffers
    assert all(torch.equal(stale[name], b) for name, b in cnn.trained.buffers.items())
    layers = [m for m in cnn.F.model.modules() if isinstance(m, nn.BatchNorm2d)]
    channels = sum(m.num_features for m in layers)
    assert o.facts["numbers in the buffers"] == 2 * channels + len(layers)
    mode = scoring.training_mode(cnn)
    assert mode.facts["changed by scoring the forgotten images"] == 3 * len(layers)
    assert math.isfinite(mode.epsilon)


# ---- what the rows say ---------------------------------------------------------------------------


def rows(**values):
    """One column for each switch: values of every score at seeds 0 and 1."""
    return pd.DataFrame(
        [
            {"switch": switch, "seed": seed, "epsilon": 1.0, **dict.fromkeys(outcome.COLUMNS, v)}
            for switch, both in values.items()
            for seed, v in enumerate(both)
        ]
    )


REFERENCE = {
    "paper's reading": (0.5, 0.6),
    "retrained": (0.4, 0.4),
    "retrained, another seed": (0.43, 0.2),
}


def change(table, switch, column):
    return changes.change_row(changes.by_switch(table), switch, "paper's reading", column)


def test_a_score_moves_by_more_than_retrainings_and_seeds_differ():
    table = rows(**REFERENCE, far=(0.75, 0.85), near=(0.65, 0.75))
    far, near = change(table, "far", "test"), change(table, "near", "test")
    assert far["change"] == pytest.approx(0.25) and far["yardstick"] == pytest.approx(0.2)
    assert far["moved"] and not near["moved"]
    away = change(table, "near", "distance")
    assert away["yardstick"] == pytest.approx(0.1) and away["moved"]


def test_a_switch_is_compared_at_its_own_seeds():
    table = rows(**REFERENCE, one=(0.5, 9.0))
    table = table[(table.switch != "one") | (table.seed == 0)]
    assert change(table, "one", "test")["change"] == 0


@pytest.mark.parametrize(
    ("epsilon", "promise"),
    [(3.0, "finite"), (math.inf, "infinite"), (math.nan, "no theorem"), (None, "no theorem")],
)
def test_a_promise_is_finite_infinite_or_none(epsilon, promise):
    assert changes.promise(epsilon) == promise


@pytest.mark.parametrize(
    ("promised", "moved", "verdict"),
    [
        ("finite", False, "reproduced"),
        ("finite", True, "partly"),
        ("infinite", False, "not reproduced"),
        ("no theorem", True, "not reproduced"),
    ],
)
def test_the_code_computes_what_the_paper_says_if_no_switch_shows(promised, moved, verdict):
    table = pd.DataFrame(
        [{"switch": "a", "moved": moved}, {"switch": "not of code", "moved": True}]
    )
    found, why = verdicts.computes({"a": promised, "not of code": "infinite"}, table, ["a"])
    assert found == verdict and "of 1 differences" in why


@pytest.mark.parametrize(
    ("auc", "accuracy", "verdict"),
    [(0.505, 0.495, "reproduced"), (0.505, 0.98, "partly"), (0.7, 0.5, "partly")],
)
def test_an_attack_that_measures_scores_chance_on_noise(auc, accuracy, verdict):
    """Each attacker, not their mean: two that err to both sides would cancel."""
    released = {"protocol": "as released", "attacker": "one", "AUC": 0.5, "accuracy": 0.5}
    other = released | {"attacker": "other", "AUC": auc, "accuracy": accuracy}
    ours = released | {"protocol": "ours", "AUC": 0.9, "accuracy": 0.9}
    table = pd.DataFrame([released, other, ours])
    assert verdicts.measures(table)[0] == verdict
    assert verdicts.measures(table[table.attacker == "other"])[0] in (verdict, "not reproduced")
