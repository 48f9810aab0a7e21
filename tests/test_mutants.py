"""The errors that are put in on purpose: code moves, and each must still find its place."""

from mutants import MUTANTS

from unlearnlib.lab.files import repository_root


def test_each_error_still_has_its_place_and_leaves_python():
    for mutant in MUTANTS:
        mutant.applied(mutant.path(repository_root()).read_text())
