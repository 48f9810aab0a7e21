"""Results keep numbers as plain JSON, refuse what is none, and say where they come from."""

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from unlearnlib.errors import DataError, InputError, ProfileError
from unlearnlib.lab import profiles, store
from unlearnlib.lab.files import repository_root
from unlearnlib.lab.nulls import Judged
from unlearnlib.lab.results import Results, load, results_path

SMOKE = ("00_start_here", "smoke")


@pytest.fixture(autouse=True)
def figures(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLIB_FIGURES", str(tmp_path / "figures"))
    return tmp_path / "figures"


@pytest.fixture
def collected():
    return Results("00_start_here", profiles.load("smoke"))


def claim(collected, **changes):
    whole = {
        "claim": "It is fast.",
        "paper": "470x",
        "settings": "one network",
        "measured": {"times": np.float64(3.5)},
        "n": 2,
        "spread": 0.5,
        "judged": judged("partly"),
    }
    collected.claim(**(whole | changes))


def judged(verdict, why="smaller network"):
    return Judged(verdict, why, {"doing nothing": "not reproduced"})


def test_numbers_of_every_library_come_back_plain(collected):
    given = {
        "python": (1, 1.5, True, None, "text"),
        "numpy": [np.int64(1), np.float64(0.1), np.bool_(True), np.arange(2)],
        "torch": [torch.tensor(2), torch.tensor([0.5]), torch.ones(1, 2, dtype=torch.float64)],
        "infinite": [math.inf, np.float32(-np.inf), torch.tensor(math.inf)],
    }
    for name, value in given.items():
        collected.record(name, value)
    collected.save()
    found = {name: entry["value"] for name, entry in load(*SMOKE).numbers.items()}
    assert found == {
        "python": [1, 1.5, True, None, "text"],
        "numpy": [1, 0.1, True, [0, 1]],
        "torch": [2, [0.5], [[1.0, 1.0]]],
        "infinite": ["inf", "-inf", "inf"],
    }


def test_units_and_seeds_stand_beside_the_number(collected):
    collected.record("gap", 0.5, unit="% points", seeds=np.arange(2))
    assert collected.numbers["gap"] == {"value": 0.5, "unit": "% points", "seeds": [0, 1]}
    collected.record("gap", 0.25)
    assert collected.numbers["gap"] == {"value": 0.25, "unit": "", "seeds": None}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (math.nan, r"gap is NaN"),
        ([{"C": 1, "gap": np.float32("nan")}], r"gap\[0\]\['gap'\] is NaN"),
        (torch.tensor([0.0, math.nan]), r"gap\[1\] is NaN"),
        (pd.DataFrame(), "DataFrame"),
        (1j, "complex"),
        ({"set": {1}}, r"gap\['set'\] is a set"),
    ],
)
def test_what_is_no_number_is_refused_by_name(collected, value, named):
    with pytest.raises(InputError, match=named):
        collected.record("gap", value)
    assert collected.numbers == {}


def test_a_table_comes_back_as_a_table(collected):
    frame = pd.DataFrame({"seed": [0, 1], "epsilon": [math.inf, 2.0], "method": ["LiSSA", "CG"]})
    collected.record("table", frame.to_dict("records"))
    collected.save()
    pd.testing.assert_frame_equal(load(*SMOKE).table("table"), frame)
    pd.testing.assert_frame_equal(collected.table("table"), frame)


def test_only_a_recorded_table_is_a_table(collected):
    collected.record("gap", [1, 2])
    with pytest.raises(InputError, match="not a table"):
        collected.table("gap")
    with pytest.raises(InputError, match="no 'gaps'; it recorded gap"):
        collected.table("gaps")


def test_the_rows_of_a_pair_are_those_of_a_table_that_the_profile_has(collected):
    collected.record("scores", [{"pair": "mlp_mnist", "F1": 0.9}, {"pair": "other", "F1": 0.1}])
    assert list(collected.rows("scores", "mlp_mnist").F1) == [0.9]
    with pytest.raises(ProfileError, match="smoke leaves out resnet18_svhn"):
        collected.rows("scores", "resnet18_svhn")


