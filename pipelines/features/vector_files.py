"""Item vectors made elsewhere: npy, npz, safetensors, pt, tables (parquet, CSV, JSON lines, RecBole's .itememb), and a
folder with a file <item>.npy for each item, as Ducho writes.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import safe_open

from pipelines.errors import InputError, MmsslError, UsageError, nearest
from pipelines.features.vector_tables import FORMS, ItemVectors, read_vector_table
from pipelines.io.files import expanded, no_file, read_problem
from pipelines.io.parquet import MOST_PACKED
from pipelines.prepared.storage import MAPPED_BYTES, check_unpacked, unwarned
from pipelines.tables.column_names import may_name_items

_IDS = "ids"
_BLOCK = 8192


class _Part(NamedTuple):
    """The shape of an array in a file, and the kind of its type as NumPy names it."""

    shape: tuple[int, ...]
    kind: str

    def names_rows(self, rows: tuple[int, ...]) -> bool:
        """Return whether there is an entry for each of the ``rows``, (n,), in one column or flat."""
        return self.shape[:1] == rows and self.shape[1:] in ((), (1,))


def locate_vectors(place: str) -> tuple[Path, str | None]:
    """Split ``FILE`` or ``FILE:KEY`` into the file and the key of an array, or the name of a column.

    A folder is one with files ``<item>.npy``, and has no key.

    Raises:
        InputError: there is no such file.
    """
    if expanded(place).is_dir():
        return expanded(place), None
    parts = place.split(":")
    for end in range(len(parts), 0, -1):
        path = expanded(":".join(parts[:end]))
        if path.is_file():
            return path, ":".join(parts[end:]) or None
    raise InputError(f"{no_file(Path(place))}; --features expects MODALITY=FILE, or MODALITY=FILE:KEY.")


def files_of(path: Path) -> list[Path]:
    """Return the files that hold vectors: the file itself, or those of a folder, a file per item.

    Raises:
        InputError: the folder has no .npy.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.npy"))
    if not files:
        raise InputError(f"{path} is a folder without .npy; --features expects a file, or a folder of <item>.npy.")
    return files


