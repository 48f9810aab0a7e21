"""Newton steps to a small gradient, against closed forms and an independent minimiser."""

import pytest
import torch
from oracles import minimiser

import unlearnlib as ul
from unlearnlib.linearised import Linearised


def test_one_step_solves_a_quadratic(quadratic):
    F = quadratic.objective(weight_decay=0.1)
    H, g = F.hessian(quadratic.w), F.gradient(quadratic.w)
    exact = quadratic.w - torch.linalg.solve(H, g)
    found = ul.refine(F, quadratic.w, gradient=1e-9)
    assert torch.allclose(found.w, exact, atol=1e-8)
    assert found.gradient == pytest.approx(float(F.gradient(found.w).norm()))
    assert found.gradient <= 1e-9 < found.history[0] == pytest.approx(float(g.norm()))


def test_it_finds_the_minimum_of_a_logistic_regression(vectors):
    x = vectors(40, 3)
    y = (x[:, 0] > 0.2).double()
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    net = torch.nn.Linear(3, 1, bias=False).double()
    F = ul.Objective(net, x, y[:, None], loss=bce, weight_decay=1.0)
    found = ul.refine(F, torch.full((3,), 5.0, dtype=torch.float64), gradient=1e-12)
    assert found.w.numpy() == pytest.approx(minimiser(x.numpy(), y.numpy()), abs=1e-11)


def test_a_start_that_is_low_enough_is_left_alone(softmax):
    F = softmax.objective(weight_decay=0.1)
    found = ul.refine(F, softmax.w, gradient=1e9)
    assert found.w is softmax.w and len(found.history) == 1 and found.gradients == 1


def test_steps_that_overshoot_are_shortened(softmax):
    F = softmax.objective(weight_decay=1e-3)
    far = 30 * softmax.w
    plain = far - ul.conjugate_gradient(F, far, F.gradient(far), lam=0.0, tol=0.1).x
    assert F.gradient(plain).norm() > F.gradient(far).norm()
    history = ul.refine(F, far, gradient=1e-8).history
    assert all(after < before for before, after in zip(history, history[1:], strict=False))


def test_the_curvature_of_a_sample_ends_at_the_same_minimum(many_softmax):
    problem = many_softmax(400)
    F = problem.objective(weight_decay=0.1)
    few = F.only(range(100)).to(torch.float32)
    exact = ul.refine(F, problem.w, gradient=1e-11)
    cheap = ul.refine(F, problem.w, gradient=1e-11, curvature=few)
    assert torch.allclose(cheap.w, exact.w, atol=1e-9)
    assert len(cheap.history) > len(exact.history)


def test_a_start_whose_gradient_is_known_costs_none(quadratic):
    F = quadratic.objective(weight_decay=0.1)
    plain = ul.refine(F, quadratic.w, gradient=1e-9)
    known = ul.refine(F, quadratic.w, gradient=1e-9, slope=F.gradient(quadratic.w))
    assert torch.equal(known.w, plain.w) and known.gradients == plain.gradients - 1


def test_a_known_gradient_is_not_believed_where_it_would_end_everything(softmax):
    F = softmax.objective(weight_decay=0.1)
    found = ul.refine(F, softmax.w, gradient=1e-9, slope=0 * softmax.w)
    assert found.gradient == float(F.gradient(found.w).norm()) <= 1e-9
    with pytest.raises(ul.InputError, match="slope has shape"):
        ul.refine(F, softmax.w, gradient=1e-9, slope=softmax.w[:3])


def test_each_system_is_solved_as_deeply_as_the_step_before_deserves(many_softmax, monkeypatch):
    problem, asked = many_softmax(400), []
    F = problem.objective(weight_decay=1e-2)
    plain = ul.conjugate_gradient

    def noted(*terms, tol, **more):
        asked.append(tol)
        return plain(*terms, tol=tol, **more)

    monkeypatch.setattr("unlearnlib.refinement.conjugate_gradient", noted)
    goal = 1e-9
    history = ul.refine(F, 5 * problem.w, gradient=goal).history
    golden, gained = (1 + 5**0.5) / 2, 1.0
    for k, tol in enumerate(asked):
        left = goal / history[k] / 2
        usual = max(min(0.1, gained**golden), left, 2.0**-26)
        assert tol == pytest.approx(left if left > 1e-3 else usual)
        gained = history[k + 1] / history[k]
    assert asked[0] == 0.1 > min(asked)


