"""The layouts of MMRec and RecBole as those tools' users have them, and every way in which they can be wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError
from pipelines.features.image import PixelEncoder, encode_images
from pipelines.interactions import split_interactions
from pipelines.io.raw import MalformedRecords, RawInteractions
from pipelines.layouts import mmrec, recbole
from pipelines.prepared import read_prepared
from pipelines.prepared.dataset import Features
from pipelines.prepared.manifest import read_manifest
from tests.conftest import Answer
from tests.helpers.encoder_cases import photo

MMREC = """userID\titemID\trating\ttimestamp\tx_label
0\t1\t5.0\t1393545600\t0
0\t0\t4.0\t1393545601\t1
0\t2\t4.0\t1393545602\t2
1\t1\t1.0\t1393545603\t0
"""
RECBOLE = """user_id:token\titem_id:token\trating:float\ttimestamp:float
ann\tB1\t5\t978300760
ann\tB2\t2\t978300761.0
bob\tB1\t4\t978300762
"""
ITEMS = """item_id:token\tname:token_seq\tyear:float\tgenre:token_seq\timage_url:token\tvector:float_seq
B1\tTea cup\t1999\tkitchen blue\thttps://x.org/1.png\t0.5 -1 2e-3
B2\t"Big ""jar"\t\t\timages/none.png\t
B9\tNever seen\t2000\tkitchen\t\t1 1 1
"""


def rows_of(raw: RawInteractions) -> list[tuple[Any, ...]]:
    columns = [column for column in (raw.timestamp, raw.split) if column is not None]
    ids = [(raw.user_ids[user], raw.item_ids[item]) for user, item in zip(raw.user, raw.item, strict=True)]
    return [(*pair, *rest) for pair, *rest in zip(ids, *columns, strict=True)]


@pytest.fixture
def baby(tmp_path: Path) -> Path:
    folder = tmp_path / "baby"
    folder.mkdir()
    (folder / "baby.inter").write_text(MMREC)
    np.save(folder / "image_feat.npy", np.arange(12, dtype=np.float64).reshape(3, 4))
    return folder


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop.inter").write_text(RECBOLE)
    (folder / "shop.item").write_text(ITEMS)
    return folder


def read_mmrec(folder: Path) -> RawInteractions:
    return mmrec.read_interactions(mmrec.files(folder), MalformedRecords(folder / "baby.inter", limit=0.0))


def read_recbole(folder: Path) -> RawInteractions:
    return recbole.read_interactions(recbole.files(folder), MalformedRecords(folder / "shop.inter", limit=0.0))


def test_mmrec_without_mappings(baby: Path) -> None:
    assert mmrec.recognises(baby) and not recbole.recognises(baby)
    raw = read_mmrec(baby)
    assert rows_of(raw) == [
        ("0", "1", 1393545600, 0),
        ("0", "0", 1393545601, 1),
        ("0", "2", 1393545602, 2),
        ("1", "1", 1393545603, 0),
    ]
    assert (raw.user_ids, raw.item_ids) == (["0", "1"], ["0", "1", "2"])
    features = mmrec.read_features(mmrec.files(baby), ["2", "0"], MalformedRecords(Path()))
    assert features["visual"].values.tolist() == [[8, 9, 10, 11], [0, 1, 2, 3]]
    assert features["visual"].values.dtype == np.float32 and features["visual"].present.all()
    items = mmrec.read_items(mmrec.files(baby), ["2", "0"], MalformedRecords(baby))
    assert items["id"].tolist() == ["2", "0"] and items[["title", "text", "image"]].isna().all(axis=None)


@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_mmrec_with_mappings_of_either_delimiter(baby: Path, delimiter: str) -> None:
    users, items = "user_id,userID\nbob,1\nann,0\ncarl,2\n", "asin,itemID\nB2,2\nB0,0\nB1,1\n"
    (baby / "u_id_mapping.csv").write_text(users.replace(",", delimiter))
    (baby / "i_id_mapping.csv").write_text(items.replace(",", delimiter))
    (baby / "items.csv").write_text("item,id,title,imUrl\n0,B0,Zero,x.png\n1,B1,,http://x/1\n2,B2,Two,\n")
    raw = read_mmrec(baby)
    assert [row[:2] for row in rows_of(raw)] == [("ann", "B1"), ("ann", "B0"), ("ann", "B2"), ("bob", "B1")]
    assert (raw.user_ids, raw.item_ids) == (["ann", "bob", "carl"], ["B0", "B1", "B2"])
    paths = mmrec.files(baby)
    described = mmrec.read_items(paths, ["B2", "B1"], MalformedRecords(baby))
    assert described["title"].tolist() == ["Two", None] and described["image"].tolist() == [None, "http://x/1"]
    assert mmrec.read_features(paths, ["B2"], MalformedRecords(Path()))["visual"].values.tolist() == [[8, 9, 10, 11]]


def test_mmrec_without_a_split_is_split_as_any_interactions_are(baby: Path) -> None:
    lines = [f"{user}\t{item}" for user in range(8) for item in range(6)]
    (baby / "baby.inter").write_text("\n".join(["userID\titemID", *lines]))
    raw = read_mmrec(baby)
    assert raw.split is None and raw.timestamp is None
    result = split_interactions(raw)
    assert dict(result.interactions["split"].value_counts()) == {"train": 32, "validation": 8, "test": 8}


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("baby.inter", "userID\titemID\nann\t1\n", "has the user 'ann'; expected a number from 0"),
        ("baby.inter", "userID\titemID\n0\t1.0\n", r"has the item '1\.0'; expected a number"),
        ("baby.inter", "userID\titemID\n0\t00000000000000000001\n", "has the item '0000"),
        ("baby.inter", "userID\titemID\n0\t4294967296\n", "has the item '4294967296'"),
        ("baby.inter", "userID\titemID\n0\t2000000000\n", "item number 2000000000 is out of range"),
        ("baby.inter", "userID\titemID\tx_label\n0\t1\t3\n", "1 of 1 lines .*x_label: '3' is none of 0"),
        ("baby.inter", "userID\titemID\n", "holds no interactions"),
        ("other.inter", MMREC, r"has baby\.inter, other\.inter; the MMRec layout needs one file"),
        ("i_id_mapping.csv", "asin\titemID\nB0\t0\n", "has the item 2, but only 1 items are mapped"),
        ("i_id_mapping.csv", "asin\titemID\nB0\t0\nB0\t1\nB2\t2\n", "an empty id, or one id twice"),
        ("i_id_mapping.csv", "asin\titemID\nB0\t1\nB2\t2\n", "does not number its 2 items 0 to 1"),
        ("i_id_mapping.csv", "name\titemID\nB0\t0\n", "has the columns name, itemID; expected itemID, asin"),
        ("i_id_mapping.csv", "asin\titemID\nB0\t0\tmore\nB2\t1\n", "1 of 2 .*the wrong number of cells"),
        ("i_id_mapping.csv", "asin\titemID\nB0\x07\t0\nB2\t1\n", "item 0 cannot be read: the id"),
        ("image_feat.npy", b"no array", "damaged, truncated or not a NumPy file"),
    ],
)
def test_wrong_mmrec(baby: Path, file: str, content: str | bytes, sentence: str) -> None:
    (baby / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=sentence):
        raw = read_mmrec(baby)
        mmrec.read_features(mmrec.files(baby), raw.item_ids, MalformedRecords(Path()))


def test_mmrec_features_need_a_row_an_item(baby: Path) -> None:
    np.save(baby / "text_feat.npy", np.ones((2, 2), dtype=np.float32))
    with pytest.raises(InputError, match=r"text_feat\.npy has 2 rows, and none for item 2"):
        mmrec.read_features(mmrec.files(baby), ["0", "2"], MalformedRecords(Path()))


def test_recbole_of_one_file(shop: Path) -> None:
    assert recbole.recognises(shop) and not mmrec.recognises(shop)
    raw = read_recbole(shop)
    assert rows_of(raw) == [("ann", "B1", 978300760), ("ann", "B2", 978300761), ("bob", "B1", 978300762)]
    assert raw.split is None
    assert raw.item_ids == ["B1", "B2", "B9"]  # also the one that nobody had to do with


def test_recbole_items_and_features(shop: Path) -> None:
    paths = recbole.files(shop)
    items = recbole.read_items(paths, ["B2", "B7", "B1"], MalformedRecords(shop / "shop.item"))
    assert items["title"].tolist() == ['Big "jar', None, "Tea cup"]
    assert items["text"].tolist() == ['Big "jar', None, "Tea cup kitchen blue"]
    assert items["image"].tolist() == [None, None, "https://x.org/1.png"]
    assert items["recorded"].tolist() == [True, False, True]
    vector: Features = recbole.read_features(paths, ["B2", "B7", "B1"], MalformedRecords(Path()))["vector"]
    assert vector.present.tolist() == [False, False, True]
    assert vector.values.tolist() == np.array([[0, 0, 0], [0, 0, 0], [0.5, -1, 2e-3]], np.float32).tolist()
    (shop / "shop.item").unlink()
    paths = recbole.files(shop)
    assert recbole.read_features(paths, ["B1"], MalformedRecords(Path())) == {}
    assert recbole.read_items(paths, ["B1"], MalformedRecords(shop))["title"].tolist() == [None]


def test_a_picture_whose_name_is_too_long_for_a_file_is_none(shop: Path) -> None:
    (shop / "images").mkdir()
    (shop / "shop.item").write_text(ITEMS.replace("images/none.png", f"images/{'x' * 300}.png"))
    items = recbole.read_items(recbole.files(shop), ["B2"], MalformedRecords(shop / "shop.item"))
    assert items["image"].tolist() == [None]


def test_recbole_with_the_split_in_three_files(shop: Path) -> None:
    header, *lines = RECBOLE.splitlines(keepends=True)
    for part, line in zip(("train", "valid", "test"), lines, strict=True):
        (shop / f"shop.{part}.inter").write_text(header + line)
    raw = read_recbole(shop)  # the parts go before the whole
    assert [row[-1] for row in rows_of(raw)] == [0, 1, 2]
    (shop / "shop.valid.inter").write_text("user_id:token\titem_id:token\nann\tB2\n")
    with pytest.raises(InputError, match=r"Only some of .* have the field timestamp"):
        read_recbole(shop)
    (shop / "shop.valid.inter").unlink()
    assert read_recbole(shop).split is None  # the whole is there all the same
    (shop / "shop.inter").unlink()
    with pytest.raises(InputError, match=r"has no shop\.valid\.inter"):
        read_recbole(shop)


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("shop.inter", "user\titem\na\tb\n", "has no field user_id and no item_id, only user, item; expected"),
        ("shop.inter", "user_id:token\trating:float\na\t1\n", "has no field item_id, only user_id, rating"),
        ("shop.inter", "user_id:token\titem_id:token\na\n", "1 of 1 lines of .*shop.inter is malformed"),
        ("other.inter", RECBOLE, "has interactions of other and shop"),
        ("shop.item", "name:token_seq\nx\n", "has no field item_id:token, only name:token_seq"),
        (
            "shop.item",
            "item_id:token\tv:float_seq\nB1\t1 2\nB2\t1\n",
            "line 3 has 1 numbers in v:float_seq; exp",
        ),
        ("shop.item", "item_id:token\tv:float_seq\nB1\t1 two\n", "has non-numeric cells in v:float_seq"),
        ("shop.item", "item_id:token\tv:float_seq\nB1\t\nB2\t\n", "has no numbers in v:float_seq for any of the 2"),
    ],
)
def test_wrong_recbole(shop: Path, file: str, content: str, sentence: str) -> None:
    (shop / file).write_text(content)
    with pytest.raises(InputError, match=sentence):
        read_recbole(shop)
        paths = recbole.files(shop)
        recbole.read_items(paths, ["B1", "B2"], MalformedRecords(shop / "shop.item"))
        recbole.read_features(paths, ["B1", "B2"], MalformedRecords(Path()))


def test_folders_without_interactions(tmp_path: Path) -> None:
    assert not mmrec.recognises(tmp_path) and not recbole.recognises(tmp_path)
    with pytest.raises(InputError, match="has none; the MMRec layout"):
        mmrec.files(tmp_path)
    with pytest.raises(InputError, match="has interactions of no data set"):
        recbole.files(tmp_path)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=30), place=st.integers(0, 200))
def test_any_bytes_are_read_or_refused(shop: Path, noise: bytes, place: int) -> None:
    for file, content in (("shop.inter", RECBOLE.encode()), ("shop.item", ITEMS.encode())):
        (shop / file).write_bytes(content[:place] + noise + content[place + len(noise) // 2 :])
    try:
        paths = recbole.files(shop)
        ids = recbole.read_interactions(paths, MalformedRecords(shop / "shop.inter", limit=1.0)).item_ids
        assert len(recbole.read_items(paths, ids, MalformedRecords(shop / "shop.item", limit=1.0))) == len(ids)
        assert all(
            len(one.values) == len(ids) for one in recbole.read_features(paths, ids, MalformedRecords(shop)).values()
        )
    except InputError as problem:
        assert str(problem).endswith(".")


def inter(folder: Path, rows: Iterable[tuple[object, ...]], name: str = "shop.inter") -> Path:
    """Write interactions in RecBole's layout, with ratings from 1 to 5."""
    folder.mkdir(exist_ok=True)
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float", *("\t".join(map(str, row)) for row in rows)]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def grid(users: int = 8, items: int = 6) -> list[tuple[object, ...]]:
    return [(f"u{u}", f"i{i}", 1 + (u + i) % 5, 978300760 + u + i) for u in range(users) for i in range(items)]


