"""Tables as parquet, written whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.io.files import atomic_file, write_bytes
from pipelines.io.parsing import too_many_rows

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: Rows of a row group: few enough to hold, and enough that reading the file stays fast.
ROWS = 2**17


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


def parse_table(path: Path, data: bytes, columns: Sequence[str]) -> pd.DataFrame:
    """The table in ``data``, the content of ``path``: numbers in every column, ``columns`` among them.

    Raises:
        InputError: the content is damaged, a column is missing or holds something else.
    """
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(io.BytesIO(data)) as file:
            if too_many_rows(file.metadata.num_rows, len(data)):
                raise ValueError("too many rows")
            table = file.read().to_pandas()
    except Exception as problem:  # Arrow raises errors of many kinds for a damaged file
        raise InputError(f"{path} is damaged or truncated: it cannot be read as parquet.") from problem
    missing = [column for column in columns if column not in table]
    if missing:
        raise InputError(f"{path} is damaged: it has no column {', '.join(missing)}.")
    for column in table:
        if table[column].dtype.kind not in "iuf":
            raise InputError(f"{path} is damaged: its column {column} does not hold numbers.")
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
