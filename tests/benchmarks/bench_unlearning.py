"""One request against retraining, at the size of the profile.

Prepared when training ends, and timed apart: the gradient over all samples. What answers the
request is `whole=` and conjugate gradient on a fixed sample of the retained images; the residual
is that on all of them, measured outside of the timing.
"""

from functools import partial

import pytest
import torch
from conftest import residual

import unlearnlib as ul
from studies.nb06_efficiency import epochs_needed
from unlearnlib.lab.clock import epoch_seconds
from unlearnlib.lab.methods import allowed_sample
from unlearnlib.lab.profiles import PAIRS

STEPS = 16
TOL = 5e-2  # of the sample's system; on all images the sample is off by more than that


@pytest.fixture(params=PAIRS)
def request_(request, system):
    s = system(request.param)
    return f"one request, {request.param}", s


def test_retraining(request_, row):
    """Until its validation accuracy is within half a point of the best; all epochs noted too."""
    task, s = request_
    epochs, _ = epochs_needed(s.d.pair)

    def facts(one):
        return {"seconds": epochs * one, "all epochs": s.d.pair.epochs * one}

    note = f"{epochs} of {s.d.pair.epochs} epochs"
    job = lambda: epoch_seconds(s.d)  # noqa: E731
    row(task, "retraining", job, rounds=1, reached=facts, against=True, note=note)


def test_what_is_prepared(request_, row):
    task, s = request_
    F = s.d.F_trained
    row(
        task,
        "(prepared once: grad F)",
        lambda: F.gradient(s.w),
        rounds=3,
        note="once, after training",
    )


def test_the_answer(request_, row):
    task, s = request_
    F, d = s.d.F_trained, s.d
    whole, sample = F.gradient(s.w), allowed_sample(d)
    name = f"conjugate gradient on {sample.n} of {s.F.n} images, at most {STEPS} steps"

    def solver(F_r, w, b, lam):
        return ul.conjugate_gradient(sample, w, b, lam=lam, tol=TOL, max_steps=STEPS)

    update = partial(ul.newton_update, F, s.w, d.forget, lam=s.lam, solver=solver, whole=whole)
    check = residual(s.F, s.w, s.b, s.lam)
    row(task, "newton_update", update, rounds=3, reached=lambda w: check(s.w - w), note=name)


def test_it_is_the_step_of_the_whole_gradient(system):
    s = system("mlp_mnist")
    F = s.d.F_trained
    b = ul.newton.retained_gradient(F, s.w, s.d.forget, F.gradient(s.w))
    assert torch.allclose(b, s.b, atol=1e-5)
