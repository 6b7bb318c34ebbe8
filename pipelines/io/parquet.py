"""Parquet of unknown origin, batch by batch, with a bound on what its texts unpack to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.errors import InputError

MOST_TEXT = 2**30
"""Bytes of text that a small file may unpack to."""
MOST_PACKED = 100
"""How much smaller the texts of a large file can be packed."""


def parquet_batches(path: Path, rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield batches of a file; texts come as bytes, lists of them as lists of strings.

    A value that the file holds once, and names in each of a million rows, is not repeated before it is counted.

    Raises:
        InputError: the texts take more than :data:`MOST_TEXT` bytes, and :data:`MOST_PACKED` times the file.
        pyarrow.ArrowException, OSError: the file is damaged.
    """
    limit, total = max(MOST_TEXT, MOST_PACKED * path.stat().st_size), 0
    with pq.ParquetFile(path) as plain:
        leaves = [plain.schema.column(place) for place in range(len(plain.schema.names))]
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY" and leaf.path.count(".") in (0, 2)]
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(batch_size=rows, columns=None if columns is None else list(columns)):
            arrays = []
            for name, array in zip(batch.schema.names, batch.columns, strict=True):
                total += _text_bytes(array)
                if total > limit:
                    raise InputError(
                        f"{path} has texts of more than {limit:,} bytes, up to its column {name}, in a file of "
                        f"{path.stat().st_size:,}; it is not read."
                    )
                arrays.append(_whole(array))
            yield pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _text_bytes(array: pa.Array) -> int:
    """The bytes of the texts of a column once they are repeated; 0 of other columns."""
    values = array.flatten() if pa.types.is_list(array.type) else array
    if not pa.types.is_dictionary(values.type):
        return 0
    lengths = pc.binary_length(_as_bytes(values.dictionary)).cast(pa.int64())
    return int(pc.sum(lengths.take(values.indices)).as_py() or 0)  # take checks the indices, which are as in the file


def _whole(array: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        return pa.DictionaryArray.from_arrays(array.indices, _as_bytes(array.dictionary)).dictionary_decode()
    if pa.types.is_list(array.type) and pa.types.is_dictionary(array.type.value_type):
        array.validate(full=True)
        return array.cast(pa.list_(array.type.value_type.value_type))
    return array


def _as_bytes(texts: pa.Array) -> pa.Array:
    return texts.cast(pa.large_binary() if pa.types.is_large_string(texts.type) else pa.binary())
