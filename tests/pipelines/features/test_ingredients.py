"""Ingredients become tokens: sampled by seed and recipe alone, padded, numbered by how frequent they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.features.ingredients import INGREDIENTS, encode_ingredients, normalise_name
from pipelines.prepared.dataset import Features

MANY = [f"spice {number}" for number in range(60)]


def names_of(features: Features, row: int) -> list[str]:
    assert features.vocabulary is not None
    token = dict(zip(features.vocabulary["id"], features.vocabulary["token"], strict=True))
    return [token[number] for number in features.values[row] if number]


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("  Granny  Smith apples\tsliced ", "granny smith apples sliced"),
        ("Jalapen\u0303o", "jalapeño"),
        ("Half &amp; Half", "half & half"),
        ("\uff33alt", "salt"),
        ("\u00bd-inch ginger", "1\u20442-inch ginger"),
        ("2% milk", "2% milk"),
        ("\0 ", ""),
    ],
)
def test_names_are_normalised(name: str, normal: str) -> None:
    assert normalise_name(name) == normal


def test_tokens_vocabulary_and_padding() -> None:
    recipes = [["Salt", "Oil"], [], ["salt", "Egg", "SALT", " "], ["egg", "salt"]]
    features = encode_ingredients(recipes, ["1", "2", "3", "4"])
    assert features.values.dtype == np.int32 and features.values.shape == (4, INGREDIENTS)
    pd.testing.assert_frame_equal(
        features.vocabulary,
        pd.DataFrame(
            {
                "id": np.array([1, 2, 3], np.int32),
                "token": pd.Series(["salt", "egg", "oil"], dtype=object),
                "count": np.array([3, 2, 1]),
            }
        ),
    )
    assert features.values[:, :3].tolist() == [[1, 3, 0], [0, 0, 0], [1, 2, 0], [2, 1, 0]]
    assert not features.values[:, 3:].any()
    assert features.present.tolist() == [True, False, True, True]
    assert features.encoder == {"name": "ingredients", "tokens": 20, "seed": 0, "vocabulary": 4}
    assert features.holds_tokens


def test_more_than_twenty_are_sampled_without_replacement() -> None:
    features = encode_ingredients([MANY], ["1"])
    sampled = names_of(features, 0)
    assert len(sampled) == len(set(sampled)) == INGREDIENTS and set(sampled) < set(MANY)
    assert sampled == sorted(sampled, key=MANY.index)  # in the recipe's order
    assert features.encoder["vocabulary"] == INGREDIENTS + 1  # what was not sampled has no token


def test_the_sample_is_of_the_seed_and_the_recipe_alone() -> None:
    alone = names_of(encode_ingredients([MANY], ["7"], seed=3), 0)
    among = encode_ingredients([["salt"], MANY, MANY[::-1]], ["1", "8", "7"], seed=3)
    assert set(names_of(among, 2)) == set(alone)
    assert set(names_of(among, 1)) != set(alone)
    assert set(names_of(encode_ingredients([MANY], ["7"], seed=4), 0)) != set(alone)


def test_every_ingredient_is_as_likely_as_another() -> None:
    counts = np.zeros(len(MANY))
    for seed in range(300):
        counts += np.isin(MANY, names_of(encode_ingredients([MANY], ["1"], seed), 0))
    assert counts.sum() == 300 * INGREDIENTS
    assert abs(counts - 100).max() < 4.5 * np.sqrt(300 * (1 / 3) * (2 / 3))  # binomial, of 300 with p = 20 / 60


@settings(deadline=None)
@given(st.lists(st.lists(st.text(max_size=4) | st.sampled_from(MANY), max_size=40), max_size=5))
def test_whatever_the_names(recipes: list[list[str]]) -> None:
    features = encode_ingredients(recipes, [str(number) for number in range(len(recipes))])
    assert features.vocabulary is not None
    known = len(features.vocabulary) + 1
    assert features.values.min(initial=0) >= 0 and features.values.max(initial=0) < known
    assert np.bincount(features.values.ravel(), minlength=known)[1:].tolist() == features.vocabulary["count"].tolist()
    assert features.present.tolist() == [any(map(normalise_name, names)) for names in recipes]
