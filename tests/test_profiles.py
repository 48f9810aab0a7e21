"""Profiles say what the sources say, and refuse what they do not know."""

import dataclasses
import re

import pytest

from unlearnlib.errors import ProfileError
from unlearnlib.lab import notebooks, profiles

EVERY = [
    pytest.param(pair, id=f"{name}-{pair.name}")
    for name in profiles.names()
    for pair in profiles.load(name).pairs.values()
]


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv(profiles.VARIABLE, raising=False)


def edited(tmp_path, pattern, replacement):
    """The smoke profile's file with the first match of `pattern` replaced."""
    text = (profiles.FOLDER / "smoke.toml").read_text()
    changed, count = re.subn(pattern, replacement, text, count=1, flags=re.MULTILINE)
    assert count == 1, f"{pattern} is not in smoke.toml"
    path = tmp_path / "smoke.toml"
    path.write_text(changed)
    return path


def test_there_are_four():
    assert profiles.names() == ["laptop", "paper", "quick", "smoke"]
    for name in profiles.names():
        assert profiles.load(name).name == name
        assert list(profiles.load(name).pairs) == list(profiles.PAIRS)


@pytest.mark.parametrize("pair", EVERY)
def test_what_holds_in_each_pair(pair):
    model, paper_dataset = pair.name.split("_")
    assert (pair.model, pair.paper_dataset) == (model, paper_dataset)
    assert (pair.norm == "none") == (model == "mlp")
    assert (pair.optimizer, pair.lr, pair.weight_decay, pair.C) == ("adam", 1e-3, 5e-4, 20.0)


def test_the_paper_profile_is_the_paper():
    paper = profiles.load("paper")
    for pair in paper.pairs.values():
        assert pair.dataset == pair.paper_dataset and pair.stand_in == ""
        assert (pair.train, pair.test, pair.width) == (0, 0, 1.0)
        assert (pair.epochs, pair.batch_size, pair.forget) == (50, 128, 1000)
    assert paper.allcnn_cifar10.norm == paper.resnet18_svhn.norm == "batch"


@pytest.mark.parametrize("name", ["smoke", "quick"])
def test_small_profiles_need_no_network(name):
    for pair in profiles.load(name).pairs.values():
        assert pair.dataset in ("mnist5k", "mnistm") and pair.stand_in == ""


def test_one_in_sixty_is_forgotten_and_one_in_twenty_of_few():
    everything = {"mnist": 60_000, "mnist5k": 4_000}
    for name in ("smoke", "quick", "laptop"):
        for pair in profiles.load(name).pairs.values():
            share = 60 if pair.model == "mlp" else 20
            assert pair.forget == round((pair.train or everything[pair.dataset]) / share)


def test_all_notebooks_together_have_their_minutes_in_every_profile():
    minutes = {name: profiles.load(name).minutes for name in profiles.names()}
    assert 0 < minutes["smoke"] < minutes["quick"] <= 10 < minutes["laptop"] < minutes["paper"]


def test_every_notebook_names_its_minutes_and_together_they_are_those_planned():
    planned = {
        path.stem: notebooks.planned_minutes(notebooks.read_notebook(path, "restore it"))
        for path in notebooks.all_in(notebooks.default_folder())
    }
    assert all(planned.values()), planned
    assert sum(planned.values()) <= profiles.load("quick").minutes


def test_certificates_for_the_cnns_have_no_batch_statistics():
    for name in ("smoke", "quick", "laptop"):
        profile = profiles.load(name)
        assert profile.allcnn_cifar10.norm == profile.resnet18_svhn.norm == "group"


@pytest.mark.parametrize(
    ("pattern", "replacement", "said"),
    [
        ("^lr = ", "learning_rate = ", ["mlp_mnist", "'learning_rate'", "known are", "lr"]),
        ("^about = .*$", "", ["'about'", "a string"]),
        ("^epochs = .*$", "", ["mlp_mnist", "'epochs'", "an integer"]),
        ("^epochs = .*$", "epochs = 2.0", ["mlp_mnist", "epochs = 2.0", "float", "an integer"]),
        ("^epochs = .*$", "epochs = true", ["mlp_mnist", "epochs = True", "bool", "an integer"]),
        ("^epochs = .*$", "epochs = 0", ["mlp_mnist", "epochs = 0", "at least 1"]),
        ("^lr = .*$", "lr = '1e-3'", ["mlp_mnist", "lr = '1e-3'", "str", "a number"]),
        ("^lr = .*$", "lr = true", ["lr = True", "bool", "a number"]),
        ("^lr = .*$", "lr = nan", ["lr = nan", "above 0"]),
        ("^C = .*$", "C = inf", ["C = inf", "above 0"]),
        ("^momentum = .*$", "momentum = 1.0", ["momentum = 1.0", "in [0, 1)"]),
        ("^optimizer = .*$", "optimizer = 'lbfgs'", ["optimizer = 'lbfgs'", "'sgd', 'adam'"]),
        ("^seeds = .*$", "seeds = []", ["seeds = ()", "at least one"]),
        ("^seeds = .*$", "seeds = [0, 0]", ["seeds = (0, 0)", "different"]),
        ("^seeds = .*$", "seeds = [0, true]", ["seeds = [0, True]", "a list of integers"]),
        ("^seeds = .*$", "seeds = 3", ["seeds = 3", "a list of integers"]),
        ("^forget = .*$", "forget = 600", ["forget = 600", "below train = 600"]),
        (r"^\[mlp_mnist\]$", "[lenet_mnist]", ["'lenet_mnist'", "mlp_mnist"]),
        ("^name = .*$", "name = 'tiny'", ["'tiny'", "'smoke'"]),
        ("^lr = .*$", "lr = ", ["TOML", "line"]),
    ],
)
def test_a_wrong_file_is_refused_with_what_and_why(tmp_path, pattern, replacement, said):
    with pytest.raises(ProfileError) as refusal:
        profiles.read(edited(tmp_path, pattern, replacement), "a test")
    for words in ["smoke.toml", *said]:
        assert words in str(refusal.value)


def test_an_integer_will_do_for_a_number(tmp_path):
    pair = profiles.read(edited(tmp_path, "^C = .*$", "C = 3"), "a test").mlp_mnist
    assert pair.C == 3.0 and isinstance(pair.C, float)


def test_an_unknown_profile_names_the_known():
    with pytest.raises(ProfileError, match="'tiny'.*laptop, paper, quick, smoke"):
        profiles.load("tiny")


def test_the_environment_wins_and_says_so(monkeypatch):
    chosen = profiles.active("quick")
    assert (chosen.name, chosen.reason) == ("quick", "the notebook's parameter")
    monkeypatch.setenv(profiles.VARIABLE, "smoke")
    chosen = profiles.active("quick")
    assert (chosen.name, chosen.reason) == ("smoke", "UNLEARNLIB_PROFILE")
    assert "smoke" in str(chosen) and "UNLEARNLIB_PROFILE" in str(chosen)
    monkeypatch.setenv(profiles.VARIABLE, "tiny")
    with pytest.raises(ProfileError, match="UNLEARNLIB_PROFILE"):
        profiles.active("quick")
    monkeypatch.setenv(profiles.VARIABLE, "")
    assert profiles.active("quick").name == "quick"


def test_profiles_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        profiles.load("smoke").mlp_mnist.epochs = 3
