"""The tables of README.md and figures/README.md, from profiles, studies and committed results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError, require
from ..text import number
from . import profiles
from .markdown import markdown
from .notebooks import (
    all_in,
    all_studies,
    figures,
    first_sentence,
    planned_minutes,
    read_notebook,
    study,
)
from .results import VERDICTS, Saved, command, load, measured_in_words, results_path, why_in_words
from .verdicts import HEADLINES

PROFILE = "laptop"
OURS = "not quoted"  # how the paper's side of a claim begins where the claim is ours
README, FIGURES = Path("README.md"), Path("figures/README.md")
CLAIM_COLUMNS = ("claim", "the paper", "measured here", "verdict", "why")


def tables(folder: Path) -> dict[Path, dict[str, str]]:
    """Return {document: {name of the table: its Markdown}}.

    A notebook that was not run yet is listed without results. Raises DataError for results that
    were made from uncommitted code.
    """
    there = [name for name in all_studies(folder) if results_path(name, PROFILE).exists()]
    saved = {name: load(name, PROFILE) for name in there}
    notebooks = [saved[path.stem] for path in all_in(folder) if path.stem in saved]
    for results in saved.values():
        _refuse_unknown_source(results)
    shown = {
        "claims": claims_table(notebooks),
        "minutes": minutes_table(folder, notebooks),
        "figures": "\n\n".join(figures_of(folder, results) for results in saved.values()),
    }
    for name, results in saved.items():
        more = getattr(study(folder, name), "TABLES", {})
        shown |= {table: make(results) for table, make in more.items()}
    pages = {
        FIGURES.with_name(page): {table: make(results) for table, make in tables.items()}
        for name, results in saved.items()
        for page, tables in getattr(study(folder, name), "PAGES", {}).items()
    }
    return pages | {
        README: {
            "notebooks": notebooks_table(folder),
            "results": headlines(notebooks),
            "profiles": profiles_table(),
        },
        FIGURES: shown,
    }


# ---- README.md -----------------------------------------------------------------------------------


def notebooks_table(folder: Path) -> str:
    """Each notebook with what it shows: the first sentence of its study."""
    rows = [
        (f"[{path.stem}](notebooks/{path.name})", first_sentence(study(folder, path.stem)))
        for path in all_in(folder)
    ]
    return markdown(("notebook", "shows"), rows)


def headlines(notebooks: Sequence[Saved]) -> str:
    """The claims of HEADLINES that the results answer: question, what was measured, verdict."""
    claims = {claim: (saved, entry) for saved in notebooks for claim, entry in saved.claims.items()}
    rows = []
    for claim, (question, answer) in HEADLINES.items():
        if claim in claims:
            saved, entry = claims[claim]
            rows.append((f"{question} ({_link(saved, README)})", *_answer(answer, entry)))
    return markdown(("question", "measured here", "verdict of the claim"), rows)


def _answer(text: str, entry: dict) -> tuple[str, str]:
    """What was measured, in words, and the verdict; a claim that was since reworded has neither."""
    try:
        measured = text.format_map({name: number(v) for name, v in entry["measured"].items()})
    except KeyError:
        return f"not run yet with its present rule at `{PROFILE}`", "-"
    return f"{measured} (n = {entry['n']})", entry["verdict"]


def profiles_table() -> str:
    """The profiles, smallest first, with the time that is planned for all notebooks."""
    known = sorted(map(profiles.load, profiles.names()), key=lambda profile: profile.minutes)
    rows = [(f"`{p.name}`", p.about, _duration(p.minutes)) for p in known]
    return markdown(("profile", "what it is", "planned, on two CPU cores"), rows)


def _duration(minutes: float) -> str:
    """Return minutes as text: "8 minutes", or from three hours on "1,417 hours"."""
    return f"{minutes:g} minutes" if minutes < 180 else f"{number(round(minutes / 60))} hours"


# ---- figures/README.md ---------------------------------------------------------------------------


def claims_table(notebooks: Sequence[Saved]) -> str:
    """All claims as one table, each beside the notebook that answers it."""
    rows = [
        (
            f"{claim} ({_link(results, FIGURES)})",
            entry["paper"],
            measured_in_words(entry),
            entry["verdict"],
            why_in_words(entry),
        )
        for results in notebooks
        for claim, entry in results.claims.items()
    ]
    claims = [claim for results in notebooks for claim in results.claims.values()]
    ours = [claim for claim in claims if claim["paper"].startswith(OURS)]
    papers = [claim for claim in claims if claim not in ours]
    counts = f"{_counts(papers, ' claims of the paper')} {_counts(ours, ' of ours')}"
    summary = f"{counts} {_made(notebooks)}"
    return f"{summary}\n\n{markdown(CLAIM_COLUMNS, rows)}"


def _counts(claims: Sequence[dict], whose: str) -> str:
    """How many claims there are, and how many of each verdict."""
    verdicts = [claim["verdict"] for claim in claims]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in VERDICTS if v in verdicts)
    return f"{len(claims)}{whose}: {counts}." if claims else f"0{whose}."


def minutes_table(folder: Path, notebooks: Sequence[Saved]) -> str:
    """Minutes of each notebook: planned at quick, measured at laptop."""
    taken = {r.notebook: r.provenance["seconds"] / 60 for r in notebooks}
    planned = {
        path.stem: planned_minutes(read_notebook(path, "check it out anew")) or 0.0
        for path in all_in(folder)
    }
    rows = [
        (name, f"{minutes:g}", f"{taken[name]:.1f}" if name in taken else "not run yet")
        for name, minutes in planned.items()
    ]
    rows.append(("all", f"{sum(planned.values()):.1f}", f"{sum(taken.values()):.0f}"))
    return markdown(("notebook", "planned at `quick`", f"taken at `{PROFILE}`"), rows)


def figures_of(folder: Path, results: Saved) -> str:
    """Return the section of a study: its links, its command, and a caption for each figure made."""
    name, module = results.notebook, study(folder, results.notebook)
    rows = [
        (f"[{draw.__name__}]({PROFILE}/{name}/{draw.__name__}.png)", first_sentence(draw))
        for draw in figures(module)
        if results_path(name, PROFILE).with_name(f"{draw.__name__}.png").exists()
    ]
    is_notebook = (folder / f"{name}.ipynb").exists()
    notebook = f"[notebook](../notebooks/{name}.ipynb), " if is_notebook else ""
    made_by = command(name, PROFILE)
    links = f"{notebook}[numbers]({PROFILE}/{name}/results.json), `{made_by}`"
    shows = first_sentence(module) if module else name
    return f"### {name}\n\n{shows} ({links}).\n\n{markdown(('figure', 'shows'), rows)}"


def _link(results: Saved, page: Path) -> str:
    up = "../" * (len(page.parts) - 1)
    return f"[{results.notebook[:2]}]({up}notebooks/{results.notebook}.ipynb)"


def _made(notebooks: Sequence[Saved]) -> str:
    """Return a sentence: when, with which versions and from which commits all was made."""
    made = [results.provenance for results in notebooks]
    days = sorted({p["finished"][:10] for p in made})
    versions = dict.fromkeys(f"torch {p['packages']['torch']}" for p in made)
    devices = dict.fromkeys(p["machine"]["device"] for p in made)
    cores = sorted({p["machine"]["cores"] for p in made})
    commits = dict.fromkeys(p["git"]["commit"][:7] for p in made)
    return (
        f"Made {' to '.join(dict.fromkeys((days[0], days[-1])))} at `{PROFILE}`, "
        f"{', '.join(versions)}, {', '.join(devices)}, {' or '.join(map(str, cores))} cores, from "
        f"{', '.join(commits)}.{_trained_elsewhere(made)}"
    )


def _trained_elsewhere(made: Sequence[dict]) -> str:
    """Return a sentence on stored models that another device or torch version made, if any."""
    here = {f"{p['machine']['device']}, torch {p['packages']['torch']}" for p in made}
    makers = {maker for p in made for maker in p.get("models_made_on", ())}
    others = sorted(m for m in makers - {"not recorded"} if m.partition("+")[0] not in here)
    return f" Some of the stored models were made on {'; '.join(others)}." if others else ""


def _refuse_unknown_source(results: Saved) -> None:
    git = results.provenance["git"]
    require(
        git["dirty"] is False,
        f"the results of {results.notebook} come from sources that no commit holds (commit "
        f"{git['commit'][:7]}, dirty: {git['dirty']}): commit, then run it again",
        DataError,
    )
