"""The released code's reading: each switch does what it says, and nothing else uses it."""

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

import unlearnlib
from unlearnlib import Objective, bounds, gaussian_epsilon, project
from unlearnlib.errors import NegativeCurvatureError
from unlearnlib.evaluation import attacks
from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab import profiles, release
from unlearnlib.lab.contenders import SIGMA
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.release import outcome, scoring, steps, training
from unlearnlib.lab.requests import Asked

pytestmark = pytest.mark.usefixtures("own_store")

PACKAGE = Path(unlearnlib.__file__).parent
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
    return any(f"{name}.".startswith("unlearnlib.lab.release.")
               for name in imported(source, package))  # fmt: skip


def test_nothing_else_in_the_package_imports_the_switches():
    own = PACKAGE / "lab" / "release"
    others = [file for file in PACKAGE.rglob("*.py") if own not in file.parents]
    assert own.is_dir() and len(others) > 40
    for file in others:
        package = ".".join(["unlearnlib", *file.relative_to(PACKAGE).parent.parts])
        assert not uses_release(file.read_text(encoding="utf-8"), package), file


@pytest.mark.parametrize(
    ("source", "package"),
    [("import unlearnlib.lab.release", "unlearnlib"),
     ("from .lab import release", "unlearnlib"),
     ("def f():\n    from .release.steps import reading", "unlearnlib.lab"),
     ("from ..release import run", "unlearnlib.lab.figures")],
)  # fmt: skip
def test_that_check_sees_every_way_to_import_them(source, package):
    assert uses_release(source, package)
    assert not uses_release("from .figures import release", "unlearnlib.lab")


def test_every_switch_has_a_row_to_be_compared_with():
    known = release.REFERENCES | release.SWITCHES
    for switch in release.SWITCHES.values():
        assert known[switch.against].pair == switch.pair
    assert not release.SWITCHES["classical epsilon"].of_the_code
    assert sum(switch.of_the_code for switch in release.SWITCHES.values()) == 13


# ---- unsquared norms -----------------------------------------------------------------------------


def tensors(w):
    return w[:12], w[12:]  # weight and bias of softmax regression


def test_unsquared_norms_have_the_gradient_and_hessian_of_their_formula(softmax, vectors):
    """Against automatic differentiation of the formula; the gradient has the decay alone."""
    F, v = steps.Unsquared(softmax.objective(weight_decay=0.3), lam=2.0), vectors(15, seed=7)

    def norms(w):
        return sum(p.norm() for p in tensors(w))

    def formula(w):
        return softmax.by_hand()(w) + 0.3 * norms(w)

    assert torch.allclose(F.gradient(softmax.w), torch.func.grad(formula)(softmax.w))
    H = softmax.hessian_by_hand() + 2.3 * torch.func.hessian(norms)(softmax.w)
    assert torch.allclose(F.hvp(softmax.w, v), H @ v)
    assert torch.allclose(F.only([1, 2]).hvp(softmax.w, v) - softmax.objective([1, 2]).hvp(
        softmax.w, v), 2.3 * torch.func.hessian(norms)(softmax.w) @ v)  # fmt: skip


def test_no_damping_lifts_a_tensors_own_direction(softmax):
    for lam in (1.0, 1e6):
        F = steps.Unsquared(softmax.objective(), lam)
        assert max(steps.lifts(F, softmax.w)) < 1e-14 * lam
    first, second = steps.directions(F, softmax.w)
    p, q = tensors(softmax.w)
    assert torch.allclose(first, torch.cat([p / p.norm(), 0 * q]))
    assert torch.allclose(second, torch.cat([0 * p, q / q.norm()]))
    across = torch.zeros_like(softmax.w)
    across[0], across[1] = -p[1], p[0]
    lifted = across @ F.hvp(softmax.w, across) / (across @ across)
    bare = across @ softmax.objective().hvp(softmax.w, across) / (across @ across)
    assert float(lifted - bare) == pytest.approx(1e6 / float(p.norm()))


def test_an_indefinite_system_is_solved(mlp, vectors):
    F, b = steps.Unsquared(mlp.objective(), 0.05), vectors(43, seed=8)
    eye = torch.eye(43, dtype=torch.float64)
    H = torch.stack([F.hvp(mlp.w, e) for e in eye])
    assert torch.linalg.eigvalsh(H)[0] < -1e-3
    solution = steps.solve_indefinite(F, mlp.w, b)
    dense = torch.linalg.solve(H, b)
    assert solution.residual < 1e-3 and solution.converged
    assert distance(solution.x, dense) < 1e-2 * float(dense.norm())


# ---- the update and the noise --------------------------------------------------------------------


