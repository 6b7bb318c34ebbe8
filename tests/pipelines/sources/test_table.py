"""Your own tables: what columns mean, in every format, and every way in which they can be wrong."""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError, UsageError
from pipelines.features.pictures import ENDINGS
from pipelines.io.raw import MalformedRecords, RawInteractions
from pipelines.io.reporter import Reporter
from pipelines.io.step_cache import WorkFolder
from pipelines.io.unchanged import recall_digest, remember_inputs
from pipelines.sources.picture_files import unused_pictures
from pipelines.sources.table import Table
from pipelines.tables import encodings
from tests.helpers.source_cases import as_times, read_interactions, read_items, recipe_of

ROWS = [("u1", 12, 100), ("u2", 7, 90), ("u1", 7, 110), ("u1", 12, 80)]


def files(interactions: Path, items: Path | None = None, images: Path | None = None) -> Mapping[str, Path]:
    return Table(recipe_of(interactions=interactions, items=items, images=images), Reporter()).paths


def lines_of(raw: RawInteractions) -> list[tuple[Any, ...]]:
    """The interactions by id, in order."""
    ids = [(raw.user_ids[user], raw.item_ids[item]) for user, item in zip(raw.user, raw.item, strict=True)]
    return ids if raw.timestamp is None else [(*pair, time) for pair, time in zip(ids, raw.timestamp, strict=True)]


def write(path: Path, rows: list[tuple[Any, ...]], names: list[str], form: str) -> Path:
    """Write a table in one of the formats, whatever its name says."""
    if form == "parquet":
        pd.DataFrame(rows, columns=names).to_parquet(path)
        return path
    delimiter = {"tsv": "\t", "semicolon": ";"}.get(form, ",")
    text = "\n".join(delimiter.join(map(str, row)) for row in [names, *rows])
    content = {"bom": b"\xef\xbb\xbf", "crlf": b""}.get(form, b"") + text.encode()
    content = content.replace(b"\n", b"\r\n") if form == "crlf" else content
    path.write_bytes(gzip.compress(content) if form == "gzip" else content)
    return path


@pytest.mark.parametrize("form", ["csv", "tsv", "semicolon", "bom", "crlf", "gzip", "parquet"])
def test_every_format_says_the_same(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "clicks", [(time, item, user) for user, item, time in ROWS], ["t", "thing", "who"], form)
    malformed = MalformedRecords(path, limit=0.0)
    raw = read_interactions(path, malformed, user="who", item="thing", time="t")
    assert lines_of(raw) == [(user, str(item), time) for user, item, time in ROWS]
    assert (raw.user.dtype, raw.item.dtype, raw.timestamp.dtype) == (np.int32, np.int32, np.int64)  # type: ignore[union-attr]
    assert raw.user_ids == ["u1", "u2"] and raw.split is None
    assert read_interactions(path, malformed, user="who", item="thing").timestamp is None


def test_ids_are_kept_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text('user,item\n007,"a,""b"""\n7,ä b\n')
    assert lines_of(read_interactions(path, MalformedRecords(path))) == [("007", 'a,"b"'), ("7", "ä b")]


