"""Text tables: CSV, TSV and others of one record a line, with the names of the columns in the first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from pipelines.errors import InputError
from pipelines.io.raw import MalformedRecords
from pipelines.tables.batch import Batch, without_broken
from pipelines.tables.dialect import SPACE, find_dialect
from pipelines.tables.encodings import BROKEN, text_blocks
from pipelines.tables.quoting import QuoteResolver, Records
from pipelines.text import pluralize

_SEPARATOR, _RETURN = "\x1f", "\ufffe"
"""Replace a separator of two characters, and a carriage return within a line, which Arrow takes for a line break."""
_LONE_RETURN = re.compile(rb"\r(?!\n|\Z)")


class TextTable:
    """A text table; its columns are texts.

    Args:
        block: first block of the file.
        names: columns of a file without a header.

    Raises:
        InputError: see :func:`pipelines.tables.dialect.find_dialect`.
    """

    def __init__(self, path: Path, encoding: str | None, block: bytes, names: Sequence[str] | None = None) -> None:
        self.records = 0
        self._path, self._encoding = path, encoding
        self._dialect = find_dialect(path, block, names)
        self.names = self._dialect.names
        self.headerless = self._dialect.headerless
        self.spaced = self._dialect.separator == SPACE
        self.decimal_comma = self._dialect.separator != ","
        self.thousands = self._dialect.separator != ";"
        separator = self._dialect.separator
        self._separator = separator if len(separator) == 1 else _SEPARATOR

    def batches(self, columns: Sequence[str], malformed: MalformedRecords) -> Iterator[Batch]:
        """Stream ``columns``; the number of a record is that of its first line."""
        resolver = QuoteResolver(self._separator.encode(), len(self.names))
        line, rest = 1 + self._dialect.lines, b""
        if self._dialect.skipped:
            malformed.note(f"{self._path.name}: {pluralize(self._dialect.skipped, 'line')} above the header skipped")
        for block, final in self._blocks(malformed.note):
            block = rest + block
            records = resolver.resolve(block, final)
            self.records += len(records.lines) + sum(count for _, count in records.left_out)
            for first, count in records.left_out:
                why = "a quoted cell runs over {}lines that look like records"
                malformed.add(line + first, why.format(f"{count:,} "), why.format(""), count)
            if len(records.lines):
                yield self._parsed(records, line, columns, malformed)
            line, rest = line + records.used_lines, block[records.used :]
        if resolver.joined:
            malformed.note(
                f"{self._path.name}: {resolver.joined:,} quoted cells with line breaks, whose lines could also be "
                "records, were read as one cell each"
            )

    def _blocks(self, note: Callable[[str], None]) -> Iterator[tuple[bytes, bool]]:
        """Yield the blocks below the header, and for each whether it is the last."""
        waiting: bytes | None = None
        for block in text_blocks(self._path, self._encoding, note):
            if waiting:
                yield waiting, False
            waiting = block if waiting is not None else block[self._dialect.header :]
            if self._separator == _SEPARATOR:
                waiting = waiting.replace(self._dialect.separator.encode(), _SEPARATOR.encode())
            if waiting.count(b"\r") > waiting.count(b"\r\n"):
                waiting = _LONE_RETURN.sub(_RETURN.encode(), waiting)
        if waiting:
            yield waiting, True

    def _parsed(self, records: Records, line: int, columns: Sequence[str], malformed: MalformedRecords) -> Batch:
        """Return the records with as many cells as the header, without empty lines."""
        skipped: list[int] = []

        def skip(row: pyarrow.csv.InvalidRow) -> str:
            skipped.append(row.number - 1)
            cells = f"{row.actual_columns} cells, not {row.expected_columns}"
            malformed.add(line + int(records.lines[row.number - 1]), cells, "the wrong number of cells")
            return "skip"

        table = self._read(records.text, columns, skip)
        if len(table) + len(skipped) != len(records.lines):
            raise InputError(f"{self._path} cannot be divided into records below line {line - 1:,}; check its quotes.")
        whole = np.delete(np.arange(len(records.lines)), skipped)
        arrays = [column.combine_chunks() for column in table.columns]
        if self._separator == _SEPARATOR:
            arrays = [pc.replace_substring(array, _SEPARATOR, self._dialect.separator) for array in arrays]
        if _RETURN.encode() in records.text:
            arrays = [pc.replace_substring(array, _RETURN, "\r") for array in arrays]
        cells = dict(zip(columns, arrays, strict=True))
        batch = Batch(line + records.lines[whole], cells)
        widths = records.widths[whole]
        # Empty lines, and lines of separators only.
        empty = (widths == 0) | (widths == len(self.names) - 1)
        for column in cells.values() if empty.any() else ():
            empty &= np.asarray(pc.binary_length(column)) == 0
        malformed.leave_out("empty lines", int(empty.sum()))
        batch = batch.kept(~empty)
        return without_broken(batch, malformed) if BROKEN.encode() in records.text else batch

    def _read(self, text: bytes, columns: Sequence[str], skip: Callable[[pyarrow.csv.InvalidRow], str]) -> pa.Table:
        names = [f"f{position}" for position in range(len(self.names))]
        wanted = [names[self.names.index(column)] for column in columns]
        return pyarrow.csv.read_csv(
            pa.BufferReader(text),
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False,  # otherwise the records have no numbers
                block_size=len(text) + 1,
                column_names=names,
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=self._separator,
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=skip,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=wanted,
                column_types=dict.fromkeys(wanted, pa.string()),
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
