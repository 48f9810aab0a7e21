"""A stored result of old code is never served as one of new: who moves numbers raises a recipe.

The store knows a result by its key, not by the code that made it. So every kind is made afresh
here, in a store of its own, and its numbers are compared with those in recipes.json.
"""

import json
import re
from pathlib import Path

import pytest
import recipes

from unlearnlib.lab.files import repository_root

KEPT = json.loads(recipes.KEPT.read_text())
AT_THIS_TORCH = pytest.mark.skipif(
    recipes.version() != KEPT["torch"], reason=f"the numbers are those of torch {KEPT['torch']}"
)
# of one processor or another; what two trainings of a CNN differ by moved by 2e-3 between them
ROUNDING = {"again": 5e-3}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("UNLEARNLIB_WORKERS", "1")
        return recipes.made()


@AT_THIS_TORCH
@pytest.mark.parametrize("kind", KEPT["kinds"])
def test_the_numbers_of_a_kind_move_only_with_its_recipe(made, kind):
    now, kept = made[kind], KEPT["kinds"][kind]
    remedy = "write the new numbers with `PYTHONPATH=notebooks .venv/bin/python tests/recipes.py`"
    assert now["recipe"] == kept["recipe"], f"the recipe of {kind!r} was raised: {remedy}"
    moved = f"the numbers of {kind!r} moved: raise its recipe (TRAINING, if training moved), and "
    both = {name: now["numbers"][name] for name in kept["numbers"] if name in now["numbers"]}
    before = {name: kept["numbers"][name] for name in both}
    assert both == pytest.approx(before, rel=ROUNDING.get(kind, 1e-3)), moved + remedy
    assert set(now["numbers"]) == set(kept["numbers"]), f"{kind!r} has other names: {remedy}"


def test_every_kind_that_is_stored_is_watched():
    root = repository_root()
    files = [*(root / "unlearnlib").rglob("*.py"), *(root / "notebooks" / "studies").rglob("*.py")]
    calls = "".join(Path(file).read_text(encoding="utf-8") for file in files)
    named = set(re.findall(r"(?:load_or_make|load_or_train|_kept|_stored)\(\s*\"([\w ]+)\"", calls))
    assert named >= {"trained", "methods", "proved"}
    assert named == set(KEPT["kinds"]), "make each kind in tests/recipes.py, and write its numbers"