def test_bytes_that_are_no_utf8_spoil_only_the_record_they_are_in(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_bytes("id,title\nB\xff1,one\nB2,gr\xe4n\xc3\xbc\nB3\xe4\n\xc3\nB4,gr\xc3\xbcn\n".encode("latin-1"))
    malformed = MalformedRecords(path, limit=0.8)
    assert read_items(path, ["B2", "B4"], malformed, text=["title"])["title"].tolist() == [None, "grün"]
    assert malformed.count == 4
    assert malformed.reasons == {
        "id: not text in the encoding of the file": 1,
        "title: not text in the encoding of the file": 1,
        "the wrong number of cells": 2,
    }


def test_whole_numbers_that_pandas_wrote_with_a_fraction(tmp_path: Path) -> None:
    """In either table, of both, or neither; said, and matched with known ids where others are no numbers."""
    clicks, items = tmp_path / "clicks.csv", tmp_path / "items.csv"
    for users, ids, kept in (
        (["7.0", "08.0"], ["12.0", "3.0"], [("7", "12"), ("08", "3")]),
        (["7.0", "x"], ["12", "3"], [("7.0", "12"), ("x", "3")]),
    ):
        clicks.write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in zip(users, ids, strict=True)))
        found = MalformedRecords(clicks)
        raw = read_interactions(clicks, found)
        assert lines_of(raw) == kept
        said = ["clicks.csv: user ids such as 7.0 are read as whole numbers, 7"] if users[1] != "x" else []
        assert found.notes[: len(said)] == said
        for written in ("id,title\n3,c\n12,l\n", "id,title\n,\n3.0,c\n12.0,l\n"):
            items.write_text(written)
            table = read_items(items, raw.item_ids, MalformedRecords(items, 0.5), text=["title"])
            assert table["title"].tolist() == ["l", "c"]
    items.write_text("id,title\n12.0,l\n3.0,c\nx,other\n")
    assert read_items(items, ["3", "x"], MalformedRecords(items), text=["title"])["title"].tolist() == ["c", "other"]
    items.write_text("id,title\n12.0,l\n3.0,c\n")
    assert read_items(items, ["3.0", "x"], MalformedRecords(items), text=["title"])["title"].tolist() == ["c", None]


def test_columns_of_parquet_of_many_types(tmp_path: Path) -> None:
    path = tmp_path / "clicks.parquet"
    moments = [datetime(2023, 1, 31, 12, tzinfo=UTC), None, datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC)]
    table = {
        "text": pa.array(["a", "b", None]),
        "large": pa.array(["a", "b", "c"], pa.large_string()),
        "coded": pa.array(["a", "b", "a"]).dictionary_encode(),
        "small": pa.array([1, 2, 3], pa.int8()),
        "float": pa.array([1.0, None, 3.0]),
        "nan": pa.array([1.0, math.nan, 3.0]),
        "half": pa.array([1.5, 2.0, 3.0]),
        "moment": pa.array(moments, pa.timestamp("ns", "UTC")),
        "day": pa.array([date(2023, 1, 31), date(1970, 1, 2), None]),
        "list": pa.array([["x"], [], None]),
        "decimal": pa.array([Decimal(5), Decimal(12), None], pa.decimal128(38, 0)),
        "cents": pa.array([Decimal("5.00"), Decimal("12.00"), Decimal("7.00")], pa.decimal128(10, 2)),
        "price": pa.array([Decimal("4.5"), Decimal("2.5"), None], pa.decimal128(4, 1)),
        "uuid": pa.array([bytes([255] * 16), bytes([254] * 16), None], pa.binary(16)),
        "code": pa.array([b"ab", b"cd", b"ef"], pa.binary(2)),
    }
    pq.write_table(pa.table(table), path)

    def read(user: str, item: str, time: str | None = None) -> list[tuple[Any, ...]]:
        return lines_of(read_interactions(path, MalformedRecords(path, limit=1.0), user=user, item=item, time=time))

    assert read("text", "large") == [("a", "a"), ("b", "b")]
    assert read("coded", "small") == [("a", "1"), ("b", "2"), ("a", "3")]
    assert read("float", "small") == read("nan", "small") == [("1", "1"), ("3", "3")]
    assert read("small", "large", "moment") == [("1", "a", 1675166400000), ("3", "c", -500)]
    assert read("small", "large", "day") == [("1", "a", 1675123200), ("2", "b", 86400)]
    assert read("small", "large", "half") == [("1", "a", 0), ("2", "b", 1), ("3", "c", 2)]
    assert read("decimal", "cents") == [("5", "5"), ("12", "12")]
    assert read("uuid", "code")[0] == ("ffffffff-ffff-ffff-ffff-ffffffffffff", "ab")
    assert read("code", "text", "decimal") == [("ab", "a", 5), ("cd", "b", 12)]
    assert [row[2] for row in read("code", "large", "price")] == [1, 0]
    rated = read_interactions(
        path, MalformedRecords(path, limit=1.0), user="code", item="text", rating="price", min_rating=3
    )
    assert lines_of(rated) == [("ab", "a")]
    with pytest.raises(InputError, match="values in column list; expected numbers"):
        read_interactions(path, MalformedRecords(path), user="code", item="text", rating="list", min_rating=3)
    for wrong in ("half", "list", "day", "price"):
        with pytest.raises(InputError, match=f"values in column {wrong}; expected texts or whole numbers"):
            read(wrong, "large")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1393545600", 1393545600),
        ("-5", -5),
        ("1393545600.75", 1393545600),
        ("-0.5", -1),
        ("1.5e3", 1500),
        ("1970-01-02", 86400),
        ("1970-01-01T00:00:10Z", 10),
        ("1970-01-01 00:00:10.9", 10),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:59:59.5", -1),
        (" 12 ", 12),
        ("", None),
        ("nan", None),
        ("1e99", None),
        ("1" * 30, None),
        ("2023-02-30", None),
        ("yesterday", None),
        ("0x1F", None),
        ("1_000", None),
    ],
)
def test_times(text: str, time: int | None) -> None:
    values, known, _ = as_times(pa.array([text]), "t", Path("clicks.csv"))
    assert (values[0] if known[0] else None) == time


