"""The results of a notebook: what it measured, what it claims, and how they were made.

A notebook makes one `Results`, records into it and saves it as
figures/<profile>/<notebook>/results.json. Figures are drawn from these numbers, so that each
point of a figure can be looked up as text.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from pandas.io.formats.style import Styler
from torch import Tensor

from ..errors import DataError, InputError, require
from ..text import number
from .files import read_json, require_writable, root_from, write_whole
from .nulls import NOT_JUDGED, NOT_REPRODUCED, PARTLY, REPRODUCED, Judged
from .profiles import Profile, left_out
from .provenance import provenance
from .store import commits_used, makers_used

if TYPE_CHECKING:  # importing data loads scikit-learn too, which takes a second
    from .data import Images

FIGURES = "UNLEARNLIB_FIGURES"
ENTRY = ("paper", "settings", "measured", "n", "spread", "verdict", "why", "null")  # of a claim
SCANNED = 3  # numbers of a claim that a reader takes in at a glance
VERDICTS = (REPRODUCED, PARTLY, NOT_REPRODUCED, NOT_JUDGED)


def figures_root() -> Path:
    """Where figures and results go: `UNLEARNLIB_FIGURES`, else `figures` at the repository root."""
    return root_from(FIGURES, "figures")


def results_path(notebook: str, profile: str) -> Path:
    """The results.json of one notebook under one profile, whether it exists or not."""
    return figures_root() / profile / notebook / "results.json"


def command(name: str, profile: str) -> str:
    """The command that makes the results of a notebook, or of "benchmarks", which has none."""
    is_notebook = name[0].isdigit()
    return f"make reproduce PROFILE={profile} NOTEBOOK={name}" if is_notebook else "make bench"


@dataclass
class Saved:
    """A notebook's results as plain JSON values.

    numbers      name -> {"value": number, text, list or table, "unit": str, "seeds": list or None}
    claims       the claim's text -> {"paper", "settings", "measured", "n", "spread", "verdict",
                 "why", "null"}
    datasets     the title of each data set used -> its digest
    provenance   versions, machine, profile, seconds, git, and the commits and devices that made
                 the stored models; empty until `Results.save`
    """

    notebook: str
    profile: str
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)
    claims: dict[str, dict[str, Any]] = field(default_factory=dict)
    datasets: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def table(self, name: str) -> pd.DataFrame:
        """A recorded table (a list of dicts) as a DataFrame. Raises InputError if it is none."""
        if name not in self.numbers:
            known = ", ".join(self.numbers) or "nothing"
            raise InputError(f"{self.notebook} recorded no {name!r}; it recorded {known}")
        rows = self.numbers[name]["value"]
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"{name!r} is {rows!r:.60}, not a table; read numbers[{name!r}]")
        infinite = {"inf": math.inf, "-inf": -math.inf}
        return pd.DataFrame(
            [
                {k: infinite.get(v, v) if isinstance(v, str) else v for k, v in row.items()}
                for row in rows
            ]
        )

    def rows(self, name: str, pair: str) -> pd.DataFrame:
        """The rows of a recorded table that are of one pair.

        Raises ProfileError where there are none, since the profile leaves out that pair.
        """
        table = self.table(name)
        if pair not in set(table.pair):
            raise left_out(self.profile, pair)
        return table[table.pair == pair]

    def claims_table(self) -> pd.DataFrame:
        """The claims as a DataFrame, one row each, for the end of the notebook."""
        columns = ["claim", *ENTRY]
        rows = [{"claim": claim} | entry for claim, entry in self.claims.items()]
        return pd.DataFrame(rows, columns=columns)

    def show_claims(self) -> Styler:
        """The claims as a table to read: nothing cut off, three digits, a row for each claim."""
        rows = [
            {
                "claim": f"{claim}. The paper: {entry['paper']}",
                "measured here": measured_in_words(entry),
                "verdict": entry["verdict"],
                "why": why_in_words(entry),
            }
            for claim, entry in self.claims.items()
        ]
        left = {"text-align": "left", "white-space": "normal", "vertical-align": "top"}
        table = pd.DataFrame(rows, columns=["claim", "measured here", "verdict", "why"])
        return table.style.hide(axis="index").set_uuid("claims").set_properties(**left)


class Results(Saved):
    """Collects a notebook's numbers and claims; the clock starts here.

    Recording a name or a claim again replaces it, so that a cell may be run twice.
    """

    def __init__(self, notebook: str, profile: Profile):
        super().__init__(notebook, profile.name)
        require_writable(results_path(notebook, profile.name).parent, FIGURES)
        self._settings = profile
        self._began = time.monotonic()

    def record(
        self, name: str, value: Any, *, unit: str = "", seeds: Sequence[int] | None = None
    ) -> None:
        """Keep a number, a text, a list, or a table (`frame.to_dict("records")`).

        Scalars and arrays of numpy and torch become plain numbers; infinities are kept as the
        texts "inf" and "-inf". `seeds` names the runs behind the value. Raises InputError for
        NaN and for anything that is not a number, text, None, list or dict.
        """
        require(name != "", "a recorded value needs a name; '' was given")
        self.numbers[name] = {
            "value": plain(value, name),
            "unit": unit,
            "seeds": None if seeds is None else [int(seed) for seed in seeds],
        }

    def claim(
        self,
        claim: str,
        *,
        paper: str,
        settings: str,
        measured: dict[str, Any],
        n: int,
        spread: Any,
        judged: Judged,
    ) -> None:
        """Set a claim of the paper beside what was measured in `n` runs.

        paper      quotes the paper with its source, or says "not quoted": the claim is ours then
        settings   data, network and sizes that the verdict is about
        measured   at most three numbers, by name; what else there is stands in a table
        spread     over the runs; None for one run
        judged     the verdict, its reason and the null test: see `nulls.judge`

        Raises InputError for more than three numbers, and for an unknown verdict.
        """
        require(
            judged.verdict in VERDICTS,
            f"the verdict of {claim!r} is {judged.verdict!r}; it must be one of "
            f"{', '.join(VERDICTS)}",
        )
        require(
            len(measured) <= SCANNED,
            f"{claim!r} measured {len(measured)} numbers; name at most {SCANNED}, and record a "
            "table with the others",
        )
        values = (paper, settings, measured, n, spread, judged.verdict, judged.why, judged.null)
        entry = dict(zip(ENTRY, values, strict=True))
        self.claims[claim] = plain(entry, f"claim {claim!r}")

    def see(self, name: str, text: str) -> None:
        """Say what the numbers show: a sentence that names them, shown as text and kept.

        The sentence is made from what was measured, so that it is true at every size.
        """
        self.record(f"seen: {name}", text)
        display(Markdown(text))

    def data(self, images: Images) -> None:
        """Note a data set as used by this notebook: its title and its digest."""
        self.datasets[images.title] = images.digest

    def save(self) -> None:
        """Write results.json in one piece, to `results_path`."""
        made = provenance(self._settings, time.monotonic() - self._began)
        models = {"models": commits_used(), "models_made_on": makers_used()}
        self.provenance = plain(made | models, "provenance")
        text = json.dumps(asdict(self), indent=2, allow_nan=False)
        write_whole(results_path(self.notebook, self.profile), text + "\n")


def load(notebook: str, profile: str) -> Saved:
    """Read what `Results.save` wrote. Raises DataError if it is missing or broken."""
    path = results_path(notebook, profile)
    remedy = f"make it with `{command(notebook, profile)}`"
    require(path.exists(), f"{path} does not exist; {remedy}", DataError)
    content, wanted = read_json(path, remedy), {field.name for field in fields(Saved)}
    odd = ", ".join(sorted(content.keys() ^ wanted))
    require(not odd, f"{path} lacks, or should not have, {odd}; {remedy}", DataError)
    return Saved(**content)


def plain(value: Any, where: str) -> Any:
    """Convert `value` to JSON values; InputError names the entry that cannot be converted."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(inner, f"{where}[{key!r}]") for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner, f"{where}[{i}]") for i, inner in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        require(
            not math.isnan(value),
            f"{where} is NaN; leave the entry out, or record None and say in the text why",
        )
        return "inf" if value > 0 else "-inf"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise InputError(
        f"{where} is a {type(value).__name__}; record a number, text, list, dict, array or tensor"
    )


def worded(value: Any) -> str:
    """Return measured values as text, "before: 0.045, after: 0.03"; a spread "0.015 to 0.06"."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {worded(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return (" to " if len(value) == 2 else ", ").join(map(worded, value))
    return "-" if value is None else number(value)


def measured_in_words(claim: dict) -> str:
    """The measured values of a claim, with the number of runs, their spread, the settings."""
    spread = "" if claim["spread"] is None else f", {worded(claim['spread'])}"
    at = f". {claim['settings']}" if "settings" in claim else ""
    return f"{worded(claim['measured'])} (n = {claim['n']}{spread}){at}"


def why_in_words(claim: dict) -> str:
    """The reason for a verdict, and the null test of the rule behind it."""
    null = f". Null test: {worded(claim['null'])}" if "null" in claim else ""
    return f"{claim['why']}{null}"
