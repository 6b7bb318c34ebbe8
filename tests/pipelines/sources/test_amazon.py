"""The three releases of the Amazon data, in the layouts they were published in, and what hostile files do."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError
from pipelines.io.raw import MalformedRecords, RawInteractions
from pipelines.sources.amazon import Amazon
from tests.helpers.source_cases import source_of


def read_interactions(path: Path, malformed: MalformedRecords) -> RawInteractions:
    return source_of(Amazon, {"reviews": path}).interactions(malformed, str)


def read_items(path: Path, ids: Sequence[str], malformed: MalformedRecords) -> pd.DataFrame:
    return source_of(Amazon, {"metadata": path}).items(list(ids), malformed)


REVIEW_2014 = {
    "reviewerID": "A1HK2FQW6KXQB2",
    "asin": "097293751X",
    "reviewerName": 'Amanda Johnsen "Amanda E. Johnsen"',
    "helpful": [0, 0],
    "reviewText": "They said \"asin\": \"B000000000\", 'asin': 'B000000001', and meant it.",
    "overall": 5.0,
    "summary": "Awesine",
    "unixReviewTime": 1373932800,
    "reviewTime": "07 16, 2013",
}
REVIEW_2018 = {
    "overall": 5.0,
    "vote": "2",
    "verified": True,
    "reviewTime": "01 1, 2018",
    "reviewerID": "AUI6WTTT0QZYS",
    "asin": "5120053084",
    "style": {"Size:": "Large", "Color:": "Charcoal"},
    "reviewerName": "Abbey",
    "reviewText": "I now have 4 of the 5 available colors of this shirt... ",
    "summary": "Comfy, flattering, discreet--highly recommended!",
    "unixReviewTime": 1514764800,
}
REVIEW_2023 = {
    "rating": 5.0,
    "title": "Such a lovely scent",
    "text": "This spray is really nice.",
    "images": [],
    "asin": "B00YQ6X8EO",
    "parent_asin": "B00YQ6X8EP",
    "user_id": "AGKHLEW2SOWHNMFQIJGBECAF7INQ",
    "timestamp": 1588687728923,
    "helpful_vote": 0,
    "verified_purchase": True,
}
META_2014 = [
    {
        "asin": "097293751X",
        "description": 'Baby\'s "first" schedule.\nKeeps track &amp; time',
        "title": "Baby Tracker&reg; - Daily Childcare Journal",
        "price": 11.99,
        "imUrl": "http://ecx.images-amazon.com/images/I/41ZhKBIsHnL._SY300_.jpg",
        "related": {"also_bought": ["B0056C5R5K", "B00793CZAC"], "buy_after_viewing": []},
        "salesRank": {"Baby": 4216},
        "brand": "Baby Tracker",
        "categories": [["Baby"], ["Baby", "Gifts", "Keepsakes &amp; Journals"]],
    },
    {"categories": [["Baby"]], "asin": "0000031852", "imUrl": None},
    {
        "asin": "B0001KHRKU",
        "imUrl": "http://g-ecx.images-amazon.com/images/G/01/x-site/icons/no-img-sm._CB192198896_.gif",
    },
]


def written(path: Path, lines: Sequence[Any], packed: bool = True) -> Path:
    content = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    return path


def interactions(path: Path, lines: Sequence[Any], limit: float = 0.0) -> Any:
    return read_interactions(written(path, lines), MalformedRecords(path, limit))


def items(path: Path, lines: Sequence[Any], ids: Sequence[str], limit: float = 0.0) -> list[tuple[Any, ...]]:
    table = read_items(written(path, lines), ids, MalformedRecords(path, limit))
    assert list(table.columns) == ["id", "title", "text", "image", "recorded"]
    return [tuple(row) for row in table.drop(columns="recorded").itertuples(index=False)]


@pytest.mark.parametrize(
    ("review", "user", "item", "time"),
    [
        (REVIEW_2014, "A1HK2FQW6KXQB2", "097293751X", 1373932800),
        (REVIEW_2018, "AUI6WTTT0QZYS", "5120053084", 1514764800),
        (REVIEW_2023, "AGKHLEW2SOWHNMFQIJGBECAF7INQ", "B00YQ6X8EP", 1588687728923),
    ],
)
@pytest.mark.parametrize("spell", [json.dumps, repr])
def test_reviews_of_each_release(
    tmp_path: Path, review: dict[str, Any], user: str, item: str, time: int, spell: Any
) -> None:
    user_key = "user_id" if "user_id" in review else "reviewerID"
    other = review | {user_key: "ANOTHER"}
    raw = interactions(tmp_path / "any-name", [spell(line) for line in (review, other, review)])
    assert [raw.user_ids[code] for code in raw.user] == [user, "ANOTHER", user]
    assert [raw.item_ids[code] for code in raw.item] == [item] * 3
    assert raw.timestamp is not None and raw.timestamp.tolist() == [time] * 3
    assert (raw.user.dtype, raw.item.dtype, raw.timestamp.dtype) == (np.int32, np.int32, np.int64)
    assert raw.split is None


def test_the_ratings_of_2023_are_a_table(tmp_path: Path) -> None:
    header = "user_id,parent_asin,rating,timestamp"
    raw = interactions(tmp_path / "Baby.csv", [header, "A,B1,5.0,1588687728923", "", "C,B2,1.0,1588687728924"])
    assert ([*raw.user_ids], [*raw.item_ids]) == (["A", "C"], ["B1", "B2"])
    assert raw.timestamp is not None and raw.timestamp.tolist() == [1588687728923, 1588687728924]
    malformed = MalformedRecords(tmp_path / "Baby.csv", limit=1)
    wrong = [header, "A,B1,5.0", "A,,5.0,1", "A,B1,good,1", "A,B1,5.0,now", "A,B1,5.0,7"]
    (tmp_path / "Baby.csv").write_text("\n".join(wrong))
    assert len(read_interactions(tmp_path / "Baby.csv", malformed)) == 1 and malformed.count == 4
    assert malformed.shown[0] == f"line 2: it has 3 cells, not the 4 of {header}"


@pytest.mark.parametrize(
    ("review", "key"), [(REVIEW_2014, "overall"), (REVIEW_2018, "overall"), (REVIEW_2023, "rating")]
)
def test_only_high_ratings(tmp_path: Path, review: dict[str, Any], key: str) -> None:
    path, said = tmp_path / "reviews", list[str]()
    ratings = (5.0, 4, 3.9, 1.0, None, "5", True)
    path.write_text("\n".join(json.dumps(review | {key: rating}) for rating in ratings))
    malformed = MalformedRecords(path, limit=1)
    raw = source_of(Amazon, {"reviews": path}, min_rating=4).interactions(malformed, said.append)
    assert (len(raw), malformed.count, malformed.shown[0]) == (2, 3, f"line 5: its {key} is missing or no number")
    assert said == ["2 interactions with a rating below 4 left out"]
    assert len(source_of(Amazon, {"reviews": path}).interactions(malformed, str)) == len(ratings)
    with pytest.raises(InputError, match="holds no reviews with a rating of 6 or more"):
        source_of(Amazon, {"reviews": path}, min_rating=6).interactions(malformed, str)


def test_malformed_reviews_are_left_out_counted_and_shown(tmp_path: Path) -> None:
    good = json.dumps(REVIEW_2014)
    bad = [
        b"\xff\xfe",
        good[:-10],
        "[1, 2]",
        "{}",
        json.dumps(REVIEW_2014 | {"asin": 12}),
        json.dumps(REVIEW_2014 | {"reviewerID": ""}),
        json.dumps(REVIEW_2014 | {"asin": "a\0b"}),
        json.dumps(REVIEW_2014 | {"asin": "x" * 201}),
        json.dumps(REVIEW_2014 | {"unixReviewTime": True}),
        json.dumps(REVIEW_2014 | {"unixReviewTime": 2**63}),
        json.dumps(REVIEW_2023),
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"asin": ' + "9" * 5000 + "}",
        "{'asin': " + "[" * 1000,
    ]
    path = written(tmp_path / "reviews", [good, "", *bad, good], packed=False)
    malformed = MalformedRecords(path, limit=0.9)
    raw = read_interactions(path, malformed)
    assert (len(raw), malformed.count) == (2, len(bad))
    assert "line 3: " in malformed.shown[0] and "line 4: it is not JSON" in malformed.shown[1]
    assert raw.user_ids == ["A1HK2FQW6KXQB2"] and raw.item_ids == ["097293751X"]
    with pytest.raises(InputError, match=f"{len(bad)} of {len(bad) + 3} lines"):
        read_interactions(path, MalformedRecords(path))


@pytest.mark.parametrize("lines", [[], [""]])
def test_a_file_without_reviews_is_refused(tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(InputError, match="holds no reviews"):
        interactions(tmp_path / "reviews", lines)


def test_metadata_of_2014_are_python_literals(tmp_path: Path) -> None:
    ids = ["B0001KHRKU", "097293751X", "UNKNOWN", "0000031852"]
    described = items(tmp_path / "meta", [repr(record) for record in META_2014], ids)
    text = (
        "Baby Tracker® - Daily Childcare Journal Baby Tracker Baby Gifts Keepsakes & Journals "
        'Baby\'s "first" schedule. Keeps track & time'
    )
    picture = META_2014[0]["imUrl"]
    assert described == [
        ("B0001KHRKU", None, None, None),  # the picture is the shop's placeholder
        ("097293751X", "Baby Tracker® - Daily Childcare Journal", text, picture),
        ("UNKNOWN", None, None, None),
        ("0000031852", None, "Baby", None),
    ]


def test_metadata_of_2018(tmp_path: Path) -> None:
    record = {
        "category": ["Clothing", "Women"],
        "tech1": "",
        "description": ["Soft &amp;amp; warm", "<b>Wash</b> cold", ""],
        "title": "A shirt",
        "also_buy": ["B00"],
        "brand": "Bands",
        "details": {"asin": "NESTED"},
        "asin": "5120053084",
        "imageURL": ["https://images-na.ssl-images-amazon.com/images/I/31._SS40_.jpg"],
        "imageURLHighRes": ["https://images-na.ssl-images-amazon.com/images/I/31.jpg"],
    }
    script = {"asin": "B2", "title": "var aPageStart = (new Date()).getTime();\nvar ue_t0", "imageURLHighRes": []}
    small = {"asin": "B3", "title": ["no text"], "imageURL": [None, "not an address", record["imageURL"][0]]}  # type: ignore[index]
    again = {"asin": "5120053084", "title": "Another title of the same item"}
    lines = [json.dumps(line) for line in (record, script, small, again)]
    assert items(tmp_path / "meta", lines, ["5120053084", "B2", "B3"]) == [
        ("5120053084", "A shirt", "A shirt Bands Clothing Women Soft & warm Wash cold", record["imageURLHighRes"][0]),  # type: ignore[index]
        ("B2", None, None, None),
        ("B3", "no text", "no text", record["imageURL"][0]),  # type: ignore[index]
    ]


def test_metadata_of_2023(tmp_path: Path) -> None:
    large = "https://m.media-amazon.com/images/I/{}.jpg"
    record = {
        "main_category": "All Beauty",
        "title": "Howard LC0008 Leather Conditioner, 8-Ounce (4-Pack)",
        "average_rating": 4.8,
        "features": ["For leather &amp; vinyl", None, "8 ounces"],
        "description": ["Keeps leather soft.", None, 3],
        "price": None,
        "images": [
            {"thumb": large.format("t1"), "large": large.format("l1"), "variant": "PT01", "hi_res": None},
            {"thumb": large.format("t2"), "large": large.format("l2"), "variant": "MAIN", "hi_res": large.format("h2")},
        ],
        "store": "Howard Products",
        "categories": ["Beauty", "Leather"],
        "details": {"Package Dimensions": "7.1 x 5.5 x 3 inches"},
        "parent_asin": "B01CUPMQZE",
    }
    bare = {
        "parent_asin": "B2",
        "images": [{"large": None, "hi_res": large.format("h3"), "variant": "X"}],
        "store": None,
    }
    strange = {"parent_asin": "B3", "title": {"a": 1}, "images": {"large": []}, "categories": [[["deep"]]], "store": 5}
    lines = [json.dumps(line) for line in (record, bare, strange)]
    title = record["title"]
    assert items(tmp_path / "meta", lines, ["B3", "B2", "B01CUPMQZE"]) == [
        ("B3", None, None, None),
        ("B2", None, None, large.format("h3")),
        (
            "B01CUPMQZE",
            title,
            f"{title} Howard Products Beauty Leather For leather & vinyl 8 ounces Keeps leather soft.",
            large.format("l2"),
        ),
    ]


def test_malformed_metadata_are_counted(tmp_path: Path) -> None:
    bad = ["{'asin': 'B1', 'title': open('/etc/passwd')}", "{'title': 'no id'}", "{'asin': 3}", "nothing"]
    path = written(tmp_path / "meta", ["{'asin': 'B1', 'title': 'T'}", *bad])
    malformed = MalformedRecords(path, limit=0.9)
    table = read_items(path, ["B1"], malformed)
    assert table.loc[0, "title"] == "T" and malformed.count == len(bad)
    assert "not a Python literal" in malformed.shown[0] and "no asin" in malformed.shown[1]
    with pytest.raises(InputError, match="4 of 5 lines"):
        read_items(path, ["B1"], MalformedRecords(path))


def test_metadata_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="describes none of the 2 items"):
        items(tmp_path / "meta", ["{'asin': 'B1'}"], ["B2", "B3"])


def test_only_wanted_items_are_held(tmp_path: Path) -> None:
    """Forty megabytes of metadata, one item in a thousand wanted: ten gigabytes would take no more memory."""
    path = tmp_path / "meta.gz"
    with gzip.open(path, "wb", 1) as file:
        for number in range(10_000):
            first = {"asin": f"B{number:09d}"} if number % 2 else {"title": "not the id first"}
            record = first | {"description": "word " * 800, "asin": f"B{number:09d}"}
            file.write((repr(record) if number % 3 else json.dumps(record)).encode() + b"\n")
    wanted = [f"B{number:09d}" for number in range(0, 10_000, 1000)]
    tracemalloc.start()
    try:
        table = read_items(path, wanted, MalformedRecords(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert table["text"].notna().all()
    assert peak < 2 * 2**20


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(b'{"asin": "')
        for _ in range(17):
            file.write(b"x" * 2**20)
    for read in (lambda c: read_interactions(path, c), lambda c: read_items(path, ["B1"], c)):
        with pytest.raises(InputError, match=r"Line 1 of .* is longer than"):
            read(MalformedRecords(path, 1.0))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["B1", "http://a/b.jpg"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([
    "asin", "parent_asin", "reviewerID", "user_id", "unixReviewTime", "timestamp", "title", "brand", "store", "imUrl",
    "categories", "category", "description", "imageURL", "imageURLHighRes", "images",
])  # fmt: skip
RECORDS = st.dictionaries(KEYS, VALUES, max_size=8)
WHOLE = st.sampled_from([REVIEW_2014, REVIEW_2018, REVIEW_2023, *META_2014, {"asin": "../../B1"}])
LINES = st.lists(
    st.binary(max_size=30)
    | RECORDS.map(json.dumps).map(str.encode)
    | st.builds(lambda whole, part: json.dumps(whole | part), WHOLE, RECORDS).map(str.encode)
    | st.builds(lambda whole, part: repr(whole | part).encode("utf-8", "replace"), WHOLE, RECORDS)
    | st.builds(lambda whole, cut: repr(whole)[:cut].encode(), WHOLE, st.integers(0, 300)),
    max_size=6,
)


@settings(deadline=None)
@given(LINES, st.booleans(), st.sampled_from([0.0, 0.5, 1.0]))
def test_any_file_is_read_or_refused_in_a_sentence(lines: list[bytes], packed: bool, limit: float) -> None:
    with TemporaryDirectory() as folder:
        path = written(Path(folder) / "file", lines, packed)
        try:
            raw = read_interactions(path, MalformedRecords(path, limit))
            assert len(raw) and set(raw.user) == set(range(len(raw.user_ids)))
            assert set(raw.item) == set(range(len(raw.item_ids)))
        except InputError as problem:
            assert str(path) in str(problem)
        try:
            table = read_items(path, ["B1", "097293751X", "../../B1"], MalformedRecords(path, limit))
            assert table["id"].tolist() == ["B1", "097293751X", "../../B1"]
            for cell in table[["title", "text", "image"]].to_numpy().ravel():
                assert cell is None or cell.encode("utf-8")
        except InputError as problem:
            assert str(path) in str(problem)


def test_headers_and_empty_lines_are_counted_as_what_they_are(tmp_path: Path) -> None:
    lines = {"Baby.csv": ["user_id,parent_asin,rating,timestamp", "A,B1,5.0,7", "", "C,B2,1.0,8"]}
    lines["Baby.json"] = [json.dumps(REVIEW_2014), "", json.dumps(REVIEW_2014)]
    for name, read in (("Baby.csv", 3), ("Baby.json", 3)):
        (tmp_path / name).write_text("\n".join(lines[name]) + "\n")
        malformed = MalformedRecords(tmp_path / name, limit=0.0)
        assert len(read_interactions(tmp_path / name, malformed)) == 2
        assert malformed.record() == {name: {"read": read, "left_out": {"empty lines": 1}}}
