"""Run the notebooks in order and keep what they made: `make reproduce`.

    python -m unlearnlib.lab.reproduce --profile quick [--notebook 02_local_convex_lissa]

A notebook that ran to its end is moved to executed/<profile>/ in the cache and gets a stamp with
the digest of all it was made from: its code, its study, and the package. While that digest is the
same it is not run again, so an interrupted run goes on where it stopped. Text and comments are no
part of it.

Where the profile says so, several notebooks run at once, each in a process of its own.

Under torchrun each process runs the notebook in a kernel of its own, and the kernels share the work
(see lab/processes.py). The first process keeps the outputs, the others keep nothing.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import papermill
import torch
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbformat import NotebookNode

from ..errors import DataError, InputError, ProfileError, UnlearnError
from ..progress import PROGRESS
from . import profiles
from .files import CACHE, PACKAGE, cache_root, make_folder, read_json, require_writable, write_whole
from .heartbeat import Heartbeat, duration, say, since
from .notebooks import (
    code_cells,
    default_folder,
    named,
    planned_minutes,
    read_notebook,
    study_files,
    without_comments,
)
from .parallel import VARIABLE as WORKERS_VARIABLE
from .parallel import cores, in_processes
from .processes import MEETING_VARIABLE, THREADS_VARIABLE, first, processes, sleep_while_waiting
from .results import FIGURES, results_path

INTERRUPTED = 130  # what shells report for a program that Ctrl-C ended


@dataclass(frozen=True)
class Job:
    """One notebook under one profile, and the paths of all that it leaves."""

    notebook: Path
    profile: str

    @property
    def name(self) -> str:
        return self.notebook.stem

    @property
    def executed(self) -> Path:
        return cache_root() / "executed" / self.profile / f"{self.name}.ipynb"

    @property
    def failed(self) -> Path:
        return self.executed.with_suffix(".failed.ipynb")

    @property
    def stamp(self) -> Path:
        return cache_root() / "stamps" / self.profile / f"{self.name}.json"

    @property
    def old_stamp(self) -> Path:
        """The stamp of the run before, kept for its minutes only."""
        return self.stamp.with_suffix(".old.json")

    @property
    def results(self) -> Path:
        return results_path(self.name, self.profile)


def main(argv: list[str] | None = None) -> int:
    """Run the command line. Returns 0 when all is made, 1 after a failure, 130 when interrupted."""
    arguments = _arguments(argv)
    # Progress bars would stay in the saved notebooks; the heartbeat shows what they say instead.
    os.environ.setdefault(PROGRESS, "0")
    sleep_while_waiting()
    try:
        with _stoppable():
            return _make_all(_jobs(arguments))
    except UnlearnError as error:
        say(f"error: {error}", everyone=True)
        return 1
    except KeyboardInterrupt:
        say("interrupted: the finished notebooks are kept, and the same command goes on from here")
        return INTERRUPTED


@contextmanager
def _stoppable() -> Iterator[None]:
    """Handle SIGTERM as Ctrl-C: no kernel and no half-finished notebook stay behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _make_all(jobs: list[Job]) -> int:
    began, at_once = time.monotonic(), _at_once(jobs)
    to_come, calls = [_minutes_to_come(job) for job in jobs], []
    for number, job in enumerate(jobs, 1):
        later = sum(to_come[number:]) / at_once
        calls.append(partial(_make, job, f"[{number}/{len(jobs)}] {job.name}", began, later))
    if at_once > 1:
        made = in_processes(
            [partial(_beside, call) for call in calls], at_once, "notebooks", _begin
        )
    else:
        made = [call() for call in calls]
    failed = [job.name for job, well in zip(jobs, made, strict=True) if not well]
    if failed:
        say(f"{len(failed)} of {len(jobs)} failed: {', '.join(failed)}")
        return 1
    in_all = duration(since(began))
    say(f"all is made, in {in_all}: numbers and figures are in {jobs[0].results.parents[1]}")
    return 0


