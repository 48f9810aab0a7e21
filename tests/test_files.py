"""Files are whole or absent, and damage to one is seen."""

import math
import os
from pathlib import Path

import pytest
import torch

from unlearnlib.errors import DataError, InputError
from unlearnlib.lab import files
from unlearnlib.lab.files import (
    CorruptFile,
    cache_root,
    load_tensors,
    read_json,
    repository_root,
    save_tensors,
    write_whole,
)


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


def test_a_cache_that_is_made_here_is_its_owners_alone_and_others_stay_as_they_are(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path / "new"))
    write_whole(tmp_path / "new" / "store" / "x.json", "weights")
    write_whole(tmp_path / "figures" / "x.json", "a figure")
    modes = {name: (tmp_path / name).stat().st_mode & 0o077 for name in ("new", "figures")}
    assert modes["new"] == 0 < modes["figures"]
    (tmp_path / "new").chmod(0o755)
    write_whole(tmp_path / "new" / "y.json", "more")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o755


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    root = repository_root()
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path / "elsewhere"))
    assert cache_root() == tmp_path / "elsewhere"
    monkeypatch.setenv("UNLEARNLIB_CACHE", "")
    assert cache_root() == root / ".cache"
    monkeypatch.setenv("UNLEARNLIB_CACHE", ".cache/test")
    monkeypatch.chdir(tmp_path)
    assert cache_root() == root / ".cache/test"


def test_an_installed_package_keeps_its_results_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.delenv(files.CACHE, raising=False)
    assert files.cache_root() == files.repository_root() / ".cache"  # a checkout: these tests' own
    monkeypatch.setattr(files, "PACKAGE", tmp_path / "site-packages" / "unlearnlib")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.cache_root().name == "unlearnlib" and tmp_path in files.cache_root().parents
    assert "site-packages" not in str(files.cache_root())
