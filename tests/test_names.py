"""Names in many languages: whose they are, what is set aside, and what their pieces are."""

import pytest
import torch

from unlearnlib.errors import DataError
from unlearnlib.lab import names


@pytest.fixture(scope="module")
def texts():
    return names.load()


def spelled(x):
    return [names.text(one) for one in x]


def test_a_name_is_its_bytes_and_comes_back(texts):
    assert texts.shape == (1, 1, names.BYTES) and texts.x_train.dtype == torch.uint8
    pairs = dict(zip(spelled(texts.x_train), texts.y_train.tolist(), strict=True))
    pairs |= dict(zip(spelled(texts.x_test), texts.y_test.tolist(), strict=True))
    expected = {"Deutschland": "de", "Allemagne": "fr", "Niemcy": "pl", "Đức": "vi"}
    assert {name: texts.classes[pairs[name]] for name in expected} == expected
    assert max(len(name.encode()) for name in pairs) <= names.BYTES


def test_no_name_has_two_answers_and_none_is_in_both_splits(texts):
    train, test = ({n.lower() for n in spelled(x)} for x in (texts.x_train, texts.x_test))
    assert not train & test
    labels = {}
    for name, label in zip(spelled(texts.x_train), texts.y_train.tolist(), strict=True):
        assert labels.setdefault(name.lower(), label) == label


def test_what_a_test_name_names_no_training_name_does(texts):
    germany = {"Deutschland", "Allemagne", "Niemcy", "Đức", "Alemanha", "Tyskland"}
    there = [germany & set(spelled(x)) for x in (texts.x_train, texts.x_test)]
    assert not all(there) and any(there)


def test_a_smaller_set_is_part_of_the_larger_one_and_too_many_are_refused(texts):
    few = names.load(100)
    assert torch.equal(few.x_train, texts.x_train[:100]) and "100 of" in few.title
    assert torch.equal(few.x_test, texts.x_test) and len(few.y_train.unique()) > 10
    with pytest.raises(DataError, match="ask for at most"):
        names.load(10**6)


def test_pieces_are_those_of_one_name_and_of_length_one(texts):
    features, few = names.pieces(64), texts.x_train[:5]
    x = features(few)
    assert x.shape == (5, 65) and torch.allclose(x.norm(dim=1), torch.ones(()), atol=1e-6)
    assert torch.equal(features(few[2:3])[0], x[2])  # whoever else is there
    assert features.key == {"name": "letters", "count": 64, "longest": 3}
