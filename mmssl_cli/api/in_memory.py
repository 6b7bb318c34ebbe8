"""Tables and vectors in memory, written as the files that the preparation reads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mmssl_cli.api.paths import shown
from pipelines.errors import UsageError
from pipelines.io.files import atomic_file
from pipelines.prepared.manifest import check_name
from pipelines.tables.column_names import may_name_items

_TABLES = ("interactions", "items")
_MEDIA = ("audio_column", "video_column")
#: Columns and types that an error lists.
_SHOWN = 5
#: File -> the table or array to write to it.
Contents: TypeAlias = dict[Path, pa.Table | np.ndarray]


def as_files(options: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], Contents]:
    """Replace tables and vectors in memory by files of a folder, which are not written yet.

    Args:
        options: keyword -> value, as given to `prepare`.
        folder: of the files.

    Returns:
        The options, with the paths of files, and the contents of these files.

    Raises:
        UsageError: a table or array cannot be written as a file, or is of another type.
    """
    features = options.get("features")
    if _is_table(features) or isinstance(features, list | tuple) or hasattr(features, "__array__"):
        raise UsageError(f"features is {shown(features)}: expected a dict of modalities, such as visual: array.")
    contents: Contents = {}
    replaced = dict(options)
    for name in _TABLES:
        given = options.get(name)
        if _is_table(given):
            replaced[name] = path = folder / f"{name}.parquet"
            contents[path] = _table(name, given)
        elif given is not None and not isinstance(given, str | PathLike):
            raise UsageError(
                f"{name} is {shown(given)}: expected a table of pandas, Polars or PyArrow, or the path of a file."
            )
    if (items := contents.get(folder / "items.parquet")) is not None:
        _refuse_files_beside(items, options)
    if isinstance(features, Mapping):
        replaced["features"] = dict(features)
        for modality, values in features.items():
            stem, name = check_name("modality", str(modality)), f"features of {modality}"
            if _is_table(values):
                replaced["features"][modality] = path = folder / f"{stem}.vectors.parquet"
                contents[path] = _vector_table(name, values, options.get("item_column"))
            elif isinstance(values, Mapping):
                replaced["features"][modality] = path = folder / f"{stem}.vectors.parquet"
                contents[path] = _vectors_by_id(name, values, options.get("item_column"))
            elif hasattr(values, "__array__"):
                replaced["features"][modality] = path = folder / f"{stem}.npy"
                contents[path] = _array(name, values)
            elif not isinstance(values, str | PathLike):
                raise UsageError(
                    f"{name} is {shown(values)}: expected an array or tensor [items, dimensions], a dict of "
                    "item ids and vectors, a table with a column of item ids, or the path of a file."
                )
    return replaced, contents


def _refuse_files_beside(items: pa.Table, options: Mapping[str, Any]) -> None:
    """Refuse columns of a table of items that name files, where it is not known in which folder.

    Raises:
        UsageError: there are such.
    """
    for name in _MEDIA:
        if options.get(name) is not None:
            raise UsageError(f"{name} names files beside those of a table; give items as the path of a table there.")
    column = options.get("image_column")
    if column is None or options.get("images") is not None:
        return
    cells = items[column].to_pylist() if items.column_names.count(column) == 1 else []
    if files := [cell for cell in cells if cell is not None and "://" not in str(cell)]:
        raise UsageError(
            f"image_column names files, such as {shown(files[0])}: give the folder that holds them too, as images, or "
            "items as the path of a table beside them."
        )


@contextmanager
def written(contents: Contents) -> Iterator[None]:
    """Write files, each of them whole or not at all; a new folder of theirs is removed again if the work fails.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = next((path.parent for path in contents if not path.parent.exists()), None)
    try:
        for path, content in contents.items():
            with atomic_file(path) as temporary:
                if isinstance(content, np.ndarray):
                    np.save(temporary, content, allow_pickle=False)
                else:
                    pq.write_table(content, temporary)
        yield
    except BaseException:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # another file is there
                folder.parent.rmdir()
                folder.parent.parent.rmdir()
        raise


def _is_table(value: object) -> bool:
    """Return whether a value is a table of pandas, Polars, PyArrow or another library with Arrow's interface."""
    return hasattr(value, "__arrow_c_stream__") and not isinstance(value, pd.Series)


def _table(name: str, given: Any) -> pa.Table:
    frame = _with_index(name, given) if isinstance(given, pd.DataFrame) else given
    try:
        table = pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as problem:
        raise UsageError(_unwritable(name, frame, problem)) from problem
    for field in table.schema:
        if isinstance(field.type, pa.BaseExtensionType):
            raise UsageError(
                f"{name} has values of type {field.type} in the column {field.name!r}: expected numbers, texts, dates "
                "or lists; convert or drop it."
            )
    return table.replace_schema_metadata(None)


