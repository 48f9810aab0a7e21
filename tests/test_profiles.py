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
        left_out = profiles.OPTIONAL if name == "quick" else ()
        there = [pair for pair in profiles.PAIRS if pair not in left_out]
        assert list(profiles.load(name).pairs) == there


@pytest.mark.parametrize("pair", EVERY)
def test_what_holds_in_each_pair(pair):
    model, paper_dataset = pair.name.split("_")
    assert (pair.model, pair.paper_dataset) == (model, paper_dataset)
    assert (pair.norm == "none") == (model == "mlp")
    assert pair.norm in ("none", "group")  # with batch statistics the theorems don't hold
    assert (pair.optimizer, pair.weight_decay, pair.C) == ("adam", 5e-4, 20.0)
    assert pair.lr == 1e-3 or (pair.schedule, model != "mlp") == ("cosine", True)
    assert pair.precision == "float32" or model != "mlp"
    assert pair.lam in pair.dampings and pair.C in pair.radii


def test_the_paper_profile_is_the_paper():
    paper = profiles.load("paper")
    for pair in paper.pairs.values():
        assert pair.dataset == pair.paper_dataset and pair.stand_in == ""
        assert (pair.train, pair.test, pair.width) == (0, 0, 1.0)
        assert (pair.epochs, pair.batch_size, pair.forget) == (50, 128, 1000)
        assert {200.0, 2000.0} <= set(pair.dampings)  # of the later paper's re-run


def test_the_mlp_of_the_laptop_is_trained_as_that_of_the_paper():
    laptop, paper = profiles.load("laptop").mlp_mnist, profiles.load("paper").mlp_mnist
    assert dataclasses.replace(paper, lam=laptop.lam, stand_in=laptop.stand_in) == laptop


@pytest.mark.parametrize("name", ["smoke", "quick"])
def test_small_profiles_need_no_network(name):
    for pair in profiles.load(name).pairs.values():
        assert pair.dataset in ("mnist5k", "mnistm") and pair.stand_in == ""


@pytest.mark.parametrize("pair", EVERY)
def test_a_thousand_are_forgotten_of_a_whole_data_set_and_a_fixed_share_of_a_part(pair):
    share = 60 if pair.model == "mlp" else 20
    assert pair.forget == (round(pair.train / share) if pair.train else 1000)


def test_all_notebooks_together_have_their_minutes_in_every_profile():
    minutes = {name: profiles.load(name).minutes for name in profiles.names()}
    assert 0 < minutes["smoke"] < minutes["quick"] <= 8 < minutes["laptop"] < minutes["paper"]


def test_every_notebook_names_its_minutes_and_together_they_are_those_planned():
    planned = {
        path.stem: notebooks.planned_minutes(notebooks.read_notebook(path, "restore it"))
        for path in notebooks.all_in(notebooks.default_folder())
    }
    assert all(planned.values()), planned
    quick = profiles.load("quick")
    assert sum(planned.values()) / quick.at_once <= quick.minutes


def test_a_profile_may_leave_out_a_network_and_says_so_where_it_is_asked_for():
    quick = profiles.load("quick")
    assert str(quick).endswith("; without allcnn_cifar10, resnet18_svhn")
    assert "without" not in str(profiles.load("smoke"))
    said = (
        "quick leaves out allcnn_cifar10, since .* learns too little.*; laptop, paper, smoke have"
    )
    with pytest.raises(ProfileError, match=said):
        quick.allcnn_cifar10  # noqa: B018
    with pytest.raises(ProfileError, match="quick leaves out resnet18_svhn"):
        quick.pair("resnet18_svhn")


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
        ("^C = .*$", "C = 5", ["radii = (4.0, 8.0, 20.0, inf)", "C = 5.0 must be among"]),
        ("^radii = .*$", "radii = [4, 20]", ["radii = (4.0, 20.0)", "inf", "no constraint"]),
        ("^radii = .*$", "radii = [20, 4, inf]", ["radii = (20.0, 4.0, inf)", "ascending"]),
        ("^radii = .*$", "radii = []", ["radii = ()", "no constraint"]),
        ("^radii = .*$", "radii = ['inf']", ["radii = ['inf']", "list", "a list of numbers"]),
        ("^dampings = .*$", "dampings = [5]", ["dampings = (5.0,)", "at least two"]),
        ("^dampings = .*$", "dampings = [0, 5]", ["dampings = (0.0, 5.0)", "above 0"]),
        ("^dampings = .*$", "dampings = [5, inf]", ["dampings = (5.0, inf)", "finite"]),
        ("^dampings = .*$", "dampings = [5, nan]", ["dampings = (5.0, nan)", "ascending"]),
        ("^precision = .*$", "precision = 'float16'", ["'float16'", "'float32', 'bfloat16'"]),
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
    pair = profiles.read(edited(tmp_path, "^C = .*$", "C = 4"), "a test").mlp_mnist
    assert pair.C == 4.0 and isinstance(pair.C, float)
    pair = profiles.read(edited(tmp_path, "^dampings = .*$", "dampings = [1, 2]"), "").mlp_mnist
    assert pair.dampings == (1.0, 2.0) and isinstance(pair.dampings[0], float)


def test_an_unknown_profile_names_the_known():
    with pytest.raises(ProfileError, match="'tiny'.*laptop, paper, quick, smoke"):
        profiles.load("tiny")


def test_the_environment_wins_and_says_so(monkeypatch):
    chosen = profiles.active("quick")
    assert (chosen.name, chosen.reason) == ("quick", "the parameter of this run")
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


@pytest.mark.parametrize(
    "name", ["at_once", "neurons", "angles", "pieces", "drawings", "spellings"]
)
def test_a_count_below_one_is_refused(tmp_path, name):
    path = edited(tmp_path, rf"^{name} = \d+", f"{name} = 0")
    with pytest.raises(ProfileError, match=rf"smoke.toml: {name} = 0 .* must be at least 1"):
        profiles.read(path, "this test")
    assert profiles.read(edited(tmp_path, rf"^{name} = \d+", f"{name} = 1"), "this test")
