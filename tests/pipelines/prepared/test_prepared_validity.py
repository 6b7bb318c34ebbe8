"""Validity of prepared data: each fault has its own sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import InputError
from pipelines.prepared import Features, PreparedDataset
from pipelines.prepared.dataset import validate

Rows = list[tuple[int, int, str]]
GOOD: Rows = [(0, 0, "train"), (1, 1, "train"), (2, 2, "train"), (0, 3, "validation"), (1, 3, "test")]


def dataset(rows: Rows = GOOD, **changes: object) -> PreparedDataset:
    values = np.ones((4, 2), dtype=np.float32)
    data = PreparedDataset(
        name="shop",
        users=pd.DataFrame({"user": range(3), "id": ["ann", "bob", "eve"]}),
        items=pd.DataFrame({"item": range(4), "id": ["tea", "cup", "pot", "jar"]}),
        interactions=pd.DataFrame(rows, columns=["user", "item", "split"]),
        features={"visual": Features(values, np.ones(4, dtype=bool))},
    )
    return replace(data, **changes)  # type: ignore[arg-type]


def test_good_data_pass() -> None:
    validate(dataset())
    validate(dataset(features={}))


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([*GOOD, (3, 0, "train")], "1 user numbers .* out of range .first 3.; there are 3 users"),
        ([*GOOD, (-1, 0, "train")], "1 user numbers .* out of range .first -1."),
        (
            [*GOOD, (0, 4, "train"), (0, 7, "train")],
            "2 item numbers .* out of range .first 4, 7.; there are 4 items",
        ),
        ([*GOOD, (0, 1, "dev")], "unknown split dev; expected train, validation or test"),
        (GOOD[3:], "the train split is empty"),
        ([GOOD[0], GOOD[1], GOOD[2], GOOD[4]], "the validation split is empty"),
        (GOOD[:4], "the test split is empty"),
        (
            [*GOOD, (1, 1, "train")],
            "1 interaction is repeated, .* user bob with item cup, 2 times in train",
        ),
        (
            [*GOOD, (0, 3, "test")],
            "1 interaction is repeated, .* user ann with item jar, in validation and test",
        ),
        (
            [*GOOD, (0, 0, "test"), (1, 1, "test")],
            "2 interactions are repeated, .* ann with item tea, in train and test",
        ),
    ],
)
def test_wrong_interactions(rows: Rows, sentence: str) -> None:
    with pytest.raises(InputError, match=f'Data set "shop": .*{sentence}'):
        validate(dataset(rows))


def test_users_without_training_are_refused_unless_they_were_kept_on_purpose() -> None:
    rows = [*GOOD[:2], (2, 1, "test"), *GOOD[3:]]
    with pytest.raises(InputError, match=r"1 user has .*0 in validation, 1 in test; first ids eve.*--cold-users"):
        validate(dataset(rows))
    validate(dataset(rows, settings={"cold_users": "keep"}))


def test_fractional_numbers() -> None:
    rows = dataset().interactions.assign(item=[0.0, 1.0, 2.5, 3.0, 3.0])
    with pytest.raises(InputError, match="item numbers of the interactions are float64, not integers"):
        validate(dataset(interactions=rows))


def test_no_users_at_all() -> None:
    with pytest.raises(InputError, match="there are no users"):
        validate(dataset(users=pd.DataFrame({"user": [], "id": []})))


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 101, "tab\tbed"])
def test_names_that_cannot_be_files(name: str) -> None:
    with pytest.raises(InputError, match="cannot name a data set"):
        validate(dataset(name=name))
    with pytest.raises(InputError, match="cannot name a modality"):
        validate(dataset(features={name: dataset().features["visual"]}))


def _spoil(spoil: Callable[[np.ndarray], object]) -> dict[str, Features]:
    values = np.ones((4, 2), dtype=np.float32)
    spoil(values)
    return {"visual": Features(values, np.ones(4, dtype=bool))}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite(value: float) -> None:
    features = _spoil(lambda values: values.__setitem__((2, 1), value))
    with pytest.raises(InputError, match=r'"visual" has NaN or infinite features for 1 items \(first ids pot\)'):
        validate(dataset(features=features))


@pytest.mark.parametrize("rows", [3, 5])
def test_feature_rows_that_differ_from_the_items(rows: int) -> None:
    features = Features(np.ones((rows, 2), dtype=np.float16), np.ones(rows, dtype=bool))
    with pytest.raises(InputError, match=f"{rows} feature rows for 4 items; expected exactly one row per item"):
        validate(dataset(features={"visual": features}))