def _unwritable(name: str, frame: Any, problem: Exception) -> str:
    """Say which column of a table cannot be written, as far as that can be told."""
    columns = frame.columns if isinstance(frame, pd.DataFrame) and frame.columns.is_unique else ()
    for column in columns:
        try:
            pa.array(frame[column], from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            kinds = sorted({type(value).__name__ for value in frame[column] if value is not None})
            return (
                f"{name} has values of type {', '.join(kinds[:_SHOWN])} in the column {column!r}: expected numbers, "
                "texts, dates or lists, of one type; convert them, with astype(str), or drop the column."
            )
    return f"{name} is {shown(frame)} that cannot be read as a table: {str(problem).rstrip('.')}."


def _vector_table(name: str, given: Any, item_column: object) -> pa.Table:
    """Return a table of vectors, which has item ids.

    Raises:
        UsageError: no column is known to have them.
    """
    table = _table(name, given)
    if item_column not in table.column_names and not any(map(may_name_items, table.column_names)):
        columns = ", ".join(map(repr, table.column_names[:_SHOWN])) + ", ..." * (table.num_columns > _SHOWN)
        raise UsageError(
            f"{name} has no column of item ids, only {columns or 'none'}: add one, such as 'item', name it with "
            "item_column, or give the numbers alone as an array, in the order of the items."
        )
    return table


def _vectors_by_id(name: str, given: Mapping[Any, Any], item_column: object) -> pa.Table:
    """Return vectors by item id as a table.

    Raises:
        UsageError: there are none, they are not of one length, or the ids are not of one type.
    """
    if not given:
        raise UsageError(f"{name} is an empty dict: expected item ids and their vectors.")
    vectors = {item: _vector(f"{name}, item {item!r},", vector) for item, vector in given.items()}
    length = len(next(iter(vectors.values())))
    if other := [item for item, vector in vectors.items() if len(vector) != length]:
        raise UsageError(f"{name} have {length} dimensions, but {len(vectors[other[0]])} for item {other[0]!r}.")
    if not all(isinstance(item, str) for item in vectors) and not all(map(_is_whole, vectors)):
        types = ", ".join(sorted({type(item).__name__ for item in vectors}))
        raise UsageError(f"{name} have ids of type {types}: expected texts, or whole numbers, for all items.")
    ids = [item if isinstance(item, str) else str(int(item)) for item in vectors]
    return pa.table({str(item_column or "item"): ids, "vector": pa.array([*vectors.values()])})


def _is_whole(item: object) -> bool:
    """Return whether an id is a whole number that is known to the last digit."""
    if isinstance(item, bool) or not isinstance(item, Real):
        return False
    return isinstance(item, Integral) or (float(item).is_integer() and abs(float(item)) < 2**53)


def _vector(name: str, given: Any) -> np.ndarray:
    """Return the vector of an item [d]."""
    if given is None:
        raise UsageError(f"{name} are None; leave out items that have none.")
    array = _as_array(name, given)
    if array.dtype.kind not in "fiu" or array.ndim != 1:
        raise UsageError(f"{name} are {array.dtype} values of shape {array.shape}: expected numbers [dimensions].")
    return array.astype(np.float64 if array.dtype.kind in "iu" else array.dtype)


def _with_index(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with texts as column names: a named index as columns, one of row numbers left out.

    Raises:
        UsageError: the index holds something else, and has no name.
    """
    frame = frame.rename(columns=str)
    names = frame.index.names
    if any(level is not None and level not in frame.columns for level in names):
        return frame.reset_index()
    if names == [None] and not pd.api.types.is_integer_dtype(frame.index):
        raise UsageError(
            f"{name} has an index without a name; name it as a column, with rename_axis, or leave it out, with "
            "reset_index(drop=True)."
        )
    return frame.reset_index(drop=True)


def _array(name: str, values: Any) -> np.ndarray:
    """Return an array or tensor [I, d] as an array of numbers."""
    array = _as_array(name, values)
    if array.dtype.kind not in "fiu" or array.ndim != 2:
        raise UsageError(
            f"{name} are {array.dtype} values of shape {array.shape}: expected numbers of shape [items, dimensions]."
        )
    return array


def _as_array(name: str, values: Any) -> np.ndarray:
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise UsageError(f"{name} has masked values: fill them in, or give a table without the items that lack them.")
    try:
        return np.asarray(_dense(values) if hasattr(values, "detach") else values)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise UsageError(f"{name} cannot be read as an array: {str(problem).rstrip('.')}.") from problem


def _dense(tensor: Any) -> Any:
    """Return a tensor as one that NumPy can read."""
    tensor = tensor.detach().cpu()
    return tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
