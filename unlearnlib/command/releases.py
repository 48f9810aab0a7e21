"""The folder that is handed out with a released model: written whole or not at all, read back.

release/
    weights.safetensors   the noisy weights, by the module's names
    card.json             the public card
    README.md             the same in words: the model card
    run.json              the command, its settings and versions
    private/              permissions for the owner alone; never to be published
        card.json, run.json       what was measured; what was asked to be forgotten
        secret.safetensors        the estimate before its noise, and the trained model
"""

from __future__ import annotations

import json
import math
import os
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from ..certificate import VOID, Certificate, Constant, Constants, Sensitivity
from ..errors import DataError, require
from ..lab import files

OWNERS_FILE = 0o600
REMEDY = "it is no release of this command"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Kept:
    """A release as read back: what `verify` and `certificate` look at.

    run      how it was made;  asked: what was to be forgotten, and the data's digest
    secret   "estimate" and "trained"; like `asked` empty where private/ was taken out, as it is
             before publishing
    """

    certificate: Certificate
    run: dict
    asked: dict
    secret: dict[str, Tensor] = field(repr=False)


def refuse_taken(folder: Path) -> None:
    """Refuse a folder that is there, or can't be made: before any work is done."""
    require(not folder.exists(), f"{folder} is there already; name one that is not", DataError)
    there = next(path for path in folder.absolute().parents if path.exists())
    writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    require(writable, f"{there} cannot be written to; choose another --out", DataError)


def write(
    folder: Path, card: Certificate, tensors: dict[str, dict[str, Tensor]], run: dict, asked: dict,
    words: str,
) -> None:  # fmt: skip
    """Write a release. It is made beside its place and moved there once it is complete.

    tensors   "weights", by name, and "secret": the estimate and the trained model
    """
    require(card.holds != VOID, f"not released: {' '.join(card.reasons)} Retrain.", DataError)
    unfinished = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        private = unfinished / "private"
        private.mkdir(parents=True)
        private.chmod(files.OWNER_ALONE)
        files.save_tensors(unfinished / WEIGHTS, tensors["weights"])
        texts = {
            unfinished / "card.json": card.public_json(),
            unfinished / "run.json": json.dumps(run, indent=2),
            unfinished / "README.md": words,
            private / "card.json": card.private_json(),
            private / "run.json": json.dumps(asked, indent=2),
        }
        for path, text in texts.items():
            files.write_whole(path, text + "\n")
        files.save_tensors(private / "secret.safetensors", tensors["secret"])
        for path in private.iterdir():
            path.chmod(OWNERS_FILE)
        os.rename(unfinished, folder)
    except OSError as error:
        why = error.strerror or str(error)
        raise DataError(f"{folder} was not written ({why}); nothing is left of it") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def read(folder: Path) -> Kept:
    """A release that was written; DataError if a file is missing or altered."""
    try:
        public = files.read_json(folder / "card.json", REMEDY)
        run = files.read_json(folder / "run.json", REMEDY)
        private, asked, secret = {}, {}, {}
        if (folder / "private").is_dir():
            private = files.read_json(folder / "private" / "card.json", REMEDY)
            asked = files.read_json(folder / "private" / "run.json", REMEDY)
            secret, _ = files.load_tensors(folder / "private" / "secret.safetensors")
        files.load_tensors(folder / WEIGHTS)
    except (OSError, files.CorruptFile) as error:
        raise DataError(f"{folder} cannot be read ({error}); {REMEDY}, or not all of it") from error
    return Kept(_certificate(public, private), run, asked, secret)


def _certificate(public: dict, private: dict) -> Certificate:
    """The card, from what is published of it and, where that is there, from its private part."""
    values = private.get("measured constants", {})
    constants = {
        name: Constant(
            _number(values.get(name, entry["value"])), entry["provenance"], entry["note"]
        )
        for name, entry in public["constants"].items()
    }
    source, Delta = public["rests on"], public["sensitivity"]
    return Certificate(
        public["epsilon"], public["delta"], public["sigma"],
        Sensitivity(Delta, Delta, source, public["holds"]),
        _number(public["C"]), public["lam"], public["tol"], Constants(**constants),
        holds=public["holds"], noise=public["noise"],
        doing_nothing=_number(private.get("doing nothing", "nan")), known=public["known to all"],
        reasons=tuple(private.get("reasons", ())), measurements=private.get("measurements", {}),
    )  # fmt: skip


def _number(value: float | str) -> float:
    """A number of a card, where infinity and what is withheld are text."""
    return math.nan if value == "withheld" else float(value)
