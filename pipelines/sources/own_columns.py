"""The columns of your own tables: those that options name, and those found by their usual names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.entries import TableOptions
from pipelines.errors import InputError, UsageError
from pipelines.recipe import flag_of
from pipelines.tables.column_names import suggested_columns, usual_columns
from pipelines.tables.table_file import ColumnFile

NONE = "none"
"""The name that means no column."""
_MEANING = {
    "user": "the user",
    "item": "the item",
    "time": "the time",
    "rating": "the rating",
    "split_column": "the split",
}


def find_columns(
    path: Path, table: TableOptions, split: str, of_items: Sequence[str] = ()
) -> tuple[TableOptions, list[str], list[str]]:
    """Find the columns of interactions that are not named.

    Args:
        split: the name of the split; only ``given`` looks for a column with it.
        of_items: the columns of the table of items; the named column of the item may be there alone.

    Returns:
        The options with them; sentences on columns that may be meant and are not used; and on those that were found.

    Raises:
        InputError: a needed column is not found, or could be several, or a named one is missing.
        UsageError: an option without the one that it goes with.
    """
    if table.rating is not None and table.min_rating is None:
        raise UsageError("--rating-column and --min-rating go together: which column, and the least that counts.")
    if table.split_column is not None and split != "given":
        raise UsageError("--split-column applies only with --split given.")
    file = ColumnFile(path, table.encoding, table.columns)
    needed = {
        "user": True,
        "item": True,
        "time": split in ("temporal", "global-time"),
        "rating": table.min_rating is not None,
        "split_column": split == "given",
    }
    wanted = [role for role in needed if needed[role] or role == "time"]
    found: dict[str, str | None] = {}
    unsure = []
    for role in wanted:
        name = getattr(table, role)
        if role == "time" and name == NONE and NONE not in file.names:
            found[role] = None
        elif name is not None and not (role == "item" and name in of_items and name not in file.names):
            _require(file, name, role)
        else:
            candidates = usual_columns(role, file.names)
            if len(candidates) != 1 and needed[role]:
                raise _not_found(file, role, candidates)
            if len(candidates) > 1:
                unsure.append(
                    f"no times are read; the column could be {' or '.join(candidates)}: add "
                    f"{flag_of(role)} {candidates[0]}"
                )
            found[role] = candidates[0] if len(candidates) == 1 else None
    if split != "given" and (labels := usual_columns("split_column", file.names)):
        unsure.append(f"the column {labels[0]} is not used; --split given keeps the split that it says")
    taken = [f"{name} is {_MEANING[role]}" for role, name in found.items() if name not in (None, role)]
    taken += ["time is the time"] if found.get("time") == "time" else []
    notes = [f"{path.name}: columns found by name: {', '.join(taken)}"] if taken and table.columns is None else []
    return table.model_copy(update=found), unsure, notes


def _require(file: ColumnFile, name: str, role: str) -> None:
    """Check that there is the column of a role.

    Raises:
        InputError: it is missing.
    """
    if name not in file.names and file.headerless:
        raise _without_header(file)
    file.require(name, flag_of(role))


def _not_found(file: ColumnFile, role: str, candidates: list[str]) -> InputError:
    if file.headerless:
        return _without_header(file)
    if candidates:
        return InputError(
            f"{file.path} has several columns that could be {_MEANING[role]}: {', '.join(candidates)}; name one: add "
            f"{flag_of(role)} {candidates[0]}"
        )
    file.refuse_other_text()
    return InputError(
        f"{file.path} has no column that is usually {_MEANING[role]}, only {file.shown_names()}; name the one: add "
        f"{flag_of(role)} NAME"
    )


def _without_header(file: ColumnFile) -> InputError:
    file.refuse_other_text()
    names = suggested_columns(file.names)
    return InputError(f"{file.path} seems to have no header; name its columns: --columns {names}")
