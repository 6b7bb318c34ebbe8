"""JSON lines: an object per line, for interactions and for items."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError
from pipelines.io.raw import MalformedRecords
from pipelines.sources.table import Table
from pipelines.tables import encodings
from pipelines.tables.table_file import ColumnFile
from tests.helpers.source_cases import read_interactions, read_items, source_of


@pytest.mark.parametrize("packed", [False, True])
def test_interactions(tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers are what is written, also in ids; numbers and texts may stand in one column."""
    path = tmp_path / "clicks.json"
    lines = [
        '{"user": "007", "item": 12, "time": 1600000000, "extra": {"a": [1]}}',
        "",
        '{"item": "12", "user": 1e5, "time": "2020-09-13T12:26:40Z"}',
        '{"user": " a ", "item": 12345678901234567890, "time": 1600000000.9}',
        '{"user": null, "item": 1, "time": 1}',
        '{"user": NaN, "item": 1, "time": 1}',
        '{"item": 1, "time": 1}',
        '["user", "item"]',
        '{"user": ',
        '{"user": "ä", "item": {"$oid": "5f"}, "time": 1600000000}',
    ]
    content = "\r\n".join(lines).encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    monkeypatch.setattr(encodings, "BLOCK", 300)
    malformed = MalformedRecords(path, limit=0.6)
    raw = read_interactions(path, malformed, time="time")
    assert raw.user_ids == ["007", "1e5", "a", "ä"]
    assert [raw.item_ids[item] for item in raw.item] == ["12", "12", "12345678901234567890", "5f"]
    assert raw.timestamp is not None and [time - 1600000000000 for time in raw.timestamp] == [0, 0, 900, 0]
    assert malformed.reasons == {"empty lines": 1, "user: the id is missing": 3, "no JSON object": 2}
    assert malformed.shown[0].startswith("line 8: not a JSON object")
    assert (malformed.read, malformed.count) == (10, 5)


def test_items_with_lists(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    lines = [
        {"item": 3, "tags": ["red", None, ["mug", 4]], "photo": ["a/b.png", "c.png"]},
        {"item": 1, "tags": "plain", "about": {"de": "Tasse"}},
        {"item": 2, "about": 1999, "tags": []},
        {"item": 3, "tags": ["again"]},
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    malformed = MalformedRecords(path, limit=0.0)
    read = read_items(path, ["1", "2", "3"], malformed, text=["tags", "about"], image="photo")
    assert read["text"].tolist() == ['plain {"de": "Tasse"}', "1999", "red mug 4"]
    assert read["image"].tolist() == [None, None, str(tmp_path / "a" / "b.png")]
    assert malformed.reasons == {"another record of the same item": 1}
    assert malformed.notes == ["items.jsonl: 1 more record of items described before; the first counts"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('[{"user": 1, "item": 2}]', "is a JSON list; expected JSON lines: one object per line"),
        ('[\n{"user": 1}\n]', "is a JSON list"),
        (
            '{"user": {"0": 1}, "item": {"0": 2}}',
            "is one JSON object of columns; expected JSON lines: one object per line",
        ),
        ('{"columns": ["user", "item"], "index": [0], "data": [[1, 2]]}', "is one JSON object of columns"),
        ('{\n"user": 1}\n', "its first line is no whole object; expected JSON lines"),
        ('{"user": 1, "items": 2}', "has no column 'item', only user, items: did you mean items"),
        ('{"user": 1, "item": [2]}\n', "has list<item: string> values in column item; expected texts"),
        ('{"user": 1, "item": ' + "[" * 100_000, "its first line is no whole object"),
        ('{"user": "\\ud800", "item": 1}', "1 of 1 lines .*user: not text in the encoding of the file"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "clicks.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=sentence):
        read_interactions(path, MalformedRecords(path))


VALUE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.text(max_size=3), max_size=3)
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUE), min_size=1, max_size=8), st.sampled_from([30, 10**6]))
def test_every_object_is_a_record(tmp_path: Path, objects: list[dict[str, object]], block: int) -> None:
    path = tmp_path / "any.jsonl"
    path.write_text("\n".join(json.dumps(each) for each in [{"a": 1, "b": 2, "c": 3}, *objects]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encodings, "BLOCK", block)
        file, malformed = ColumnFile(path), MalformedRecords(path)
        batches = list(file.batches(["a", "b", "c"], malformed))
    assert [number for batch in batches for number in batch.records.tolist()] == list(range(1, len(objects) + 2))
    found = [cell for batch in batches for cell in batch.columns["a"].to_pylist()][1:]
    for cell, record in zip(found, objects, strict=True):
        value = record.get("a")
        if isinstance(value, (str, list)) or value is None:
            assert cell in (value, None if value is None else [value])


def test_what_is_no_id_is_no_item_that_nobody_has_chosen(tmp_path: Path) -> None:
    clicks, items = tmp_path / "clicks.csv", tmp_path / "items.jsonl"
    clicks.write_text("user,item\na,x\n")
    items.write_text('{"item": true}\n{"item": {"a": 1}}\n{"item": "y"}\n')
    source = source_of(Table, {"interactions": clicks, "items": items})
    assert source.interactions(MalformedRecords(clicks), lambda _: None).item_ids == ["x", "y"]


def test_what_is_no_id_is_said(tmp_path: Path) -> None:
    path = tmp_path / "clicks.jsonl"
    path.write_text('{"user": {"id": "a"}, "item": 1}\n{"user": "a", "item": true}\n{"user": "a", "item": "true"}\n')
    malformed = MalformedRecords(path, limit=1.0)
    assert read_interactions(path, malformed).item_ids == ["true"]
    assert malformed.shown == [
        "line 1: user: true, false or an object, which is no id",
        "line 2: item: true, false or an object, which is no id",
    ]
