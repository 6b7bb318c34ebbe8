"""Named columns of a table file (CSV, TSV or parquet, plain or packed with gzip), streamed batch by batch.

Records that do not fit the header are counted as complaints; no more than a block of a file is ever held.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from pipelines.errors import InputError, nearest
from pipelines.files import read_problem
from pipelines.raw import LONGEST_LINE, Complaints, is_gzip, read_lines

BROKEN = "\0"
"""Stands in text files for bytes that are not UTF-8; no id holds it."""
_PARQUET = b"PAR1"
_DELIMITERS = "\t,;|"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = r"^-?[0-9]{1,18}$"
_FRACTION = r"^-?[0-9]{1,15}\.[0-9]+$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?)?"
_ANY_FRACTION = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?")


@dataclass(frozen=True)
class Batch:
    """Some records of a file: their numbers (the header is record 1), int64 [n], and columns by name, each [n]."""

    records: np.ndarray
    columns: dict[str, pa.Array]


class ColumnFile:
    """A table file, ready to be streamed.

    Raises:
        InputError: there is no such file, it is empty or no table, or two columns have one name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = 0
        """How many records have been read; after streaming, all of the file's."""
        self._parquet = _begins(path) == _PARQUET
        self._delimiter = "\t"
        self.names = self._parquet_names() if self._parquet else self._header()
        twice = {name for name in self.names if self.names.count(name) > 1}
        if twice:
            raise InputError(f"{path} has more than one column {', '.join(sorted(twice))}; rename all but one.")

    def batches(self, columns: Sequence[str], complaints: Complaints) -> Iterator[Batch]:
        """Stream ``columns``; those of a text file come as binary.

        Raises:
            InputError: a column is missing, or the file is damaged.
        """
        for column in columns:
            if column not in self.names:
                raise InputError(
                    f"{self.path} has no column {column!r}, only {', '.join(self.names[:20])}: "
                    f"{nearest(column, self.names)}"
                )
        try:
            yield from self._of_parquet(columns) if self._parquet else self._of_text(columns, complaints)
        except InputError:
            raise
        except OSError as problem:  # also what Arrow raises for damaged gzip data
            raise InputError(f"{self.path} cannot be read after record {self.records:,} ({problem}).") from problem
        except (pa.ArrowException, ValueError) as problem:
            reason = f"a record is longer than {LONGEST_LINE:,} bytes, or a quote in it is never closed"
            reason = reason if "straddl" in str(problem) else str(problem).splitlines()[0]
            raise InputError(f"{self.path} is not a sound table after record {self.records:,}: {reason}.") from problem

    def _header(self) -> list[str]:
        line = next(read_lines(self.path), None)
        try:
            text = line[1].decode("utf-8-sig") if line else ""
        except UnicodeDecodeError:
            raise InputError(f"{self.path} is neither parquet nor text in UTF-8; expected a table.") from None
        if not text.strip():
            raise InputError(f"{self.path} is empty or begins with an empty line; expected the names of columns.")
        self._delimiter = max(_DELIMITERS, key=text.count)  # of one column, a tab, which no id holds
        with suppress(csv.Error):
            return [name.strip() for name in next(csv.reader([text], delimiter=self._delimiter))]
        raise InputError(f"{self.path} does not begin with the names of its columns.")

    def _parquet_names(self) -> list[str]:
        try:
            with pq.ParquetFile(self.path) as file:
                return list(file.schema_arrow.names)
        except Exception as problem:  # see pipelines.storage: damage shows in many ways
            raise InputError(f"{self.path} cannot be read as parquet: it is damaged or truncated.") from problem

    def _of_parquet(self, columns: Sequence[str]) -> Iterator[Batch]:
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=65_536, columns=list(columns)):
                numbers = np.arange(self.records, self.records + len(batch)) + 2
                self.records += len(batch)
                yield Batch(numbers, {column: batch.column(column) for column in columns})

    def _of_text(self, columns: Sequence[str], complaints: Complaints) -> Iterator[Batch]:
        skipped: list[int] = []

        def skip(row: pyarrow.csv.InvalidRow) -> str:
            skipped.append(row.number)
            complaints.add(row.number, f"{row.actual_columns} cells, not {row.expected_columns}")
            complaints.count += row.text.count("\n")  # lines that a quote which is never closed has swallowed
            return "skip"

        lines = read_lines(self.path)
        if len([None for _, _ in zip(range(2), lines, strict=False)]) < 2:
            return  # a header and nothing below it, which Arrow takes for damage
        lines.close()  # type: ignore[attr-defined]
        whole = 0
        with self._open_text(columns, skip) as reader:
            for batch in reader:
                rows = np.arange(whole, whole + len(batch))
                whole += len(batch)
                self.records = whole + len(skipped)
                before = np.array(skipped, dtype=np.int64) - 2 - np.arange(len(skipped))
                numbers = rows + 2 + np.searchsorted(before, rows, side="right")
                cells = {column: batch.column(f"f{self.names.index(column)}") for column in columns}
                filled = _any_filled(list(cells.values()))  # a blank line is a record of empty cells
                if not filled.all():
                    numbers = numbers[filled]
                    cells = {name: column.filter(pa.array(filled)) for name, column in cells.items()}
                yield Batch(numbers, cells)
        self.records = whole + len(skipped)

    def _open_text(self, columns: Sequence[str], skip: Any) -> pyarrow.csv.CSVStreamingReader:
        names = [f"f{position}" for position in range(len(self.names))]
        return pyarrow.csv.open_csv(
            _repaired(pa.input_stream(str(self.path), compression="gzip" if is_gzip(self.path) else None)),
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False,  # otherwise the records have no numbers
                block_size=LONGEST_LINE,
                skip_rows=1,
                column_names=names,
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=self._delimiter,
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=skip,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=[f"f{self.names.index(column)}" for column in columns],
                column_types=dict.fromkeys(names, pa.binary()),
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )


