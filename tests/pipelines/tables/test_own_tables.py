"""Interactions of any table come out as they went in, or are counted with the reason."""

from __future__ import annotations

import bz2
import lzma
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError
from pipelines.io.raw import MalformedRecords
from pipelines.io.reporter import Reporter
from pipelines.sources.table import Table
from pipelines.tables import encodings, interaction_reader
from pipelines.tables.ids import MISSING
from tests.conftest import Answer
from tests.helpers.source_cases import read_interactions, read_items, recipe_of

RATED = [("0", "1", "5", "978300100"), ("0", "2", "4,5", "978300200"), ("1", "2", "3", "978300300")]


@pytest.mark.parametrize("separator", [",", "\t", ";", "|", "::"])
def test_separators(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "ratings"
    rows = [("user", "item", "stars", "time"), *RATED]
    path.write_text(
        "".join(separator.join(row) + "\n" for row in rows).replace("4,5", "4.5" if separator == "," else "4,5")
    )
    raw = read_interactions(path, MalformedRecords(path, limit=0.0), time="time", rating="stars", min_rating=4.2)
    assert (raw.user_ids, raw.item_ids) == (["0"], ["1", "2"])
    assert raw.timestamp is not None and raw.timestamp.tolist() == [978300100, 978300200]


@pytest.mark.parametrize("separator", ["\t", "|", "::", ";"])
def test_commas_between_thousands_are_not_decimal(tmp_path: Path, separator: str) -> None:
    """But where semicolons separate the columns, as where commas are decimal."""
    path = tmp_path / "plays"
    cells = ["plays", "1,500", "7", "0,500", "12,5", "1,234,567"]
    rows = [("user", "item"), *((f"u{n}", "i") for n in range(1, len(cells)))]
    path.write_text("".join(separator.join((*row, cell)) + "\n" for row, cell in zip(rows, cells, strict=True)))
    malformed = MalformedRecords(path, limit=1.0)
    raw = read_interactions(path, malformed, rating="plays", min_rating=5)
    assert raw.user_ids == ["u2", "u4"]
    refused = ["1,234,567"] if separator == ";" else ["1,500", "1,234,567"]
    shown = [f"line {cells.index(cell) + 1}: plays: {cell!r} is no number" for cell in refused]
    assert (malformed.shown, malformed.reasons["a rating below 5"]) == (shown, 3 - len(refused))


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("item\ttitle\n1\tred, big, new\n2\tblue, small, old\n", "red, big, new"),
        ("item;title, short;price\n1;lamp;2,5\n2;cup, blue;3\n", "lamp"),
        ("item,title;long\n1,a;b\n2,c\n", "a;b"),
        ("item::title\n1::it's 12:30, late\n", "it's 12:30, late"),
        ('item,title\n1,"a, ""b"" c"\n', 'a, "b" c'),
        ("title|item\n(a|1\n", "(a"),
    ],
)
def test_a_separator_is_what_divides_the_lines_alike(tmp_path: Path, text: str, title: str) -> None:
    path = tmp_path / "items"
    path.write_text(text)
    name = next(name for name in ("title, short", "title;long", "title") if name in text)
    read = read_items(path, ["1"], MalformedRecords(path, limit=0.0), text=[name])
    assert read["title"].tolist() == [title]


def test_the_separator_of_movielens_without_a_header_is_found(tmp_path: Path) -> None:
    path = tmp_path / "ratings.dat"
    path.write_text("0::1::5::978300100\n0::2::5::978300200\n")
    with pytest.raises(InputError, match="seems to have no header; name its columns: --columns user,item,rating,time"):
        read_interactions(path, MalformedRecords(path))


@pytest.mark.parametrize("above", ["sep=;\n", "# exported 2024-01-01\n# by a shop\n", "sep=;\r\n"])
def test_lines_above_the_header_are_skipped_with_a_note(tmp_path: Path, above: str) -> None:
    path = tmp_path / "clicks.csv"
    path.write_bytes(f"{above}user;item\nu0;i1\nu0\nu1;i2\n".encode())
    malformed = MalformedRecords(path, limit=0.5)
    raw = read_interactions(path, malformed)
    assert (raw.user_ids, raw.item_ids, malformed.read) == (["u0", "u1"], ["i1", "i2"], 3)
    count = above.count("\n")
    assert malformed.notes == [f"clicks.csv: {count} line{'s' * (count > 1)} above the header skipped"]
    assert malformed.shown == [f"line {count + 3}: 1 cells, not 2"]
    path.write_bytes(f"{above}u0;i1\nu1;i2\n".encode())
    assert read_interactions(path, MalformedRecords(path), columns=("user", "item")).user_ids == ["u0", "u1"]


