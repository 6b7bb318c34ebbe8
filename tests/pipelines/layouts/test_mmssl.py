"""The published layout: what it means, and every way in which it can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError
from pipelines.layouts.mmssl import read_pairs, read_published
from pipelines.prepared import write_prepared
from pipelines.prepared.dataset import validate
from tests.helpers.prepared_cases import real

TRAIN = {"0": [0, 2], "1": [1], "2": [3]}
VALIDATION = {"0": [1], "1": [], "2": []}
TEST = {"0": [], "1": [3], "2": [0]}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, lists in (("train", TRAIN), ("val", VALIDATION), ("test", TEST)):
        (folder / f"{name}.json").write_text(json.dumps(lists))
    np.save(folder / "image_feat.npy", np.arange(8, dtype=np.float64).reshape(4, 2))
    np.save(folder / "text_feat.npy", np.ones((4, 3), dtype=np.float16))
    return folder


def test_the_layout_means_what_it_says(raw: Path) -> None:
    data = read_published("own", raw)
    validate(data)
    assert data.pairs("train").tolist() == [[0, 0], [0, 2], [1, 1], [2, 3]]
    assert data.pairs("validation").tolist() == [[0, 1]]
    assert data.pairs("test").tolist() == [[1, 3], [2, 0]]
    assert data.users["id"].tolist() == ["0", "1", "2"]
    assert data.items["id"].tolist() == ["0", "1", "2", "3"]
    assert list(data.features) == ["visual", "textual"]
    assert data.features["visual"].values.dtype == np.float32
    assert data.features["textual"].values.dtype == np.float16
    assert data.features["visual"].present.all()


def test_a_row_of_zeros_is_absent_content(raw: Path) -> None:
    np.save(raw / "image_feat.npy", np.array([[1, 0], [0, 0], [0, 2], [3, 3]], dtype=np.float32))
    assert read_published("own", raw).features["visual"].present.tolist() == [True, False, True, True]


def test_features_may_be_absent_or_of_another_modality(raw: Path) -> None:
    (raw / "image_feat.npy").unlink()
    (raw / "text_feat.npy").unlink()
    assert read_published("own", raw).features == {}
    np.save(raw / "video_feat.npy", np.ones((4, 2), dtype=np.float32))
    assert list(read_published("own", raw).features) == ["video"]


def test_items_without_interactions_count_where_features_name_them(raw: Path) -> None:
    for name in ("image_feat.npy", "text_feat.npy"):
        np.save(raw / name, np.ones((9, 2), dtype=np.float32))
    assert read_published("own", raw).num_items == 9


def test_most_items_may_lack_interactions_where_features_name_them(raw: Path) -> None:
    for name in ("image_feat.npy", "text_feat.npy"):
        np.save(raw / name, np.ones((5000, 1), dtype=np.float16))
    (raw / "train.json").write_text(json.dumps(TRAIN | {"2": [4999]}))
    assert read_published("own", raw).num_items == 5000


def test_users_count_by_key_also_without_items(raw: Path) -> None:
    (raw / "val.json").write_text(json.dumps(VALIDATION | {"5": []}))
    data = read_published("own", raw)
    assert data.num_users == 6
    validate(data)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.longdouble, ">f4"])
def test_any_float_type_is_read(raw: Path, kind: Any) -> None:
    np.save(raw / "image_feat.npy", np.full((4, 2), 0.5, dtype=kind))
    values = read_published("own", raw).features["visual"].values
    assert values.dtype in (np.float16, np.float32)
    assert (values == 0.5).all()


def test_items_csv_gives_ids_titles_and_addresses(raw: Path) -> None:
    rows = [
        "item,asin,title,imUrl",
        "1,B1,Cup,",
        "0,B0,,http://x/0.jpg",
        "3,B3,Jar,http://x/3.jpg",
        "2,B2,Pot,u",
    ]
    (raw / "items.csv").write_text("\n".join(rows))
    items = read_published("own", raw).items
    assert items["id"].tolist() == ["B0", "B1", "B2", "B3"]
    assert items["title"].tolist() == [None, "Cup", "Pot", "Jar"]
    assert items["image"].tolist() == ["http://x/0.jpg", None, "u", "http://x/3.jpg"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("item,price\n0,1\n", "has the columns item, price; expected item, asin"),
        ("", "has the columns none"),
        ("item,asin\n0,a\n0,b\n", "does not number its 2 items 0 to 1"),
        ("item,asin\n0,a\n2,b\n", "does not number its 2 items 0 to 1"),
        ("item,asin\n0,a\n1,b\n", r"items\.csv has 2 rows, but there are 4 items"),
        ('item,asin\n0,"a\n', "is not CSV"),
        (b"item,asin\n0,\xff\n", "1 of 1 lines of .* is malformed .line 2: not text in the encoding of the file"),
    ],
)
def test_wrong_items_csv(raw: Path, text: str | bytes, sentence: str) -> None:
    (raw / "items.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=sentence):
        read_published("own", raw)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"0": [0, 2], "1"', "is truncated or not JSON"),
        ("", "is truncated or not JSON"),
        (b'{"0": [\xff]}', "is truncated or not JSON"),
        ("[" * 100_000, "is truncated or not JSON"),
        ("[[0, 1]]", r"holds \[\[0, 1\]\]; expected an object"),
        ("null", "holds null; expected an object"),
        ('{"0": 3}', "gives user 0 3; expected a list of items"),
        ('{"0": {"1": 2}}', r"gives user 0 \[.*; expected a list"),
        ('{"0": [0.5]}', r"gives user 0 0\.5; expected a list of items, which are numbers"),
        ('{"0": [NaN]}', "gives user 0 NaN"),
        ('{"0": ["1"]}', 'gives user 0 "1"'),
        ('{"0": [true]}', "gives user 0 true"),
        ('{"0": [null]}', "gives user 0 null"),
        ('{"0": [-1]}', "gives user 0 -1; expected"),
        ('{"0": [2147483647]}', "gives user 0 2147483647"),
        ('{"0": [100000000000000000000]}', "gives user 0 1000000"),
        ('{"0": [5000000]}', "item number 5000000 is out of range: only 4 items occur"),
        ('{"7000000": [0]}', "user number 7000000 is out of range: only 4 users occur"),
        ('{"ann": [0]}', "has the user 'ann'; expected a number"),
        ('{"-1": [0]}', "has the user '-1'"),
        ('{"1.0": [0]}', r"has the user '1\.0'"),
        ('{"٣": [0]}', "has the user '٣'"),
        ('{"99999999999": [0]}', "has the user '99999999999'"),
        ('{"0": [0], "0": [1]}', "lists user 0 more than once"),
        ('{"0": [0], "00": [1]}', "lists user 0 more than once"),
    ],
)
def test_wrong_json(raw: Path, text: str | bytes, sentence: str) -> None:
    for features in raw.glob("*.npy"):
        features.unlink()
    (raw / "train.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=sentence):
        read_published("own", raw)


@pytest.mark.parametrize(
    ("file", "lists", "sentence"),
    [
        (
            "train",
            TRAIN | {"1": [1, 1]},
            "1 interaction is repeated, .* user 1 with item 1, 2 times in train",
        ),
        ("val", VALIDATION | {"1": [1]}, "user 1 with item 1, in train and validation"),
        ("val", VALIDATION | {"1": [3]}, "user 1 with item 3, in validation and test"),
        ("val", {}, "the validation split is empty"),
        ("test", {"0": []}, "the test split is empty"),
        ("train", {}, "the train split is empty"),
        ("train", TRAIN | {"0": [4]}, r"image_feat\.npy has 4 rows, but there are 5 items"),
    ],
)
def test_wrong_contents_leave_nothing_behind(
    raw: Path, tmp_path: Path, file: str, lists: dict[str, list[int]], sentence: str
) -> None:
    (raw / f"{file}.json").write_text(json.dumps(lists))
    with pytest.raises(InputError, match=sentence):
        write_prepared(read_published("own", raw), tmp_path / "out" / "own")
    assert not (tmp_path / "out").exists()


def test_users_without_training(raw: Path) -> None:
    (raw / "train.json").write_text(json.dumps(TRAIN | {"1": []}))
    with pytest.raises(InputError, match=r"1 user has .*0 in validation, 1 in test; first ids 1\).*--cold-users keep"):
        validate(read_published("own", raw))
    kept = read_published("own", raw, cold="keep")
    validate(kept)
    assert kept.pairs("test").tolist() == [[1, 3], [2, 0]]
    dropped = read_published("own", raw, cold="drop")
    validate(dropped)
    assert dropped.pairs("test").tolist() == [[2, 0]]
    assert dropped.num_users == 3


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was loaded",))


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_truncate, "damaged, truncated or not a NumPy file"),
        (lambda path: path.write_bytes(b"PK\x03\x04 no zip"), "damaged, truncated or not a NumPy file"),
        (lambda path: path.write_bytes(b""), "damaged, truncated or not a NumPy file"),
        (lambda path: np.save(path, np.array([[Trap()]] * 4, dtype=object)), "holds pickled Python objects"),
        (lambda path: np.savez(path.open("wb"), a=np.ones(3)), "is an archive of arrays"),
        (
            lambda path: np.save(path, np.ones((4, 2), dtype=np.int64)),
            "holds int64 values; expected floating-point",
        ),
        (lambda path: np.save(path, np.ones(4)), r"has shape \(4,\)"),
        (lambda path: np.save(path, np.ones((4, 0))), r"has shape \(4, 0\)"),
        (lambda path: np.save(path, np.ones((3, 2))), "image_feat.npy has 3 rows, but there are 4 items"),
        (lambda path: np.save(path, np.ones((6, 2))), "text_feat.npy has 4 rows, but there are 6 items"),
        (lambda path: np.save(path, np.full((4, 2), np.nan)), "NaN or infinite features for 4 items"),
        (lambda path: np.save(path, np.full((4, 2), 1e300)), "NaN or infinite features for 4 items"),
    ],
)
def test_wrong_features(raw: Path, tmp_path: Path, spoil: Callable[[Path], Any], sentence: str) -> None:
    spoil(raw / "image_feat.npy")
    with pytest.raises(InputError, match=sentence):
        write_prepared(read_published("own", raw), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_files_of_one_modality(raw: Path) -> None:
    np.save(raw / "visual_feat.npy", np.ones((4, 2), dtype=np.float32))
    with pytest.raises(InputError, match="two files of modality 'visual'"):
        read_published("own", raw)


def test_missing_splits_are_named(raw: Path, tmp_path: Path) -> None:
    (raw / "val.json").unlink()
    (raw / "test.json").unlink()
    with pytest.raises(InputError, match=r"has no val\.json and no test\.json"):
        read_published("own", raw)
    with pytest.raises(InputError, match="There is no folder"):
        read_published("own", tmp_path / "nowhere")


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | st.from_regex(r"\d{1,3}"), inner),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=60) | st.text(max_size=40).map(str.encode) | junk.map(lambda v: json.dumps(v).encode())
)
def test_junk_gives_a_sentence_or_pairs(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train.json"
    path.write_bytes(content)
    try:
        users, pairs = read_pairs(path)
    except InputError as problem:
        assert str(path) in str(problem)
    else:
        lists = json.loads(content)
        assert users.tolist() == [int(user) for user in lists]
        assert pairs.to_numpy().tolist() == [[int(user), item] for user, items in lists.items() for item in items]


def test_the_real_tiktok() -> None:
    """9,308 users, eleven fewer than in the paper's Table 1; its 59,541 interactions are training alone."""
    folder = real("tiktok")
    with pytest.raises(InputError, match=r"10 users have .*5 in validation, 5 in test; first ids 288, 3045"):
        validate(read_published("tiktok", folder))
    data = read_published("tiktok", folder, cold="keep")
    validate(data)
    assert data.counts() == {"users": 9308, "items": 6710, "train": 59541, "validation": 3051, "test": 6130}
    assert {name: features.values.shape[1] for name, features in data.features.items()} == {
        "visual": 128,
        "acoustic": 128,
    }
    assert all(features.values.dtype == np.float16 for features in data.features.values())
    dropped = read_published("tiktok", folder, cold="drop").counts()
    assert (dropped["users"], dropped["validation"], dropped["test"]) == (9308, 3046, 6125)


def test_the_real_amazon_baby() -> None:
    """The paper's Table 1 counts training and test: 139,110."""
    data = read_published("amazon-baby", real("amazon-baby"))
    validate(data)
    assert data.counts() == {
        "users": 19445,
        "items": 7050,
        "train": 118551,
        "validation": 21682,
        "test": 20559,
    }
    assert data.features == {}
    assert data.items.loc[0, "id"] == "B0043XBDOW"
    assert data.items["image"].str.startswith("http").all()
