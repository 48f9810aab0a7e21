"""Where files are stored, and how they are written: in one piece, and never as pickles.

Each is written under a temporary name and then moved, so that a reader finds a complete file or
none, even if another process writes it too, or stops half-way. Tensors are safetensors that carry
their own digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from platformdirs import user_cache_dir
from safetensors import SafetensorError
from torch import Tensor

from ..errors import DataError, InputError, UnlearnError, require
from .processes import first

PACKAGE = Path(__file__).resolve().parents[1]
CACHE = "UNLEARNLIB_CACHE"
OWNER_ALONE = 0o700  # who may read a folder


class CorruptFile(UnlearnError):
    """A stored file is truncated or altered, or this package did not write it."""


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
    """Where downloads, trained models and stamps live: `UNLEARNLIB_CACHE`, else `.cache`.

    Of a package that is installed, and no checkout, the user's cache folder.
    """
    checkout = (repository_root() / "pyproject.toml").exists()
    return root_from(CACHE, ".cache" if checkout else user_cache_dir("unlearnlib", False))


def require_writable(folder: Path, variable: str) -> None:
    """Refuse a folder that can't be made or written to; call it before a long computation."""
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    require(
        not first() or there.is_dir() and os.access(there, os.W_OK | os.X_OK),
        f"{there} cannot be written to; set {variable} to a folder that can.",
        DataError,
    )


def make_folder(folder: Path) -> None:
    """Make a folder. A new cache is its owner's alone: it keeps what may have to be forgotten."""
    root = cache_root()
    if folder.is_relative_to(root):
        root.mkdir(OWNER_ALONE, parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)


def write_whole(path: str | Path, data: bytes | str) -> None:
    """Write `data` (text as UTF-8) so that `path` is only ever absent, old or complete.

    Under torchrun only the first process writes, since all would write the same.
    """
    if not first():
        return
    path = Path(path)
    make_folder(path.parent)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        unfinished.write_bytes(data.encode() if isinstance(data, str) else data)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_json(path: str | Path, remedy: str) -> dict[str, Any]:
    """Read the JSON object in a file; DataError names the file and the remedy if it has none."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON, or of UTF-8
        raise DataError(f"{path} is empty or broken ({error}); {remedy}.") from error
    require(
        isinstance(content, dict),
        f"{path} holds a {type(content).__name__} and not a JSON object; {remedy}.",
        DataError,
    )
    return content


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
    actual = _digest(tensors, metadata)
    if actual != written:
        raise CorruptFile(_corrupt(path, f"sha256 is {actual}, {written} was written"))
    return tensors, metadata


def _corrupt(path: str | Path, why: str) -> str:
    return f"{path} is truncated or was altered ({why}); delete it to have it made again."


def _digest(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    """sha256 over names, types, shapes, values and metadata, in a fixed order."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"|{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