def test_the_reading_is_the_projected_step_with_its_noise(d):
    o, (estimate, lam) = steps.reading(d), outcome.newton_estimate(d)
    assert lam == SMALL.lam
    spread = float((o.after.w - estimate).double().std())
    assert spread == pytest.approx(SIGMA, rel=0.05)
    assert o.epsilon == gaussian_epsilon(2 * SMALL.C, SIGMA, 1e-5)


def test_sums_take_a_step_as_many_times_as_long_as_there_are_batches(d):
    def step(o):
        return o.after.w - outcome.noisy(d, torch.zeros_like(d.w)) - d.w

    cheap, summed = step(steps.cheap(d)), step(steps.batch_sums(d))
    assert steps.batch_sums(d).facts == {"batches": 8}
    assert distance(summed, 8 * cheap) < 1e-2 * float(summed.norm())


def test_an_estimate_outside_the_ball_stays_there_without_projection():
    tight = Experiment(replace(SMALL, C=2.0), 0)
    facts = steps.unprojected(tight).facts
    assert facts["norm of the estimate"] > 2.0 and facts["moved by projection"] > 0
    assert steps.unprojected(tight).epsilon is None
    kept, _ = outcome.newton_estimate(tight)
    assert float(kept.norm()) <= 2.0 < facts["norm of the estimate"]


def test_public_noise_can_be_subtracted_by_anyone(d):
    o, (estimate, _) = steps.public_noise(d), outcome.newton_estimate(d)
    theirs = SIGMA * torch.randn(len(d.w), generator=torch.Generator().manual_seed(0))
    added = distance(o.after.w, estimate)
    assert added == pytest.approx(SIGMA * math.sqrt(len(d.w)), rel=0.05) and math.isinf(o.epsilon)
    assert distance(o.after.w - theirs, estimate) < 1e-5 * added
    assert distance(steps.reading(d).after.w - theirs, estimate) > added


def test_a_sequence_is_ten_steps_and_its_releases_compose(d):
    with_noise, without = steps.sequence(d), steps.noiseless_sequence(d)
    w = d.w
    for k in range(1, 11):
        gone = torch.cat(d.forget.tensor_split(10)[:k])
        F_r = d.F.without(gone)
        b = F_r.gradient(w)
        x = steps.ablations.solve_on(steps._few(d), F_r, w, b, lam=SMALL.lam).x
        w = project(w - x, SMALL.C)
    assert distance(without.after.w, w) < 1e-6 and math.isinf(without.epsilon)
    mu = math.sqrt(10) * bounds.trivial_bound(SMALL.C) / SIGMA
    assert with_noise.epsilon == pytest.approx(gaussian_epsilon(mu, 1.0, 1e-5))


def test_the_classical_mechanism_prints_too_little(d):
    facts = steps.classical(d).facts
    by_hand = 2 * SMALL.C * math.sqrt(2 * math.log(1.25e5)) / SIGMA
    assert facts["printed"] == pytest.approx(by_hand)
    assert facts["exact"] == steps.reading(d).epsilon > 1000 * facts["printed"]


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

    assert outcome.least_refused(step, 1.0)[1] == 100.0 and tried == [1.0, 10.0, 100.0]
    with pytest.raises(NegativeCurvatureError):
        outcome.least_refused(step, 0.1)


# ---- the training --------------------------------------------------------------------------------


def test_a_fifth_is_held_out_and_part_of_the_forget_set_with_it(d):
    trained, held = training.split(d)
    assert sorted([*trained.tolist(), *held.tolist()]) == list(range(d.F.n))
    assert len(held) == d.F.n // 5
    share = len(set(d.forget.tolist()) & set(held.tolist())) / len(d.forget)
    assert training.never_trained(d) == pytest.approx(share) and 0 < share < 0.5


def test_the_epoch_kept_has_the_least_validation_loss(d):
    wild = Experiment(replace(SMALL, lr=0.01, epochs=20), 0)
    found = training.kept(wild, without_forgotten=False)
    held = wild.F.only(training.split(wild)[1])
    by_hand = [held.value(w) - SMALL.weight_decay / 2 * float(w.double().square().sum())
               for w in (found.best, found.last)]  # fmt: skip
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
        clean, other = (training.kept(e, without_forgotten=out) for e in (d, spoilt))
        assert (clean.losses == other.losses) is same
        assert torch.equal(clean.last, other.last) is same


def test_two_requests_of_one_size_are_retrained_each_without_its_own(d):
    other = Asked(SMALL, 0, wanted=tuple(((d.forget + 1) % d.F.n).tolist()))
    assert len(other.forget) == len(d.forget) and other.identity == d.identity
    one, other = (training.kept(e, without_forgotten=True) for e in (d, other))
    assert not one.last.equal(other.last)


