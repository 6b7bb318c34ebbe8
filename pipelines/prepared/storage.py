"""Parquet tables and feature files: the same data give the same bytes, and damaged or hostile files are refused."""

from __future__ import annotations

import json
import struct
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import InputError
from pipelines.io.parquet import MOST_PACKED, parquet_batches
from pipelines.io.parsing import parse_json, too_many_rows
from pipelines.prepared.dataset import Features

_REQUIRED: dict[str, dict[str, pa.DataType]] = {
    "users": {"user": pa.int32(), "id": pa.string()},
    "items": {"item": pa.int32(), "id": pa.string()},
    "interactions": {"user": pa.int32(), "item": pa.int32(), "split": pa.string()},
    "vocabulary": {"id": pa.int32(), "token": pa.string(), "count": pa.int64()},
}
_OPTIONAL: dict[str, dict[str, pa.DataType]] = {
    "users": {},
    "items": {"title": pa.string(), "text": pa.string(), "image": pa.string()},
    "interactions": {"timestamp": pa.int64()},
    "vocabulary": {},
}
TABLES = ("users", "items", "interactions")
#: Feature values of at least so many bytes are mapped into memory and stay in their file.
MAPPED_BYTES = 256 * 2**20
#: Bytes of the header of an array, at most; and of the description of an encoder.
_HEADER, _LARGEST_ENCODER = 2**16, 2**24
#: Rows of parquet read at a time.
_ROWS = 2**16


def _schema(kind: str, columns: list[str]) -> pa.Schema:
    known = _REQUIRED[kind] | _OPTIONAL[kind]
    return pa.schema([(column, known[column]) for column in known if column in columns])


def write_table(kind: str, table: pd.DataFrame, path: Path) -> None:
    """Write users, items, interactions or a vocabulary (``kind``) as parquet."""
    schema = _schema(kind, list(table.columns))
    arrow = pa.Table.from_pandas(table, schema=schema, preserve_index=False)
    # pandas' own metadata carries library versions, which would make equal data differ in bytes.
    pq.write_table(arrow.replace_schema_metadata(None), path)


def read_table(kind: str, path: Path) -> pd.DataFrame:
    """Read users, items, interactions or a vocabulary (``kind``), without unknown columns.

    Raises:
        InputError: the file is damaged, a column is missing or of another type, or has empty cells.
    """
    try:
        with pq.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            if too_many_rows(rows, path.stat().st_size):
                raise InputError(f"{path} claims {rows:,} rows in {path.stat().st_size:,} bytes; it is not read.")
            schema = file.schema_arrow
        table = pa.Table.from_batches(parquet_batches(path, _ROWS)) if rows else schema.empty_table()
        texts = {column.name: pa.string() for column in table.schema if pa.types.is_binary(column.type)}
        table = table.cast(pa.schema([(column.name, texts.get(column.name, column.type)) for column in table.schema]))
        table.validate(full=True)  # offsets and UTF-8, which are otherwise trusted until a value is used
    except InputError:
        raise
    except Exception as problem:  # a damaged file makes Arrow raise errors of many kinds
        raise InputError(f"{path} cannot be read as parquet: it is damaged or truncated.") from problem
    missing = [column for column in _REQUIRED[kind] if column not in table.column_names]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}.")
    schema = _schema(kind, table.column_names)
    try:
        table = table.select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError) as problem:
        expected = ", ".join(f"{column.name} {column.type}" for column in schema)
        raise InputError(f"{path} has columns of other types than {expected} ({problem}).") from problem
    for column in _REQUIRED[kind]:
        if table[column].null_count:
            raise InputError(f"{path} has {table[column].null_count:,} empty cells in column {column}.")
    return table.to_pandas()


def write_features(features: Features, path: Path) -> None:
    """Write one modality as npz: ``values``, ``present`` and ``encoder`` (JSON text)."""
    with path.open("wb") as file:
        np.savez(
            file,
            values=features.values,
            present=features.present,
            encoder=np.array(json.dumps(features.encoder, sort_keys=True)),
        )


