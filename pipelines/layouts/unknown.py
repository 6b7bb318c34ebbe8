"""Folders that no layout recognises: the files found, and what the nearest layout lacks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from pipelines.errors import InputError
from pipelines.layouts import lightgcn, mmrec, mmssl, recbole
from pipelines.tables.column_names import usual_columns
from pipelines.tables.table_file import ColumnFile

_SHOWN = 12
_PICKLES = (".pkl", ".pickle")
_MATRICES = {"train": ("trnMat", "train_mat"), "val": ("valMat", "val_mat"), "test": ("tstMat", "test_mat")}
"""File of the published layout, without .json -> pickled matrices of DiffMM, and of MMSSL."""
_NAMED = {"train": r"tra?i?n", "val": r"va?li?d?", "test": r"te?st"}
"""The same -> how names of other pickles begin."""
_TABLES = (".csv", ".tsv", ".jsonl", ".parquet", ".dat", ".data", ".gz")


def unknown_folder(folder: Path, on_progress: Callable[[str], None]) -> InputError:
    """Return the refusal of a folder; nothing in it is unpickled.

    Args:
        on_progress: receives the lines of Python that convert pickled matrices.
    """
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    pickles = [name for name in names if name.endswith(_PICKLES)]
    matrices = {split: _matrix_of(split, names, pickles) for split in _MATRICES}
    known = {split: name for split, name in matrices.items() if name}
    if known or pickles:
        return _convert(folder, known, pickles, on_progress)
    found = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")
    return InputError(f"{folder} is of no known layout. It has {found or 'no files'}. {_nearest(folder, names)}")


def _matrix_of(split: str, names: list[str], pickles: list[str]) -> str | None:
    """Return the file of a split: of a released name, else the pickle of the shortest name that begins like it."""
    released = [name for name in names if name.removesuffix(".pkl") in _MATRICES[split]]
    begun = sorted((name for name in pickles if re.match(_NAMED[split], name, re.IGNORECASE)), key=len)
    return next(iter([*released, *begun]), None)


def _nearest(folder: Path, names: list[str]) -> str:
    interactions = [name for name in names if name.endswith(".inter")]
    if interactions:
        file = ColumnFile(folder / interactions[0])
        return (
            f"{interactions[0]} has the columns {file.shown_names()}; RecBole's layout needs {recbole.USER}:token and "
            f"{recbole.ITEM}:token, MMRec's {mmrec.USER} and {mmrec.ITEM}. Columns of other names "
            f"go to --interactions {file.path}, with --user-column and --item-column."
        )
    layouts = {"the published layout": mmssl.SPLIT_FILES.values(), "LightGCN's": ("train.txt", "test.txt")}
    for layout, needed in layouts.items():
        missing = [name for name in needed if name not in names]
        if len(missing) < len(list(needed)):
            lacks = f"it has no {' and no '.join(missing)}" if missing else "its first lines are no numbers"
            return f"It is nearest to {layout} ({', '.join(needed)}), but {lacks}."
    inner = [path.name for path in sorted(folder.iterdir()) if path.is_dir()]
    tables = [name for name in names if name.endswith(_TABLES)]
    interacting = [name for name in tables if _names_interactions(folder / name)]
    if interacting:
        name = interacting[0]
        return f"{name} seems to be a table of interactions: give it as --interactions {folder / name}."
    if tables:
        return f"If {tables[0]} is a table of interactions, give it as --interactions {folder / tables[0]}."
    layouts_of = _phrase([*mmssl.SPLIT_FILES.values()]), _phrase([lightgcn.SPLIT_FILES["train"], "test.txt"])
    hint = f" Is it the folder {inner[0]} in it?" if len(inner) == 1 else ""
    return f"Expected {layouts_of[0]}; {layouts_of[1]} of LightGCN; or a file .inter of RecBole or MMRec.{hint}"


def _names_interactions(path: Path) -> bool:
    """Return True for a table with a column of users and one of items, both by a usual name."""
    try:
        names = ColumnFile(path).names
    except InputError:
        return False
    return all(usual_columns(role, names) for role in ("user", "item"))


def _phrase(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}"


def _convert(folder: Path, known: dict[str, str], pickles: list[str], on_progress: Callable[[str], None]) -> InputError:
    """Tell how to turn pickled matrices into JSON in three lines of Python; return the refusal.

    Args:
        known: split -> file; empty if the names of the ``pickles`` do not tell.
    """
    matrices = known or {split: f"{split.upper()}.pkl" for split in _MATRICES}
    put = "" if known else f", with the file of each split in place of {', '.join(matrices.values())}"
    for line in (
        "import json, pickle",
        f"for split, name in {matrices!r}.items():",
        '    json.dump({user: list(map(int, items)) for user, items in enumerate(pickle.load(open(name, "rb")).tolil()'
        '.rows)}, open(f"{split}.json", "w"))',
    ):
        on_progress(line)
    return InputError(
        f"{folder} has pickles ({', '.join(known.values() or pickles)}), which are not read, as opening one may run "
        f"any program. If you trust them, and they hold sparse matrices of users and items, run the three lines of "
        f"Python above in that folder{put} (SciPy must be installed), which turn them into JSON; then prepare again."
    )