def test_a_split_that_is_drawn_is_said_and_recorded(cli: Callable[..., Answer], tmp_path: Path) -> None:
    answer = cli("prep", "shop", "--from", inter(tmp_path / "raw", grid()), "--seed", 3)
    assert answer.code == 0, answer.words
    assert "split: ratio, seed 3; it is random though times are given" in answer.words
    settings = read_manifest(Path("data/shop")).settings
    assert (settings["split"], settings["k_core"], settings["seed"]) == ("ratio", 5, 3)


@pytest.mark.parametrize("layout", ["recbole", "mmrec"])
def test_times_that_tie_are_told_and_fractions_kept(cli: Callable[..., Answer], tmp_path: Path, layout: str) -> None:
    names = {"recbole": "user_id\titem_id\ttimestamp", "mmrec": "userID\titemID\ttimestamp"}[layout]
    (tmp_path / "raw").mkdir()
    for step, ties in ((0, 8), (0.25, 0)):
        lines = [f"{user}\t{item}\t{978300760 + item * step}" for user in range(8) for item in range(6)]
        (tmp_path / "raw" / "shop.inter").write_text("\n".join([names, *lines]) + "\n")
        answer = cli("prep", "shop", "--from", "raw", "--split", "leave-one-out")
        assert answer.code == 0, answer.words
        told = "shop.inter: the held-out interactions of 8 of 8 users were drawn at random among some of the same time"
        assert (told in answer.words) == bool(ties)
        assert ("times have fractions of seconds, and are kept in milliseconds" in answer.words) == bool(step)


