"""Parquet files as tables."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import InputError
from pipelines.io.parquet import parquet_batches
from pipelines.io.raw import MalformedRecords
from pipelines.tables.batch import Batch, without_broken

_ROWS = 2**16


class ParquetTable:
    """A parquet file; columns keep their types, but for bytes, which are texts.

    Raises:
        InputError: the file is damaged.
    """

    decimal_comma = thousands = headerless = spaced = False

    def __init__(self, path: Path) -> None:
        self.records = 0
        self._path = path
        try:
            with pq.ParquetFile(path) as file:
                self.names = list(file.schema_arrow.names)
        except Exception as problem:  # see pipelines.prepared.storage: damage shows in many ways
            raise InputError(f"{path} cannot be read as parquet: it is damaged or truncated.") from problem

    def batches(self, columns: Sequence[str], malformed: MalformedRecords) -> Iterator[Batch]:
        """Stream ``columns``; the number of a record is that of its row, from 1."""
        malformed.unit = "row"
        for batch in parquet_batches(self._path, _ROWS, columns):
            numbers = np.arange(self.records, self.records + len(batch)) + 1
            self.records += len(batch)
            cells = {column: _texts(batch.column(column)) for column in columns}
            yield without_broken(Batch(numbers, cells), malformed)


def _texts(column: pa.Array) -> pa.Array:
    """Return texts and bytes as valid UTF-8, which parquet does not check; other columns unchanged."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _texts(column.dictionary_decode())
    if isinstance(kind, pa.BaseExtensionType):
        return _texts(column.storage)
    if pa.types.is_fixed_size_binary(kind):
        return _fixed(column)
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    if not any(test(kind) for test in (*tests, pa.types.is_string_view, pa.types.is_binary_view)):
        if pa.types.is_nested(kind):
            column.validate(full=True)  # also of its texts
        return column
    column = column.cast(pa.binary())
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        texts = (value and value.decode("utf-8", "pipelines.broken") for value in column.to_pylist())
        return pa.array(texts, pa.string())


def _fixed(column: pa.Array) -> pa.Array:
    """Return bytes of one length as texts; 16 of them that are no text as a UUID."""
    cells = column.cast(pa.binary())
    try:
        return cells.cast(pa.string())
    except pa.ArrowInvalid:
        if column.type.byte_width != 16:
            return _texts(cells)
        return pa.array([value and str(uuid.UUID(bytes=value)) for value in cells.to_pylist()], pa.string())