# ---- the scoring ---------------------------------------------------------------------------------


def noise(n, m, seed=0):
    r = np.random.default_rng(seed)
    return r.normal(size=(n, 20)), r.normal(size=(m, 20))


def test_an_attack_on_noise_is_at_chance_only_under_our_protocol():
    found = {
        protocol: [scoring.by_protocol(protocol, "decision tree", noise(60, 600, s), s)
                   for s in range(4)]
        for protocol in scoring.PROTOCOLS
    }  # fmt: skip
    auc = {name: np.mean([one["AUC"] for one in runs]) for name, runs in found.items()}
    assert abs(auc["ours"] - 0.5) < 0.08 and abs(auc["unbalanced"] - 0.5) < 0.08
    assert auc["scored where fitted"] > 0.8 and auc["as released"] > 0.8
    assert all(one["accuracy"] > 0.85 for one in found["unbalanced"])
    assert found["as released"][0]["constant"] == pytest.approx(600 / 660)


def test_the_released_attack_is_scikit_learns_on_its_own_rows():
    members, others = noise(30, 300)
    y = np.repeat([1, 0], [30, 300])
    x = np.concatenate([members, others])
    learner = attacks.LEARNERS["logistic regression"](0).fit(x, y)
    said = learner.predict_proba(x)[:, 1]
    pairs = (said[:30, None] > said[None, 30:]).mean()
    found = scoring.by_protocol("as released", "logistic regression", (members, others), 0)
    assert found["AUC"] == pytest.approx(pairs, abs=1e-6)
    assert found["accuracy"] == pytest.approx(((said > 0.5) == y).mean())


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
    o, right = scoring.stale_buffers(cnn), steps.reading(cnn)
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
        [{"switch": switch, "seed": seed, "epsilon": 1.0, **dict.fromkeys(release.COLUMNS, v)}
         for switch, both in values.items() for seed, v in enumerate(both)]
    )  # fmt: skip


REFERENCE = {"paper's reading": (0.5, 0.6), "retrained": (0.4, 0.4),
             "retrained, another seed": (0.43, 0.2)}  # fmt: skip


def test_a_score_moves_by_more_than_retrainings_and_seeds_differ():
    table = rows(**REFERENCE, far=(0.75, 0.85), near=(0.65, 0.75))
    found = release.changes(table, dict.fromkeys(("far", "near"), "paper's reading"))
    by = {(row["switch"], row["column"]): row for row in found}
    assert by["far", "test"]["change"] == pytest.approx(0.25)
    assert by["far", "test"]["yardstick"] == pytest.approx(0.2)
    assert by["far", "test"]["moved"] and not by["near", "test"]["moved"]
    assert by["near", "distance"]["yardstick"] == pytest.approx(0.1)
    assert by["near", "distance"]["moved"]


def test_a_switch_is_compared_at_its_own_seeds():
    table = rows(**REFERENCE, one=(0.5, 9.0))
    table = table[(table.switch != "one") | (table.seed == 0)]
    assert release.changes(table, {"one": "paper's reading"})[0]["change"] == 0


def test_a_promise_is_finite_infinite_or_none():
    table = rows(kept=(1, 1), broken=(1, 1), void=(1, 1))
    table["epsilon"] = [3.0, 3.0, math.inf, math.inf, math.nan, math.nan]
    wanted = {"kept": "finite", "broken": "infinite", "void": "no theorem"}
    assert release.promises(table) == wanted


@pytest.mark.parametrize(
    ("promised", "moved", "verdict"),
    [("finite", False, "reproduced"), ("finite", True, "partly"),
     ("infinite", False, "not reproduced"), ("no theorem", True, "not reproduced")],
)  # fmt: skip
def test_the_code_computes_what_the_paper_says_if_no_switch_shows(promised, moved, verdict):
    table = pd.DataFrame(
        [{"switch": "a", "moved": moved}, {"switch": "not of code", "moved": True}]
    )
    found, why = release.computes({"a": promised, "not of code": "infinite"}, table, ["a"])
    assert found == verdict and "of 1 differences" in why


@pytest.mark.parametrize(
    ("auc", "accuracy", "verdict"),
    [(0.505, 0.495, "reproduced"), (0.505, 0.98, "partly"), (0.7, 0.98, "not reproduced")],
)
def test_an_attack_that_measures_scores_chance_on_noise(auc, accuracy, verdict):
    table = pd.DataFrame([
        {"protocol": "as released", "AUC": auc, "accuracy": accuracy},
        {"protocol": "ours", "AUC": 0.9, "accuracy": 0.9},
    ])  # fmt: skip
    assert release.measures(table)[0] == verdict
