"""What is stored comes back exactly, or is seen to be damaged, or is made again."""

import math
import os
import threading
from pathlib import Path

import pytest
import torch

from unlearnlib.errors import DataError, InputError
from unlearnlib.lab import contenders, store
from unlearnlib.lab.store import (
    CorruptFile,
    load_or_make,
    load_tensors,
    read_json,
    save_tensors,
    write_whole,
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and training sources of our own that a test may change."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "training.py").write_text("lr = 1\n")
    monkeypatch.setattr(store, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(store, "TRAINING_SOURCES", ("training.py",))
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path / "cache"))
    store._sources.cache_clear()
    yield tmp_path / "cache"
    store._sources.cache_clear()


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


def test_tensors_come_back_as_they_were(tmp_path):
    w = torch.randn(6)
    tensors = {
        "view": w[:4],
        "overlapping view": w[2:],
        "transposed": w.reshape(2, 3).T,
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 3),
        "double": torch.tensor([0.1], dtype=torch.float64),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "truth": torch.tensor([True, False]),
        "special": torch.tensor([-0.0, math.inf]),
    }
    save_tensors(tmp_path / "new" / "folder" / "x.safetensors", tensors, {"title": "naïve"})
    found, metadata = load_tensors(tmp_path / "new" / "folder" / "x.safetensors")
    assert_same(found, tensors)
    assert metadata == {"title": "naïve"}


def test_each_flipped_bit_and_each_cut_is_seen(tmp_path):
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"w": torch.arange(4.0), "n": torch.tensor(3)}, {"title": "a run"})
    whole = path.read_bytes()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1
        for damaged in (flipped, whole[:position]):
            path.write_bytes(damaged)
            with pytest.raises(CorruptFile, match="x.safetensors"):
                load_tensors(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(CorruptFile):
        load_tensors(path)


def test_a_file_without_our_digest_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"w": torch.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(CorruptFile, match="no sha256"):
        load_tensors(tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="sha256"):
        save_tensors(tmp_path / "y.safetensors", {}, {"sha256": "mine"})


@pytest.mark.parametrize("text", [b"", b'{"a": 1', b"\xff", b"[]"])
def test_json_that_is_broken_is_refused_with_its_name_and_the_remedy(tmp_path, text):
    (tmp_path / "x.json").write_bytes(text)
    with pytest.raises(DataError, match=r"x\.json .*; run it again\.$"):
        read_json(tmp_path / "x.json", "run it again")
    (tmp_path / "x.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "x.json", "") == {"a": 1}


def test_a_missing_file_is_not_a_corrupt_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_tensors(tmp_path / "x.safetensors")


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


def test_kind_source_and_torch_version_are_part_of_the_name(monkeypatch):
    paths = {load_or_make("trained", {}, vector).path, load_or_make("retrained", {}, vector).path}
    (store.PACKAGE / "training.py").write_text("lr = 2\n")
    store._sources.cache_clear()
    paths.add(load_or_make("trained", {}, vector).path)
    monkeypatch.setattr(torch, "__version__", "0.0")
    paths.add(load_or_make("trained", {}, vector).path)
    assert len(paths) == 4


def test_further_sources_are_part_of_the_name_of_what_names_them():
    def paths():
        store._sources.cache_clear()
        some = load_or_make("trained", {}, vector), load_or_make("made", {}, vector, ("more.py",))
        return [kept.path for kept in some]

    (store.PACKAGE / "more.py").write_text("a = 1\n")
    before = paths()
    (store.PACKAGE / "more.py").write_text("a = 2\n")
    after = paths()
    assert before[0] == after[0] and before[1] != after[1]


def test_the_sources_exist(monkeypatch):
    monkeypatch.undo()
    named = store.TRAINING_SOURCES + contenders.SOURCES
    missing = [s for s in named if not (store.PACKAGE / s).is_file()]
    assert len(set(named)) == len(named) and missing == []


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


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "x.json"
    write_whole(path, "old")

    def interrupted(source, target):
        assert Path(source).read_text() == "new" and path.read_text() == "old"
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, "new")
    assert path.read_text() == "old" and os.listdir(path.parent) == ["x.json"]


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


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    root = store.repository_root()
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path / "elsewhere"))
    assert store.cache_root() == tmp_path / "elsewhere"
    monkeypatch.setenv("UNLEARNLIB_CACHE", "")
    assert store.cache_root() == root / ".cache"
    monkeypatch.setenv("UNLEARNLIB_CACHE", ".cache/test")
    monkeypatch.chdir(tmp_path / "package")
    assert store.cache_root() == root / ".cache/test"
