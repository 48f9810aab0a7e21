"""Student copies of the assignments, and the points of a submission, by nbgrader.

python -m coursework.course OUT          from `make coursework`: writes OUT/student/NAME.ipynb,
                                         and OUT/otter/NAME/ for otter-grader

course = Course(folder)                  a course of nbgrader's own, with its gradebook
course.student_copy("01_ball_and_bound")
points = course.graded(notebook, "01_ball_and_bound", "student")
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from traitlets.config import Config

from . import bundle
from .bundle import SOURCES

SECONDS = 120  # that one cell of a submission may take


def assignments() -> list[str]:
    """The names of all assignments."""
    return sorted(path.stem for path in SOURCES.glob("[0-9][0-9]_*.ipynb"))


@dataclass(frozen=True)
class Course:
    """A course in a folder, as nbgrader lays it out: source, release, submissions, gradebook."""

    folder: Path

    @property
    def gradebook(self) -> str:
        return f"sqlite:///{self.folder / 'gradebook.db'}"

    @cached_property
    def api(self) -> NbGraderAPI:
        # nbgrader calls alembic by its name, which is beside Python and may not be on the path
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        config = Config()
        config.CourseDirectory.root = str(self.folder)
        config.CourseDirectory.db_url = self.gradebook
        config.ExecutePreprocessor.timeout = SECONDS
        config.Application.log_level = logging.ERROR
        return NbGraderAPI(config=config)

    def student_copy(self, name: str) -> Path:
        """The notebook for students: no solutions and no hidden tests, locked where they read."""
        source = self.folder / "source" / name / f"{name}.ipynb"
        source.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SOURCES / f"{name}.ipynb", source)
        _done(self.api.generate_assignment(name, force=True, create=True))
        return self.folder / "release" / name / f"{name}.ipynb"

    def graded(self, notebook: Path, name: str, student: str) -> dict[str, float]:
        """The points of each graded cell of a submission, None where a person has to read it."""
        place = self.folder / "submitted" / student / name / f"{name}.ipynb"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(notebook, place)
        _done(self.api.autograde(name, student, force=True, create=True))
        with Gradebook(self.gradebook) as book:
            grades = book.find_submission_notebook(name, name, student).grades
            return {grade.name: grade.auto_score for grade in grades}


def _done(result: dict) -> None:
    if not result["success"]:
        raise RuntimeError(result.get("log") or result.get("error") or "nbgrader gave no reason")


def main(argv: list[str] | None = None) -> int:
    """Write all student copies, for both graders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="where the student copies go")
    out = parser.parse_args(argv).out
    (out / "student").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        course = Course(Path(folder))
        for name in assignments():
            student = out / "student" / f"{name}.ipynb"
            shutil.copyfile(course.student_copy(name), student)
            bundle.write(name, out / "otter" / name)
            print(student, "and", out / "otter" / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
