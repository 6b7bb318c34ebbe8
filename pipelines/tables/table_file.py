"""Named columns of a table file, streamed batch by batch: text tables, JSON lines (plain or gzip) and parquet.

Malformed records are counted; at most a few blocks of a file are in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from pipelines.errors import InputError, UsageError, nearest
from pipelines.io.files import read_problem
from pipelines.io.raw import MalformedRecords
from pipelines.tables.batch import Batch
from pipelines.tables.encodings import text_blocks
from pipelines.tables.json_lines import JsonLines
from pipelines.tables.parquet_table import ParquetTable
from pipelines.tables.text_table import TextTable
from pipelines.text import TABLE

_PARQUET = b"PAR1"
_OTHERS = {
    b"\x89PNG": "an image (PNG)",
    b"\xff\xd8\xff": "an image (JPEG)",
    b"GIF8": "an image (GIF)",
    b"RIFF": "an image, audio or video (RIFF)",
    b"PK\x03\x04": "a zip archive (as .xlsx is)",
    b"%PDF": "a document (PDF)",
    b"SQLite": "a database (SQLite)",
    b"\x93NUMPY": "an array (NumPy)",
}
"""Beginning of a file that is no table -> what it is."""
_WAYS_OUT = {b"PK\x03\x04": "unpack it, or save the sheet as CSV"}
_PROSE = re.compile(r"\S+( \S+)+ \S+[.!?]|\S+( \S+){5,}")
_UNDIVIDED = re.compile(r"\w+([:~^]\w+)+")
"""The only column of a table whose columns are divided by what divides no table read here."""
_MOST_SHOWN = 60
_JSON_LIST = re.compile(rb"\[\s*([{\]]|$)")
_START = 1000
_SHOWN = 20


class ColumnFile:
    """A table file to stream; its content decides the format, never its name.

    Args:
        encoding: encoding of a text file; detected by default.
        columns: names of the columns of a text file without a header.

    Raises:
        InputError: there is no such file, it is empty or no table, or two columns have one name.
        UsageError: ``columns`` of a file that names its own.
    """

    def __init__(self, path: Path, encoding: str | None = None, columns: Sequence[str] | None = None) -> None:
        self.path = path
        self._table = _open(path, encoding, columns)
        self.names = self._table.names
        self.decimal_comma = self._table.decimal_comma
        """True if numbers may use a decimal comma."""
        self.thousands = self._table.thousands
        """True if a comma may as well stand between thousands."""
        self.headerless = self._table.headerless
        """True if the names of the columns seem to be the values of a first record."""
        self.spaced = self._table.spaced
        """True if spaces separate the columns."""
        if not self.names:
            raise InputError(f"{path} has no columns.")
        twice = {name for name in self.names if name and self.names.count(name) > 1}
        if twice and not self.headerless:
            raise InputError(f"{path} has more than one column {', '.join(sorted(twice))}; rename all but one.")

    @property
    def records(self) -> int:
        """Number of records read so far; after streaming, of the whole file."""
        return self._table.records

    def batches(self, columns: Sequence[str], malformed: MalformedRecords, ids: Sequence[str] = ()) -> Iterator[Batch]:
        """Stream ``columns``; records that fit neither the header nor the encoding are counted as malformed.

        Args:
            ids: those of the columns that are ids; in JSON, true, false and objects are none.

        Raises:
            InputError: a column is missing, or the file is damaged.
        """
        for column in columns:
            self.require(column)
        try:
            if isinstance(self._table, JsonLines):
                yield from self._table.batches(columns, malformed, ids)
            else:
                yield from self._table.batches(columns, malformed)
        except InputError:
            raise
        except OSError as problem:  # also what Arrow raises for damaged data
            raise InputError(f"{self.path} cannot be read after record {self.records:,} ({problem}).") from problem
        except (pa.ArrowException, ValueError) as problem:
            reason = str(problem).splitlines()[0]
            raise InputError(f"{self.path} is not a sound table after record {self.records:,}: {reason}.") from problem

    def require(self, column: str, flag: str | None = None) -> None:
        """Check that there is a column of that name.

        Args:
            flag: the one that would name another column.

        Raises:
            InputError: the column is missing.
        """
        if column in self.names:
            return
        self.refuse_other_text()
        hint = nearest(column, [_printable(name) for name in self.names])
        way_out = f" Name the column with {flag}." if flag else ""
        raise InputError(f"{self.path} has no column {column!r}, only {self.shown_names()}: {hint}{way_out}")

    def refuse_other_text(self) -> None:
        """Refuse a file, a column of which is missing, if its first line reads like prose or is not divided.

        Raises:
            InputError: it does.
        """
        if any(map(_PROSE.fullmatch, self.names)):
            raise InputError(
                f"{self.path} begins with {', '.join(self.names)[:_MOST_SHOWN]!r}, which reads like prose, not like "
                f"the names of columns; expected a table: {TABLE}."
            )
        if len(self.names) == 1 and _UNDIVIDED.fullmatch(self.names[0]):
            raise InputError(
                f"{self.path} begins with {self.names[0][:_MOST_SHOWN]!r}, which is read as one column; expected "
                "commas, semicolons, tabs, | or :: between the columns."
            )

    def shown_names(self) -> str:
        """Return the names of the columns, the first of many, as a phrase"""
        names = [_printable(name) for name in self.names]
        return (", ".join(names[:_SHOWN]) or "none") + (
            f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        )


def _printable(name: str) -> str:
    return name if name.isprintable() else repr(name)[1:-1]


def _open(path: Path, encoding: str | None, columns: Sequence[str] | None) -> TextTable | JsonLines | ParquetTable:
    try:
        with path.open("rb") as file:
            start = file.read(max(map(len, _OTHERS)))
            if start.startswith(_PARQUET):
                if columns is not None:
                    raise _named(path)
                return ParquetTable(path)
    except OSError as problem:
        raise read_problem(path, problem) from problem
    for beginning, what in _OTHERS.items():
        if start.startswith(beginning):
            way_out = _WAYS_OUT.get(beginning, f"expected {TABLE}")
            raise InputError(f"{path} is {what}, not a table; {way_out}.")
    block = next(text_blocks(path, encoding), b"")
    head = block[:_START].lstrip()
    if _JSON_LIST.match(head):
        raise InputError(f"{path} is a JSON list; expected JSON lines: one object per line, with no list around them.")
    if not head.startswith(b"{"):
        return TextTable(path, encoding, block, columns)
    if columns is not None:
        raise _named(path)
    return JsonLines(path, encoding, block)


def _named(path: Path) -> UsageError:
    return UsageError(f"{path} names its columns itself; leave out --columns, which names those of a text table.")
