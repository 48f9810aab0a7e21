"""Where a run comes from, as git says it, or "unknown"."""

import shutil
import subprocess

import pytest

from unlearnlib.lab import provenance


@pytest.fixture(autouse=True)
def forgotten():
    """`commit` remembers its first answer, which here is another's."""
    provenance.commit.cache_clear()
    yield
    provenance.commit.cache_clear()


def test_outside_of_git_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "repository_root", lambda: tmp_path)
    assert provenance.git_state() == {"commit": "unknown", "dirty": "unknown"}
    assert provenance.commit() == "unknown"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert provenance.git_state() == {"commit": "unknown", "dirty": "unknown"}


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_dirty_means_that_package_or_notebooks_differ(tmp_path, monkeypatch):
    def git(*arguments):
        who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        command = ["git", *who, "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.setattr(provenance, "repository_root", lambda: tmp_path)
    for folder in ("unlearnlib", "notebooks", "figures"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text("old")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--no-verify", "-m", "first")
    clean = {"commit": git("rev-parse", "HEAD"), "dirty": False}
    assert provenance.git_state() == clean
    (tmp_path / "figures" / "file").write_text("new")
    assert provenance.git_state() == clean
    (tmp_path / "unlearnlib" / "more").write_text("new")
    assert provenance.git_state() == clean | {"dirty": True}


@pytest.mark.parametrize(("dirty", "said"), [(False, "abc"), (True, "abc with changes")])
def test_the_commit_is_that_of_the_first_question(monkeypatch, dirty, said):
    """A kernel goes on running what it imported."""
    monkeypatch.setattr(provenance, "git_state", lambda: {"commit": "abc", "dirty": dirty})
    assert provenance.commit() == said
    monkeypatch.setattr(provenance, "git_state", lambda: pytest.fail("asked again"))
    assert provenance.commit() == said
