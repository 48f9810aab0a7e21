"""Independent random numbers for each purpose: a draw for one changes no other."""

from __future__ import annotations

import hashlib

import torch

from .. import draws
from ..objective import Objective


def generator(purpose: str, seed: int) -> torch.Generator:
    """The random numbers of one purpose ("forget", "batches", "hessian", ...) under one seed.

    Purposes share nothing: a draw that is added for one of them changes no other.
    """
    return draws.fixed(seed_of(purpose, seed))


def seed_of(purpose: str, seed: int) -> int:
    """The number that seeds one purpose."""
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return int.from_bytes(digest[:6], "big")


def sample(F: Objective, size: int, seed: int) -> Objective:
    """F on at most `size` of its samples, always the same ones at one seed."""
    order = draws.order(F.n, generator("curvature sample", seed))
    return F.only(order[:size])