def _at_once(jobs: list[Job]) -> int:
    """Notebooks to run at once: as the profile says, one under torchrun, and no idle process."""
    alone = processes() > 1 or cores() == 1
    return 1 if alone else min(profiles.load(jobs[0].profile).at_once, len(jobs))


def _begin() -> None:
    """Set up a process that runs notebooks beside others: one core, and no workers of its own."""
    os.environ.setdefault(THREADS_VARIABLE, "1")
    os.environ.setdefault(WORKERS_VARIABLE, "1")


def _beside(make: Callable[[], bool]) -> bool:
    """Make a notebook beside others; when stopped, end this process, which would begin the next."""
    try:
        with _stoppable():
            return make()
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="reproduce", description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="quick", help="one of " + ", ".join(profiles.names()))
    parser.add_argument("--notebook", default="", help="run this one only, e.g. 00_start_here")
    parser.add_argument(
        "--notebooks", type=Path, default=default_folder(), help="the folder that holds them"
    )
    return parser.parse_args(argv)


def _jobs(arguments: argparse.Namespace) -> list[Job]:
    """The jobs that are asked for, all checked before the first notebook starts."""
    profile = profiles.load(arguments.profile, "--profile").name
    override = os.environ.get(profiles.VARIABLE) or profile
    if override != profile:
        raise ProfileError(
            f"{profiles.VARIABLE} is {override!r} and would win in every notebook, but --profile "
            f"is {profile!r}; unset the one or change the other"
        )
    jobs = [Job(path, profile) for path in named(arguments.notebooks, arguments.notebook)]
    require_writable(jobs[0].stamp.parent, CACHE)
    require_writable(jobs[0].executed.parent, CACHE)
    require_writable(jobs[0].results.parent, FIGURES)
    for job in jobs:
        _check_parameters(job.notebook, {"profile": profile})
    return jobs


