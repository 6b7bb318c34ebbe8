"""`mmssl.prepare` of tables and vectors in memory: the same data set as of their files, and nothing lost in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import mmssl_cli as mmssl
from pipelines.prepared import read_prepared


def _clicks() -> pd.DataFrame:
    pairs = [(f"u{user}", item) for user in range(8) for item in range(8) if (user + item) % 3]
    return pd.DataFrame(pairs, columns=["user", "item"]).assign(time=range(len(pairs)))


def _items() -> pd.DataFrame:
    return pd.DataFrame({"item": range(8), "title": [f"tea number {item}" for item in range(8)]})


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _prepare(name: str, **options: Any) -> mmssl.Dataset:
    return mmssl.prepare(name, **{"k_core": 1, "text": "title", "text_encoder": "tfidf"} | options)


def test_tables_in_memory_make_the_data_set_of_their_files() -> None:
    _clicks().to_csv("clicks.csv", index=False)
    _items().to_csv("items.csv", index=False)
    vectors = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    np.save("vectors.npy", vectors)
    of_files = _prepare("files", interactions="clicks.csv", items="items.csv", features={"visual": "vectors.npy"})
    made = _prepare("made", interactions=_clicks(), items=_items(), features={"visual": vectors})
    assert made.modalities == of_files.modalities and made.item_ids == of_files.item_ids
    pd.testing.assert_frame_equal(made.interactions(), of_files.interactions())
    for name, one in read_prepared(of_files.path).features.items():
        np.testing.assert_array_equal(one.values, read_prepared(made.path).features[name].values)


def test_preparing_the_same_tables_again_changes_nothing_and_others_do() -> None:
    before = (_prepare("shop", interactions=_clicks(), items=_items()).path / "manifest.json").stat()
    again = (_prepare("shop", interactions=_clicks(), items=_items()).path / "manifest.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (again.st_ino, again.st_mtime_ns)
    fewer = _prepare("shop", interactions=_clicks()[1:], items=_items())
    assert len(fewer.interactions()) == len(_clicks()) - 1


@pytest.mark.parametrize("form", ["arrow", "index", "filtered", "categories"])
def test_other_forms_of_a_table(form: str) -> None:
    clicks: Any = _clicks()
    match form:
        case "arrow":
            clicks = pa.table(clicks)
        case "index":
            clicks = clicks.set_index(["user", "item"])
        case "filtered":
            clicks = pd.concat([clicks, clicks.assign(time=-1)]).query("time >= 0")
        case "categories":
            clicks = clicks.astype({"user": "category", "item": "string"})
    made = _prepare("shop", interactions=clicks, items=_items())
    expected = _prepare("plain", interactions=_clicks(), items=_items())
    pd.testing.assert_frame_equal(made.interactions(), expected.interactions())


@pytest.mark.parametrize("form", ["tensor", "table", "index"])
def test_other_forms_of_vectors(form: str) -> None:
    values = np.arange(16, dtype=np.float32).reshape(8, 2) + 1
    order = [3, 1, 0, 2, 7, 6, 5, 4]
    frame = pd.DataFrame(values[order]).assign(item=order)
    given = {
        "tensor": torch.tensor(values, requires_grad=True),
        "table": frame,
        "index": frame.set_index("item"),
    }[form]
    made = _prepare("shop", interactions=_clicks(), items=_items(), features={"clip.v1": given})
    np.testing.assert_array_equal(read_prepared(made.path).features["clip.v1"].values, values)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"interactions": pd.DataFrame({"user": [["a"], 1], "item": [1, 2]})}, "interactions cannot be written as"),
        (
            {"interactions": pd.DataFrame([[1, 2, 3]], columns=["user", "item", "item"])},
            "interactions cannot be written as parquet: Duplicate column names",
        ),
        (
            {
                "interactions": _clicks(),
                "items": _items().set_axis(list("abcdefgh")),
            },
            "items has an index without a name; name it as a column, with rename_axis",
        ),
        (
            {"interactions": _clicks(), "features": {"visual": np.array([["a"]])}},
            r"features of visual are <U1 values of shape \(1, 1\): expected numbers of shape \[items, dimensions\]",
        ),
        ({"interactions": _clicks(), "features": {"visual": np.ones(8)}}, r"of shape \(8,\): expected numbers"),
        (
            {"interactions": _clicks(), "features": np.ones((8, 2))},
            "features is a ndarray: expected a dict of modalities",
        ),
        ({"interactions": _clicks(), "features": {1: np.ones((8, 2))}}, "--features cannot be .*expected"),
        ({"interactions": _clicks(), "features": {"a/b": np.ones((8, 2))}}, "'a/b' cannot name a modality"),
        ({"interactions": _clicks(), "items": _items(), "audio_column": "title"}, "audio_column names files beside"),
    ],
)
def test_what_is_no_table_is_refused_before_anything_is_written(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(mmssl.UsageError, match=sentence):
        mmssl.prepare("shop", **options)
    assert not Path("data").exists()


def test_ids_that_are_whole_numbers_may_be_given_as_such() -> None:
    data = _prepare("shop", interactions=_clicks(), items=_items())
    run = mmssl.train("itemknn", data, device="cpu", ks=[5], select_on="recall@5")
    numbers, texts = run.recommend_for(_items()["item"][:2], k=3), run.recommend_for(["0", "1"], k=3)
    pd.testing.assert_frame_equal(numbers, texts)
    assert set(run.recommend("u1", k=2, candidates=[3, np.int64(5), 6])["item"]) <= {"3", "5", "6"}
