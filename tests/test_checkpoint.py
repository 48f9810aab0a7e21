"""A training that was interrupted goes on to the bits of one that was not."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from unlearnlib import InputError, Objective, projected_sgd
from unlearnlib.checkpoint import State
from unlearnlib.lab.files import load_tensors
from unlearnlib.lab.store import Unfinished, load_or_train

SGD, ADAM = dict(optimizer="sgd", momentum=0.9, lr=0.1), dict(optimizer="adam", lr=0.02)


class Memory:
    """Keeps copies, and stops the training after some epochs."""

    def __init__(self, stop=None):
        self.kept, self.saved, self.stop = None, 0, stop

    def save(self, tensors, info):
        copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        self.kept, self.saved = (copies, {**info, "history": [*info["history"]]}), self.saved + 1
        if self.saved == self.stop:
            raise KeyboardInterrupt

    def load(self):
        return self.kept


def alike(run, other):
    assert torch.equal(run.w, other.w)
    assert run.history == other.history and run.converged == other.converged
    for name, buffer in other.buffers.items():
        assert torch.equal(run.buffers[name], buffer), name


def interrupted(F, w0, after, rng, **settings):
    """Train until `after` epochs are kept, then go on with nothing but what was kept."""
    memory = Memory(stop=after)
    with pytest.raises(KeyboardInterrupt):
        projected_sgd(F, w0, generator=rng(3), checkpoint=memory, **settings)
    assert len(memory.kept[1]["history"]) == after
    return projected_sgd(F, w0, generator=rng(99), checkpoint=memory, **settings)


@pytest.mark.parametrize("rule", [SGD, ADAM], ids=["sgd", "adam"])
def test_what_the_rule_remembers_goes_back_to_the_device_of_w(mlp, rule, rng):
    """A file hands tensors back on the CPU; Adam counts its steps there in any case."""
    F, memory = mlp.objective(), Memory(stop=1)
    with pytest.raises(KeyboardInterrupt):
        settings = dict(C=6.0, epochs=2, batch_size=8, **rule)
        projected_sgd(F, mlp.w, generator=rng(3), checkpoint=memory, **settings)
    w = mlp.w.to("meta")
    optimizer = torch.optim.Adam([w]) if rule is ADAM else torch.optim.SGD([w], 0.1, 0.9)
    model = SimpleNamespace(w=w, take_buffers=lambda buffers: None)
    State(model, optimizer, rng(3)).resume(memory)
    where = {name: q.device.type for name, q in optimizer.state[w].items()}
    adams = {"step": "cpu", "exp_avg": "meta", "exp_avg_sq": "meta"}
    assert where == (adams if rule is ADAM else {"momentum_buffer": "meta"})


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("rule", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("after", [1, 3])
def test_it_goes_on_to_the_same_bits(mlp, rule, schedule, after, rng):
    F = mlp.objective(weight_decay=0.01)
    settings = dict(C=6.0, epochs=5, batch_size=8, schedule=schedule, **rule)
    whole = projected_sgd(F, mlp.w, generator=rng(3), **settings)
    alike(interrupted(F, mlp.w, after, rng, **settings), whole)


def test_so_it_does_with_batch_statistics(rng):
    net = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))
    x, y = torch.randn(30, 5, generator=rng(1)), torch.arange(30) % 3
    F = Objective(net, x, y)
    settings = dict(epochs=4, batch_size=10, **ADAM)
    whole = projected_sgd(F, F.initial(), generator=rng(3), **settings)
    alike(interrupted(F, F.initial(), 2, rng, **settings), whole)


def test_so_it_does_with_k_models_side_by_side(mlp, vectors, rng):
    F, w0 = mlp.objective(), vectors(3, 43, seed=8)
    settings = dict(C=6.0, epochs=4, batch_size=8, **SGD)
    whole = projected_sgd(F, w0, generator=rng(3), **settings)
    alike(interrupted(F, w0, 2, rng, **settings), whole)


def test_so_it_does_without_a_generator_of_its_own(mlp):
    F, settings = mlp.objective(), dict(epochs=4, batch_size=8, **ADAM)
    torch.manual_seed(5)
    whole = projected_sgd(F, mlp.w, **settings)
    memory = Memory(stop=2)
    torch.manual_seed(5)
    with pytest.raises(KeyboardInterrupt):
        projected_sgd(F, mlp.w, checkpoint=memory, **settings)
    torch.manual_seed(77)
    alike(projected_sgd(F, mlp.w, checkpoint=memory, **settings), whole)


def test_one_that_had_arrived_or_was_finished_trains_no_more(softmax, rng):
    F = softmax.objective(weight_decay=0.1)
    settings = dict(epochs=400, lr=0.5, batch_size=30, until_gradient=1e-3)
    memory = Memory()
    whole = projected_sgd(F, softmax.w, generator=rng(3), checkpoint=memory, **settings)
    saved = memory.saved
    assert whole.converged and saved == len(whole.history) < 400
    alike(projected_sgd(F, softmax.w, generator=rng(4), checkpoint=memory, **settings), whole)
    assert memory.saved == saved


def test_what_the_monitor_said_is_kept_and_seconds_add_up(mlp, rng):
    F, seen = mlp.objective(), []

    def monitor(w, buffers):
        seen.append(F.value(w))
        return {"value": seen[-1]}

    memory, settings = Memory(stop=2), dict(epochs=3, batch_size=8, monitor=monitor, **ADAM)
    with pytest.raises(KeyboardInterrupt):
        projected_sgd(F, mlp.w, generator=rng(3), checkpoint=memory, **settings)
    memory.kept[1]["seconds"] += 1000
    run = projected_sgd(F, mlp.w, generator=rng(3), checkpoint=memory, **settings)
    assert [epoch["value"] for epoch in run.history] == seen and len(seen) == 3
    assert 1000 < run.seconds < 1100


def test_another_model_s_checkpoint_is_refused(mlp, softmax, rng):
    memory = Memory()
    projected_sgd(mlp.objective(), mlp.w, epochs=1, lr=0.1, checkpoint=memory)
    with pytest.raises(InputError, match=r"holds .*\(43,\) and w0 is .*\(15,\); it is another"):
        projected_sgd(softmax.objective(), softmax.w, epochs=1, lr=0.1, checkpoint=memory)


# ---- in the store --------------------------------------------------------------------------------

PROGRAM = """
import sys, time, torch, unlearnlib as ul
from unlearnlib.lab.files import load_tensors
from unlearnlib.lab.store import load_or_train