def _repaired(stream: pa.NativeFile) -> pa.NativeFile:
    """The stream with BROKEN in place of bytes that are not UTF-8, over which Arrow would stumble."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def repair(block: pa.Buffer) -> bytes:
        return decoder.decode(bytes(block), final=not len(block)).replace("\ufffd", BROKEN).encode()

    return pa.TransformInputStream(stream, repair)


def _begins(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(_PARQUET))
    except OSError as problem:
        raise read_problem(path, problem) from problem


def _any_filled(columns: list[pa.Array]) -> np.ndarray:
    return np.logical_or.reduce([np.asarray(pc.binary_length(column)) > 0 for column in columns])


def as_text(column: pa.Array, name: str, path: Path) -> pa.Array:
    """Ids as strings: texts as they are, whole numbers written out; null where there is none or no UTF-8.

    Raises:
        InputError: the column holds something else.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_text(column.dictionary_decode(), name, path)
    with suppress(pa.ArrowException):
        if pa.types.is_floating(kind):  # as pandas keeps whole numbers beside missing ones
            return column.cast(pa.float64()).cast(pa.int64()).cast(pa.string())
        if pa.types.is_integer(kind):
            return column.cast(pa.string())
    if not (_is_text(kind) or pa.types.is_null(kind)):
        raise InputError(f"{path} has {kind} values in column {name}; expected texts or whole numbers.")
    column = column.cast(pa.binary())
    try:
        return column.cast(pa.string())  # a check of UTF-8, which parquet does not make
    except pa.ArrowInvalid:
        return pa.array([_decoded(value) for value in column.to_pylist()], pa.string())


def _is_text(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in (*tests, pa.types.is_string_view, pa.types.is_binary_view))


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def as_numbers(column: pa.Array, name: str, path: Path) -> np.ndarray:
    """Numbers as float64 [n]; NaN where there is none."""
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return np.asarray(column.cast(pa.float64(), safe=False).fill_null(math.nan))
    texts = as_text(column, name, path)
    try:
        return np.asarray(texts.cast(pa.float64()).fill_null(math.nan))
    except pa.ArrowInvalid:
        return np.array([_number(text) for text in texts.to_pylist()])


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def as_times(column: pa.Array, name: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times as int64 [n], and bool [n] that is False where there is none.

    Numbers keep their unit, rounded down to whole ones; dates (ISO 8601) become seconds since 1970, in UTC where
    they name no zone.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_times(column.dictionary_decode(), name, path)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        micros = column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False).cast(pa.int64())
        return np.asarray(micros.fill_null(0)) // 1_000_000, np.asarray(micros.is_valid())
    if pa.types.is_floating(kind) or pa.types.is_uint64(kind):
        return _floored(np.asarray(column.cast(pa.float64(), safe=False).fill_null(math.nan)))
    if pa.types.is_integer(kind):
        return np.asarray(column.cast(pa.int64()).fill_null(0)), np.asarray(column.is_valid())
    return _times_of_texts(as_text(column, name, path))


def _floored(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = np.abs(values) < 2.0**63  # neither NaN
    return np.floor(np.where(known, values, 0)).astype(np.int64), known


def _times_of_texts(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """All at once where all are written alike; else one by one, to the same result."""
    known = np.asarray(texts.is_valid())
    with suppress(pa.ArrowException):
        if _all(texts, _WHOLE):
            return np.asarray(texts.cast(pa.int64()).fill_null(0)), known
        if _all(texts, _FRACTION):
            return _floored(np.asarray(texts.cast(pa.float64()).fill_null(math.nan)))
        for ending, zone in (("$", None), (r"(Z|[+-][0-9]{2}:[0-9]{2})$", "UTC")):
            if _all(texts, _DATE + ending):
                return np.asarray(texts.cast(pa.timestamp("us", zone)).cast(pa.int64()).fill_null(0)) // 10**6, known
    times = [_time(text) for text in texts.to_pylist()]
    return np.array([time or 0 for time in times], dtype=np.int64), np.array([time is not None for time in times])


def _all(texts: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern), min_count=0).as_py())


def _time(text: str | None) -> int | None:
    text = (text or "").strip()
    if re.match(_WHOLE, text):
        return int(text)
    if _ANY_FRACTION.fullmatch(text):
        values, known = _floored(np.array([float(text)]))
        return int(values[0]) if known[0] else None
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - _EPOCH) // timedelta(seconds=1)
