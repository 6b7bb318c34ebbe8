"""Item vectors made elsewhere: npy, npz, safetensors, pt, tables (parquet, CSV, JSON lines, RecBole's .itememb), and a
folder with a file <item>.npy for each item, as Ducho writes.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors import safe_open

from pipelines.errors import InputError, MmsslError, UsageError, nearest
from pipelines.io.files import no_file, read_problem
from pipelines.io.parquet import MOST_PACKED
from pipelines.io.raw import MalformedRecords
from pipelines.prepared.storage import MAPPED_BYTES, check_unpacked, unwarned
from pipelines.tables.column_types import as_numbers, as_text
from pipelines.tables.table_file import ColumnFile

_IDS = "ids"
_ID_COLUMNS = ("item", "item_id", "id", "iid", "asin")
_FORMS = "expected [items, dim]: one row of numbers an item"
_BLOCK = 8192


@dataclass(frozen=True)
class ItemVectors:
    """The rows of a file: values, of any type of numbers [rows, dim], and the item id of each, where it has ids."""

    values: np.ndarray
    ids: list[str] | None


def locate_vectors(place: str) -> tuple[Path, str | None]:
    """Split ``FILE`` or ``FILE:KEY`` into the file and the key of an array, or the name of a column.

    A folder is one with files ``<item>.npy``, and has no key.

    Raises:
        InputError: there is no such file.
    """
    if Path(place).expanduser().is_dir():
        return Path(place).expanduser(), None
    parts = place.split(":")
    for end in range(len(parts), 0, -1):
        path = Path(":".join(parts[:end])).expanduser()
        if path.is_file():
            return path, ":".join(parts[end:]) or None
    raise InputError(f"{no_file(Path(place))}; --features expects MODALITY=FILE, or MODALITY=FILE:KEY.")


def files_of(path: Path) -> list[Path]:
    """Return the files that hold vectors: the file itself, or those of a folder, a file an item.

    Raises:
        InputError: the folder has no .npy.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.npy"))
    if not files:
        raise InputError(f"{path} is a folder without .npy; --features expects a file, or a folder of <item>.npy.")
    return files


def read_item_vectors(path: Path, key: str | None, item_column: str | None = None) -> ItemVectors:
    """Read all rows of a file: by its suffix .npy, .npz, .safetensors, .pt or .pth, else a table; or of a folder.

    Args:
        key: the array of an npz or a safetensors file, or the column of a table.
        item_column: the column of a table with the item ids; by default one of the usual names, else the first.

    Raises:
        InputError: the file is damaged, of another shape, or holds a value that is not finite.
        UsageError: the file has no such array or column, or a key is needed.
    """
    suffix = path.suffix.lower()
    if suffix in (".npy", ".pt", ".pth") and key is not None:
        raise UsageError(f"{path} has no parts to name, but --features asks for {key!r}; leave out :{key}.")
    if path.is_dir():
        found = _read_folder(path)
    elif suffix == ".npy":
        found = ItemVectors(_load_npy(path), None)
    elif suffix == ".npz":
        found = _read_npz(path, key)
    elif suffix == ".safetensors":
        found = _read_safetensors(path, key)
    elif suffix in (".pt", ".pth"):
        found = _read_torch(path)
    else:
        found = _read_table(path, key, item_column)
    _check(path, found)
    return found


def _check(path: Path, found: ItemVectors) -> None:
    values, ids = found.values, found.ids
    if values.ndim != 2 or 0 in values.shape:
        raise InputError(f"{path} holds an array of shape {values.shape}; {_FORMS}.")
    if values.dtype.kind not in "fiu":
        raise InputError(f"{path} holds {values.dtype} values; {_FORMS}.")
    if ids is not None and len(ids) != len(values):
        raise InputError(f"{path} has {len(ids):,} ids, but {len(values):,} rows; expected an id a row.")
    bad = [
        start + row
        for start in range(0, len(values), _BLOCK)
        for row in np.flatnonzero(~np.isfinite(values[start : start + _BLOCK]).all(axis=1)).tolist()
    ]
    if bad:
        first = f"row {bad[0]:,} (from 0)" if ids is None else f"item {ids[bad[0]]!r}"
        raise InputError(
            f"{path} holds NaN or infinite values in {len(bad):,} of {len(values):,} rows, first in that of {first}; "
            "leave out items without vectors."
        )


def _load_npy(path: Path) -> np.ndarray:
    try:
        with unwarned():
            return np.asarray(np.lib.format.open_memmap(path, mode="r"))
    except OSError as problem:
        raise read_problem(path, problem) from problem
    except Exception as problem:  # headers fail in many ways
        raise _unreadable(path, "an npy file of numbers", problem) from problem


