"""Read the profiles, which set the size of a run, from sizes/*.toml, and check every value.

The profile of a run is chosen here and nowhere else: a notebook passes its parameter to `active`.
The environment variable UNLEARNLIB_PROFILE overrides it; so the tests run every notebook small.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from ..errors import ProfileError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).with_name("sizes")
VARIABLE = "UNLEARNLIB_PROFILE"
# The paper's pairs of data and model, and what texts call their networks.
PAIRS = {"mlp_mnist": "MLP", "allcnn_cifar10": "AllCNN", "resnet18_svhn": "ResNet-18"}
OPTIONAL = ("allcnn_cifar10", "resnet18_svhn")  # a profile may have no time to train them


def _limit(text: str, holds: Callable[[Any], bool]) -> Any:
    return field(metadata={"limit": text, "holds": holds})


def _one_of(*names: str) -> Any:
    return _limit("one of " + ", ".join(map(repr, names)), lambda value: value in names)


def _at_least(limit: int) -> Any:
    return _limit(f"at least {limit}", lambda value: value >= limit)


def _positive() -> Any:
    return _limit("above 0", lambda value: 0 < value < inf)


def _not_negative() -> Any:
    return _limit("0 or above, and finite", lambda value: 0 <= value < inf)


def _ascends(values: tuple[float, ...]) -> bool:
    return all(less < more for less, more in pairwise((0.0, *values)))


@dataclass(frozen=True)
class Pair:
    """One of the paper's three pairs of data and model, at the size of a profile.

    precision   what a convolutional network's training multiplies in. "bfloat16" is used where the
                processor multiplies it natively, float32 elsewhere; solving and certifying are
                never done in it
    radii       the balls that training is compared in, C among them; the last is no ball at all
    dampings    the values of lam that tuning tries, and the ablation of lam
    """

    name: str = _one_of(*PAIRS)
    dataset: str = _limit("a name for lab.data.load", bool)
    paper_dataset: str = _one_of("mnist", "cifar10", "svhn")
    stand_in: str = _one_of("", "mnistm", "mnist5k")
    train: int = _at_least(0)
    test: int = _at_least(0)
    model: str = _one_of("mlp", "allcnn", "resnet18")
    width: float = _positive()
    norm: str = _one_of("none", "group", "batch")
    activation: str = _one_of("relu", "tanh", "softplus", "gelu", "silu")
    optimizer: str = _one_of("sgd", "adam")
    lr: float = _positive()
    momentum: float = _limit("in [0, 1)", lambda value: 0 <= value < 1)
    schedule: str = _one_of("constant", "cosine")
    batch_size: int = _at_least(1)
    epochs: int = _at_least(1)
    precision: str = _one_of("float32", "bfloat16")
    weight_decay: float = _not_negative()
    C: float = _positive()
    radii: tuple[float, ...] = _limit(
        "ascending numbers above 0, the last of them inf, which is no constraint",
        lambda radii: _ascends(radii) and radii[-1:] == (inf,),
    )
    forget: int = _at_least(1)
    lam: float = _not_negative()
    dampings: tuple[float, ...] = _limit(
        "ascending numbers above 0, finite, at least two",
        lambda lams: _ascends(lams) and len(lams) > 1 and lams[-1] < inf,
    )
    seeds: tuple[int, ...] = _limit(
        "different integers from 0 up, at least one",
        lambda seeds: len(seeds) == len(set(seeds)) > 0 and min(seeds) >= 0,
    )


@dataclass(frozen=True)
class Profile:
    """A profile: its name, one line about it, its pairs, and why it was chosen.

    `pairs` gives them by name, and `profile.mlp_mnist` is `profile.pairs["mlp_mnist"]`. The MLP is
    always there; a profile may leave out a convolutional network that it has no time to train, and
    asking for it by name raises ProfileError. `minutes` is what all notebooks together are allowed
    on two CPU cores, from an empty cache: the plan that the sizes were chosen by. `at_once` is how
    many notebooks run at a time: two where one core is enough for each. Public constants
    of the models in `proved` are `neurons`, the width of the tanh network, and `angles`,
    `pieces`, `drawings` and `spellings`, from which the features of grey digits, of things in
    colour, of digits in colour and of names are made.
    """

    name: str
    about: str
    at_once: int
    neurons: int
    angles: int
    pieces: int
    drawings: int
    spellings: int
    minutes: float
    pairs: dict[str, Pair]
    reason: str

    def pair(self, name: str) -> Pair:
        """The pair of that name. Raises ProfileError where this profile leaves it out."""
        if name not in self.pairs:
            raise left_out(self.name, name)
        return self.pairs[name]

    @property
    def mlp_mnist(self) -> Pair:
        return self.pair("mlp_mnist")

    @property
    def allcnn_cifar10(self) -> Pair:
        return self.pair("allcnn_cifar10")

    @property
    def resnet18_svhn(self) -> Pair:
        return self.pair("resnet18_svhn")

    def __str__(self) -> str:
        missing = ", ".join(name for name in PAIRS if name not in self.pairs)
        without = f"; without {missing}" if missing else ""
        return f"profile {self.name} ({self.reason}): {self.about}{without}"


def left_out(profile: str, pair: str) -> ProfileError:
    """Say that a profile leaves out a pair, why it does, and which profiles have it."""
    having = [name for name in names() if pair in load(name).pairs]
    return ProfileError(
        f"profile {profile} leaves out {pair}, since in its minutes a convolutional network learns "
        f"too little to tell anything; {', '.join(having)} have it"
    )


def names() -> list[str]:
    """The profiles there are, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str, reason: str = "asked for by name") -> Profile:
    """Read a profile. Raises ProfileError naming file, key, value and what is allowed."""
    if name not in names():
        raise ProfileError(
            f"there is no profile {name!r} ({reason}); allowed are {', '.join(names())}"
        )
    return read(FOLDER / f"{name}.toml", reason)


