"""Tables and vectors in memory, written as the files that the preparation reads."""

from __future__ import annotations

from collections.abc import Mapping
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

_TABLES = ("interactions", "items")
_MEDIA = ("audio_column", "video_column")
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
        UsageError: a table or array cannot be written as a file.
    """
    media = next((name for name in _MEDIA if options.get(name) is not None), None)
    if media is not None and _is_table(options.get("items")):
        raise UsageError(f"{media} names files beside those of a table; give items as the path of a table there.")
    features = options.get("features")
    if _is_table(features) or hasattr(features, "__array__"):
        raise UsageError(f"features is {shown(features)}: expected a dict of modalities, such as visual: array.")
    contents: Contents = {}
    replaced = dict(options)
    for name in _TABLES:
        if _is_table(options.get(name)):
            replaced[name] = path = folder / f"{name}.parquet"
            contents[path] = _table(name, options[name])
    if isinstance(features, dict):
        replaced["features"] = dict(features)
        for modality, values in features.items():
            stem, name = check_name("modality", str(modality)), f"features of {modality}"
            if _is_table(values):
                replaced["features"][modality] = path = folder / f"{stem}.vectors.parquet"
                contents[path] = _table(name, values)
            elif hasattr(values, "__array__"):
                replaced["features"][modality] = path = folder / f"{stem}.npy"
                contents[path] = _array(name, values)
    return replaced, contents


def write_files(contents: Contents) -> None:
    """Write files, each of them whole or not at all.

    Raises:
        InputError: the folder cannot be written.
    """
    for path, content in contents.items():
        with atomic_file(path) as temporary:
            if isinstance(content, np.ndarray):
                np.save(temporary, content, allow_pickle=False)
            else:
                pq.write_table(content, temporary)


def _is_table(value: object) -> bool:
    """Return whether a value is a table of pandas, Polars, PyArrow or another library with Arrow's interface."""
    return hasattr(value, "__arrow_c_stream__")


def _table(name: str, frame: Any) -> pa.Table:
    try:
        table = pa.table(_with_index(name, frame) if isinstance(frame, pd.DataFrame) else frame)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as problem:
        raise UsageError(f"{name} cannot be written as parquet: {problem}.") from problem
    return table.replace_schema_metadata(None)


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
    try:
        array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise UsageError(f"{name} cannot be read as an array: {problem}.") from problem
    if array.dtype.kind not in "fiu" or array.ndim != 2:
        raise UsageError(
            f"{name} are {array.dtype} values of shape {array.shape}: expected numbers of shape [items, dimensions]."
        )
    return array