def slow(w, buffers):
    print("epoch", flush=True)
    time.sleep(float(sys.argv[1]))
    return {}

def train(unfinished):
    torch.manual_seed(0)
    net = torch.nn.Linear(5, 3)
    x, y = torch.randn(30, 5), torch.arange(30) % 3
    F = ul.Objective(net, x, y)
    run = ul.projected_sgd(F, F.initial(), epochs=6, lr=0.1, momentum=0.9, batch_size=8,
                           monitor=slow, checkpoint=unfinished)
    return {"w": run.w}, {"history": run.history}

load_or_train("trained", {"seed": 0}, train)
"""


def program(folder, wait):
    env = os.environ | {"UNLEARNLIB_CACHE": str(folder)}
    command = [sys.executable, "-c", PROGRAM, str(wait)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def test_killed_at_once_it_loses_an_epoch_at_most(tmp_path):
    """kill -9: no handler runs, and nothing of the process is left."""
    running = program(tmp_path / "killed", wait=1.0)
    for _ in range(3):
        assert running.stdout.readline() == "epoch\n"
    running.send_signal(signal.SIGKILL)
    running.wait()
    left = list((tmp_path / "killed").rglob("*"))
    assert [path.suffix for path in left if path.is_file()] == [".unfinished"]
    again = program(tmp_path / "killed", wait=0.0)
    assert again.communicate(timeout=60)[0] == "epoch\n" * 4  # two of six were kept
    assert program(tmp_path / "undisturbed", wait=0.0).wait(60) == 0

    files = [next((tmp_path / name).rglob("*.safetensors")) for name in ("killed", "undisturbed")]
    (found, about), (expected, as_well) = map(load_tensors, files)
    assert torch.equal(found["w"], expected["w"]) and about["info"] == as_well["info"]
    assert not list(tmp_path.rglob("*.unfinished"))


def test_a_broken_checkpoint_is_told_and_training_starts_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path))
    unfinished = Unfinished("trained", {"seed": 1})
    unfinished.save({"w": torch.zeros(3)}, {"history": [], "seconds": 0.0})
    assert torch.equal(unfinished.load()[0]["w"], torch.zeros(3))
    unfinished.path.write_bytes(unfinished.path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="truncated or was altered .* starts anew"):
        assert unfinished.load() is None
    load_or_train("trained", {"seed": 1}, lambda unfinished: ({}, {}))
    assert not Path(unfinished.path).exists()
