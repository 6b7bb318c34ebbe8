"""Quotes around cells, and quotes that merely stand in them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError
from pipelines.io.raw import MalformedRecords
from pipelines.tables import encodings
from pipelines.tables.table_file import ColumnFile

USUAL = 'i0,"warm\nlight"\n'
"""A record that shows cells with line breaks to be usual: its second line is no record."""


def rows_of(path: Path, malformed: MalformedRecords, encoding: str | None = None) -> list[tuple[int, ...]]:
    """The records of a file: their numbers and all cells."""
    file = ColumnFile(path, encoding)
    rows: list[tuple[int, ...]] = []
    for batch in file.batches(file.names, malformed):
        rows += zip(batch.records.tolist(), *(column.to_pylist() for column in batch.columns.values()), strict=True)
    return rows


def read(path: Path, text: str | bytes) -> tuple[list[tuple[int, ...]], MalformedRecords]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    malformed = MalformedRecords(path)
    return rows_of(path, malformed), malformed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('"red, lamp"', "red, lamp"),
        ('"red ""lamp"""', 'red "lamp"'),
        ('""', ""),
        ('"""red"""', '"red"'),
        ('"red\nlamp, ""big"""', 'red\nlamp, "big"'),
        ('"red\r\nlamp"', "red\r\nlamp"),
        ('"red \\"lamp\\", \\\\ big"', 'red "lamp", \\ big'),
        ('"red lamp', '"red lamp'),
        ('red lamp"', 'red lamp"'),
        ('15" lamp', '15" lamp'),
        ('"15" lamp"', '"15" lamp"'),
        ('""red lamp', '""red lamp'),
        ('"', '"'),
        ('"""', '"""'),
        ("red\rlamp", "red\rlamp"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_cells(path: Path, cell: str, expected: str, end: str, column: int) -> None:
    first, last = [cell if at == column else "x" for at in range(3)], ["u9", "i9", "lamp"]
    rows, malformed = read(path, end.join(["user,item,query", "u0,i1,lamp", ",".join(first), ",".join(last), ""]))
    assert rows[0] == (2, "u0", "i1", "lamp")
    assert rows[1][1 + column] == expected
    assert rows[2] == (4 + cell.count("\n"), *last)
    assert len(rows) == 3 and not malformed.count


def test_stray_quotes_in_tsv_swallow_nothing(path: Path) -> None:
    lines = [f"u{n % 6}\ti{n % 5}\tlamp" for n in range(30)]
    lines[6] = 'u0\ti1\t"red lamp'
    lines[24] = 'u0\ti4\t"blue lamp'
    rows, malformed = read(path, "\n".join(["user\titem\tquery", *lines]))
    assert [row[1:] for row in rows] == [tuple(line.split("\t")) for line in lines]
    assert not malformed.count


def test_a_cell_that_runs_over_records_is_a_complaint(path: Path) -> None:
    """Stray quotes that open one cell and close another could as well be around all between."""
    lines = [f"u{n % 6},i{n % 5},lamp" for n in range(30)]
    lines[6], lines[23] = 'u0,i1,"red lamp', 'u5,i3,15"'
    rows, malformed = read(path, "\n".join(["user,item,query", *lines]))
    assert [row[1:] for row in rows] == [tuple(line.split(",")) for line in lines[:6] + lines[24:]]
    assert malformed.count == 18
    assert malformed.shown == ["line 8: a quoted cell runs over 18 lines that look like records"]
    assert malformed.reasons == {"a quoted cell runs over lines that look like records": 18}


def test_short_doubtful_cells_are_believed_where_quotes_are_needed(path: Path) -> None:
    doubtful = 'i1,"great lamp\nnice, warm"\ni2,x\n'
    rows, malformed = read(path, "item,title\n" + doubtful)
    assert rows == [(4, "i2", "x")] and malformed.count == 2
    rows, malformed = read(path, "item,title\n" + doubtful + USUAL)  # the proof comes later
    assert rows == [(2, "i1", "great lamp\nnice, warm"), (4, "i2", "x"), (5, "i0", "warm\nlight")]
    assert not malformed.count
    assert malformed.notes == [
        "table: 1 quoted cells with line breaks, whose lines could also be records, were read as one cell each"
    ]
    rows, malformed = read(path, "item,title\n" + doubtful + 'i3,"a, ""b"""\n')
    assert [row[0] for row in rows] == [2, 4, 5] and not malformed.count
    rows, malformed = read(path, "item,title\n" + doubtful + 'i3,"a", "b"\n')  # a cell too many, quotes or not
    assert rows == [(4, "i2", "x")] and malformed.count == 3
    rows, malformed = read(path, "item,title\n" + USUAL + 'i1,"great lamp\n' + "i2,x\n" * 9 + 'i3,y"\n')
    assert rows == [(2, "i0", "warm\nlight")] and malformed.count == 11


def test_a_record_of_too_many_quoted_cells_is_one_malformed_record(path: Path) -> None:
    rows, malformed = read(path, 'a,b\n1,"x\ny","z","v"\n3,4\n')
    assert rows == [(4, "3", "4")] and malformed.shown == ["line 2: 3 cells, not 2"]


def test_a_quote_that_is_never_closed_is_a_character(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings, "BLOCK", 50)
    for text in ('a,b\n1,"x\n', 'a,b\n1,2\n"'):
        rows, malformed = read(path, text)
        assert '"' in "".join(map(str, rows)) or malformed.count == 1
    rows, malformed = read(path, 'a,b\n"1,2\n' + "3,4\n" * 100)
    assert len(rows) == 101 and rows[0] == (2, '"1', "2") and rows[-1] == (102, "3", "4")


@pytest.mark.parametrize("block", [16, 40, 10**6])
def test_cells_across_blocks(path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(encodings, "BLOCK", block)
    records = [[f"i{n}", f'line {n}\nand "more"' if n % 3 else "plain"] for n in range(40)]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([["item", "text"], *records])
    rows, malformed = read(path, buffer.getvalue())
    assert [list(row[1:]) for row in rows] == records and not malformed.count
    lines = [2]
    for _, text in records[:-1]:
        lines.append(lines[-1] + 1 + text.count("\n"))
    assert [row[0] for row in rows] == lines


CELL = st.text(st.sampled_from('ab "\n\r,;\\\t|'), max_size=6)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=8),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    block=st.sampled_from([16, 10**6]),
)
@example([["", "\n\n", ""]], csv.QUOTE_MINIMAL, 16)
@example([["", "", '\\"\n']], csv.QUOTE_ALL, 16)
def test_what_a_csv_writer_writes_is_read_or_counted(
    path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[list[str]], quoting: int, block: int
) -> None:
    """A legal table comes back as it was; cells that could be records are counted, with all their lines."""
    monkeypatch.setattr(encodings, "BLOCK", block)
    buffer = io.StringIO()
    csv.writer(buffer, quoting=quoting).writerows([["one", "two", "three"], *rows])  # type: ignore[arg-type]
    found, malformed = read(path, buffer.getvalue())
    heights = [1 + sum(cell.count("\n") for cell in row) for row in rows]
    lines = [2 + sum(heights[:at]) for at in range(len(rows))]
    kept = {number: cells for number, *cells in found}
    assert len(kept) == len(found)
    assert all(kept[line] == row for line, row in zip(lines, rows, strict=True) if line in kept)
    lost = [at for at, row in enumerate(rows) if lines[at] not in kept and (any(row) or quoting == csv.QUOTE_ALL)]
    assert len(lost) <= malformed.count <= sum(heights[at] for at in lost)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(*[st.text(st.sampled_from('ab"'), min_size=1, max_size=4)] * 3), min_size=1, max_size=12),
    st.sampled_from(",\t;|"),
)
@example([('"a', "b", 'a"'), ("a", "b", 'b"')], ",")
def test_stray_quotes_lose_nothing_that_is_not_counted(
    path: Path, rows: list[tuple[str, str, str]], separator: str
) -> None:
    """Of a table written without any quoting, each line is a record or one that is counted."""
    found, malformed = read(path, "\n".join(separator.join(row) for row in [("one", "two", "three"), *rows]))
    assert len(found) + malformed.count == len(rows)
    for number, *cells in found:
        for cell, written in zip(cells, rows[number - 2], strict=True):
            assert written in (cell, '"' + cell.replace('"', '""') + '"')


def test_records_that_arrow_divides_otherwise_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.tables.quoting.QuoteResolver._suspicious", lambda *_: [])
    with pytest.raises(InputError, match="cannot be divided into records below line 1; check its quotes"):
        read(path, 'a,b\n"1,2\n3,4\n')
