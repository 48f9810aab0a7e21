"""Train once: what was computed is kept under the hash of everything that determined it.

Files are safetensors and JSON, never pickles. Each is written under a temporary name and then
moved, so that a reader meets a whole file or none, whoever else writes and whenever they stop.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import uuid
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import DataError, InputError, UnlearnError, require
from .distributed import first, ranks

PACKAGE = Path(__file__).resolve().parents[1]
CACHE = "UNLEARNLIB_CACHE"

# The modules that decide which numbers training gives. A change in any other file,
# be it a plot or a bound, must not throw trained models away.
TRAINING_SOURCES = (
    "checks.py",
    "layers.py",
    "objective.py",
    "projected_sgd.py",
    "batchnorm.py",
    "lab/models.py",
    "lab/data.py",
    "lab/folders.py",
    "lab/experiments.py",
    "evaluation/metrics.py",
)


class CorruptFile(UnlearnError):
    """A stored file is not what was once written: truncated, altered or not ours."""


@dataclass(frozen=True)
class Stored:
    """What `load_or_make` returns; the same whether it was just made or read back.

    `tensors` are on the CPU; `info` is a JSON dict; `fresh` says that it was made by this call.
    """

    tensors: dict[str, Tensor]
    info: dict[str, Any]
    path: Path
    fresh: bool


def repository_root() -> Path:
    """The folder that holds the package, the notebooks and the figures."""
    return PACKAGE.parent


def root_from(variable: str, default: str) -> Path:
    """The folder named by an environment variable, else `default` at the repository root.

    A relative path counts from the repository root: make, pytest and a notebook's kernel run in
    different folders and must all mean the same place.
    """
    named = os.environ.get(variable) or default
    return repository_root() / Path(named).expanduser()


def cache_root() -> Path:
    """Where downloads, trained models and stamps live: `UNLEARNLIB_CACHE`, else `.cache`."""
    return root_from(CACHE, ".cache")


def require_writable(folder: Path, variable: str) -> None:
    """Refuse a folder that can't be made or written to: called before the work it is to keep."""
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    require(
        not first() or there.is_dir() and os.access(there, os.W_OK | os.X_OK),
        f"{there} cannot be written to; set {variable} to a folder that can.",
        DataError,
    )


def write_whole(path: str | Path, data: bytes | str) -> None:
    """Write `data` (text as UTF-8) so that `path` is only ever absent, old or complete.

    Under torchrun the first process alone writes: all have the same to write.
    """
    if not first():
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        unfinished.write_bytes(data.encode() if isinstance(data, str) else data)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_json(path: str | Path, remedy: str) -> dict[str, Any]:
    """The JSON object in a file. DataError names the file and the remedy where it holds none."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON, or of UTF-8
        raise DataError(f"{path} is empty or broken ({error}); {remedy}.") from error
    require(
        isinstance(found, dict),
        f"{path} holds a {type(found).__name__} and not a JSON object; {remedy}.",
        DataError,
    )
    return found


def save_tensors(
    path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write named tensors and text metadata as one safetensors file that carries its own digest."""
    # Clones, because safetensors refuses tensors that share memory, as views of one vector do.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    metadata = dict(metadata or {})
    if "sha256" in metadata:
        raise InputError(
            f"{path}: the metadata key 'sha256' is the file's own digest; use another name"
        )
    header = metadata | {"sha256": _digest(tensors, metadata)}
    write_whole(path, safetensors.torch.save(tensors, header))


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read back what `save_tensors` wrote: (tensors on the CPU, metadata).

    Raises CorruptFile when a byte is missing or changed, FileNotFoundError when there is no file.
    """
    raw = Path(path).read_bytes()
    try:
        tensors = safetensors.torch.load(raw)
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    except (SafetensorError, ValueError, KeyError) as error:
        raise CorruptFile(_corrupt(path, str(error))) from error
    metadata = header.get("__metadata__", {})
    written = metadata.pop("sha256", None)
    if written is None:
        raise CorruptFile(_corrupt(path, "it carries no sha256"))
    found = _digest(tensors, metadata)
    if found != written:
        raise CorruptFile(_corrupt(path, f"sha256 is {found}, {written} was written"))
    return tensors, metadata


def load_or_make(
    kind: str,
    key: dict[str, Any],
    make: Callable[[], tuple[dict[str, Tensor], dict[str, Any]]],
    sources: tuple[str, ...] = (),
) -> Stored:
    """The result of `make()` for this `key`, computed at most once.

    `kind` names the folder ("trained", "retrained"). `key` holds everything that decides the
    result: JSON values only, floats kept exactly. The torch version and the text of
    `TRAINING_SOURCES` are added to it, and that of further `sources` which the result depends on.
    `make` returns (tensors, info), info a JSON dict.

    Raises InputError for a key or an info that is not plain JSON. A corrupt file is made again,
    with a warning. Two processes that make the same key both do the work, and one file stays.
    Under torchrun the first process decides whether it is there, and all read what it wrote: on
    several machines UNLEARNLIB_CACHE has to name a folder that they share, or DataError is raised.
    """
    identity = _canonical(
        {"key": key, "torch": torch.__version__, "sources": _sources(sources)}, kind
    )
    name = hashlib.sha256(identity.encode()).hexdigest()[:32]
    path = cache_root() / "store" / kind / f"{name}.safetensors"
    kept, processes = _kept(path), ranks()
    if processes.agree(torch.tensor(kept is not None)):
        return kept or _read(path, fresh=False)
    require_writable(path.parent, CACHE)
    tensors, info = make()
    save_tensors(path, tensors, {"identity": identity, "info": _canonical(info, f"{kind} info")})
    processes.agree(torch.tensor(True))  # nobody reads before the first process has written
    return _read(path, fresh=True)


def _kept(path: Path) -> Stored | None:
    """What is there and whole."""
    if not path.exists():
        return None
    try:
        return _read(path, fresh=False)
    except CorruptFile as error:
        warnings.warn(f"{error} It is made again now.", stacklevel=3)
        return None


def _read(path: Path, fresh: bool) -> Stored:
    require(
        path.exists(),
        f"{path} is there for the first process and not for this one; set UNLEARNLIB_CACHE to a "
        "folder that all machines share.",
        DataError,
    )
    tensors, metadata = load_tensors(path)
    return Stored(tensors, json.loads(metadata["info"]), path, fresh)


def _corrupt(path: str | Path, why: str) -> str:
    return f"{path} is truncated or was altered ({why}); delete it to have it made again."


def _digest(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    """sha256 over names, types, shapes, values and metadata, in an order that is ours."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"|{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@cache
def _sources(further: tuple[str, ...]) -> str:
    """Digest of the code that decides; kept, since a kernel goes on running what it imported."""
    digest = hashlib.sha256()
    for source in TRAINING_SOURCES + further:
        digest.update(f"|{source}|{(PACKAGE / source).read_text(encoding='utf-8')}".encode())
    return digest.hexdigest()


def _canonical(value: Any, where: str) -> str:
    """JSON with one spelling per value; Python writes a float by the digits that restore it."""
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