def read_item_vectors(path: Path, key: str | None, item_columns: Sequence[str] = ()) -> ItemVectors:
    """Read all rows of a file: by its suffix .npy, .npz, .safetensors, .pt or .pth, else a table; or of a folder.

    Args:
        key: the array of an npz or a safetensors file, or the column of a table.
        item_columns: names of the column of a table with the item ids; by default, or where it has none of them, the
            one of a usual name, else the first.

    Raises:
        InputError: the file is damaged, of another shape, holds a value that is not finite, or ids of which several
            could be those of the items.
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
        found = read_vector_table(path, key, item_columns)
    _check(path, found)
    return found


def _check(path: Path, found: ItemVectors) -> None:
    values, ids = found.values, found.ids
    if values.ndim != 2 or 0 in values.shape:
        folder = (
            values.ndim == 1 and path.suffix.lower() == ".npy" and len(list(islice(path.parent.glob("*.npy"), 2))) > 1
        )
        way_out = f", or a folder with a file <item>.npy each, such as {path.parent}" if folder else ""
        raise InputError(f"{path} holds an array of shape {values.shape}; {FORMS}{way_out}.")
    if values.dtype.kind not in "fiu":
        raise InputError(f"{path} holds {values.dtype} values; {FORMS}.")
    if ids is not None and len(ids) != len(values):
        raise InputError(f"{path} has {len(ids):,} ids, but {len(values):,} rows; expected an id per row.")
    bad = [
        start + row
        for start in range(0, len(values), _BLOCK)
        for row in np.flatnonzero(~np.isfinite(values[start : start + _BLOCK]).all(axis=1)).tolist()
    ]
    if bad:
        first = f"row {bad[0]:,} (from 0)" if ids is None else f"item {ids[bad[0]]!r}"
        way_out = "give rows of zeros to items without vectors" if ids is None else "leave out items without vectors"
        raise InputError(
            f"{path} holds NaN or infinite values in {len(bad):,} of {len(values):,} rows, first in that of {first}; "
            f"{way_out}."
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
    rows: list[np.ndarray] = []
    for file in files:
        row = _load_npy(file)
        if row.size != max(row.shape, default=0) or (rows and row.size != rows[0].size):
            expected = f"{rows[0].size:,} numbers, as in {files[0].name}" if rows else "one vector"
            raise InputError(f"{file} holds an array of shape {row.shape}; expected {expected}.")
        rows.append(np.array(row).reshape(-1))  # in memory: a process may map so many files alone
    return ItemVectors(np.stack(rows), [file.stem for file in files])


def _read_npz(path: Path, key: str | None) -> ItemVectors:
    try:
        with unwarned(), np.load(path, allow_pickle=False) as archive:
            for entry in archive.zip.infolist():
                check_unpacked(path, entry)
            key, name = _chosen(path, key, _parts(archive.zip))
            values, ids = archive[key], None if name is None else archive[name]
    except MmsslError:
        raise
    except OSError as problem:
        raise read_problem(path, problem) from problem
    except Exception as problem:  # zip and npy headers each fail in their own ways
        raise _unreadable(path, "an npz of numbers", problem) from problem
    return ItemVectors(values, _id_texts(path, ids))


def _parts(archive: zipfile.ZipFile) -> dict[str, _Part]:
    parts = {}
    for name in archive.namelist():
        if name.endswith(".npy"):
            with archive.open(name) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
            parts[name.removesuffix(".npy")] = _Part(shape, dtype.kind)
    return parts


def _read_safetensors(path: Path, key: str | None) -> ItemVectors:
    try:
        with safe_open(path, framework="pt") as archive:
            parts = {}
            for name in archive.keys():  # noqa: SIM118
                part = archive.get_slice(name)
                parts[name] = _Part(tuple(part.get_shape()), part.get_dtype()[0].lower())
            key, name = _chosen(path, key, parts)
            values = _as_array(path, archive.get_tensor(key))
            ids = None if name is None else _as_array(path, archive.get_tensor(name))
    except MmsslError:
        raise
    except OSError as problem:
        raise read_problem(path, problem) from problem
    except Exception as problem:  # headers fail in many ways
        raise _unreadable(path, "a safetensors file", problem) from problem
    return ItemVectors(values, _id_texts(path, ids))


def _chosen(path: Path, key: str | None, parts: Mapping[str, _Part]) -> tuple[str, str | None]:
    """Return the array that is asked for, by default the only one beside the ids, and that of the ids.

    Raises:
        InputError: one of them holds Python objects, or another array could be the ids.
        UsageError: there is no such array, or a key is needed.
    """
    usual = [name for name, part in parts.items() if name != key and len(part.shape) == 1 and _names_items(name)]
    key = _named(path, key, [name for name in parts if name not in (_IDS, *usual)])
    fitting = [name for name in usual if parts[name].shape == parts[key].shape[:1]]
    if len(fitting) > 1 and _IDS not in parts:
        raise InputError(
            f"{path} holds {' and '.join(fitting)} beside {key}, each with one entry per row; rename the one with "
            f"item ids to {_IDS}."
        )
    ids = _IDS if _IDS in parts else next(iter([*fitting, *usual]), None)
    for name, kind in ((ids, "str"), (key, "'float32'")):
        if name is not None and parts[name].kind == "O":
            raise InputError(
                f"{path} holds Python objects in {name}, which are never loaded; save them as {name}.astype({kind})."
            )
    rows = parts[key].shape[:1]
    others = [name for name, part in parts.items() if name != key and part.names_rows(rows) and part.kind in "iuUSO"]
    if ids is None and others:
        raise InputError(
            f"{path} holds {others[0]} beside {key}, with one entry per row; rename it to {_IDS} if it holds "
            "item ids, else remove it."
        )
    return key, ids


def _names_items(name: str) -> bool:
    return any(may_name_items(word) for word in (name, name.removesuffix("s")))


def _named(path: Path, key: str | None, names: Sequence[str]) -> str:
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
    if ids.dtype.kind == "S":
        ids = np.char.decode(ids, "utf-8", "replace")
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
    most = max(MAPPED_BYTES, MOST_PACKED * path.stat().st_size)
    if isinstance(content, torch.Tensor):
        if content.numel() * content.element_size() > most:
            raise InputError(f"{path} holds an expanded tensor of shape {tuple(content.shape)}; save tensor.clone().")
        return ItemVectors(_as_array(path, content), None)
    if not isinstance(content, Mapping) or not all(isinstance(row, torch.Tensor) for row in content.values()):
        raise InputError(
            f"{path} holds a {type(content).__name__}; expected a tensor, or a dict of item ids and vectors."
        )
    shapes = {tuple(row.shape) for row in content.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        shown = ", ".join(map(str, sorted(shapes)[:3])) or "none"
        raise InputError(f"{path} holds vectors of the shapes {shown}; expected one vector an item, all of one length.")
    if sum(row.numel() * row.element_size() for row in content.values()) > most:
        shape = next(iter(shapes))
        raise InputError(f"{path} holds {len(content):,} expanded tensors of shape {shape}; save tensor.clone().")
    return ItemVectors(np.stack([_as_array(path, row) for row in content.values()]), [str(name) for name in content])


def _as_array(path: Path, tensor: Any) -> np.ndarray:
    """Return the numbers of a tensor.

    Raises:
        InputError: NumPy has no such numbers, such as float8, or no such layout, such as a sparse one.
    """
    import torch

    tensor = tensor.detach()
    try:
        return np.asarray(tensor.float() if tensor.dtype is torch.bfloat16 else tensor)
    except (TypeError, RuntimeError) as problem:
        kind = f"{tensor.dtype}, {tensor.layout}".replace("torch.", "")
        raise InputError(
            f"{path} holds a tensor ({kind}) that NumPy cannot hold; save it as tensor.to_dense().float()."
        ) from problem


def _unreadable(path: Path, expected: str, problem: Exception) -> InputError:
    reason = str(problem).strip().partition("\n")[0].rstrip(".")[:200]
    return InputError(f"{path} cannot be read ({reason}); expected {expected}.")
