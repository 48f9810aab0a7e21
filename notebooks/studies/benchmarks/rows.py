"""What `make bench` measured: rows, a figure, and tables for figures/README.md.

    cd notebooks && python -m studies.benchmarks.rows TIMINGS.json

TIMINGS.json is pytest-benchmark's. Only ratios within a task are published: seconds belong to one
machine, and are kept in results.json for who wants to know.
"""

from __future__ import annotations

import math
import os
import sys
from typing import Any

import pandas as pd

from unlearnlib.lab import profiles
from unlearnlib.lab.files import read_json
from unlearnlib.lab.heartbeat import say
from unlearnlib.lab.markdown import markdown
from unlearnlib.lab.plots import save
from unlearnlib.lab.results import Results, Saved, results_path
from unlearnlib.text import number

from . import scale
from .figures import speed

NAME, PROFILE = "benchmarks", "laptop"
BATCH = 128  # of the products that are timed
RESNET = f"batch of {BATCH}, ResNet-18"
PROCESSES = (1, 8, 64)
COLUMNS = ("task", "contender", "times faster", "times the time", "reached")


def main(path: str) -> None:
    """Write results.json and the figure from the report at `path`, by pytest-benchmark."""
    report = read_json(path, "time anew with `make bench`")
    results = Results(NAME, profiles.load(os.environ.get(profiles.VARIABLE, PROFILE)))
    timings = rows(report["benchmarks"])
    results.record("timings", timings, unit="s")
    results.record("scale", at_scale(timings))
    results.save()
    save(speed, results)
    say(f"{len(report['benchmarks'])} timings are in {results_path(NAME, results.profile).parent}")


def rows(benchmarks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a timing: medians, spread, and how many times faster than its task's reference.

    seconds   the median of `rounds`; or what the contender worked out itself, as for a time that
              is extrapolated
    beside    that of the reference in turn with these rounds, which then is what counts
    """
    measured = [_row(benchmark) for benchmark in benchmarks]
    tasks = list(dict.fromkeys(row["task"] for row in measured))
    measured.sort(key=lambda row: tasks.index(row["task"]))
    reference = {row["task"]: row["seconds"] for row in measured if row.pop("against")}
    for row in measured:
        known = row["task"] in reference and "exponent" not in row and "times" not in row
        beside = row.get("beside", reference.get(row["task"]))
        row["times faster"] = beside / row["seconds"] if known else None
    return measured


def _row(benchmark: dict[str, Any]) -> dict[str, Any]:
    """One timing: rounds, seconds, and the facts that the benchmark noted."""
    facts, stats = dict(benchmark["extra_info"]), benchmark["stats"]
    against = facts.pop("against", False)
    times = {"seconds": stats["median"], "least": stats["min"], "most": stats["max"]}
    if "seconds" in facts:
        times |= {"least": facts["seconds"], "most": facts["seconds"]}
    return {"against": against, "rounds": stats["rounds"]} | times | facts


def at_scale(timings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row of `scale.request` for each number of processes, from ResNet-18's timings."""
    resnet = {row["contender"]: row for row in timings if row["task"] == RESNET}
    gradient = resnet["gradient"]
    rate = gradient["flop"] * BATCH / gradient["seconds"]
    product = 1 / resnet["Hessian, fresh"]["times faster"]
    terms = {"flop a second": rate, "gradients a product": product}
    return [scale.request(count, rate, product) | terms for count in PROCESSES]


def scale_table(results: Saved) -> str:
    """The estimate for ResNet-50 as a Markdown table, and the text above it."""
    rows = results.table("scale")
    rate, product = rows["flop a second"][0], rows["gradients a product"][0]
    columns = [name for name in rows if name not in ("flop a second", "gradients a product")]
    text = (
        f"An estimate for ResNet-50 on ImageNet ({scale.IMAGES:,} images, {scale.FORGOTTEN:,} to "
        f"forget, the Hessian on {scale.HESSIAN_SAMPLE:,} images and {scale.PRODUCTS} products), "
        f"for processes like the one measured: {rate / 1e9:.0f} GFLOP a second in a gradient of "
        f"ResNet-18 on CPU, and {product:.2g} gradients a fresh Hessian product. A process with an "
        "accelerator of 100 times that rate takes a hundredth of the hours. Work is taken to "
        "divide evenly, and sending is left out. Gigabytes are those of vectors and one pass: a "
        "process reads only its share of the images, so keep them in a memory-mapped tensor "
        "(`torch.from_file`) rather than in memory."
    )
    cells = [map(number, row[columns]) for _, row in rows.iterrows()]
    return f"{text}\n\n{markdown(columns, cells)}"


def table(results: Saved) -> str:
    """All timings as a Markdown table, and where and when they were taken."""
    made, timed = results.provenance, results.table("timings")
    text = (
        f"{len(timed)} timings of {made['finished'][:10]} at `{results.profile}`, torch "
        f"{made['packages']['torch']}, {made['machine']['cores']} cores, from "
        f"{made['git']['commit'][:7]}. Median (least to most) where there were several rounds."
    )
    lines, before = [], None
    for _, row in timed.iterrows():
        ratio = row["times faster"]
        times = "-" if _absent(ratio) else number(1 / ratio)
        task = "" if row.task == before else row.task
        lines.append((task, row.contender, faster(row), times, reached(row)))
        before = row.task
    return f"{text}\n\n{markdown(COLUMNS, lines)}"


def faster(row: pd.Series) -> str:
    """ "12 (11 to 13)": how many times faster than the task's reference, over the rounds."""
    ratio = row["times faster"]
    if _absent(ratio):
        return "-"
    if ratio == 1:
        return "reference"
    if row.least == row.most:
        return number(ratio)
    reference = ratio * row.seconds
    return f"{number(ratio)} ({number(reference / row.most)} to {number(reference / row.least)})"


FACTS = {
    "residual": "residual {}",
    "difference": "{} off the one in double precision",
    "exponent": "exponent {}",
    "times": "{} times",
    "steps": "{} steps",
    "threads": "threads: {}",
}


def reached(row: pd.Series) -> str:
    """Residual, steps and other facts of a contender, and what its time leaves out."""
    facts = [
        says.format(number(row[name]))
        for name, says in FACTS.items()
        if name in row and not _absent(row[name])
    ]
    note = row.get("note")
    return "; ".join(facts + ([] if _absent(note) else [note])) or "-"


def _absent(value: Any) -> bool:
    """Whether a table has no value here: None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


if __name__ == "__main__":
    main(sys.argv[1])