def read_features(path: Path, shape: tuple[int, int]) -> Features:
    """Read one modality; ``values`` of ``MAPPED_BYTES`` or more are a ``numpy.memmap``, whose changes stay private.

    Args:
        shape: items and dimensions that the file should have; one that unpacks to more bytes is not unpacked.

    Raises:
        InputError: the file is damaged or too large, holds Python objects or lacks an array.
    """
    rows, dim = shape
    most = {"values": 4 * rows * dim + _HEADER, "present": rows + _HEADER, "encoder": _LARGEST_ENCODER}
    arrays = _read_npz(path, most)
    try:
        encoder = parse_json(str(arrays["encoder"]))
    except ValueError as problem:
        raise InputError(f"{path} does not say in JSON what encoded it.") from problem
    if not isinstance(encoder, dict):
        raise InputError(f"{path} does not say in JSON what encoded it: expected an object.")
    return Features(arrays["values"], arrays["present"], encoder)


def _read_npz(path: Path, most: dict[str, int]) -> dict[str, np.ndarray]:
    """Read the arrays named in ``most``, which has the largest number of bytes of each."""
    names = tuple(most)
    try:
        with unwarned(), np.load(path, allow_pickle=False) as archive:
            _check_sizes(path, archive.zip, most)
            missing = [name for name in names if name not in archive]
            mapped = {} if missing else _mapped(path, archive.zip)
            arrays = {} if missing else {name: mapped[name] if name in mapped else archive[name] for name in names}
    except InputError:
        raise
    except Exception as problem:  # zip, deflate and npy headers each fail in their own ways
        raise InputError(f"{path} cannot be read: {array_problem(problem)}.") from problem
    if missing:
        raise InputError(f"{path} has no array named {', '.join(missing)}.")
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # an entry of the archive that is no npy comes as raw bytes
            raise InputError(f"{path} cannot be read: its {name} is not an array.")
    return arrays


def check_unpacked(path: Path, entry: zipfile.ZipInfo, limit: int | None = None) -> None:
    """Refuse an entry of an archive of arrays that unpacks to too much, by the size it declares.

    Args:
        limit: bytes that it should have at most.

    Raises:
        InputError: it unpacks to more than that, or is large and packed more densely than numbers can be.
    """
    dense = entry.file_size > max(MAPPED_BYTES, MOST_PACKED * entry.compress_size)
    if dense or (limit is not None and entry.file_size > limit):
        raise InputError(
            f"{path} cannot be read: {entry.filename} unpacks from {entry.compress_size:,} to {entry.file_size:,} "
            f"bytes, more than {'features of this data set' if limit else 'vectors'} take."
        )


def _check_sizes(path: Path, archive: zipfile.ZipFile, most: dict[str, int]) -> None:
    """Refuse what unpacks to more than it should, by the sizes that the archive declares and zipfile never exceeds."""
    for entry in archive.infolist():
        limit = most.get(entry.filename.removesuffix(".npy"), 0)
        if limit:
            check_unpacked(path, entry, limit)


def _mapped(path: Path, archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """The large, uncompressed arrays of an npz, mapped where they lie in it."""
    arrays: dict[str, np.ndarray] = {}
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size < MAPPED_BYTES:
            continue
        with path.open("rb") as file:
            file.seek(entry.header_offset + 26)  # in an entry's own header: the lengths of its name and extra field
            file.seek(sum(struct.unpack("<HH", file.read(4))), 1)
            if np.lib.format.read_magic(file) != (1, 0):  # what NumPy writes of plain numbers
                continue
            shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
            if by_column or dtype.hasobject:  # left to NumPy's own reader, which refuses objects
                continue
            arrays[entry.filename.removesuffix(".npy")] = np.memmap(path, dtype, "c", file.tell(), shape)
    return arrays


@contextmanager
def unwarned() -> Iterator[None]:
    """Read arrays without NumPy's warning of headers of Python 2, which a damaged one may resemble."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Reading `.npy` or `.npz` file", UserWarning)
        yield


def array_problem(problem: Exception) -> str:
    """Return the reason why NumPy could not read an array file."""
    text = str(problem)
    if "Object arrays" in text:
        return "it holds pickled Python objects, which are never loaded; expected plain numbers"
    return "it is damaged, truncated or not a NumPy file"


def read_array(path: Path, *, mapped: bool = False) -> np.ndarray:
    """Read one npy file of plain numbers.

    Args:
        mapped: leave the numbers in the file, and read those that are used.

    Raises:
        InputError: the file is damaged, or holds Python objects.
    """
    try:
        with unwarned():
            array: Any = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except Exception as problem:  # see _read_npz
        raise InputError(f"{path} cannot be read: {array_problem(problem)}.") from problem
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path} is an archive of arrays; expected one array (npy).")
    return array
