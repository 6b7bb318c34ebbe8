"""Tables as parquet, and as CSV or JSON lines for others to read; written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError, UsageError
from pipelines.io.files import atomic_file, write_bytes
from pipelines.io.parsing import too_many_rows

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: Rows of a row group: few enough to hold, and enough that reading the file stays fast.
ROWS = 2**17
#: Endings of the files that ``records`` writes.
ENDINGS = (".parquet", ".csv", ".jsonl")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write ``table`` to ``path``; its index is left out.

    Raises:
        InputError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), buffer)
    write_bytes(path, buffer.getvalue())


def parse_table(path: Path, data: bytes, columns: Sequence[str]) -> pa.Table:
    """The table in ``data``, the content of ``path``: numbers in every column, ``columns`` among them.

    As Arrow reads it, for callers that have no other need of pandas, whose import takes longer than the file.

    Raises:
        InputError: the content is damaged, a column is missing or holds something else.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(io.BytesIO(data)) as file:
            if too_many_rows(file.metadata.num_rows, len(data)):
                raise ValueError("too many rows")
            table = file.read().replace_schema_metadata()  # pandas would obey what a damaged file says of its index
        if len(set(table.column_names)) < table.num_columns:
            raise ValueError("columns of the same name")
    except Exception as problem:  # Arrow raises errors of many kinds for a damaged file
        raise InputError(f"{path} is damaged or truncated: it cannot be read as parquet.") from problem
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise InputError(f"{path} is damaged: it has no column {', '.join(missing)}.")
    for field in table.schema:
        if not pa.types.is_integer(field.type) and not pa.types.is_floating(field.type):
            raise InputError(f"{path} is damaged: its column {field.name} does not hold numbers.")
    return table


@contextmanager
def row_groups(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Write a parquet file of ``schema`` table by table: yield the function that adds one.

    Rows are written as soon as they fill a row group.

    Raises:
        InputError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    waiting: list[pa.Table] = []

    def flush(least: int) -> None:
        if sum(map(len, waiting)) >= least:
            writer.write_table(pa.concat_tables(waiting), row_group_size=ROWS)
            waiting.clear()

    def add(table: pa.Table) -> None:
        waiting.append(table)
        flush(ROWS)

    with atomic_file(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        yield add
        if waiting:
            flush(0)


def check_ending(path: Path) -> None:
    """Refuse a file for ``records`` whose name tells no format.

    Raises:
        UsageError: it ends otherwise than ``ENDINGS``.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"--out cannot be '{path}': expected a file that ends in .parquet, .csv or .jsonl.")


@contextmanager
def records(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Write a table of ``schema`` part by part as the file's ending says: yield the function that adds a part.

    CSV has a header, JSON lines an object per row; both are UTF-8.

    Raises:
        UsageError: another ending than ``ENDINGS``.
        InputError: the file cannot be written.
    """
    check_ending(path)
    if path.suffix.lower() == ".parquet":
        with row_groups(path, schema) as add:
            yield add
        return
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        if path.suffix.lower() == ".csv":
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(schema.names)
            yield lambda table: writer.writerows(zip(*_columns(table), strict=True))
        else:
            yield lambda table: file.writelines(
                json.dumps(dict(zip(schema.names, row, strict=True)), ensure_ascii=False) + "\n"
                for row in zip(*_columns(table), strict=True)
            )


def _columns(table: pa.Table) -> list[list[object]]:
    """Return the columns in Python; float32 with the fewest digits that read back the same."""
    import pyarrow as pa

    return [
        [float(str(value)) for value in column.to_numpy()] if column.type == pa.float32() else column.to_pylist()
        for column in table.columns
    ]
