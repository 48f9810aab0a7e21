"""Draw every figure again from results.json alone: `make figures`.

    python -m unlearnlib.lab.redraw --profile laptop [--notebook 02_local_convex_lissa]

Nothing is trained and no notebook is run, so a change of style is seen in about a minute.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import UnlearnError
from ..progress import bar
from . import profiles
from .heartbeat import say
from .notebooks import all_studies, default_folder, figures, named, study
from .plots import save
from .results import command, load, results_path


def main(argv: list[str] | None = None) -> int:
    """Run the command line. Returns 0, or 1 where nothing can be drawn."""
    parser = argparse.ArgumentParser(prog="redraw", description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="quick", help="one of " + ", ".join(profiles.names()))
    parser.add_argument("--notebook", default="", help="draw this one's only, e.g. 00_start_here")
    parser.add_argument("--notebooks", type=Path, default=default_folder())
    arguments = parser.parse_args(argv)
    try:
        profile = profiles.load(arguments.profile, "--profile").name
        names = all_studies(arguments.notebooks)
        if arguments.notebook not in ("", *names):
            named(arguments.notebooks, arguments.notebook)  # refused, with the names there are
        names = [name for name in names if arguments.notebook in ("", name)]
        count = sum(draw(arguments.notebooks, name, profile) for name in bar(names, "figures"))
    except UnlearnError as error:
        say(f"error: {error}")
        return 1
    say(f"drew {count} figures of {profile}")
    return 0 if count else 1


def draw(folder: Path, name: str, profile: str) -> int:
    """Draw the figures of one study, and return how many; none where it has no results yet.

    Those of a pair that the profile leaves out are not drawn.
    """
    if not results_path(name, profile).exists():
        say(f"{name} has no results: {command(name, profile)}")
        return 0
    results = load(name, profile)
    drawn = [save(function, results) for function in figures(study(folder, name))]
    return sum(figure is not None for figure in drawn)


if __name__ == "__main__":
    sys.exit(main())
