"""The command `unlearnlib`: what it takes and refuses, and that it releases whole or nothing."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from unlearnlib.command import main as command
from unlearnlib.command import models, releases, samples
from unlearnlib.errors import DataError
from unlearnlib.lab import files

pytestmark = pytest.mark.usefixtures("own_store")
MODEL = """import torch

def make():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear({inputs}, {classes}))

def normed():
    return torch.nn.Sequential(make(), torch.nn.BatchNorm1d({classes}))

nothing = 3
def number():
    return 3
"""


def photos(root, classes=3, each=6, size=(8, 8), mode="L", seed=0, judged=2):
    """A folder of images: each class has a brightness of its own, and noise."""
    random = np.random.RandomState(seed)
    for split in ("train", "test"):
        for label in range(classes):
            folder = root / split / f"c{label:03d}"
            folder.mkdir(parents=True)
            for k in range(each if split == "train" else judged):
                shape = (*size, 3) if mode == "RGB" else size
                pixels = random.randint(60, size=shape) + np.arange(shape[0]).reshape(
                    -1, *[1] * (len(shape) - 1)
                ) * (label + 1)
                Image.fromarray(pixels.astype(np.uint8), mode).save(folder / f"{k}.png")
    return root


def table(path, n=60, **columns):
    random = np.random.RandomState(0)
    rows = pd.DataFrame(random.randn(n, 3), columns=["a", "b", "c"])
    rows["label"] = np.where(rows.a > 0, "yes", "no")
    rows.insert(0, "who", [f"p{k}" for k in range(n)])
    rows.assign(**columns).to_csv(path, index=False)
    return path


def listed(path, *names):
    path.write_text("\n".join(names) + "\n")
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words):
    return command.main([str(word) for word in words])


def forget(data, names, out="release", **options):
    told = [part for name, value in options.items() for part in (f"--{name}", value)]
    path = listed(Path("forget.txt"), *names)
    return run("forget", "--data", data, "--list", path, "--out", out, *told)


def refused(capsys, *words):
    """The one line that a refusal prints; nothing is left on the disk."""
    before = set(Path().iterdir())
    capsys.readouterr()
    assert run(*words) == command.REFUSED
    said = capsys.readouterr().err.strip().splitlines()
    assert set(Path().iterdir()) == before and len(said) == 1
    return said[0]


# ---- releases of every kind of data --------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [dict(), dict(mode="RGB", size=(9, 7)), dict(classes=2, size=(16, 16)), dict(size=(2, 5)),
     dict(classes=100, each=2), dict(classes=2, size=(16, 16), mode="RGB")],
    ids=lambda kind: ", ".join(map(str, kind.values())) or "plain",
)  # fmt: skip
def test_a_folder_of_images_is_forgotten_and_the_release_verified(here, capsys, kind):
    data = photos(here / "photos", **kind)
    assert forget(data, ["c000/1.png", "c001/0.png"]) == command.DONE
    said = capsys.readouterr().out
    assert "holds   proved" in said and "publish all of it but private/" in said
    assert run("verify", "release", "--data", data) == command.DONE
    assert capsys.readouterr().out.startswith("confirmed")


def test_a_table_is_forgotten_by_its_names_or_lines_and_verified(here, capsys):
    data, test = table(Path("people.csv")), table(Path("other.csv"), n=20)
    options = dict(id="who", test=test, epsilon=2.0)
    assert forget(data, ["p3", "p14"], **options) == command.DONE
    card = json.loads(Path("release/card.json").read_text())
    assert card["epsilon"] == pytest.approx(2.0) and card["holds"] == "proved"
    assert "test" in capsys.readouterr().out
    assert run("verify", "release", "--data", data) == command.DONE
    table(Path("plain.csv")).write_text(pd.read_csv(data).drop(columns="who").to_csv(index=False))
    assert forget(Path("plain.csv"), ["5", "16"], out="by line") == command.DONE
    asked = json.loads(Path("by line/private/run.json").read_text())
    assert asked["names"] == ["5", "16"]
    table_of_scores = capsys.readouterr().out.partition("accuracy")[2].partition("by line")[0]
    assert "retained" in table_of_scores and "test" not in table_of_scores  # none to judge by


def test_several_releases_share_the_budget(here):
    data = table(Path("people.csv"))
    for requests, out in ((1, "one"), (4, "four")):
        assert forget(data, ["p3"], out=out, id="who", requests=requests) == command.DONE
    one, four = (json.loads(Path(out, "card.json").read_text()) for out in ("one", "four"))
    assert four["sigma"] == pytest.approx(one["sigma"]) and four["epsilon"] < one["epsilon"]
    assert four["sensitivity"] == pytest.approx(one["sensitivity"] / 2)  # trained on, to share


def test_ones_own_model_gets_what_its_ball_proves(here, capsys):
    data = photos(here / "photos", each=30, judged=20)  # enough that luck can't keep accuracy
    Path("mine.py").write_text(MODEL.format(inputs=64, classes=3))
    own = ("--model", "mine.py:make", "--epochs", 60, "--lr", 0.01)
    assert run("train", "--data", data, "--out", "w.safetensors", *own) == command.DONE
    options = dict(model="mine.py:make", weights="w.safetensors")
    assert forget(data, ["c000/1.png"], **options) == command.DONE
    assert "The noise took the accuracy" in capsys.readouterr().out
    card = json.loads(Path("release/card.json").read_text())
    assert card["sensitivity"] == 2 * 20.0 and "the ball alone" in card["rests on"]
    assert run("verify", "release", "--data", data) == command.DONE
    state, _ = files.load_tensors("release/weights.safetensors")
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    net.load_state_dict(state)  # as anybody loads it


def test_training_comes_out_the_same_and_compare_keeps_nothing(here, capsys):
    data = photos(here / "photos")
    Path("mine.py").write_text(MODEL.format(inputs=64, classes=3))
    own = ("--model", "mine.py:make", "--epochs", 2)
    for out in ("a.safetensors", "b.safetensors"):
        assert run("train", "--data", data, "--out", out, *own) == command.DONE
    assert Path("a.safetensors").read_bytes() == Path("b.safetensors").read_bytes()
    before = set(Path().iterdir()) | {Path("forget.txt")}
    asked = listed(Path("forget.txt"), "c001/0.png")
    capsys.readouterr()
    assert run("compare", "--data", data, "--list", asked, *own) == command.DONE
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == [
        "accuracy", "trained", "released", "retrained",
    ]  # fmt: skip
    assert set(Path().iterdir()) == before


# ---- what a release holds ------------------------------------------------------------------------


def test_what_is_secret_is_in_private_alone(here):
    data = photos(here / "photos")
    assert forget(data, ["c000/1.png", "c001/0.png"]) == command.DONE
    release = Path("release")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (release / "private").iterdir()}
    assert set(modes.values()) == {0o600}
    assert (release / "private").stat().st_mode & 0o777 == 0o700
    public = [path for path in release.iterdir() if path.is_file()]
    assert {path.name for path in public} == {
        "weights.safetensors", "card.json", "README.md", "run.json",
    }  # fmt: skip
    said = "".join(path.read_text() for path in public if path.suffix != ".safetensors")
    secret = json.loads((release / "private" / "run.json").read_text())
    assert "c000/1.png" not in said and secret["data"] not in said and str(here) not in said
    assert secret["names"] == ["c000/1.png", "c001/0.png"]
    estimate = files.load_tensors(release / "private" / "secret.safetensors")[0]["estimate"]
    noise = files.load_tensors(release / "weights.safetensors")[0]["weight"].flatten() - estimate
    sigma = json.loads((release / "card.json").read_text())["sigma"]
    assert float(noise.std()) == pytest.approx(sigma, rel=0.3)


def test_the_card_is_shown_with_and_without_its_private_part(here, capsys):
    assert forget(photos(here / "photos"), ["c000/1.png"]) == command.DONE
    capsys.readouterr()
    assert run("certificate", "release") == command.DONE
    assert "useful  yes" in capsys.readouterr().out
    for path in Path("release/private").iterdir():
        path.unlink()
    Path("release/private").rmdir()
    assert run("certificate", "release") == command.DONE
    assert "useful  private" in capsys.readouterr().out
    assert "only who holds it" in refused(capsys, "verify", "release", "--data", "photos")
    assert run("certificate", "release") == command.DONE
    shown = capsys.readouterr().out
    assert "nan" not in shown and "functions of the data" not in shown


@pytest.mark.parametrize("number", ["sensitivity", "sigma", "delta"])
def test_a_card_that_was_altered_is_not_confirmed(here, capsys, number):
    data = photos(here / "photos")
    assert forget(data, ["c000/1.png"]) == command.DONE
    path = Path("release/card.json")
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {number: card[number] / 2}))
    assert run("verify", "release", "--data", data) == command.NOT_CONFIRMED
    assert capsys.readouterr().out.count("refuted") >= 1


def test_weights_that_were_altered_and_other_data_are_noticed(here, capsys):
    data = photos(here / "photos")
    assert forget(data, ["c000/1.png"]) == command.DONE
    other = photos(here / "other", seed=1)
    message = refused(capsys, "verify", "release", "--data", other)
    assert "does not hold what was trained on" in message
    path = Path("release/weights.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert "altered" in refused(capsys, "verify", "release", "--data", data)
    assert "cannot be read" in refused(capsys, "certificate", "nowhere")


# ---- refused before any work ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["", " "], "names nothing"),
        (["c000/1.png", "c001/0.png", "c000/1.png"], "'c000/1.png' more than once"),
        (["c000/1.png", *(f"c000/{k}.jpg" for k in range(7))], "'c000/4.jpg' and 2 more; a name"),
    ],
)
def test_a_list_with_missing_repeated_or_unknown_names(here, capsys, names, said):
    photos(here / "photos")
    listed(Path("forget.txt"), *names)
    words = ("forget", "--data", "photos", "--list", "forget.txt", "--out", "release")
    assert said in refused(capsys, *words)
    assert "cannot be read" in refused(capsys, *words[:4], "no.txt", *words[5:])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (dict(b=[0.5] * 6 + [None] + [0.1] * 53), "the row of line 8 has no 'b'"),
        (dict(label=["yes"] * 59 + [None]), "the row of line 61 has no 'label'"),
        (dict(b=["red"] * 60), "'b' holds text; turn it into numbers"),
        (dict(b=[np.inf] + [0.1] * 59), "'b' is infinite in the row of line 2"),
        (dict(label="yes"), "every 'label' is yes"),
        (dict(who=["p0"] * 2 + [f"p{k}" for k in range(2, 60)]), "'p0' names more than one row"),
    ],
)
def test_a_table_that_says_too_little(here, capsys, columns, said):
    table(Path("people.csv"), **columns)
    listed(Path("forget.txt"), "p7")
    words = ("forget", "--data", "people.csv", "--id", "who", "--list", "forget.txt")
    assert said in refused(capsys, *words, "--out", "release")


def test_a_table_without_the_column_or_of_another_kind(here, capsys):
    table(Path("people.csv"))
    listed(Path("forget.txt"), "p7")
    words = ("--list", "forget.txt", "--out", "release")
    said = refused(capsys, "forget", "--data", "people.csv", "--label", "age", *words)
    assert "no column 'age'; it has who, a, b, c, label" in said
    assert "neither a folder nor a table" in refused(
        capsys, "forget", "--data", "people.xlsx", *words
    )
    (other := pd.read_csv("people.csv").assign(d=1)).to_csv("other.csv", index=False)
    assert "other columns" in refused(
        capsys, "forget", "--data", "people.csv", "--id", "who", "--test", "other.csv", *words
    )
    other.drop(columns="d").assign(label="maybe").to_csv("other.csv", index=False)
    assert "no training row has the 'label' 'maybe'" in refused(
        capsys, "forget", "--data", "people.csv", "--id", "who", "--test", "other.csv", *words
    )


def test_an_image_that_cannot_be_read(here, capsys):
    photos(here / "photos")
    Path("photos/train/c001/3.png").write_bytes(b"no image")
    listed(Path("forget.txt"), "c000/1.png")
    words = ("forget", "--data", "photos", "--list", "forget.txt", "--out", "release")
    assert "c001/3.png cannot be decoded" in refused(capsys, *words)


def test_a_model_that_does_not_fit(here, capsys):
    photos(here / "photos")
    Path("mine.py").write_text(MODEL.format(inputs=64, classes=3))
    Path("short.py").write_text(MODEL.format(inputs=63, classes=3))
    Path("few.py").write_text(MODEL.format(inputs=64, classes=2))
    assert run("train", "--data", "photos", "--out", "proved.safetensors") == command.DONE
    listed(Path("forget.txt"), "c000/1.png")
    words = ("forget", "--data", "photos", "--list", "forget.txt", "--out", "release", "--model")
    assert "63" in refused(capsys, *words, "short.py:make")
    assert "labels" in refused(capsys, *words, "few.py:make")
    assert "FILE.py:NAME" in refused(capsys, *words, "mine.py")
    assert "no function 'nothing'" in refused(capsys, *words, "mine.py:nothing")
    assert "has to return a torch.nn.Module" in refused(capsys, *words, "mine.py:number")
    assert "has BatchNorm" in refused(capsys, *words, "mine.py:normed")
    weights = ("--weights", "proved.safetensors")
    assert "does not fit the model: it lacks ['1.weight'" in refused(
        capsys, *words, "mine.py:make", *weights
    )


def test_features_that_do_not_suit_the_data(here, capsys):
    table(Path("people.csv"))
    listed(Path("forget.txt"), "p7")
    words = ("--id", "who", "--list", "forget.txt", "--out", "release", "--features", "pixels")
    assert "a table's are 'columns'" in refused(capsys, "forget", "--data", "people.csv", *words)


def test_images_of_one_row_are_a_table(here, capsys):
    photos(here / "photos", size=(1, 5))
    said = refused(capsys, "train", "--data", "photos", "--out", "w.safetensors")
    assert "images of 5 x 1 pixels are too small; give them as a table" in said


@pytest.mark.parametrize(
    ("shape", "mode", "name"),
    [((8, 8), "L", "pixels"), ((16, 16), "L", "scattering"), ((16, 16), "RGB", "patches"),
     ((16, 24), "RGB", "pixels")],
)  # fmt: skip
def test_features_follow_the_images(here, shape, mode, name):
    read = samples.read(photos(here / "photos", size=shape, mode=mode))
    assert models._suiting(read) == name


# ---- whole or not at all -------------------------------------------------------------------------


def test_a_folder_that_is_there_is_left_as_it_is(here, capsys):
    data = photos(here / "photos")
    Path("release").mkdir()
    Path("release/mine.txt").write_text("mine")
    listed(Path("forget.txt"), "c000/1.png")
    words = ("forget", "--data", data, "--list", "forget.txt", "--out")
    assert "is there already" in refused(capsys, *words, "release")
    assert Path("release/mine.txt").read_text() == "mine"
    Path("file").write_text("")
    assert "cannot be written to" in refused(capsys, *words, "file/release")


def test_a_full_disk_leaves_nothing(here, capsys, monkeypatch):
    data = photos(here / "photos")

    def full(path, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    listed(Path("forget.txt"), "c000/1.png")
    monkeypatch.setattr(releases.files, "write_whole", full)
    monkeypatch.setattr(releases.files, "save_tensors", lambda *a, **k: None)
    words = ("forget", "--data", data, "--list", "forget.txt", "--out", "release")
    assert "No space left on device" in refused(capsys, *words)


def test_of_two_runs_into_one_folder_the_first_that_is_done_wins(here, capsys, monkeypatch):
    data, rename = photos(here / "photos"), os.rename

    def overtaken(source, target):
        Path(target).mkdir()
        Path(target, "card.json").write_text("theirs")
        rename(source, target)

    monkeypatch.setattr(releases.os, "rename", overtaken)
    assert forget(data, ["c000/1.png"]) == command.REFUSED
    assert "was not written" in capsys.readouterr().err
    assert [path.name for path in Path("release").iterdir()] == ["card.json"]
    assert not [path for path in Path().iterdir() if path.name.startswith(".release")]


def test_a_run_that_is_killed_releases_nothing(here):
    data = photos(here / "photos")
    listed(Path("forget.txt"), "c000/1.png")
    words = ["forget", "--data", str(data), "--list", "forget.txt", "--out", "release"]
    code = (
        "import os, signal, sys; from unlearnlib.command import main, releases\n"
        "releases.os.rename = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"sys.exit(main.main({words!r}))"
    )
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert killed.returncode == -signal.SIGKILL and not Path("release").exists()
    assert run(*words) == command.DONE  # and the next run goes through


def test_an_interrupt_says_so(here, capsys, monkeypatch):
    def interrupted(*a):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "read", interrupted)
    assert run("train", "--data", "photos", "--out", "w") == command.INTERRUPTED
    assert "nothing was released" in capsys.readouterr().err


def test_wrong_usage_is_2_and_help_names_the_exit_codes(capsys):
    for words, code in ((["forget"], 2), ([], 2), (["--help"], 0), (["forget", "--help"], 0)):
        with pytest.raises(SystemExit) as left:
            command.main(words)
        assert left.value.code == code
    assert "3 not confirmed, 130 interrupted" in capsys.readouterr().out


def test_the_commands_of_the_readme_run(here):
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    lines = [line.partition("#")[0].split() for line in readme.splitlines()]
    commands = [words[1:] for words in lines if words[:1] == ["unlearnlib"]]
    assert [words[0] for words in commands] == ["forget", "verify"]
    photos(here / "photos")
    listed(Path("forget.txt"), "c000/1.png")
    for words in commands:
        assert run(*words) == command.DONE


def test_it_is_a_module_too():
    told = subprocess.run(
        [sys.executable, "-m", "unlearnlib", "certificate", "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "show the card" in told.stdout


# ---- what people type ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(requests=0), "--requests is 0; it has to be at least 1"),
        (dict(delta=0.1), "--delta is 0.1; with 18 samples it has to be below 0.056"),
        (dict(model="mine.py:make"), "--model names mine.py, which is not there"),
        (dict(model="mine.py"), "it has to be FILE.py:NAME"),
    ],
)
def test_an_option_out_of_range_is_refused_with_its_limit(here, capsys, options, said):
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    data = photos(here / "photos")
    Path("forget.txt").write_text("c000/1.png\n")
    line = ("forget", "--data", data, "--list", "forget.txt", "--out", "release", *words)
    assert said in refused(capsys, *line)
    assert not Path("release").exists()


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("def make(classes): pass", "TypeError"),
        ("def make(): return wide", "NameError"),
        ("import torch\ndef make(): return torch.nn.Linear('a', 2)", "TypeError"),
    ],
)
def test_an_error_in_somebodys_model_is_told_in_one_line(here, capsys, code, why):
    Path("mine.py").write_text(code)
    line = ("train", "--data", photos(here / "photos"), "--out", "w", "--model", "mine.py:make")
    said = refused(capsys, *line)
    assert f"mine.py:make failed ({why}" in said and "without arguments" in said


def test_a_list_with_a_byte_order_mark_and_names_with_zeros_are_read(here):
    data = table(Path("people.csv"), who=[f"{k:04d}" for k in range(60)])
    Path("forget.txt").write_bytes(b"\xef\xbb\xbf0003\r\n0014\r\n")
    found = samples.read(data, "label", "who")
    assert found.wanted(Path("forget.txt")) == [3, 14]


def test_a_class_may_be_called_none_and_an_empty_label_is_missing(here):
    data = table(Path("people.csv"), label=["None", "high"] * 30)
    assert samples.read(data, "label", "who").images.classes == ("None", "high")
    with pytest.raises(DataError, match="the row of line 2 has no 'label'"):
        samples.read(table(Path("other.csv"), label=["", "high"] * 30), "label", "who")


def test_a_release_says_in_words_what_its_promise_is(here, capsys):
    assert forget(photos(here / "photos"), ["c000/1.png"], epsilon=2.0) == command.DONE
    words = Path("release/README.md").read_text()
    assert "at most 7.39 times its chance, plus 1e-5," in words
    assert "The samples and the model from before are still in" in capsys.readouterr().out
