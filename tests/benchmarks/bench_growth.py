"""Seconds against n, p and s, as exponents; memory against that of one gradient step."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import some

import unlearnlib as ul
from unlearnlib.lab import models

GROWTH = "growth of seconds with size (MLP), as an exponent"
MEMORY = "peak memory over that of one gradient step on the same samples"
SIZES = {"n": (6000, 12000, 24000, 48000), "p": (4, 8, 16, 32), "s": (50, 100, 200, 400)}
SAMPLES = {"mlp": 60000, "allcnn": 512}


@pytest.mark.parametrize("letter", SIZES)
def test_growth(system, letter, row):
    """The slope of log seconds over log size: 1 where the cost is linear."""
    d = system("mlp_mnist").d

    def solve(size):
        """(p, seconds) of 8 steps of conjugate gradient, or of s steps of LiSSA."""
        width = {"n": 4, "p": size, "s": 1}[letter]
        net = models.build("mlp", in_shape=d.images.shape, width=width, seed=0)
        F = ul.Objective(net, d.F.x, d.F.y, weight_decay=5e-4)
        F = some(F, {"n": size, "p": 12000, "s": 500}[letter])
        w, g = F.initial(), torch.Generator().manual_seed(0)
        b = torch.randn(F.p, generator=g)
        if letter == "s":
            how = {"scale": 1000.0, "steps": size, "checks": 1, "generator": g}
            found = ul.lissa(F, w, b, lam=5.0, tol=1e-9, **how)
        else:
            found = ul.conjugate_gradient(F, w, b, lam=5.0, tol=1e-12, max_steps=8)
            assert found.steps == 8
        return F.p, found.seconds

    def seconds():
        runs = [min(solve(size) for _ in range(3)) for size in SIZES[letter]]
        return [p for p, _ in runs], [t for _, t in runs]

    def exponent(found):
        p, t = found
        size = p if letter == "p" else SIZES[letter]
        return {"exponent": float(np.polyfit(np.log(size), np.log(t), 1)[0])}

    solver = "LiSSA" if letter == "s" else "conjugate gradient"
    row(GROWTH, f"{solver}, {letter}", seconds, rounds=1, reached=exponent)


PROGRAM = Path(__file__).with_name("memory.py")


@pytest.mark.parametrize("model", SAMPLES)
def test_memory(model, row):
    def peak(job):
        command = [sys.executable, str(PROGRAM), model, str(SAMPLES[model]), job]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(run.stdout.split()[-1])

    def both():
        return peak("gradient"), peak("update")

    def ratio(found):
        gradient, update = found
        return {"megabytes": update, "gradient's": gradient, "times": update / gradient}

    note = f"{SAMPLES[model]} samples"
    row(MEMORY, model, both, rounds=1, reached=ratio, note=note)
