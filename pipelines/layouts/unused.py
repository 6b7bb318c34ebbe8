"""The files in a folder of some layout that are not used."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from pipelines.errors import InputError
from pipelines.features.vector_files import locate_vectors
from pipelines.layouts.numbered_ids import FEATURES
from pipelines.prepared.storage import read_array

_VECTORS = (".npz", ".pt", ".pth", ".itememb")
_SHOWN = 5


def unused_files(folder: Path, paths: Collection[Path], items: int, places: Iterable[str] = ()) -> list[str]:
    """Return lines on files of ``folder``, without its subfolders, that are not used, or not whole.

    Args:
        paths: files that the layout reads.
        items: number of items, of which feature files without ids have a row each.
        places: files of --features.
    """
    used = {path.resolve() for path in paths}
    given = {locate_vectors(place)[0].resolve() for place in places}
    lines, others = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file() or path.resolve() in given:
            continue
        rows = _rows(path) if path.suffix == ".npy" else 0
        if path.resolve() in used:
            if rows > items:
                lines.append(f"not used: {rows - items:,} of {rows:,} rows of {path.name}: they belong to no item kept")
        elif path.suffix == ".npy" or path.suffix in _VECTORS:
            about = f" ({rows:,} rows)" if rows else ""
            why = "of no use in this layout" if path.name.endswith(FEATURES) else f"not called *{FEATURES}"
            why = f"{why}; " if path.suffix == ".npy" else ""
            lines.append(f"not used: {path.name}{about}: {why}--features MODALITY=FILE takes it")
        else:
            others.append(path.name)
    if others:
        more = f" and {len(others) - _SHOWN:,} more" if len(others) > _SHOWN else ""
        lines.append(f"not used: {', '.join(others[:_SHOWN])}{more}: no file of this layout")
    return lines


def _rows(path: Path) -> int:
    try:
        shape = read_array(path, mapped=True).shape
    except InputError:  # a feature file is refused where it is read
        return 0
    return int(shape[0]) if shape else 0