TIMES = st.one_of(
    st.integers(-(10**18), 10**18).map(str),
    st.floats(-(10.0**12), 10.0**12).map(lambda value: f"{value:.3f}"),
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda value: value.isoformat()),
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda value: f"{value.isoformat()}+02:00"),
    st.dates().map(str),
    st.sampled_from(["", "soon", "nan", "12 "]),
)


@settings(deadline=None, max_examples=60)
@given(st.one_of(*(st.lists(kind, min_size=1, max_size=5) for kind in [TIMES, *TIMES.original_strategies])))  # type: ignore[attr-defined]
def test_a_time_means_the_same_whatever_stands_beside_it(texts: list[str]) -> None:
    values, known, _ = as_times(pa.array(texts), "t", Path("clicks.csv"))
    for at, text in enumerate(texts):
        alone, is_known, _ = as_times(pa.array([text, None]), "t", Path("clicks.csv"))
        assert (bool(known[at]), values[at] if known[at] else 0) == (bool(is_known[0]), alone[0] if is_known[0] else 0)


def test_ratings_below_the_threshold_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text("user,item,stars\na,x,5\na,y,3.5\nb,x,4\nb,y,bad\nc,x,\nd,z,1\n")
    said: list[str] = []
    malformed = MalformedRecords(path, limit=0.5)
    raw = read_interactions(path, malformed, rating="stars", min_rating=4, on_progress=said.append)
    assert lines_of(raw) == [("a", "x"), ("b", "x")]
    assert raw.user_ids == ["a", "b"] and raw.item_ids == ["x"]
    assert said == ["2 interactions with a rating below 4 left out"]
    assert malformed.shown == ["line 5: stars: 'bad' is no number", "line 6: stars: there is no value"]
    with pytest.raises(UsageError, match="go together"):
        read_interactions(path, malformed, rating="stars")
    with pytest.raises(InputError, match="no interactions with a rating of 6 or more; choose a lower --min-rating"):
        read_interactions(path, MalformedRecords(path, limit=0.5), rating="stars", min_rating=6)


