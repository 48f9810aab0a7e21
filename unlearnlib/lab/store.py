"""Compute a result once: it is stored under the hash of everything that determines it."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError, InputError, require
from .device import device
from .files import CACHE, CorruptFile, cache_root, load_tensors, require_writable, save_tensors
from .processes import first, ranks
from .provenance import commit, maker


@dataclass(frozen=True)
class Stored:
    """A stored result, the same whether `load_or_make` just made it or read it.

    `tensors` are on `device()`; `info` is a JSON dict; `fresh` says that it was made by this call,
    and `commit` from which source it was once made.
    """

    tensors: dict[str, Tensor]
    info: dict[str, Any]
    path: Path
    fresh: bool
    commit: str


def load_or_make(
    kind: str,
    key: dict[str, Any],
    make: Callable[[], tuple[dict[str, Tensor], dict[str, Any]]],
    recipe: int = 1,
) -> Stored:
    """The result of `make()` for this `key`, computed at most once.

    `kind` names the folder ("trained", "retrained"). `key` holds everything that decides the
    result: JSON values only, floats kept exactly. The torch version and the `recipe` are added.
    Raise the recipe, a number, when you change what `make` computes: otherwise results of the old
    code would be returned for the new (tests/test_recipes.py notices if you forget). `make` returns
    (tensors, info), info a JSON dict; the commit and the device are kept with them.

    Raises InputError for a key or an info that is not plain JSON. A corrupt file is made again,
    with a warning. Two processes that make the same key both do the work, and one file stays.
    Under torchrun the first process decides whether it is there, and all read what it wrote: on
    several machines UNLEARNLIB_CACHE has to name a folder that they share, or DataError is raised.
    """
    path, identity = _place(kind, key, recipe)
    kept, processes = _kept(path), ranks()
    if processes.agree(_truth(kept is not None)):
        return kept or _read(path, fresh=False)
    require_writable(path.parent, CACHE)
    tensors, info = make()
    header = {"identity": identity, "info": _canonical(info, f"{kind} info")}
    header |= {"commit": commit(), "maker": maker()}
    save_tensors(path, tensors, header)
    processes.agree(_truth(True))  # nobody reads before the first process has written
    return _read(path, fresh=True)


def load_or_train(
    kind: str,
    key: dict[str, Any],
    train: Callable[[Unfinished], tuple[dict[str, Tensor], dict[str, Any]]],
    recipe: int = 1,
) -> Stored:
    """The same for a training, which is kept on its way: killed, it goes on where it was.

    `train(unfinished)` hands `unfinished` to `projected_sgd(checkpoint=...)`.
    """
    unfinished = Unfinished(kind, key, recipe)
    kept = load_or_make(kind, key, lambda: train(unfinished), recipe)
    unfinished.remove()
    return kept


class Unfinished:
    """A training on its way to the result of this kind and key: `unlearnlib.checkpoint` says how.

    It lies beside the place of the result.
    """

    def __init__(self, kind: str, key: dict[str, Any], recipe: int = 1):
        finished, self.identity = _place(kind, key, recipe)
        self.path = finished.with_suffix(".unfinished")

    def save(self, tensors: dict[str, Tensor], info: dict[str, Any]) -> None:
        header = {"identity": self.identity, "info": _canonical(info, "a checkpoint's info")}
        save_tensors(self.path, tensors, header)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return what was saved last; None if there is nothing, or, with a warning, a broken file.

        Under torchrun the first process decides, and all read the same file.
        """
        kept = self._kept() if self.path.exists() else None
        if not ranks().agree(_truth(kept is not None)):
            return None
        _require_shared(self.path)
        kept = kept or self._kept()
        ranks().agree(_truth(True))  # nobody trains on, and writes anew, before all have read
        return kept

    def remove(self) -> None:
        if first():
            self.path.unlink(missing_ok=True)

    def _kept(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        try:
            tensors, metadata = load_tensors(self.path)
            return tensors, json.loads(metadata["info"])
        except CorruptFile as error:
            warnings.warn(f"{error} Training starts anew now.", stacklevel=4)
            return None


def is_stored(kind: str, key: dict[str, Any], recipe: int = 1) -> bool:
    """Whether the result is stored and its file is intact."""
    return _kept(_place(kind, key, recipe)[0]) is not None


def commits_used() -> list[str]:
    """The commits that made the stored results which this process has read or made so far."""
    return sorted({commit for commit, _ in _USED})


def makers_used() -> list[str]:
    """Where they were made: device and torch version, "not recorded" for results of old."""
    return sorted({maker for _, maker in _USED})


_USED: set[tuple[str, str]] = set()


def _place(kind: str, key: dict[str, Any], recipe: int) -> tuple[Path, str]:
    """The path of a result's file, and the identity whose hash is the file's name."""
    identity = _canonical({"key": key, "torch": torch.__version__, "recipe": recipe}, kind)
    name = hashlib.sha256(identity.encode()).hexdigest()[:32]
    return cache_root() / "store" / kind / f"{name}.safetensors", identity


def _kept(path: Path) -> Stored | None:
    """Return the stored result, or None if it is missing or corrupt."""
    if not path.exists():
        return None
    try:
        return _read(path, fresh=False)
    except CorruptFile as error:
        warnings.warn(f"{error} It is made again now.", stacklevel=3)
        return None


def _read(path: Path, fresh: bool) -> Stored:
    _require_shared(path)
    tensors, metadata = load_tensors(path)
    _USED.add((metadata["commit"], metadata.get("maker", "not recorded")))
    tensors = {name: tensor.to(device()) for name, tensor in tensors.items()}
    return Stored(tensors, json.loads(metadata["info"]), path, fresh, metadata["commit"])


def _require_shared(path: Path) -> None:
    """Refuse to go on where the first process has a file that this one does not see."""
    require(
        path.exists(),
        f"{path} is there for the first process and not for this one; set UNLEARNLIB_CACHE to a "
        "folder that all machines share.",
        DataError,
    )


def _truth(value: bool) -> Tensor:
    return torch.tensor(value, device="cpu")


def _canonical(value: Any, where: str) -> str:
    """Return JSON that is the same for equal values; Python writes a float without loss."""
    _refuse_unless_plain(value, where)
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _refuse_unless_plain(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise InputError(f"{where}: the name {name!r} is not a string; make it one")
            _refuse_unless_plain(inner, f"{where}[{name!r}]")
    elif isinstance(value, (list, tuple)):
        for position, inner in enumerate(value):
            _refuse_unless_plain(inner, f"{where}[{position}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} is {value}, which JSON cannot hold; give a finite number")
    elif value is not None and not isinstance(value, (bool, int, float, str)):
        raise InputError(
            f"{where} is a {type(value).__name__}; allowed are None, bool, int, float, str, and "
            "lists and dicts of these, so convert it (tensor.tolist(), float(x), str(path))"
        )