def test_a_header_or_a_record_may_begin_with_a_hash(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text("#,user,item\n1,a,x\n2,b,y\n")
    assert read_interactions(path, MalformedRecords(path)).user_ids == ["a", "b"]
    path.write_text("#1,x\n#2,y\n")
    assert read_interactions(path, MalformedRecords(path), columns=("user", "item")).user_ids == ["#1", "#2"]


def test_spaces_separate_the_columns_of_usual_names(tmp_path: Path) -> None:
    path = tmp_path / "clicks.txt"
    path.write_text("user item rating\nu0 i1 3.0\nu1 i2 4.0\n")
    assert read_interactions(path, MalformedRecords(path)).user_ids == ["u0", "u1"]
    path.write_text("u0 i1 3.0\nu1 i2 4.0\n")
    with pytest.raises(InputError, match=r"seems to have no header; name its columns: --columns user,item,rating$"):
        read_interactions(path, MalformedRecords(path))


@pytest.mark.parametrize("name", ["1.00001E+12", "1,00001E+12", "1.345678901234567e+18"])
def test_ids_that_a_spreadsheet_shortened_are_noted(tmp_path: Path, name: str) -> None:
    path = tmp_path / "clicks.tsv"
    path.write_text(f"user\titem\n{name}\ti1\n1e5\ti2\n")
    malformed = MalformedRecords(path)
    assert read_interactions(path, malformed).user_ids == [name, "1e5"]
    assert f"1 user id such as {name}: rounded, as by spreadsheets, which merges ids" in malformed.notes[0]


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_tables_packed_by_bzip2_and_xz(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "clicks.csv"
    packed = pack(b"user,item\n" + b"".join(b"u%d,%d\n" % (n * 7919, n) for n in range(9000)))
    path.write_bytes(packed)
    assert len(read_interactions(path, MalformedRecords(path))) == 9000
    path.write_bytes(packed[: len(packed) // 2] + b"?" * 100 + packed[len(packed) // 2 + 100 :])
    with pytest.raises(InputError, match="is damaged"):
        read_interactions(path, MalformedRecords(path))


def test_ids_with_spaces_are_the_same_without(tmp_path: Path) -> None:
    path, items = tmp_path / "clicks.csv", tmp_path / "items.csv"
    path.write_text("user, item\nu0, i1\nu0,i2 \n\u00a0u0 ,\ti1\n007 ,i2\n7,1e5\n")
    raw = read_interactions(path, MalformedRecords(path, limit=0.0))
    assert (raw.user_ids, raw.item_ids) == (["u0", "007", "7"], ["i1", "i2", "1e5"])
    items.write_text("item,title\ni1 ,one\n i2,two\n 1e5,\n")
    read = read_items(items, raw.item_ids, MalformedRecords(items, limit=0.0), text=["title"])
    assert read["title"].tolist() == ["one", "two", None]


def test_words_that_say_there_is_no_id(tmp_path: Path) -> None:
    assert {"N/A", "n/a", "#N/A", r"\N"} <= MISSING
    path = tmp_path / "clicks.csv"
    path.write_text("user,item\n" + "".join(f"{word},x\n" for word in sorted(MISSING)) + "a, NaN \na,x\nnone,x\n")
    malformed = MalformedRecords(path, limit=0.9)
    raw = read_interactions(path, malformed)
    assert (raw.user_ids, raw.item_ids) == (["a", "none"], ["x"])
    assert malformed.reasons == {"user: the id is missing": len(MISSING), "item: the id is missing": 1}
    assert "line 3: user: the id is missing (#N/A)" in malformed.summary()
    items = tmp_path / "items.csv"
    items.write_text("item,title\nNULL,n\nx,one\n")
    malformed = MalformedRecords(items, limit=0.5)
    read_items(items, ["x"], malformed, text=["title"])
    assert malformed.shown == ["line 2: item: the id is missing (NULL)"]


def test_nameless_columns_at_the_end_of_every_line_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text("user,item,time,,\na,x,5,,\nb,y,6,,\n")
    raw = read_interactions(path, MalformedRecords(path, limit=0.0), time="time")
    assert (raw.user_ids, raw.item_ids) == (["a", "b"], ["x", "y"])


def test_many_malformed_records_are_counted_as_few_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clicks.csv"
    wrong = [
        "a,x,soon,5",
        ",x,1,5",
        f"{'a' * 300},x,1,5",
        "a,x,03/04/2021,5",
        "a,x, ,5",
        "a,x,1,good",
        "a,,1,bad",
        "a,x,1,",
    ]
    path.write_text("user,item,time,rating\n" + "".join(f"{line}\n" for line in ["a,x,1,5", *wrong * 3]))
    found = []
    for singly in (100, 2):
        monkeypatch.setattr(interaction_reader, "_SINGLY", singly)
        malformed = MalformedRecords(path, limit=1.0)
        read_interactions(path, malformed, time="time", rating="rating", min_rating=1)
        found.append((malformed.count, malformed.reasons))
    assert found[0] == found[1] and found[0][0] == 24 and len(found[0][1]) == 8


def test_whole_numbers_with_and_without_a_fraction_are_one(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text("user,item\n1.0,7\n1,7.0\n2,8\n")
    raw = read_interactions(path, MalformedRecords(path, limit=0.0))
    assert (raw.user_ids, raw.item_ids) == (["1", "2"], ["7", "8"])
    assert (raw.user.tolist(), raw.item.tolist()) == ([0, 0, 1], [0, 0, 1])


def test_rows_of_an_item_that_are_not_used_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("id,title,price\n1,one,2\n1.0,uno,3\n2,two,4\n2,due,5\n9,nine,6\n")
    malformed = MalformedRecords(path, limit=0.0)
    read = read_items(path, ["1", "2"], malformed, text=["title"])
    assert read["title"].tolist() == ["one", "two"]
    assert (
        malformed.reasons
        == {
            "another record of the same item": 2,
            "an item without interactions that are kept": 1,
        }
        and malformed.read == 5
    )


def test_columns_that_are_not_used_are_known(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("id,title,price\n1,one,2\n")
    clicks = tmp_path / "clicks.csv"
    clicks.write_text("user,item\na,1\n")

    def unused(**options: Any) -> list[str]:
        return Table(recipe_of(interactions=clicks, **options), Reporter()).details()

    assert unused() == []
    assert unused(items=path, text=("title",)) == ["not used: 1 column of items.csv: price"]
    assert unused(items=path, image="price") == ["not used: 1 column of items.csv: title"]
    clicks.write_text("user,item,page,place\na,1,2,3\n")
    assert unused() == ["not used: 2 columns of clicks.csv: page, place"]


def test_columns_that_are_not_used_are_named_with_v(cli: Callable[..., Answer], tmp_path: Path) -> None:
    rows = [f"{user},{item},home" for user in range(6) for item in range(5)]
    (tmp_path / "clicks.csv").write_text("\n".join(["user,item,page", *rows]) + "\n")
    command = ("prep", "shop", "--interactions", "clicks.csv")
    assert "not used: 1 column of clicks.csv: page" in cli(*command, "-v").err.splitlines()
    assert "not used" not in cli(*command, "--force").err


def test_a_column_that_is_missing_is_said_with_the_flag_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text("userId,movieId,stars\n1,2,3\n")
    with pytest.raises(InputError, match=r"did you mean userId\? Name the column with --user-column\.$"):
        read_interactions(path, MalformedRecords(path))
    with pytest.raises(InputError, match="Name the column with --item-column"):
        read_interactions(path, MalformedRecords(path), user="userId")
    with pytest.raises(InputError, match="Name the column with --rating-column"):
        read_interactions(path, MalformedRecords(path), user="userId", item="movieId", rating="r", min_rating=1)
    with pytest.raises(InputError, match=r"'title'.* Name the column with --text"):
        read_items(path, ["2"], MalformedRecords(path), item="movieId", text=["title"])
    path.write_text("us\x1b[31mer,item\na,b\n")
    with pytest.raises(InputError, match=r"only us\\x1b\[31mer, item"):
        read_interactions(path, MalformedRecords(path))


def test_losses_add_up(tmp_path: Path) -> None:
    """The records read are the interactions and those left out, reason by reason."""
    path = tmp_path / "clicks.csv"
    path.write_text("user,item,stars\na,x,5\nNA,x,5\na,x\n\na,y,1\nb,y,bad\n,,\nb,x,4\n")
    malformed = MalformedRecords(path, limit=0.5)
    raw = read_interactions(path, malformed, rating="stars", min_rating=3)
    assert malformed.reasons == {
        "the wrong number of cells": 1,
        "empty lines": 2,
        "user: the id is missing": 1,
        "stars: no number": 1,
        "a rating below 3": 1,
    }
    assert malformed.read == len(raw) + sum(malformed.reasons.values()) == 8


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_parquet_and_csv_say_the_same(tmp_path: Path, data: st.DataObject) -> None:
    ids = st.one_of(st.none(), st.text(st.sampled_from("ab ä1"), max_size=3), st.sampled_from(sorted(MISSING)))
    rows = data.draw(st.lists(st.tuples(ids, ids), min_size=1, max_size=10))
    table = pd.DataFrame([*rows, ("u", "i")], columns=["user", "item"], dtype=object)
    table.to_parquet(tmp_path / "a.parquet")
    table.to_csv(tmp_path / "a.csv", index=False)
    found = []
    for name in ("a.parquet", "a.csv"):
        malformed = MalformedRecords(tmp_path / name, limit=1.0)
        raw = read_interactions(tmp_path / name, malformed)
        assert malformed.read == len(raw) + sum(malformed.reasons.values())
        found.append([(raw.user_ids[user], raw.item_ids[item]) for user, item in zip(raw.user, raw.item, strict=True)])
    assert found[0] == found[1]


WORD = st.text(st.sampled_from('ab"é 1'), max_size=4)
PADDING = st.sampled_from(["", " ", "\t", "  "])


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.one_of(st.text(st.sampled_from("abé1"), min_size=1, max_size=3), st.sampled_from(sorted(MISSING))),
            st.integers(0, 9),
            WORD,
            PADDING,
            st.sampled_from([1, 1000]),
        ),
        min_size=1,
        max_size=15,
    ),
    separator=st.sampled_from(";|"),
    encoding=st.sampled_from(["utf-8", "utf-16", "cp1252"]),
    end=st.sampled_from(["\n", "\r\n"]),
    block=st.sampled_from([40, 10**6]),
)
def test_grown_tables(
    tmp_path: Path, rows: list[tuple[str, int, str, str, int]], separator: str, encoding: str, end: str, block: int
) -> None:
    """Stray quotes, padded and missing ids, encodings and units at once: the interactions that went in, or a count."""
    path = tmp_path / "clicks"
    moment = 1_600_000_000
    lines = [
        separator.join([f"{padding}{user}{padding}", f"i{item}{padding}", str((moment + item) * unit), word])
        for user, item, word, padding, unit in rows
    ]
    path.write_bytes(end.join(["user;item;time;word".replace(";", separator), *lines]).encode(encoding))
    malformed = MalformedRecords(path, limit=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encodings, "BLOCK", block)
        try:
            raw = read_interactions(path, malformed, time="time", encoding=encoding if encoding == "cp1252" else None)
        except InputError as problem:
            assert "holds no interactions" in str(problem) and malformed.count == len(rows)
            return
    assert malformed.read == len(rows) == len(raw) + malformed.count
    assert raw.timestamp is not None
    unit = 1000 if raw.timestamp.max() > 10**11 else 1
    sound = Counter((user.strip(), f"i{item}", moment + item) for user, item, *_ in rows if user.strip() not in MISSING)
    found = Counter(
        (raw.user_ids[user], raw.item_ids[item], time // unit)
        for user, item, time in zip(raw.user.tolist(), raw.item.tolist(), raw.timestamp.tolist(), strict=True)
    )
    assert not found - sound
    assert (sound - found).total() == malformed.count - sum(user.strip() in MISSING for user, *_ in rows) or any(
        "runs over" in reason for reason in malformed.reasons
    )


def test_why_an_item_has_no_text(cli: Callable[..., Answer], tmp_path: Path) -> None:
    """An empty cell, a text without a word that counts, and no record at all are three reasons."""
    rows = [f"{user},{item}" for user in range(6) for item in ("lamp", "blank", "short", "ghost")]
    (tmp_path / "clicks.csv").write_text("\n".join(["user,item", *rows]) + "\n")
    (tmp_path / "items.csv").write_text("item,title,audio\nlamp,lamp,\nblank,,\nshort,A,\n")
    flags = ("--items", "items.csv", "--text", "title", "--text-encoder", "tfidf", "--max-absent", 1, "--k-core", 2)
    answer = cli("prep", "shop", "--interactions", "clicks.csv", *flags)
    assert answer.code == 0, answer.words
    assert "items.csv: 1 item of the interactions has no record here (ghost)" in answer.err
    assert "textual: 1 dimension, float32, 1 of 4 items" in answer.err
    assert (tmp_path / "data" / ".prep" / "shop" / "absent-textual.log").read_text().splitlines() == [
        "blank\tno text",
        "ghost\tno text, nor any record in the table of items",
        "short\tno word that TF-IDF counts in 'A'",
    ]
