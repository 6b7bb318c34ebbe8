"""Tables and vectors in memory, written as the files that the preparation reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mmssl_cli.api.paths import shown
from pipelines.errors import UsageError
from pipelines.io.files import atomic_file
from pipelines.prepared.manifest import check_name

_TABLES = ("interactions", "items")


class InMemory:
    """What of the options of `prepare` is in memory: the files it is to be written to, and their contents.

    Args:
        options: keyword -> value, as given to `prepare`.
        folder: of the files.

    Attributes:
        options: the same, with paths in place of tables and vectors.

    Raises:
        UsageError: a table or array has no form of a file; the sentence says why.
    """

    def __init__(self, options: dict[str, Any], folder: Path) -> None:
        self.options = dict(options)
        self._files: dict[Path, Callable[[Path], None]] = {}
        for name in _TABLES:
            if _is_table(options.get(name)):
                self.options[name] = self._add(folder / f"{name}.parquet", _table(name, options[name]))
        features = options.get("features")
        if _is_table(features) or hasattr(features, "__array__"):
            raise UsageError(f"features is {shown(features)}: expected a dict of modalities, such as visual: array.")
        if isinstance(features, dict):
            self.options["features"] = {name: self._vectors(folder, name, values) for name, values in features.items()}
        media = next((name for name in ("audio_column", "video_column") if options.get(name) is not None), None)
        if media is not None and _is_table(options.get("items")):
            raise UsageError(f"{media} names files beside those of a table; give items as the path of a table there.")

    def write(self) -> None:
        """Write the files, each of them whole or not at all.

        Raises:
            InputError: the folder cannot be written.
        """
        for path, write in self._files.items():
            with atomic_file(path) as temporary:
                write(temporary)

    def _vectors(self, folder: Path, modality: str, values: Any) -> Any:
        stem, name = check_name("modality", str(modality)), f"features of {modality}"
        if _is_table(values):
            return self._add(folder / f"{stem}.vectors.parquet", _table(name, values))
        return self._add(folder / f"{stem}.npy", _array(name, values)) if hasattr(values, "__array__") else values

    def _add(self, path: Path, write: Callable[[Path], None]) -> Path:
        self._files[path] = write
        return path


def _is_table(value: object) -> bool:
    """Whether a value is a table of pandas, Polars, PyArrow or another library with Arrow's interface."""
    return hasattr(value, "__arrow_c_stream__")


def _table(name: str, frame: Any) -> Callable[[Path], None]:
    """Return what writes a table as parquet."""
    try:
        table = pa.table(_with_index(name, frame) if isinstance(frame, pd.DataFrame) else frame)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as problem:
        raise UsageError(f"{name} cannot be written as parquet: {problem}.") from problem
    return lambda path: pq.write_table(table.replace_schema_metadata(None), path)


def _with_index(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its named index as columns, without one of row numbers, and with texts as names.

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


def _array(name: str, values: Any) -> Callable[[Path], None]:
    """Return what writes an array [I, d], or a tensor, as .npy."""
    try:
        array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise UsageError(f"{name} cannot be read as an array: {problem}.") from problem
    if array.dtype.kind not in "fiu" or array.ndim != 2:
        raise UsageError(
            f"{name} are {array.dtype} values of shape {array.shape}: expected numbers of shape [items, dimensions]."
        )

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, array, allow_pickle=False)

    return write