def test_malformed_records_are_counted_by_their_number_and_limited(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    good = "a,x,1\n" * 3
    path.write_bytes(b"user,item,time\n" + good.encode() + b"a,x\n\nb,,2\nb,x,soon\n\xff,x,3\na,b,c,d\nz,x,9\n")
    malformed = MalformedRecords(path, limit=0.6)
    raw = read_interactions(path, malformed, time="time")
    assert lines_of(raw) == [("a", "x", 1)] * 3 + [("z", "x", 9)]
    assert sorted(raw.user_ids) == ["a", "z"]  # not b, of whom nothing is left
    assert malformed.count == 5  # the blank line is none of them
    shown = MalformedRecords(path, limit=0.6)
    shown_all: list[tuple[int, str]] = []
    shown.add = lambda line, reason, *_: shown_all.append((line, reason))  # type: ignore[method-assign]
    read_interactions(path, shown, time="time")
    assert sorted(shown_all) == [
        (5, "2 cells, not 3"),
        (7, "item: the id is missing"),
        (8, "time: 'soon' is no number and no date, such as 2021-03-25 14:30:00"),
        (9, "user: not text in the encoding of the file; see --encoding"),
        (10, "4 cells, not 3"),
    ]
    with pytest.raises(InputError, match=re.escape("5 of 10 lines of")):
        read_interactions(path, MalformedRecords(path, limit=0.4), time="time")


def test_a_cell_that_is_no_time_or_number_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text(f"user,item,when,stars\na,x,12/03/21,5\na,y,,5\nb,x,{'x' * 60},4\nb,y,3,good\n")
    expected = [
        "line 2: when: '12/03/21' is no number and no date, such as 2021-03-25 14:30:00",
        "line 3: when: there is no value",
        f"line 4: when: '{'x' * 40}' is no number and no date, such as 2021-03-25 14:30:00",
    ]
    malformed = MalformedRecords(path)
    with pytest.raises(InputError, match=re.escape(f"({'; '.join(expected)})")):
        read_interactions(path, malformed, time="when", rating="stars", min_rating=1)
    assert malformed.count == 4
    pq.write_table(pa.table({"user": ["a", "b"], "item": [1, 2], "stars": [None, 4.0]}), path)
    malformed = MalformedRecords(path, limit=0.5)
    read_interactions(path, malformed, rating="stars", min_rating=1)
    assert malformed.shown == ["row 1: stars: there is no value"]


def test_an_open_quote_swallows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text("user,item\n" + "a,x\n" * 10 + '"b,x\n' + "c,x\n" * 30)
    raw = read_interactions(path, MalformedRecords(path, limit=0.0))
    assert len(raw) == 41 and raw.user_ids == ["a", '"b', "c"]


def test_hostile_files_end_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clicks"

    def read(content: bytes, sentence: str) -> None:
        path.write_bytes(content)
        with pytest.raises(InputError, match=sentence):
            read_interactions(path, MalformedRecords(path))

    read(b"", "is empty or begins with an empty line")
    read(b"\n\n", "is empty or begins with an empty line")
    read(b"user,item", "holds no interactions")
    read(b"user,item\n", "holds no interactions")
    read(b"user,items\na,b\n", "has no column 'item', only user, items: did you mean items")
    read(b"user,item,item\na,b,c\n", "more than one column item")
    read(b"\xff\xfeu\x00s\x00", "has no column 'user', only us")
    read(b"u\x00s\x00", "neither parquet nor text in UTF-8.* --encoding utf-16-le")
    read(b"PAR1 and nothing else", "cannot be read as parquet")
    read(b"\xfeabc\n\x00\x01\n", "neither parquet nor text in UTF-8; expected a table: CSV, TSV, JSON lines or parquet")
    read(b"\xff\xd8\xff\xe0\x00\x10JFIF", r"is an image \(JPEG\), not a table; expected CSV, TSV, JSON lines or parq")
    packed = gzip.compress(b"user,item\n" + b"".join(b"%d,%d\n" % (n * 7919, n) for n in range(9000)))
    read(packed[: len(packed) // 2], "cannot be read after record|damaged or cut off")
    read(b"user,item\n" + b"x" * 300 + b",y\n", "the id has 300 characters")
    monkeypatch.setattr(encodings, "LONGEST_LINE", 1000)
    monkeypatch.setattr(encodings, "BLOCK", 1000)
    read(b"user,item\na,b\n" + b"x" * 5000 + b",y\n", "a record is longer than 1,000 bytes")
    with pytest.raises(InputError, match="there is no such file"):
        read_interactions(tmp_path / "gone", MalformedRecords(path))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.integers(0, 2**31))
@example(b'"', 0)
@example(b"\x00,\x00\n,", 0)
def test_any_bytes_are_read_or_refused(tmp_path: Path, noise: bytes, place: int) -> None:
    whole = pa.BufferOutputStream()
    pq.write_table(pa.table({"user": ["a", "b"], "item": [1, 2]}), whole)
    for content in (b"user,item\na,b\nc,d\n", whole.getvalue().to_pybytes()):
        at = place % len(content)
        path = tmp_path / "clicks"
        path.write_bytes(content[:at] + noise + content[at + len(noise) // 2 :])
        try:
            raw = read_interactions(path, MalformedRecords(path, limit=1.0))
        except InputError:
            continue
        assert len(raw.user) == len(raw.item) > 0
        assert all(name and name.isprintable() for name in [*raw.user_ids, *raw.item_ids])


def test_many_blocks_are_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids keep their codes and records their numbers from block to block."""
    monkeypatch.setattr(encodings, "BLOCK", 300)
    path = tmp_path / "clicks.csv"
    rows = [f"u{n % 7},i{n % 11}" if n % 50 else "bad" for n in range(400)]
    path.write_text("\n".join(["user,item", *rows]) + "\n")
    malformed = MalformedRecords(path, limit=0.1)
    raw = read_interactions(path, malformed)
    assert lines_of(raw) == [(f"u{n % 7}", f"i{n % 11}") for n in range(400) if n % 50]
    assert malformed.count == 8
    assert malformed.shown == [f"line {n + 2}: 1 cells, not 2" for n in (0, 50, 100)]


ITEMS = """id,title,about,price,photo
B2,Tea &amp; <b>cup</b>,"Line one,
line two",3.5,cups/b2.jpg
B1,None,,4,https://example.org/b1.png
B2,A second record,of the same item,1,x.jpg
B9,Not wanted,nor this,2,y.jpg
B3,,only this,,../../secret.png
"""


def test_items_in_the_order_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text(ITEMS)
    malformed = MalformedRecords(path, limit=0.0)
    table = read_items(path, ["B1", "B7", "B2", "B3"], malformed, text=["title", "about", "price"], image="photo")
    assert table["id"].tolist() == ["B1", "B7", "B2", "B3"]
    assert table["title"].tolist() == [None, None, "Tea & cup", None]
    assert table["text"].tolist() == ["4", None, "Tea & cup Line one, line two 3.5", "only this"]
    assert table["image"].tolist() == ["https://example.org/b1.png", None, str(tmp_path / "cups" / "b2.jpg"), None]
    assert not malformed.count


def test_items_of_parquet_with_lists_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    table = {"item": [3, 1], "tags": [["red", None, "mug"], None], "year": [math.nan, 1999.0]}
    pq.write_table(pa.table(table), path)
    read = read_items(path, ["1", "3"], MalformedRecords(path), text=["tags", "year"])
    assert read["text"].tolist() == ["1999.0", "red mug"]
    assert read["title"].tolist() == [None, "red mug"]
    assert read["image"].tolist() == [None, None]


def test_pictures_named_by_id(tmp_path: Path) -> None:
    path, photos = tmp_path / "items.csv", tmp_path / "photos"
    photos.mkdir()
    names = ("B1.png", "B1.jpg", "B2.JPEG", "B3.heic", "B4.tiff", "B5.avif", "B6.jfif", "x.jpg")
    for name in names:
        (photos / name).write_bytes(b"")
    path.write_text("item\nB1\nB2\nB3\n../items\n")
    ids = ["B1", "B2", "B3", "../items", "B4", "B5", "B6"]
    read = read_items(path, ids, MalformedRecords(path), images=photos)
    found = ["B1.jpg", "B2.JPEG", None, None, "B4.tiff", "B5.avif", "B6.jfif"]
    assert read["image"].tolist() == [name and str(photos / name) for name in found]
    assert read["text"].tolist() == [None] * 7
    assert unused_pictures(photos, read, by_id=True) == [
        f"not used: 2 of 8 files of {photos}: not the image of an item kept (B1.png, x.jpg)",
        f"not used: 1 file of {photos} (B3.heic): of items, but in no supported format: {', '.join(ENDINGS)}",
    ]


def test_pictures_in_a_folder_inside_the_one_given(tmp_path: Path) -> None:
    path, photos = tmp_path / "items.csv", tmp_path / "photos"
    (photos / "small").mkdir(parents=True)
    (photos / "small" / "B1.png").write_bytes(b"")
    path.write_text("item\nB1\n")
    with pytest.raises(InputError, match=r"photos has no images itself, but .*photos/small has 1; give that folder"):
        read_items(path, ["B1"], MalformedRecords(path), images=photos)


INLINE = "data:image/png;base64," + 9 * "iVBORw0KGgo/" * 40
"""A picture in letters, longer than the name of any file."""


@pytest.mark.parametrize(
    "cell",
    ["/etc/passwd", "../x.png", "a/../../x.png", "a\\..\\x.png", "x\x00.png", "x\n.png", INLINE, "iVBORw0KGgo/" * 400],
)
def test_a_path_that_leads_out_of_the_folder_is_no_picture(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "items.csv"
    path.write_text(f'item,photo\nB1,"{cell}"\nB2,fine/x.png\n')
    malformed = MalformedRecords(path, limit=0.0)
    read = read_items(path, ["B1", "B2"], malformed, image="photo", images=tmp_path)
    assert read["image"].tolist() == [None, str(tmp_path / "fine" / "x.png")] and not malformed.count
    told = f"1 cell names no file inside the folder of files, taken as empty: {cell[:80]!r}"
    assert malformed.sentences() == [told]


def test_white_space_around_a_picture_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text('item,photo\nB1," https://x.org/1.jpg"\nB2,fine/x.png \nB3,  \n')
    read = read_items(path, ["B1", "B2", "B3"], MalformedRecords(path), image="photo", images=tmp_path)
    assert read["image"].tolist() == ["https://x.org/1.jpg", str(tmp_path / "fine" / "x.png"), None]


def test_a_path_too_long_for_the_disk_is_no_file(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path, Reporter())
    assert work.hashes([tmp_path / ("long/" * 2000)]) == {}
    remember_inputs(work, "key", "digest", [])
    assert recall_digest(work, "key") == "digest"


def test_an_absolute_path_inside_the_folder_is_one_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the folder is called: from the working directory, or through a link."""
    path, photos = tmp_path / "items.csv", tmp_path / "photos"
    photos.mkdir()
    (tmp_path / "link").symlink_to(photos)
    monkeypatch.chdir(tmp_path)
    inside = [photos / "a" / "1.png", tmp_path / "link" / "2.png"]
    outside = [tmp_path / "photos2" / "3.png", photos / ".." / "4.png"]
    path.write_text("id,photo\n" + "".join(f"{place.stem},{place}\n" for place in [*inside, *outside]))
    found = {}
    for folder in (Path("photos"), Path("link")):
        read = read_items(path, ["1", "2", "3", "4"], MalformedRecords(path, limit=0.0), image="photo", images=folder)
        found[str(folder)] = read["image"].tolist()
    assert found == {
        "photos": ["photos/a/1.png", None, None, None],
        "link": ["link/a/1.png", "link/2.png", None, None],
    }


def test_items_that_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text(ITEMS)
    with pytest.raises(
        InputError, match="none of the 2 items: its ids in id are like 'B2', those of the interactions like 'x'"
    ):
        read_items(path, ["x", "y"], MalformedRecords(path))
    with pytest.raises(InputError, match="has no column 'body', only id, title"):
        read_items(path, ["B1"], MalformedRecords(path), text=["body"])
    path.write_text("id,title\n" + ",nameless\n" * 3 + "B1,x\n")
    with pytest.raises(InputError, match=r"3 of 4 lines of .*id: the id is missing"):
        read_items(path, ["B1"], MalformedRecords(path), text=["title"])


def test_files_that_are_not_there(tmp_path: Path) -> None:
    clicks = tmp_path / "clicks.csv"
    clicks.write_text("user,item\n")
    assert files(clicks) == {"interactions": clicks}
    assert files(clicks, clicks, tmp_path) == {"interactions": clicks, "items": clicks}
    kinds = r"\(in datasets.toml: interactions\) expects a table: CSV, TSV, JSON lines or parquet"
    with pytest.raises(InputError, match=f"{tmp_path} is a folder, not a file; --interactions {kinds}"):
        files(tmp_path)
    with pytest.raises(InputError, match=r"--items \(in datasets.toml: items\) expects a table"):
        files(clicks, tmp_path / "gone")
    with pytest.raises(InputError, match=r"clicks\.csv is a file, not a folder; --images expects one with images"):
        files(clicks, None, clicks)
