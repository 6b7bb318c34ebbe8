"""Columns that no flag names, files without a header, and splits of one's own, through the real entry point."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines.prepared import read_prepared
from pipelines.tables.column_names import seem_values, usual_columns

Cli = Callable[..., Any]
PAIRS = [(f"u{user}", f"i{item}") for user in range(6) for item in range(6) if user != item]
NO_FEATURES = ("--k-core", 2, "--modalities", "none")


def write(name: str, header: Sequence[str] | None, rows: Sequence[Sequence[object]], separator: str = ",") -> None:
    lines = [separator.join(map(str, row)) for row in ([header] if header else []) + list(rows)]
    Path(name).write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("user", "item", "time"),
    [
        ("userId", "movieId", "timestamp"),
        ("user_id", "parent_asin", "timestamp"),
        ("reviewerID", "asin", "unixReviewTime"),
        ("USER-ID", "Item_Id", "Time"),
        ("User ID", "Item ID", "Event Time"),
        ("customer_id", "product_id", "created_at"),
    ],
)
def test_usual_names_are_found_and_told(cli: Cli, tmp_path: Path, user: str, item: str, time: str) -> None:
    write("clicks.csv", [user, item, time, "rating"], [(*pair, 1_600_000_000 + n, 4) for n, pair in enumerate(PAIRS)])
    answer = cli("prep", "t", "--interactions", "clicks.csv", *NO_FEATURES)
    assert answer.code == 0, answer.words
    assert f"clicks.csv: columns found by name: {user} is the user, {item} is the item" in answer.err
    dataset = read_prepared(tmp_path / "data" / "t")
    assert sorted(dataset.interactions["timestamp"]) == [1_600_000_000 + n for n in range(30)]
    assert dataset.settings["columns"]["user"] == user and "split_column" not in dataset.settings["columns"]
    again = cli("prep", "t", "--interactions", "clicks.csv", *NO_FEATURES)
    assert "unchanged" in again.out


@pytest.mark.parametrize(
    ("header", "flags", "sentence"),
    [
        (("who", "item", "t"), (), "no column that is usually the user, only who, item, t; name the one: add --user-"),
        (("userId", "uid", "item"), (), "could be the user: userId, uid; name one: add --user-column userId"),
        (("user", "user_id", "item"), (), "could be the user: user, user_id; name one: add --user-column user"),
        (("user", "item", "item_id"), (), "could be the item: item, item_id; name one: add --item-column item"),
        (("user", "asin", "parent_asin"), (), "could be the item: asin, parent_asin; name one: add --item-column asin"),
        (("user", "item", "t"), ("--min-rating", 3), "no column that is usually the rating, only user, item, t"),
        (("user", "item", "t"), ("--split", "temporal"), "no column that is usually the time"),
        (("user", "item", "t"), ("--split", "given"), "usually the split, only user, item, t; name the one: add --spl"),
        (("user", "item", "t"), ("--split-column", "t"), "--split-column applies only with --split given"),
        (("user", "item", "t"), ("--columns", "a,b,c"), "begins with the names of its columns, user, item, t; leave"),
    ],
)
def test_the_flag_is_named(cli: Cli, header: tuple[str, ...], flags: tuple[Any, ...], sentence: str) -> None:
    write("clicks.csv", header, [(*pair, 3) for pair in PAIRS])
    answer = cli("prep", "t", "--interactions", "clicks.csv", *flags, *NO_FEATURES)
    assert answer.code and sentence in answer.words


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
            "odd is an image (PNG), not a table; expected CSV, TSV, JSON lines or parquet",
        ),
        (
            b"PK\x03\x04\x14\x00\x06\x00",
            "odd is a zip archive (as .xlsx is), not a table; unpack it, or save the sheet as CSV",
        ),
        (
            b"hello world, this is prose.\nMore.\n",
            "odd begins with 'hello world, this is prose.', which reads like prose",
        ),
        (b"user:item\n1:2\n", "odd begins with 'user:item', which is read as one column; expected commas"),
        (b"u1:i2:3\nu2:i4:5\n", "odd begins with 'u1:i2:3', which is read as one column; expected commas"),
    ],
)
def test_what_is_no_table_is_said_to_be_none(cli: Cli, content: bytes, sentence: str) -> None:
    Path("odd").write_bytes(content)
    write("clicks.csv", ["user", "item"], PAIRS)
    for tables in (("--interactions", "odd"), ("--interactions", "clicks.csv", "--items", "odd", "--text", "title")):
        answer = cli("prep", "t", *tables)
        assert answer.code == 1 and sentence in answer.words and ".." not in answer.words


def test_a_missing_id_is_found_where_it_is_said_to_be(cli: Cli) -> None:
    """The row of parquet, and the line of a text table, which has a header."""
    rows = [*PAIRS[:5], ("", "i9"), *PAIRS[5:]]
    write("clicks.csv", ["user", "item"], rows)
    Path("clicks.jsonl").write_text("".join(json.dumps({"user": user, "item": item}) + "\n" for user, item in rows))
    pd.DataFrame(rows, columns=["user", "item"]).to_parquet("clicks.parquet")
    for name, place in (("clicks.csv", "line 7"), ("clicks.jsonl", "line 6"), ("clicks.parquet", "row 6")):
        command = ("prep", "t", "--interactions", name, *NO_FEATURES)
        assert f"1 of 31 {place[:-2]}s of {name} is malformed ({place}: user:" in cli(*command).words
        told = f"{name}: 1 malformed {place[:-2]} left out ({place}: user: "
        assert told in cli(*command, "--max-malformed", 0.5).words


def test_times_may_be_left_out_and_are_not_guessed(cli: Cli, tmp_path: Path) -> None:
    write("clicks.csv", ["user", "item", "time"], [(*pair, "soon") for pair in PAIRS])
    answer = cli("prep", "t", "--interactions", "clicks.csv", *NO_FEATURES)
    assert "time: 'soon' is" in answer.words and "--time-column (none reads no times), or raise" in answer.words
    by_time = cli("prep", "t", "--interactions", "clicks.csv", "--split", "temporal", *NO_FEATURES).words
    assert "name another column with --time-column, or raise" in by_time
    assert cli("prep", "t", "--interactions", "clicks.csv", "--time-column", "none", *NO_FEATURES).code == 0
    write("both.csv", ["user", "item", "time", "date"], [(*pair, 1, 2) for pair in PAIRS])
    answer = cli("prep", "b", "--interactions", "both.csv", *NO_FEATURES)
    assert "no times are read; the column could be time or date: add --time-column time" in answer.words
    assert "timestamp" not in read_prepared(tmp_path / "data" / "b").interactions


def test_times_of_a_less_usual_name_count_where_there_are_no_others() -> None:
    assert usual_columns("time", ["order_date", "user"]) == ["order_date"]
    assert usual_columns("time", ["created_at", "timestamp"]) == ["timestamp"]


def test_held_out_interactions_that_chance_decides_are_told(cli: Cli, tmp_path: Path) -> None:
    common = ("--interactions", "clicks.csv", "--split", "leave-one-out", *NO_FEATURES)
    write("clicks.csv", ["user", "item", "when"], [(*pair, n) for n, pair in enumerate(PAIRS)])
    answer = cli("prep", "t", *common)
    assert "leave-one-out, seed 0; it is random, as no times are known; name their column with --time-c" in answer.words
    write("clicks.csv", ["user", "item", "time"], [(*pair, n // 5) for n, pair in enumerate(PAIRS)])
    answer, told = (
        cli("prep", "t", *common),
        "the held-out interactions of 6 of 6 users were drawn at random among some",
    )
    assert f"clicks.csv: {told} of the same time" in answer.words
    assert told in read_prepared(tmp_path / "data" / "t").settings["records"]["clicks.csv"]["notes"][0]
    write("clicks.csv", ["user", "item", "time"], [(*pair, n / 100) for n, pair in enumerate(PAIRS)])
    answer = cli("prep", "t", *common)
    assert "drawn at random" not in answer.words and "their order is kept" in answer.words


@pytest.mark.parametrize("separator", ["\t", "::", ",", " "])
def test_a_file_without_a_header(cli: Cli, tmp_path: Path, separator: str) -> None:
    write("u.data", None, [(*pair, 4, 1_600_000_000 + n) for n, pair in enumerate(PAIRS)], separator)
    flags = ("--columns", "user,item,rating,time", "--min-rating", 4, *NO_FEATURES)
    assert cli("prep", "t", "--interactions", "u.data", *flags).code == 0
    dataset = read_prepared(tmp_path / "data" / "t")
    assert len(dataset.interactions) == 30 and dataset.interactions["timestamp"].min() == 1_600_000_000
    answer = cli("prep", "t", "--interactions", "u.data", "--columns", "user,item", *NO_FEATURES)
    assert answer.code == 1 and "--columns names 2: user, item" in answer.words


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ([("A0", "I1", 5.0, 16000), ("A0", "I2", 5.0, 16000)], "user,item,rating,time"),
        ([("u1", "i1"), ("u27", "i3")], "user,item"),
        ([(1, 5, 1_600_000_000), (1, 6, 1_600_000_000)], "user,item,time"),
        ([(5, 5, 5, 9, 9), (1, 6, 3, 9, 9)], "user,item,rating,time,column5"),
    ],
)
def test_a_missing_header_is_noticed(cli: Cli, rows: list[tuple[Any, ...]], columns: str) -> None:
    write("ratings.csv", None, rows)
    answer = cli("prep", "t", "--interactions", "ratings.csv", *NO_FEATURES)
    assert answer.code == 1
    assert f"ratings.csv seems to have no header; name its columns: --columns {columns}" in answer.words


def test_columns_of_a_file_that_names_its_own(cli: Cli) -> None:
    Path("clicks.jsonl").write_text('{"user": 1, "item": 2}\n')
    answer = cli("prep", "t", "--interactions", "clicks.jsonl", "--columns", "user,item", *NO_FEATURES)
    assert answer.code == 2 and "names its columns itself; leave out --columns" in answer.words


@pytest.mark.parametrize("words", [("train", "validation", "test"), ("TRAIN", "dev", "test"), (0, 1, 2)])
def test_a_split_of_ones_own(cli: Cli, tmp_path: Path, words: tuple[Any, ...]) -> None:
    rows = [(*pair, words[min(2, max(0, n % 5 - 2))]) for n, pair in enumerate(PAIRS)]
    write("clicks.csv", ["user", "item", "fold"], [*rows, ("lonely", "i1", words[0])])
    flags = ("--split", "given", "--split-column", "fold", "--modalities", "none")
    assert cli("prep", "t", "--interactions", "clicks.csv", *flags).code == 0
    dataset = read_prepared(tmp_path / "data" / "t")
    assert dataset.num_users == 7  # without a k-core, for none was asked for
    assert dict(dataset.interactions["split"].value_counts()) == {"train": 19, "validation": 6, "test": 6}
    write("clicks.csv", ["user", "item", "fold"], [*rows, ("u0", "i0", "later")])
    answer = cli("prep", "t", "--interactions", "clicks.csv", *flags, "--max-malformed", 0)
    assert (
        answer.code == 1
        and "fold: 'later' is none of 0 (train), 1 (validation, valid, val, dev) and 2 (test)" in answer.words
    )


def test_items_that_nobody_has_chosen_yet(cli: Cli, tmp_path: Path) -> None:
    write("clicks.csv", ["userId", "movieId"], PAIRS)
    write("items.csv", ["movieId", "title"], [(f"i{item}", f"Film {item}") for item in range(9)])
    flags = ("--interactions", "clicks.csv", "--items", "items.csv", "--text", "title", "--text-encoder", "tfidf")
    for core, items in ((0, 9), (1, 6)):
        assert cli("prep", "t", *flags, "--k-core", core).code == 0
        dataset = read_prepared(tmp_path / "data" / "t")
        assert dataset.num_items == items and dataset.items["title"].notna().all()
        assert json.loads((tmp_path / "data" / "t" / "manifest.json").read_text())["settings"]["k_core"] == core


@pytest.mark.parametrize("column", ["sku", "article_no"])
def test_the_column_of_the_item_may_be_in_one_table_alone(cli: Cli, tmp_path: Path, column: str) -> None:
    """Of unusual names, one in either table; the other one is usual."""
    names = ("product_id", "sku") if column == "sku" else ("article_no", "product_id")
    write("clicks.csv", ["user", names[0]], PAIRS)
    write("items.csv", [names[1], "title"], [(f"i{item}", f"Film {item}") for item in range(6)])
    flags = ("--items", "items.csv", "--text", "title", "--text-encoder", "tfidf", "--k-core", 2)
    answer = cli("prep", "t", "--interactions", "clicks.csv", "--item-column", column, *flags)
    assert answer.code == 0, answer.words
    assert read_prepared(tmp_path / "data" / "t").items["title"].tolist() == [f"Film {item}" for item in range(6)]
    answer = cli("prep", "t", "--interactions", "clicks.csv", "--item-column", "nowhere", *flags)
    assert answer.code == 1 and "has no column 'nowhere'" in answer.words


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (("id", "movie_id", "movieId"), "movieId"),
        (("id", "movie_id", "title"), "movie_id"),
        (("row", "id", "film"), "film"),
        (("row", "id", "video"), "id"),
        (("row", "film", "id"), "film, id"),
    ],
)
def test_the_ids_of_the_table_of_items(cli: Cli, tmp_path: Path, names: tuple[str, ...], taken: str) -> None:
    """As in the interactions, before any other usual name, before id; what is text is no id; several are refused."""
    write("clicks.csv", ["user", "movieId"], [(user, item[1:]) for user, item in PAIRS])
    cells = {name: (lambda n: n) if name == taken else (lambda n: 5 - n) for name in names}
    write("items.csv", [*names, "plot"], [[*(cells[name](n) for name in names), f"Plot {n}"] for n in range(6)])
    text = "plot,video" if "video" in names else "plot,id" if taken == "film" else "plot"
    flags = ("--items", "items.csv", "--text", text, "--text-encoder", "tfidf", "--k-core", 2)
    answer = cli("prep", "t", "--interactions", "clicks.csv", *flags)
    if ", " in taken:
        told = f"could be the item's id: {taken}; name one: add --item-column film"
        assert answer.code == 1 and told in answer.words
        return
    assert answer.code == 0, answer.words
    assert read_prepared(tmp_path / "data" / "t").items["title"].tolist() == [f"Plot {n}" for n in range(6)]
    assert (f"items.csv: the ids of the items are in its column {taken}" in answer.words) is (taken != "movieId")


def test_a_split_of_ones_own_without_validation(cli: Cli) -> None:
    write(
        "clicks.csv",
        ["user", "item", "split"],
        [(*pair, "test" if n % 5 == 4 else "train") for n, pair in enumerate(PAIRS)],
    )
    answer = cli("prep", "t", "--interactions", "clicks.csv", "--split", "given", "--modalities", "none")
    sentence = "the validation split is empty; each of the three splits needs interactions: label some validation"
    assert answer.code == 1 and sentence in answer.words


def test_names_and_values() -> None:
    assert usual_columns("item", ["Movie ID", "title", "item-id"]) == ["Movie ID", "item-id"]
    assert not seem_values(["who", "what", "when"], [["a", "b", "c"]])
    assert not seem_values(["user1d", "item"], [["a", "b"]])
    assert not seem_values(["user", "2019"], [["a", "5"]])
    assert seem_values(["A1B2C3D4E5", "x"], [["QQB2C3D4E7", "y"]])


def test_lines_left_out_are_told_by_file_and_recorded(cli: Cli, tmp_path: Path) -> None:
    write("clicks.csv", ["user", "item"], [*PAIRS, ("", "i1")])
    write("items.csv", ["item", "title"], [(f"i{item}", f"Film {item}") for item in range(9)])
    flags = ("--items", "items.csv", "--text", "title", "--text-encoder", "tfidf", "--max-malformed", 0.5)
    answer = cli("prep", "t", "--interactions", "clicks.csv", *flags, "--k-core", 2)
    assert answer.code == 0, answer.words
    lines = answer.err.splitlines()
    at = lines.index("file        read  left out  why")
    assert lines[at + 1] == "clicks.csv    31         1  user: the id is missing (1)"
    assert lines[at + 2] == "items.csv      9         3  an item without interactions that are kept (3)"
    records = read_prepared(tmp_path / "data" / "t").settings["records"]
    assert records["clicks.csv"] == {"read": 31, "left_out": {"user: the id is missing": 1}}
    again = cli("prep", "t", "--interactions", "clicks.csv", *flags, "--k-core", 2)
    assert "unchanged" in again.out
