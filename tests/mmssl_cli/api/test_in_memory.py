"""`mmssl.prepare` of tables and vectors in memory: the same data set as of their files, and nothing lost in silence."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from scipy import sparse

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


@pytest.mark.parametrize("form", ["tensor", "bfloat16", "table", "named", "index", "dict", "named dict", "floats"])
def test_other_forms_of_vectors(form: str) -> None:
    values = np.arange(16, dtype=np.float32).reshape(8, 2) + 1
    order = [3, 1, 0, 2, 7, 6, 5, 4]
    frame = pd.DataFrame(values[order]).assign(item=order)
    given = {
        "tensor": torch.tensor(values, requires_grad=True),
        "bfloat16": torch.tensor(values, dtype=torch.bfloat16),
        "table": frame,
        "named": frame.rename(columns={"item": "sku"}),
        "index": frame.set_index("item"),
        "dict": {item: torch.tensor(values[item], requires_grad=True) for item in order},
        "floats": {np.float64(item): values[item] for item in order},
        "named dict": {item: values[item].tolist() for item in order},
    }[form]
    own_name = form.startswith("named")
    items = _items().rename(columns={"item": "sku"}) if own_name else _items()
    clicks = _clicks().rename(columns={"item": "sku"}) if own_name else _clicks()
    named = {"item_column": "sku"} if own_name else {}
    made = _prepare("shop", interactions=clicks, items=items, features={"clip.v1": given}, **named)
    np.testing.assert_array_equal(made.features("clip.v1"), values)
    assert made.features("clip.v1").dtype == np.float32
    assert made.items()["item"].tolist() == made.item_ids
    assert made.items()["title"].tolist() == _items()["title"].tolist()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"interactions": pd.DataFrame({"user": [["a"], 1], "item": [1, 2]})},
            "interactions has values of type int, list in the",
        ),
        (
            {"interactions": pd.DataFrame([[1, 2, 3]], columns=["user", "item", "item"])},
            "interactions is a DataFrame that cannot be read as a table: Duplicate column names",
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
        ({"interactions": {"user": list(range(999))}}, "interactions is a dict: expected a table of pandas, Polars or"),
        (
            {"interactions": _clicks()["user"]},
            "interactions is a Series: expected a table of pandas",
        ),
        ({"interactions": sparse.eye(8, format="csr")}, "interactions is a csr_matrix: expected a table of pandas"),
        (
            {"interactions": _clicks().assign(note=["a", Path("b"), *"c" * (len(_clicks()) - 2)])},
            r"interactions has values of type PosixPath, str in the column 'note': expected .* with astype\(str\)",
        ),
        (
            {"interactions": _clicks().assign(time=pd.Period("2020-01", "M"))},
            r"interactions has values of type extension<.*> in the column 'time': expected numbers, texts, dates or",
        ),
        (
            {"interactions": _clicks(), "items": _items().assign(photo="/a.png"), "image_column": "photo"},
            "image_column names files, such as '/a.png': give the folder that holds them too, as images",
        ),
        *(
            ({"interactions": _clicks(), "features": {"visual": values}}, f"features of visual,? {sentence}")
            for values, sentence in (
                ([[1.0, 2.0]] * 8, "is a list: expected an array or tensor"),
                ({}, "is an empty dict: expected item ids"),
                ({0: [1.0, 2.0], 1: [1.0]}, "have 2 dimensions, but 1 for item 1"),
                ({0: [1.0, 2.0], 1: "ab"}, r"item 1, are <U2 values of shape \(\): expected numbers"),
                ({0: [1.0, 2.0], 1: None}, "item 1, are None; leave out items that have none"),
                ({0: np.ones((1, 2))}, r"item 0, are float64 values of shape \(1, 2\): expected numbers"),
                ({0: [1.0, 2.0], "b": [1.0, 2.0]}, "have ids of type int, str: expected texts, or whole numbers"),
                ({2.0**53: [1.0], 2.0: [1.0]}, "have ids of type float: expected texts, or whole"),
                (None, "is None: expected an array or tensor"),
                (sparse.eye(8, format="csr"), "is a csr_matrix: expected an array or tensor"),
                (np.ma.masked_equal(np.eye(8), 1), "has masked values: fill them in"),
                (torch.eye(8).to_sparse(), "cannot be read as an array: .*to_dense.*[^.][.]$"),
                (pd.DataFrame(np.eye(8)), "has no column of item ids, only '0', '1', '2', '3', '4', ...: add one"),
                (
                    pd.DataFrame({"vector": [[1.0, 2.0]] * 8}, index=[3, 1, 0, 2, 7, 6, 5, 4]),
                    "has no column of item ids, only 'vector'",
                ),
            )
        ),
        ({"interactions": _clicks(), "features": {1: np.ones((8, 2))}}, "features cannot be .*expected"),
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
    texts = run.recommend_for(["0", "1"], k=3)
    for numbers in (_items()["item"][:2], torch.arange(2), pa.array([0, 1]), np.arange(2), [0, np.int64(1)]):
        pd.testing.assert_frame_equal(run.recommend_for(numbers, k=3), texts)
    assert set(run.recommend("u1", k=2, candidates=[3, np.int64(5), 6])["item"]) <= {"3", "5", "6"}


def test_whole_floats_are_ids_of_lists_and_recommendations() -> None:
    clicks = _clicks().assign(user=_clicks()["user"].str[1:].astype(int))
    data = _prepare("shop", interactions=clicks, items=_items())
    run = mmssl.train("itemknn", data, device="cpu", ks=[5], select_on="recall@5")
    lists = run.recommend(k=5)
    floats = lists.astype({"user": float, "item": float})
    assert mmssl.evaluate(floats, data, ks=5) == mmssl.evaluate(lists, data, ks=5)
    pd.testing.assert_frame_equal(run.recommend([1.0, 2.0], k=3), run.recommend(["1", "2"], k=3))


def test_a_refused_data_set_leaves_no_files_behind() -> None:
    with pytest.raises(mmssl.UsageError, match="demo"):
        mmssl.prepare("demo", interactions=_clicks())
    with pytest.raises(mmssl.UsageError, match=r"'raw' cannot name a data set: data.raw is the folder of raw files"):
        mmssl.prepare("raw", interactions=_clicks())
    assert not [path for path in Path("data").rglob("*") if path.is_file()]


def test_a_data_set_that_is_prepared_again_is_read_again() -> None:
    data = _prepare("shop", interactions=_clicks(), items=_items())
    assert (data.num_users, len(data.user_ids)) == (8, 8)
    _prepare("shop", interactions=_clicks().query("user != 'u0'"), items=_items())
    assert (data.num_users, data.user_ids[0]) == (7, "u1")
    assert set(data.interactions()["user"]) == set(data.user_ids)


def test_ids_whose_last_digits_are_lost_are_refused() -> None:
    clicks = _clicks().assign(item=lambda rows: rows["item"] + 2.0**53)
    with pytest.raises(mmssl.InputError, match="beyond 2\\^53 as decimals in column item, whose last digits are lost"):
        mmssl.prepare("shop", interactions=clicks, k_core=1)
    exact = mmssl.prepare("shop", interactions=_clicks().assign(item=lambda rows: rows["item"] + 2**53), k_core=1)
    assert exact.item_ids[1] == str(2**53 + 1)


def test_a_damaged_table_is_refused_by_name() -> None:
    made = _prepare("shop", interactions=_clicks(), items=_items())
    table = pd.read_parquet(made.path / "items.parquet")
    table.iloc[::-1].assign(item=range(8)).to_parquet(made.path / "items.parquet", index=False)
    again = mmssl.Dataset(made.path)
    for read in (again.items, again.interactions, lambda: again.item_ids):
        with pytest.raises(mmssl.InputError, match=r"items\.parquet is not the file that was prepared"):
            read()


def test_what_is_left_out_is_a_warning() -> None:
    clicks = _clicks().assign(split="train", item=lambda table: "i" + table["item"].astype(str))
    clicks = pd.concat(
        [clicks, pd.DataFrame({"user": "u0", "item": [f"i{n}" for n in range(8, 12)], "split": "test", "time": 0})]
    )
    vectors = pd.DataFrame({"item": ["i0", "i0", "x", "i1"], "price": [1.0, 2, 3, 4], "year": [1.0, 2, 3, 4]})
    given = {"visual": np.ones((12, 2)), "facts": vectors}
    with pytest.warns(UserWarning, match="data set shop") as caught:
        mmssl.prepare("shop", interactions=clicks, features=given, k_core=1, max_absent=1.0)
    told = sorted(str(warning.message).removeprefix("data set shop: ") for warning in caught)
    assert told == [
        "facts: 10 of 12 items without content",
        "facts=facts.vectors.parquet: 2 of 4 rows left out (a row of no item that is kept: 1, another row of the same "
        "item: 1)",
        "facts=facts.vectors.parquet: the dimensions are the columns price, year",
        "interactions.parquet: the column split is not used; split given keeps the split that it says",
        "visual=visual.npy: its rows are taken in the order of the item ids as texts: i0, i1, i10, ...",
    ]
    assert all(warning.filename == __file__ for warning in caught)


def test_the_default_k_core_and_odd_splits_are_warnings() -> None:
    rare = pd.concat([_clicks(), pd.DataFrame({"user": ["solo"], "item": [0], "time": [0]})])
    with pytest.warns(UserWarning, match="5-core, the default: 8 of 9 users and 8 of 8 items are kept; k_core=1 keeps"):
        mmssl.prepare("shop", interactions=rare)
    labelled = rare.assign(split=["validation", *["train"] * (len(rare) - 2), "test"])
    with pytest.warns(UserWarning, match="users without a training interaction are kept: 1 in test"):
        mmssl.prepare("labelled", interactions=labelled, split="given", k_core=1)


def test_a_preparation_that_loses_nothing_is_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vectors = pd.DataFrame(np.eye(8), columns=[f"f{n}" for n in range(8)]).assign(item=range(8))
        mmssl.prepare("shop", interactions=_clicks(), features={"visual": np.eye(8), "other": vectors})
