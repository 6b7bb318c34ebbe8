"""Named columns of a table file (CSV, TSV or parquet, plain or packed with gzip), streamed batch by batch.

Records that do not fit the header are counted as complaints; no more than a block of a file is ever held.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from pipelines.errors import InputError, nearest
from pipelines.io.files import read_problem
from pipelines.io.raw import LONGEST_LINE, MalformedRecords, is_gzip, read_lines
from pipelines.tables.column_types import BROKEN

_PARQUET = b"PAR1"
_DELIMITERS = "\t,;|"


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

    def batches(self, columns: Sequence[str], malformed: MalformedRecords) -> Iterator[Batch]:
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
            yield from self._of_parquet(columns) if self._parquet else self._of_text(columns, malformed)
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
        except Exception as problem:  # see pipelines.prepared.storage: damage shows in many ways
            raise InputError(f"{self.path} cannot be read as parquet: it is damaged or truncated.") from problem

    def _of_parquet(self, columns: Sequence[str]) -> Iterator[Batch]:
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=65_536, columns=list(columns)):
                numbers = np.arange(self.records, self.records + len(batch)) + 2
                self.records += len(batch)
                yield Batch(numbers, {column: batch.column(column) for column in columns})

    def _of_text(self, columns: Sequence[str], malformed: MalformedRecords) -> Iterator[Batch]:
        skipped: list[int] = []

        def skip(row: pyarrow.csv.InvalidRow) -> str:
            skipped.append(row.number)
            malformed.add(row.number, f"{row.actual_columns} cells, not {row.expected_columns}")
            malformed.count += row.text.count("\n")  # lines that a quote which is never closed has swallowed
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