def test_near_the_end_one_step_does(softmax):
    F = softmax.objective(weight_decay=0.1)
    end = ul.refine(F, softmax.w, gradient=1e-12).w
    near = end + 1e-7 * softmax.w
    goal = float(F.gradient(near).norm()) / 400
    assert len(ul.refine(F, near, gradient=goal).history) == 2


def test_the_work_counts_gradients_and_twice_the_products(quadratic, monkeypatch):
    F = quadratic.objective(weight_decay=0.1)
    calls = {"gradient": 0, "__call__": 0}
    for owner, name in ((ul.Objective, "gradient"), (Linearised, "__call__")):
        plain = getattr(owner, name)

        def counted(*terms, name=name, plain=plain):
            calls[name] += 1
            return plain(*terms)

        monkeypatch.setattr(owner, name, counted)
    found = ul.refine(F, quadratic.w, gradient=1e-9, curvature=F.only(range(15)))
    assert found.gradients == calls["gradient"] + 2 * calls["__call__"] / 2


def test_it_says_how_far_it_came(softmax):
    F = softmax.objective(weight_decay=0.1)
    said = str(ul.refine(F, softmax.w, gradient=1e-6))
    assert "||grad F|| from" in said and "steps" in said


def test_steps_that_run_out_are_named(softmax):
    F = softmax.objective(weight_decay=0.1)
    with pytest.raises(ul.DivergenceError, match="after 1 steps, above 1e-12; allow more"):
        ul.refine(F, 5 * softmax.w, gradient=1e-12, max_steps=1)


def test_where_newton_steps_run_out_descent_at_one_over_L_arrives(softmax):
    """Each of its steps leaves at most 1 - mu/L of the gradient."""
    F = softmax.objective(weight_decay=0.5)
    L = float((F.x.square().sum(1) + 1).max()) / 2 + 0.5  # ||diag(p) - p p^T|| <= 1/2
    found = ul.refine(F, 5 * softmax.w, gradient=1e-9, smoothness=L, max_steps=1)
    assert found.gradient <= 1e-9 < found.history[1]
    descent = found.history[1:]
    for before, after in zip(descent, descent[1:], strict=False):
        assert after <= (1 - 0.5 / L) * before * (1 + 1e-9)


def test_a_gradient_below_rounding_is_refused(softmax):
    F, w = softmax.objective(weight_decay=0.1).to(torch.float32), softmax.w.float()
    with pytest.raises(ul.DivergenceError, match=r"rounding in torch.float32.*F.to"):
        ul.refine(F, w, gradient=1e-20)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"gradient": 0.0}, "gradient is 0.0; .*> 0"),
        ({"gradient": 1.0, "max_steps": 0}, "max_steps is 0"),
        ({"gradient": 1.0, "max_steps": 9.5}, "is 9.5; "),
    ],
)
def test_arguments_out_of_range_are_refused(softmax, wrong, said):
    with pytest.raises(ul.InputError, match=said):
        ul.refine(softmax.objective(), softmax.w, **wrong)


def test_a_gradient_that_is_no_number_is_not_small(vectors):
    def rooted(outputs, y):
        return (1.0 - outputs).sqrt().mean()

    model = torch.nn.Linear(1, 1, bias=False).double()
    F = ul.Objective(model, torch.tensor([[0.1], [0.2]]).double(), torch.zeros(2), loss=rooted)
    with pytest.raises(ul.UnlearnError):
        ul.refine(F, torch.tensor([20.0]).double(), gradient=1e-9)


def test_the_last_resort_ends_where_it_would_take_for_ever(softmax):
    F = softmax.objective(weight_decay=0.1)
    far = F.to(torch.float64)
    far.weight_decay = 1e12
    with pytest.raises(ul.DivergenceError, match="after 1000 steps"):
        ul.refine(F, softmax.w, gradient=1e-6, curvature=far, smoothness=1e9, max_steps=1)
