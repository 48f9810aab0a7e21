"""Training on a few images: ours beside a bare loop, and what makes convolutions faster.

Nothing here needs a trained model. On a processor that does not multiply bfloat16 its row is left
out, since it would be twenty times slower there and is never used.
"""

from dataclasses import replace

import pytest
import torch

import unlearnlib as ul
from studies.benchmarks.rows import BATCH
from unlearnlib.lab.device import multiplies_bfloat16
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.processes import use_threads
from unlearnlib.lab.profiles import PAIRS
from unlearnlib.lab.seeds import generator

STEPS, ROUNDS = 10, 7
EPOCHS = {"mlp": 20, "allcnn": 1, "resnet18": 1}  # the MLP's are too short to be timed alone


@pytest.fixture(params=PAIRS)
def first_batches(request, profile):
    """A pair at the start, its objective on the images of ten batches, and the task."""
    d = Experiment(replace(profile.pair(request.param), batch_size=BATCH), seed=0)
    use_threads(d.pair.model)
    task = f"training on {STEPS * BATCH:,} images, {PAIRS[request.param]}"
    return d, d.F.only(range(STEPS * BATCH)), task


def ours(d, F, **changed):
    names = ("C", "lr", "optimizer", "batch_size")
    settings = {name: getattr(d.pair, name) for name in names} | changed
    epochs = EPOCHS[d.pair.model]
    draws = generator("benchmark", 0)
    return lambda: ul.projected_sgd(F, F.initial(), epochs=epochs, generator=draws, **settings)


def bare(d, F):
    """What one writes without this package: no ball, no history, no flat vector."""
    model, draws = F.module(F.initial()), generator("benchmark", 0)
    x, y = F.batch(slice(0, F.n))
    rule = torch.optim.Adam(model.parameters(), d.pair.lr, weight_decay=d.pair.weight_decay)

    def train():
        for _ in range(EPOCHS[d.pair.model]):
            for rows in torch.randperm(F.n, generator=draws).split(BATCH):
                rule.zero_grad()
                torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                rule.step()

    return train


def by_rows(F):
    """The same objective with images stored channel after channel, as torch stores them."""
    x, y = F.batch(slice(0, F.n))
    x = x.contiguous(memory_format=torch.contiguous_format)
    passes = {"pass_size": F.pass_size, "weight_decay": F.weight_decay}
    return ul.Objective(F.model, x, y, **passes)


def contenders(d, F):
    """What is timed for a pair, by name."""
    if d.pair.model == "mlp":
        return {"projected_sgd": ours(d, F)}
    made = {"projected_sgd": ours(d, by_rows(F)), "projected_sgd, channels last": ours(d, F)}
    if multiplies_bfloat16(F.device):
        made["projected_sgd, channels last, bfloat16"] = ours(d, F, autocast=torch.bfloat16)
    return made


def test_a_bare_loop(first_batches, row):
    d, F, task = first_batches
    row(task, "bare loop", bare(d, by_rows(F)), rounds=ROUNDS, against=True)


@pytest.mark.parametrize("kind", ["", ", channels last", ", channels last, bfloat16"])
def test_ours(first_batches, kind, row):
    d, F, task = first_batches
    job = contenders(d, F).get(f"projected_sgd{kind}")
    if job is None:
        pytest.skip("not for this model, or not on this processor")
    row(task, f"projected_sgd{kind}", job, rounds=ROUNDS, beside=bare(d, by_rows(F)))
