"""Samples of one's own, each with a name: images from a folder, or rows of a table.

samples = read(Path("photos"))                       FOLDER/{train,test}/CLASS/*
samples = read(Path("people.csv"), label="income")   one column a number, one the label
rows = samples.wanted(Path("forget.txt"))            a name a line: CLASS/file.png, or the row's id
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ..errors import DataError, require
from ..lab import data, folders
from ..lab.data import Images
from ..lab.features import Features

SHOWN = 5  # names that a message lists
FIRST_LINE = 2  # of a table's rows, below its header
TABLES = (".csv", ".parquet")


@dataclass(frozen=True, eq=False)
class Samples:
    """Data in memory, and what its training samples are called.

    images   of a table: rows as images one pixel high, (n, 1, 1, columns), float64
    names    of the training samples, in their order
    kind     "images" or "table"
    """

    images: Images
    names: tuple[str, ...]
    kind: str

    @cached_property
    def digest(self) -> str:
        """sha256, in hex, of what is trained on."""
        values = data.digest(self.images.x_train, self.images.y_train)
        return hashlib.sha256("\n".join([values, *self.names]).encode()).hexdigest()

    def wanted(self, path: Path) -> list[int]:
        """The training samples that a file names, one a line; empty lines do not count.

        Raises DataError for a file without names, a name that is twice in it, and one that no
        training sample has.
        """
        lines = [line.strip() for line in _text(path).splitlines()]
        asked = [line for line in lines if line]
        require(bool(asked), f"{path} names nothing; write one name a line", DataError)
        twice = [name for name, times in Counter(asked).items() if times > 1]
        require(not twice, f"{path} names {_few(twice)} more than once; name each once", DataError)
        places = {name: row for row, name in enumerate(self.names)}
        unknown = [name for name in asked if name not in places]
        example = f"a name looks like {self.names[0]!r}"
        require(
            not unknown,
            f"{path}: no training sample is called {_few(unknown)}; {example}",
            DataError,
        )
        return sorted(places[name] for name in asked)


COLUMNS = Features(
    "columns",
    "the numbers of a row as they are: scale them beforehand, by public constants",
    lambda rows: rows.flatten(1),
    dtype=torch.float64,
)


def read(path: Path, label: str = "label", identity: str = "", test: Path | None = None) -> Samples:
    """The samples of a folder or of a table.

    label      the column that is to be predicted
    identity   the column that names a row; else a row is called by its line in the file, from 2
    test       another table, to judge by; without one nothing is judged

    Raises DataError, and says what to do, for what cannot be read: among them an image that cannot
    be decoded, a value that is missing, and two rows of one name.
    """
    if path.is_dir():
        require(test is None, "--test is for tables; a folder has its own test/", DataError)
        return Samples(data.load(path), folders.names(path), "images")
    require(
        path.suffix in TABLES,
        f"{path} is neither a folder nor a table; give FOLDER/{{train,test}}/CLASS/* or a file "
        f"that ends in {' or '.join(TABLES)}",
        DataError,
    )
    return _from_table(path, label, identity, test)


def _from_table(path: Path, label: str, identity: str, test: Path | None) -> Samples:
    table = _table(path, label, identity)
    names = table.pop(identity).astype(str) if identity else _lines(table)
    twice = list(names[names.duplicated()].unique())
    require(not twice, f"{path}: {_few(twice)} names more than one row; name each once", DataError)
    classes = tuple(sorted(table[label].astype(str).unique()))
    require(len(classes) > 1, f"{path}: every {label!r} is {classes[0]}; two are needed", DataError)
    train = _tensors(table, label, classes, path)
    judged = (train[0][:0], train[1][:0])
    if test is not None:
        other = _table(test, label, identity)
        other = other.drop(columns=identity) if identity else other
        same = list(other.columns) == list(table.columns)
        require(same, f"{test} has other columns than {path}; give it the same", DataError)
        judged = _tensors(other, label, classes, test)
    return Samples(Images(path.stem, path.name, *train, *judged, classes), tuple(names), "table")


def _table(path: Path, label: str, identity: str) -> pd.DataFrame:
    """The table in a file, all of whose values are there and, but for names, finite numbers."""
    try:
        csv = path.suffix == ".csv"
        table = _from_csv(path, (label, identity)) if csv else pd.read_parquet(path)
    except (OSError, ValueError, ImportError) as error:
        raise DataError(f"{path} cannot be read ({str(error).splitlines()[0]})") from error
    for column in filter(None, (label, identity)):
        there = ", ".join(map(str, table.columns))
        require(column in table, f"{path} has no column {column!r}; it has {there}", DataError)
    numbers = table.drop(columns=[label, *filter(None, [identity])])
    require(len(table) > 1 and numbers.shape[1] > 0, f"{path} has no numbers to learn", DataError)
    for column in table.columns[table.isna().any()]:
        row = _lines(table)[table[column].isna()].iloc[0]
        remedy = "fill it in, or leave the row out"
        raise DataError(f"{path}: the row of line {row} has no {column!r}; {remedy}")
    text = [c for c in numbers if not pd.api.types.is_numeric_dtype(numbers[c])]
    remedy = (
        "turn it into numbers, or drop it; --label and --id say what to predict, and a row's name"
    )
    require(not text, f"{path}: {_few(text)} holds text; {remedy}", DataError)
    for column in numbers.columns[(numbers.abs() == float("inf")).any()]:
        row = _lines(table)[numbers[column].abs() == float("inf")].iloc[0]
        raise DataError(f"{path}: {column!r} is infinite in the row of line {row}")
    return table


def _from_csv(path: Path, as_typed: tuple[str, ...]) -> pd.DataFrame:
    """The table, with the columns of names as they were typed: 0042 is no number, None no gap."""
    table = pd.read_csv(path)
    names = [column for column in as_typed if column in table]
    if names:
        how = {"dtype": str, "keep_default_na": False, "na_values": [""]}
        table[names] = pd.read_csv(path, usecols=names, **how)[names]
    return table


def _tensors(
    table: pd.DataFrame, label: str, classes: tuple[str, ...], path: Path
) -> tuple[Tensor, Tensor]:
    y = table[label].astype(str)
    new = list(y[~y.isin(classes)].unique())
    require(not new, f"{path}: no training row has the {label!r} {_few(new)}", DataError)
    x = torch.tensor(table.drop(columns=label).to_numpy(float), dtype=torch.float64, device="cpu")
    labels = torch.tensor([classes.index(value) for value in y], device="cpu")
    return x[:, None, None], labels


def _lines(table: pd.DataFrame) -> pd.Series:
    """The line of each row in a CSV file."""
    return pd.Series([str(row + FIRST_LINE) for row in range(len(table))], index=table.index)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); give a text file of names") from error


def _few(names: list) -> str:
    """Some names as text, and how many there are besides."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, map(str, names[:SHOWN]))) + more