def test_claims_come_back_as_a_table(collected):
    claim(collected)
    claim(collected, claim="It is exact.", spread=None, judged=judged("not reproduced"))
    claim(collected, measured={"times": 4.0})
    collected.save()
    table = load(*SMOKE).claims_table()
    assert list(table) == [
        "claim", "paper", "settings", "measured", "n", "spread", "verdict", "why", "null"
    ]  # fmt: skip
    assert list(table.claim) == ["It is fast.", "It is exact."]
    assert list(table.measured) == [{"times": 4.0}, {"times": 3.5}]
    assert list(table.null) == [{"doing nothing": "not reproduced"}] * 2
    assert list(table.verdict) == ["partly", "not reproduced"]


def test_a_reader_is_shown_the_whole_of_each_claim(collected):
    why = "a long reason " * 20
    numbers = {"before": 0.04477611940, "after": 2}
    claim(collected, measured=numbers, spread=[0.5, 1.25], judged=judged("partly", why))
    shown = collected.show_claims().to_html()
    tested = "doing nothing: not reproduced"
    for text in ("before: 0.0448, after: 2", "0.5 to 1.25", why.strip(), tested):
        assert text in shown


def test_a_claim_is_judged_in_four_words_only(collected):
    with pytest.raises(InputError, match="'yes'.*reproduced, partly, not reproduced, not judged"):
        claim(collected, judged=judged("yes"))
    with pytest.raises(InputError, match="4 numbers; name at most 3"):
        claim(collected, measured=dict.fromkeys("abcd", 1.0))
    with pytest.raises(InputError, match=r"It is fast.*spread.*NaN"):
        claim(collected, spread=math.nan)
    assert collected.claims == {}
    assert collected.claims_table().empty


def test_saved_is_strict_json_with_all_of_its_provenance(collected, figures):
    collected.data(SimpleNamespace(title="MNIST-M", digest="abc"))
    collected.save()
    path = figures / "smoke" / "00_start_here" / "results.json"
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]
    saved = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert saved["datasets"] == {"MNIST-M": "abc"}
    origin = saved["provenance"]
    assert torch.__version__.startswith(origin["packages"]["torch"].split("+")[0])
    assert origin["packages"]["numpy"] == np.__version__
    assert origin["profile"]["pairs"]["mlp_mnist"]["lr"] == 1e-3
    assert origin["profile"]["pairs"]["mlp_mnist"]["radii"][-1] == "inf"  # JSON has no infinity
    assert origin["profile"]["reason"] == "asked for by name"
    assert origin["machine"]["threads"] == torch.get_num_threads()
    assert origin["seconds"] >= 0
    assert {"finished", "python", "git"} < origin.keys()


def test_commits_and_devices_that_made_the_stored_models_are_named(
    collected, tmp_path, monkeypatch
):
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "_USED", set())
    for kind, commit in (("trained", "def"), ("retrained", "abc")):
        monkeypatch.setattr(store, "commit", lambda commit=commit: commit)
        monkeypatch.setattr(store, "maker", lambda commit=commit: f"GPU {commit}")
        store.load_or_make(kind, {}, lambda: ({}, {}))
    collected.save()
    assert load(*SMOKE).provenance["models"] == ["abc", "def"]
    assert load(*SMOKE).provenance["models_made_on"] == ["GPU abc", "GPU def"]


def test_no_path_of_this_machine_is_published(collected):
    collected.save()
    text = results_path(*SMOKE).read_text()
    for path in (Path.home(), repository_root(), Path(sys.executable).parent):
        assert str(path) not in text


def test_reading_what_was_not_run_says_how_to_run_it():
    with pytest.raises(DataError, match="make reproduce PROFILE=smoke NOTEBOOK=00_start_here"):
        load(*SMOKE)


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNLEARNLIB_FIGURES", str(tmp_path / "file"))
    with pytest.raises(DataError, match="file cannot be written to; set UNLEARNLIB_FIGURES to"):
        Results("00_start_here", profiles.load("smoke"))


@pytest.mark.parametrize(
    ("name", "made_by"),
    [("07_x", "make reproduce PROFILE=laptop NOTEBOOK=07_x"), ("benchmarks", "make bench")],
)
def test_missing_results_name_the_command_that_makes_them(tmp_path, monkeypatch, name, made_by):
    monkeypatch.setenv("UNLEARNLIB_FIGURES", str(tmp_path))
    with pytest.raises(DataError, match=f"make it with `{made_by}`"):
        load(name, "laptop")


def test_a_sentence_is_shown_and_kept(collected, capsys):
    collected.see("how far", "It moved 3.")
    assert collected.numbers["seen: how far"]["value"] == "It moved 3."
    assert "Markdown" in capsys.readouterr().out