@pytest.mark.parametrize("layout", ["recbole", "mmrec"])
def test_ratings_below_a_threshold_do_not_count(cli: Callable[..., Answer], tmp_path: Path, layout: str) -> None:
    folder = inter(tmp_path / "raw", grid())
    if layout == "mmrec":
        lines = [f"{str(user)[1:]}\t{str(item)[1:]}\t{rating}" for user, item, rating, _ in grid()]
        (folder / "shop.inter").write_text("\n".join(["userID\titemID\trating", *lines]))
    answer = cli("prep", "shop", "--from", folder, "--min-rating", 4, "--k-core", 1)
    assert answer.code == 0, answer.words
    assert "is not used" not in answer.words
    everything = cli("prep", "shop", "--from", folder, "--k-core", 1)
    assert "is not used, every interaction counts; --min-rating leaves the lower ones out" in everything.words
    answer = cli("prep", "shop", "--from", folder, "--min-rating", 4, "--k-core", 1)
    kept = sum(int(str(row[2])) >= 4 for row in grid())
    manifest = read_manifest(Path("data/shop"))
    assert manifest.counts.interactions == kept and manifest.settings["min_rating"] == 4
    assert f"shop.inter 48 {48 - kept} a rating below 4 ({48 - kept})" in answer.words
    (folder / "shop.inter").write_text((folder / "shop.inter").read_text().replace("rating", "stars"))
    refused = cli("prep", "shop", "--from", folder, "--min-rating", 4)
    assert refused.code == 2 and "--min-rating needs a field rating" in refused.words


