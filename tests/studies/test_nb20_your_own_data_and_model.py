"""One's own data, by hand: files that stand for it, and a card that was altered."""

import json

import pandas as pd
import pytest
from digits import tiny

from studies import nb20_your_own_data_and_model as study
from unlearnlib.command import models, samples

pytestmark = pytest.mark.usefixtures("own_store")


def test_images_come_back_from_their_files(tmp_path):
    images = tiny(40, 20)
    read = samples.read(study.photographs(images, tmp_path / "photos"))
    assert read.images.shape == images.shape and read.images.classes == images.classes
    first = int(read.names[0].partition("/")[2].removesuffix(".png"))
    assert read.names[0].startswith(images.classes[images.y_train[first]])
    assert (read.images.x_train[0] == images.x_train[first]).all()


def test_no_row_has_a_part_in_how_another_is_scaled(tmp_path):
    train, others = study.patients(tmp_path)
    table, aside = pd.read_csv(train), pd.read_csv(others)
    assert len(table) == 455 and len(aside) == 114
    assert not set(table.patient) & set(aside.patient)
    numbers = table.drop(columns=["label", "patient"])
    assert 0 <= numbers.min().min() and numbers.max().max() < 7  # alike, by a formula


def test_a_release_is_confirmed_and_an_altered_card_is_not(tmp_path):
    read = samples.read(study.photographs(tiny(60, 20), tmp_path / "photos"))
    budget = dict(epsilon=1.0, delta=1e-5)
    model = models.proved_model(read, features="auto", requests=1, **budget)
    out = tmp_path / "release"
    row = study.release_row("digits", model, read, [0, 7], out, **budget)
    assert row["confirmed"] and (row["n"], row["forgotten"]) == (60, 2)
    before = json.loads((out / "card.json").read_text())
    assert study.altered(model, read, out) is False
    assert json.loads((out / "card.json").read_text()) == before
