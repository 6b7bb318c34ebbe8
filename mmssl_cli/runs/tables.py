"""Tables of numbers as parquet, written whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.io.files import write_bytes

if TYPE_CHECKING:
    import pandas as pd


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
        table = pq.read_table(io.BytesIO(data)).to_pandas()
    except Exception as problem:  # Arrow raises errors of many kinds for a damaged file
        raise InputError(f"{path} is damaged or truncated: it cannot be read as parquet.") from problem
    missing = [column for column in columns if column not in table]
    if missing:
        raise InputError(f"{path} is damaged: it has no column {', '.join(missing)}.")
    for column in table:
        if table[column].dtype.kind not in "iuf":
            raise InputError(f"{path} is damaged: its column {column} does not hold numbers.")
    return table