def test_pairs_in_two_splits_are_said(cli: Callable[..., Answer], tmp_path: Path) -> None:
    rows = grid()
    parts = {"train": rows[:30], "valid": rows[30:40] + rows[:2], "test": rows[40:] + rows[1:4] + rows[30:31]}
    for part, of in parts.items():
        inter(tmp_path / "raw", of, f"shop.{part}.inter")
    answer = cli("prep", "shop", "--from", tmp_path / "raw")
    assert answer.code == 0, answer.words
    assert "pairs in two splits, kept in one: 2 of validation, 4 of test left out" in answer.words
    counts = read_manifest(Path("data/shop")).counts
    assert (counts.train, counts.validation, counts.test) == (30, 10, 8)


def test_histories_of_a_sequential_benchmark_are_refused(cli: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/s.inter").write_text("user_id:token\titem_id_list:token_seq\titem_id:token\na\tx y\tz\n")
    answer = cli("prep", "shop", "--from", tmp_path / "raw")
    assert answer.code == 1 and "has item_id_list:token_seq, the histories of a sequential benchmark" in answer.words


def test_columns_with_the_types_of_recbole_are_known_by_their_names(cli: Callable[..., Answer], tmp_path: Path) -> None:
    file = inter(tmp_path / "raw", grid()) / "shop.inter"
    answer = cli("prep", "shop", "--interactions", file, "--min-rating", 2, "--k-core", 1, "--split", "temporal")
    assert answer.code == 0, answer.words
    assert read_manifest(Path("data/shop")).counts.interactions == sum(int(str(row[2])) >= 2 for row in grid())


def test_a_column_of_splits_that_is_not_used_is_said(cli: Callable[..., Answer], tmp_path: Path) -> None:
    rows = [f"{user},{item},train" for user, item, *_ in grid()]
    (tmp_path / "clicks.csv").write_text("\n".join(["user,item,split", *rows]))
    answer = cli("prep", "shop", "--interactions", tmp_path / "clicks.csv", "--k-core", 1)
    assert answer.code == 0, answer.words
    assert "clicks.csv: the column split is not used; --split given keeps the split that it says" in answer.words


def illustrated(folder: Path, layout: str) -> Path:
    """Write interactions in a layout, with a picture of each item in ``images/``."""
    (inter(folder, grid()) / "images").mkdir()
    if layout == "mmrec":
        lines = [f"{str(user)[1:]}\t{str(item)[1:]}" for user, item, *_ in grid()]
        (folder / "shop.inter").write_text("\n".join(["userID\titemID", *lines]))
        (folder / "items.csv").write_text(
            "item,id,imUrl\n" + "".join(f"{item},{item},images/i{item}.png\n" for item in range(6))
        )
    else:
        rows = "".join(f"i{item}\timages/i{item}.png\n" for item in range(6))
        (folder / "shop.item").write_text("item_id:token\timage:token\n" + rows)
    for item in range(6):
        photo(item).save(folder / "images" / f"i{item}.png")
    return folder


@pytest.mark.parametrize("layout", ["recbole", "mmrec"])
def test_pictures_are_found_from_anywhere(cli: Callable[..., Answer], tmp_path: Path, layout: str) -> None:
    folder = illustrated(tmp_path / "raw", layout)
    answer = cli("prep", "shop", "--from", "raw", "--image-encoder", "pixels")
    assert answer.code == 0, answer.words
    made = read_prepared(tmp_path / "data" / "shop")
    expected = encode_images([folder / "images" / f"i{item}.png" for item in range(6)])
    np.testing.assert_array_equal(made.features["visual"].values, expected.values)
    assert made.items["image"].tolist() == [f"images/i{item}.png" for item in range(6)]


@pytest.mark.parametrize("name", ["x" * 300, "é" * 200])
def test_a_name_too_long_for_the_disk_is_no_picture(shop: Path, name: str) -> None:
    (shop / "images").mkdir()
    (shop / "shop.item").write_text(f"item_id:token\timage:token\nB1\timages/{name}\n")
    items = recbole.read_items(recbole.files(shop), ["B1"], MalformedRecords(shop / "shop.item"))
    assert items["image"].tolist() == [None]


@pytest.mark.parametrize("layout", ["recbole", "mmrec"])
def test_other_pictures_are_encoded_again(cli: Callable[..., Answer], tmp_path: Path, layout: str) -> None:
    folder = illustrated(tmp_path / "raw", layout)
    pixels = ("prep", "shop", "--from", "raw", "--image-encoder", "pixels")
    assert cli(*pixels).code == 0
    assert "unchanged" in cli(*pixels).words
    for item in range(6):
        photo(item + 6).save(folder / "images" / f"i{item}.png")
    assert "shop: prepared" in cli(*pixels).words
    expected = encode_images([folder / "images" / f"i{item}.png" for item in range(6)])
    made = read_prepared(tmp_path / "data" / "shop")
    np.testing.assert_array_equal(made.features["visual"].values, expected.values)
    assert made.settings["encoders"] == {"image": PixelEncoder("float32").identity()}
