"""A parquet file that grows while its rows are worked out, and appears whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.io.files import atomic_file

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of a group: few enough to hold, and enough that reading the file stays fast.
ROWS = 2**17


@contextmanager
def row_groups(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Yield what adds a table of ``schema`` to the file; rows are written out as soon as they make a group.

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