def active(parameter: str) -> Profile:
    """The profile of this run: UNLEARNLIB_PROFILE when it is set, else the notebook's parameter."""
    override = os.environ.get(VARIABLE)
    if override:
        return load(override, VARIABLE)
    return load(parameter, "the parameter of this run")


def read(path: Path, reason: str) -> Profile:
    """Read a profile from any file, such as one of your own. Raises ProfileError as `load` does."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{path.name} is not TOML: {error}") from error
    counts = dict.fromkeys(("at_once", "neurons", "angles", "pieces", "drawings", "spellings"), int)
    entries = {"name": str, "about": str, **counts, "minutes": float}
    _same_keys(path.name, table, entries | dict.fromkeys(PAIRS, dict), OPTIONAL)
    if table["name"] != path.stem:
        raise ProfileError(f"{path.name}: name is {table['name']!r}; it must be {path.stem!r}")
    pairs = {name: _pair(path.name, name, table[name]) for name in PAIRS if name in table}
    values = {name: table[name] for name in entries} | {"minutes": float(table["minutes"])}
    for name in counts:
        if values[name] < 1:
            raise ProfileError(
                f"{path.name}: {name} = {values[name]} is not allowed; it must be at least 1"
            )
    return Profile(**values, pairs=pairs, reason=reason)


def _pair(file: str, name: str, table: dict[str, Any]) -> Pair:
    where = f"{file} [{name}]"
    types = get_type_hints(Pair)
    del types["name"]
    _same_keys(where, table, types)
    given = {key: _as_type(value, types[key]) for key, value in table.items()} | {"name": name}
    for entry in fields(Pair):
        if not entry.metadata["holds"](given[entry.name]):
            raise ProfileError(
                f"{where} {entry.name} = {given[entry.name]!r} is not allowed; "
                f"it must be {entry.metadata['limit']}"
            )
    if 0 < given["train"] <= given["forget"]:
        raise ProfileError(
            f"{where} forget = {given['forget']} is not allowed; "
            f"it must be below train = {given['train']}, so that something is retained"
        )
    if given["C"] not in given["radii"]:
        raise ProfileError(
            f"{where} radii = {given['radii']} is not allowed; C = {given['C']} must be among "
            "them, since it is compared with the others"
        )
    return Pair(**given)


def _same_keys(
    where: str, table: dict[str, Any], types: dict[str, Any], optional: Collection[str] = ()
) -> None:
    """Refuse unknown keys, missing keys that are not optional, and values of the wrong type."""
    for key in table.keys() - types.keys():
        raise ProfileError(f"{where} has the unknown key {key!r}; known are {', '.join(types)}")
    for key, wanted in types.items():
        if key not in table and key in optional:
            continue
        if key not in table:
            raise ProfileError(f"{where} lacks the key {key!r}; give it {_NAMES[wanted]}")
        if not _fits(table[key], wanted):
            given = f"{table[key]!r}, of type {type(table[key]).__name__}"
            raise ProfileError(f"{where} {key} = {given}; it must be {_NAMES[wanted]}")


_NAMES = {
    str: "a string",
    int: "an integer",
    float: "a number",
    dict: "a table",
    tuple[int, ...]: "a list of integers",
    tuple[float, ...]: "a list of numbers",
}


def _fits(value: Any, wanted: Any) -> bool:
    if get_origin(wanted) is tuple:
        return isinstance(value, list) and all(_fits(item, get_args(wanted)[0]) for item in value)
    if isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if wanted is float else wanted)


def _as_type(value: Any, wanted: Any) -> Any:
    if get_origin(wanted) is tuple:
        return tuple(_as_type(item, get_args(wanted)[0]) for item in value)
    return float(value) if wanted is float else value