def _read_folder(path: Path) -> ItemVectors:
    files = files_of(path)
    rows = [np.array(_load_npy(file)) for file in files]  # in memory: a process may map so many files alone
    for file, row in zip(files, rows, strict=True):
        if row.size != max(row.shape, default=0) or row.size != rows[0].size:
            expected = f"{rows[0].size:,} numbers, as in {files[0].name}" if row is not rows[0] else "one vector"
            raise InputError(f"{file} holds an array of shape {row.shape}; expected {expected}.")
    return ItemVectors(np.stack([row.reshape(-1) for row in rows]), [file.stem for file in files])


def _read_npz(path: Path, key: str | None) -> ItemVectors:
    try:
        with unwarned(), np.load(path, allow_pickle=False) as archive:
            for entry in archive.zip.infolist():
                check_unpacked(path, entry)
            key = _named(path, key, archive.files)
            values, ids = archive[key], archive[_IDS] if _IDS in archive.files else None
    except MmsslError:
        raise
    except OSError as problem:
        raise read_problem(path, problem) from problem
    except Exception as problem:  # zip and npy headers each fail in their own ways
        raise _unreadable(path, "an npz of numbers", problem) from problem
    return ItemVectors(values, _id_texts(path, ids))


def _read_safetensors(path: Path, key: str | None) -> ItemVectors:
    try:
        with safe_open(path, framework="pt") as archive:
            names = list(archive.keys())
            key = _named(path, key, names)
            values = _as_array(archive.get_tensor(key))
            ids = _as_array(archive.get_tensor(_IDS)) if _IDS in names else None
    except MmsslError:
        raise
    except OSError as problem:
        raise read_problem(path, problem) from problem
    except Exception as problem:  # headers fail in many ways
        raise _unreadable(path, "a safetensors file", problem) from problem
    return ItemVectors(values, _id_texts(path, ids))


def _named(path: Path, key: str | None, arrays: Sequence[str]) -> str:
    """Return the array that is asked for, by default the only one beside the ids."""
    names = [name for name in arrays if name != _IDS]
    if key is None and len(names) == 1:
        return names[0]
    if key is None:
        raise UsageError(
            f"{path} holds the arrays {', '.join(names) or 'none'}; name one: --features MODALITY={path}:KEY."
        )
    if key not in names:
        raise UsageError(f"{path} has no array {key!r}: {nearest(key, names)}")
    return key


def _id_texts(path: Path, ids: np.ndarray | None) -> list[str] | None:
    if ids is None:
        return None
    if ids.ndim != 1 or ids.dtype.kind not in "iuU":
        raise InputError(
            f"{path} holds ids of type {ids.dtype} and shape {ids.shape}; expected one text or number a row."
        )
    return [str(name) for name in ids.tolist()]


