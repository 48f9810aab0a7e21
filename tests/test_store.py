"""What is stored comes back exactly, or is seen to be damaged, or is made again."""

import json
import math
import os
import threading
from pathlib import Path

import pytest
import torch

from unlearnlib.errors import DataError, InputError
from unlearnlib.lab import store
from unlearnlib.lab.files import load_tensors
from unlearnlib.lab.store import commits_used, is_stored, load_or_make, makers_used


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def vector():
    return {"w": torch.arange(3.0)}, {"accuracy": 0.5}


def never():
    raise AssertionError("made again")


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor)


def test_what_is_made_once_is_read_from_then_on():
    made = load_or_make("trained", {"lr": 0.1, "sizes": (1, 2)}, vector)
    read = load_or_make("trained", {"sizes": [1, 2], "lr": 0.1}, never)
    assert made.fresh and not read.fresh
    assert made.path == read.path and made.path.parent.name == "trained"
    assert made.info == read.info == {"accuracy": 0.5}
    assert_same(made.tensors, vector()[0])
    assert_same(read.tensors, vector()[0])


def test_info_is_the_same_fresh_or_read():
    made = load_or_make("trained", {}, lambda: ({}, {"path": (1, 2), "third": 1 / 3}))
    assert made.info == load_or_make("trained", {}, never).info == {"path": [1, 2], "third": 1 / 3}


@pytest.mark.parametrize(
    "other",
    [
        {"lr": math.nextafter(0.1, 1), "seed": 0},
        {"lr": 0.1, "seed": 1},
        {"lr": 0.1, "seed": 0.0},
        {"lr": 0.1, "seed": False},
        {"lr": 0.1, "seed": "0"},
        {"lr": 0.1},
        {"lr": 0.1, "seed": 0, "more": None},
    ],
)
def test_any_difference_in_the_key_is_another_result(other):
    first = load_or_make("trained", {"lr": 0.1, "seed": 0}, vector)
    assert load_or_make("trained", other, vector).path != first.path


def test_kind_recipe_and_torch_version_are_part_of_the_name(monkeypatch):
    paths = {load_or_make("trained", {}, vector).path, load_or_make("retrained", {}, vector).path}
    paths.add(load_or_make("trained", {}, vector, recipe=2).path)
    monkeypatch.setattr(torch, "__version__", "0.0")
    paths.add(load_or_make("trained", {}, vector).path)
    assert len(paths) == 4


def test_another_recipe_makes_it_again_and_the_same_one_finds_it():
    """What the raised number made stands beside the old file, which the old number still finds."""
    old = load_or_make("trained", {"lr": 0.1}, vector)
    new = load_or_make("trained", {"lr": 0.1}, lambda: ({}, {"accuracy": 0.7}), recipe=2)
    assert old.fresh and new.fresh and new.path != old.path
    for recipe, kept in ((1, old), (2, new)):
        found = load_or_make("trained", {"lr": 0.1}, never, recipe=recipe)
        assert (found.path, found.info, found.fresh) == (kept.path, kept.info, False)


def test_is_stored_knows_kind_key_and_recipe(cache):
    assert not is_stored("trained", {"lr": 0.1}, recipe=2)
    path = load_or_make("trained", {"lr": 0.1}, vector, recipe=2).path
    assert is_stored("trained", {"lr": 0.1}, recipe=2)
    assert not is_stored("trained", {"lr": 0.1}) and not is_stored("retrained", {"lr": 0.1}, 2)
    assert not is_stored("trained", {"lr": 0.2}, recipe=2)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=path.name):
        assert not is_stored("trained", {"lr": 0.1}, recipe=2)


def test_commit_and_device_that_made_it_are_kept_and_are_no_part_of_the_name(monkeypatch):
    monkeypatch.setattr(store, "_USED", set())
    monkeypatch.setattr(store, "commit", lambda: "abc")
    monkeypatch.setattr(store, "maker", lambda: "a GPU, torch 2.6")
    made = load_or_make("trained", {}, vector)
    monkeypatch.setattr(store, "commit", lambda: "def with changes")
    monkeypatch.setattr(store, "maker", lambda: "cpu, torch 2.6")
    read = load_or_make("trained", {}, never)
    assert (made.commit, read.commit) == ("abc", "abc") and not read.fresh
    assert commits_used() == ["abc"] and makers_used() == ["a GPU, torch 2.6"]
    assert load_or_make("retrained", {}, vector).commit == "def with changes"
    assert commits_used() == ["abc", "def with changes"]
    assert makers_used() == ["a GPU, torch 2.6", "cpu, torch 2.6"]
    assert load_tensors(made.path)[1]["commit"] == "abc"


def test_the_file_says_what_its_name_is_the_hash_of():
    kept = load_or_make("trained", {"lr": 0.1, "seeds": (1, 2)}, vector, recipe=3)
    identity = json.loads(load_tensors(kept.path)[1]["identity"])
    key = {"lr": 0.1, "seeds": [1, 2]}
    assert identity == {"key": key, "torch": torch.__version__, "recipe": 3}


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ({"x": torch.ones(1)}, "Tensor"),
        ({"x": {1, 2}}, "set"),
        ({"x": [0.0, math.nan]}, r"\['x'\]\[1\] is nan"),
        ({"x": {"y": math.inf}}, r"\['x'\]\['y'\] is inf"),
        ({"x": {1: "one"}}, "name 1"),
        ({"x": Path("a")}, "Path"),
    ],
)
def test_what_json_cannot_hold_is_refused(key, named, cache):
    with pytest.raises(InputError, match=named):
        load_or_make("trained", key, vector)
    with pytest.raises(InputError, match=named):
        load_or_make("trained", {}, lambda: ({}, key))
    assert not list(cache.rglob("*.safetensors"))


@pytest.mark.parametrize("inside", ["", "cache"])
def test_a_cache_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch, inside):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path / "file" / inside))
    with pytest.raises(DataError, match="file cannot be written to; set UNLEARNLIB_CACHE to"):
        load_or_make("trained", {}, never)


def test_a_cache_without_the_permission_to_write_is_refused(cache, monkeypatch):
    cache.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != cache)
    with pytest.raises(DataError, match="cache cannot be written to; set UNLEARNLIB_CACHE to"):
        load_or_make("trained", {}, never)


def test_a_corrupt_file_is_made_again_and_named():
    path = load_or_make("trained", {}, vector).path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=path.name):
        again = load_or_make("trained", {}, vector)
    assert again.fresh and again.path == path
    assert not load_or_make("trained", {}, never).fresh


def test_an_interrupted_make_leaves_nothing(cache):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_or_make("trained", {}, interrupted)
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_two_that_make_the_same_at_once_both_get_it(cache):
    together = threading.Barrier(2, timeout=30)
    results = []

    def slow():
        together.wait()
        return vector()

    threads = [
        threading.Thread(target=lambda: results.append(load_or_make("trained", {}, slow)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.fresh for result in results] == [True, True]
    for result in results:
        assert_same(result.tensors, vector()[0])
    assert [path.name for path in (cache / "store" / "trained").iterdir()] == [results[0].path.name]