def _check_parameters(notebook: Path, given: dict[str, Any]) -> None:
    """Refuse a parameter that the notebook lacks: papermill would warn and run its default."""
    cells = [
        cell for cell in _read(notebook).cells if "parameters" in cell.metadata.get("tags", [])
    ]
    if len(cells) != 1:
        raise InputError(f"{notebook} has {len(cells)} cells tagged 'parameters'; it needs one")
    try:
        statements = ast.parse(cells[0].source).body
    except SyntaxError as error:
        raise InputError(f"{notebook}: the parameters cell is not Python: {error}") from error
    assigned = {
        target.id
        for statement in statements
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    for name in given.keys() - assigned:
        raise InputError(
            f"{notebook}: the parameters cell does not assign {name!r} but "
            f"{', '.join(sorted(assigned)) or 'nothing'}; add `{name} = {given[name]!r}`"
        )


def _make(job: Job, head: str, all_began: float, later: float) -> bool:
    """Bring one notebook up to date; False when it failed."""
    digest = _digest(job.notebook)
    if _is_current(job, digest):
        say(f"{head}: up to date; to run it all the same, delete {job.stamp}")
        return True
    began = time.monotonic()
    try:
        if first():
            _run(job, head, later)
        else:
            _execute(job, None)
    except Exception as error:  # whatever a notebook raises, the others still run
        say(f"{head}: FAILED after {duration(since(began))}\n{error}", everyone=True)
        say(f"{head}: " + (f"read {job.failed}" if job.failed.exists() else "it left no notebook"))
        return False
    minutes = since(began)
    if first():
        write_whole(job.stamp, json.dumps({"digest": digest, "minutes": minutes}) + "\n")
        job.old_stamp.unlink(missing_ok=True)
    in_all = duration(since(all_began))
    say(f"{head}: done in {duration(minutes)}, {in_all} in all: {job.executed}")
    return True


def _digest(notebook: Path) -> str:
    """sha256 of the code of the notebook, of its study and of the package, and of the versions."""
    versions = f"python {platform.python_version()} torch {torch.__version__}"
    digest = hashlib.sha256(versions.encode())
    for cell in code_cells(_read(notebook)):
        digest.update(f"|{without_comments(cell.source)}".encode())
    for path in study_files(notebook.parent, notebook.stem):
        digest.update(f"|{path.name}|{_code(path)}".encode())
    for path in sorted(path for end in ("py", "toml") for path in PACKAGE.rglob(f"*.{end}")):
        digest.update(f"|{path.relative_to(PACKAGE).as_posix()}|{_code(path)}".encode())
    return digest.hexdigest()


def _code(path: Path) -> str:
    """The content of a Python or TOML file, without its comments."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".toml":
        return json.dumps(profiles.tomllib.loads(source), sort_keys=True)
    return without_comments(source)


def _is_current(job: Job, digest: str) -> bool:
    kept = job.executed.exists() and job.results.exists()
    return kept and _stamped(job.stamp).get("digest") == digest


def _expected_minutes(job: Job) -> float | None:
    """Minutes of the last run here, or of the saved results, or those that the first cell names.

    None if unknown.
    """
    for path in (job.stamp, job.old_stamp):
        if minutes := _stamped(path).get("minutes"):
            return minutes
    if seconds := _stamped(job.results).get("provenance", {}).get("seconds"):
        return seconds / 60
    return planned_minutes(_read(job.notebook)) if job.profile == "quick" else None


def _stamped(path: Path) -> dict[str, Any]:
    """Return the content of a stamp; {} if it is missing, broken or was just removed."""
    try:
        return read_json(path, "its notebook is run again")
    except (FileNotFoundError, DataError):
        return {}


def _minutes_to_come(job: Job) -> float:
    """Minutes that this notebook will still take: none if it is up to date."""
    return 0.0 if _is_current(job, _digest(job.notebook)) else _expected_minutes(job) or 0.0


def _run(job: Job, head: str, later: float) -> None:
    """Execute under a temporary name, then move: to its place, or aside when it failed."""
    cells = _read(job.notebook).cells
    heartbeat = Heartbeat(
        head,
        # One more than there are, for the cell in which papermill puts the parameters.
        cells=1 + sum(cell.cell_type == "code" and cell.source.strip() != "" for cell in cells),
        expected=_expected_minutes(job),
        later=later,
    )
    if job.stamp.exists():  # from here on its figures are being rewritten
        os.replace(job.stamp, job.old_stamp)
    results_before = _written_at(job.results)
    make_folder(job.executed.parent)
    unfinished = job.executed.with_name(f".{job.name}.{os.getpid()}.ipynb")
    try:
        with heartbeat.beating():
            _execute(job, unfinished, heartbeat.next_cell)
        if _written_at(job.results) == results_before:
            raise InputError(f"{job.name} did not write {job.results}; end it with results.save()")
        os.replace(unfinished, job.executed)
        job.failed.unlink(missing_ok=True)
    except Exception:
        if unfinished.exists():
            os.replace(unfinished, job.failed)
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def _execute(job: Job, output: Path | None, next_cell: Callable | None = None) -> None:
    os.environ[MEETING_VARIABLE] = job.name
    # A kernel manager of our own, since nbclient leaves behind a kernel that is interrupted while
    # it starts. Without folders to look in, "python3" is this Python, and not a kernel of that
    # name that JUPYTER_PATH or the user's folder holds.
    kernels = KernelSpecManager(kernel_dirs=[])
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=kernels)
    try:
        papermill.execute_notebook(
            job.notebook,
            output,
            parameters={"profile": job.profile},
            kernel_name="python3",
            language="python",
            cwd=job.notebook.parent,
            progress_bar=False,
            on_cell_execute=next_cell,
            km=manager,
            extra_arguments=["--log-level=ERROR"],  # it warns of TCP, which stays on this machine
        )
    finally:
        if manager.has_kernel:
            run_sync(manager.shutdown_kernel)(now=True)


def _read(notebook: Path) -> NotebookNode:
    return read_notebook(notebook, "mend it, or move it out of the folder")


def _written_at(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