def _read_torch(path: Path) -> ItemVectors:
    import torch  # seconds to import: only for such a file

    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    check_unpacked(path, entry)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how the file was pickled
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except OSError as problem:
        raise read_problem(path, problem) from problem
    except Exception as problem:  # zip and pickle each fail in their own ways
        if "weights_only" in str(problem):
            problem = ValueError("it holds Python objects other than tensors, which are never loaded")
        raise _unreadable(path, "a tensor, or a dict of item ids and vectors", problem) from problem
    if isinstance(content, torch.Tensor):
        if content.numel() * content.element_size() > max(MAPPED_BYTES, MOST_PACKED * path.stat().st_size):
            raise InputError(f"{path} repeats few numbers to a tensor of shape {tuple(content.shape)}; save it whole.")
        return ItemVectors(_as_array(content), None)
    if not isinstance(content, Mapping) or not all(isinstance(row, torch.Tensor) for row in content.values()):
        raise InputError(
            f"{path} holds a {type(content).__name__}; expected a tensor, or a dict of item ids and vectors."
        )
    shapes = {tuple(row.shape) for row in content.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        shown = ", ".join(map(str, sorted(shapes)[:3])) or "none"
        raise InputError(f"{path} holds vectors of the shapes {shown}; expected one vector an item, all of one length.")
    return ItemVectors(_as_array(torch.stack(list(content.values()))), [str(name) for name in content])


def _as_array(tensor: Any) -> np.ndarray:
    import torch

    tensor = tensor.detach()
    return np.asarray(tensor.float() if tensor.dtype is torch.bfloat16 else tensor)


def _read_table(path: Path, column: str | None, item_column: str | None) -> ItemVectors:
    file = ColumnFile(path)
    if file.names[0] not in (item_column, *_ID_COLUMNS) and _is_record(file.names):
        raise InputError(
            f"{path} has no header: it begins with {' '.join(file.names)[:40]!r}. Begin it with the names of its "
            "columns, such as item,0,1,2, or save numbers alone as .npy."
        )
    fields = {name.partition(":")[0]: name for name in file.names} | {name: name for name in file.names}
    item = next((fields[name] for name in (item_column, *_ID_COLUMNS) if name in fields), file.names[0])
    if column is not None and column not in fields:
        file.require(column)
    columns = [fields[column]] if column is not None else [name for name in file.names if name != item] or file.names
    ids: list[str] | None = None if columns == [item] else []
    blocks: list[np.ndarray] = []
    strict = MalformedRecords(path, limit=0.0)
    for batch in file.batches(list(dict.fromkeys([item, *columns])), strict):
        if column is None and len(columns) > 1 and not blocks:
            lists = [name for name in columns if _is_list(batch.columns[name].type)]
            if lists:
                shown = ", ".join(columns)
                raise UsageError(f"{path} has the columns {shown}; name one: --features MODALITY={path}:{lists[0]}.")
        has, values = _rows(path, [batch.columns[name] for name in columns], columns, batch.records, strict.unit)
        blocks.append(values)
        if ids is not None:
            names = as_text(batch.columns[item], item, path).to_pylist()
            ids += [(names[row] or "").strip() for row in np.flatnonzero(has)]
        elif not has.all():
            record = int(batch.records[int(np.argmin(has))])
            raise InputError(f"{path} has no vector in {strict.unit} {record:,}, nor item ids; leave no row empty.")
    strict.check(file.records)
    widths = sorted({block.shape[1] for block in blocks if len(block)})
    if len(widths) != 1:
        raise InputError(f"{path} has vectors of the lengths {', '.join(map(str, widths)) or 'none'}; {_FORMS}.")
    return ItemVectors(np.concatenate([block for block in blocks if len(block)]), ids)


def _is_record(names: Sequence[str]) -> bool:
    """Return whether the names of the columns are a row of numbers, with or without an id, and do not count columns."""
    words = " ".join(names).split()
    numbers = words if all(map(_is_number, words)) else words[1:]
    counted = any([*map(str, range(start, start + len(numbers)))] == numbers for start in (0, 1))
    return bool(numbers) and not counted and all(map(_is_number, numbers))


def _rows(
    path: Path, cells: Sequence[pa.Array], names: Sequence[str], records: np.ndarray, unit: str
) -> tuple[np.ndarray, np.ndarray]:
    """Presence, bool [n], and the values of the rows that are present, [present, dim]."""
    if len(cells) > 1:
        return np.ones(len(records), bool), np.stack(
            [as_numbers(cell, name, path) for cell, name in zip(cells, names, strict=True)], axis=1
        ).astype(np.float32)
    column = cells[0]
    if not _is_list(column.type):
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            return np.ones(len(records), bool), as_numbers(column, names[0], path)[:, None]
        texts = as_text(column, names[0], path).to_pylist()
        column = pa.array([(text or "").strip().strip("[]()").replace(",", " ").split() or None for text in texts])
        column = column.cast(pa.list_(pa.string()))
    has = np.asarray(column.is_valid())
    column = column.drop_null()
    lengths = np.array(pa.compute.list_value_length(column), dtype=np.int64)
    if len(set(lengths.tolist())) > 1 or (len(lengths) and not lengths[0]):
        odd = int(np.argmax(lengths != lengths[0])) if lengths[0] else 0
        record = int(records[np.flatnonzero(has)[odd]])
        raise InputError(
            f"{path}, {unit} {record:,} has {lengths[odd]} numbers in {names[0]}; expected {lengths[0] or 'some'}, as "
            "in the first."
        )
    flat = column.flatten()
    try:
        if pa.types.is_string(flat.type):
            flat = flat.cast(pa.float32())
        numbers = np.asarray(flat.fill_null(float("nan")) if pa.types.is_floating(flat.type) else flat)
    except pa.ArrowInvalid as problem:
        raise InputError(f"{path} has in {names[0]} what is no number ({problem}).") from problem
    return has, numbers.reshape(len(lengths), -1) if len(lengths) else np.zeros((0, 0), np.float32)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def refuse_vectors_as_words(file: ColumnFile, columns: Sequence[str], flag: str) -> None:
    """Refuse columns of vectors among those that should hold words.

    Raises:
        UsageError: a column holds lists of floating-point numbers.
    """
    if not columns:
        return
    batch = next(iter(file.batches(columns, MalformedRecords(file.path))), None)
    for column in columns if batch is not None else ():
        if _holds_vectors(batch.columns[column]):  # type: ignore[union-attr]
            raise UsageError(
                f"The column {column} of {file.path} holds vectors, not words; take it out of {flag} and give it as "
                f"--features textual={file.path}:{column}."
            )


def _holds_vectors(cells: pa.Array) -> bool:
    if not _is_list(cells.type):
        return False
    if pa.types.is_floating(cells.type.value_type):
        return True
    if not pa.types.is_string(cells.type.value_type):  # JSON lines give their lists as texts
        return False
    some = list(islice((cell for cell in cells.to_pylist() if cell), 100))
    words = list(chain.from_iterable(some))
    return any("." in word for word in words) and len(words) > len(some) and all(map(_is_number, words))


def _is_number(word: str | None) -> bool:
    try:
        float(word or "")
    except ValueError:
        return False
    return True


def _unreadable(path: Path, expected: str, problem: Exception) -> InputError:
    reason = str(problem).strip().partition("\n")[0].rstrip(".")[:200]
    return InputError(f"{path} cannot be read ({reason}); expected {expected}.")
