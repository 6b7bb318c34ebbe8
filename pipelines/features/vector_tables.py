"""Item vectors in tables: a column of lists, or numbers in columns of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import InputError, UsageError
from pipelines.io.raw import MalformedRecords
from pipelines.tables.batch import Batch
from pipelines.tables.column_names import may_name_items, plain_name
from pipelines.tables.column_types import as_numbers, as_text, point_for_comma
from pipelines.tables.table_file import ColumnFile

FORMS = "expected [items, dim]: one row of numbers an item"
_OF_IDS = ("id", "idx", "no", "asin", "item")
_SHOWN = 40
_TOKEN = r"[+-]?[0-9]+,[0-9]+([eE][+-]?[0-9]+)?,?"
_COMMAS = rf"(^|[\s\[(]){_TOKEN}\s+[+-]?[.0-9]|[.0-9],?\s+{_TOKEN}($|[\s\])])"
"""A number like 1,5 with white space between it and another one, of which the comma may be the decimal one."""


@dataclass(frozen=True)
class ItemVectors:
    """The rows of a file: values, of any type of numbers [rows, dim], and the item id of each, where it has ids.

    item: the column of the ids, where they are in one of a table.
    empty: number of further rows, which have no vector.
    columns: the columns of a table that became dimensions, where each is one.
    unused: those among them that number the rows, and are none.
    """

    values: np.ndarray
    ids: list[str] | None
    item: str | None = None
    empty: int = 0
    columns: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


def read_vector_table(path: Path, column: str | None, item_columns: Sequence[str] = ()) -> ItemVectors:
    """Read the vectors of a table; see :func:`pipelines.features.vector_files.read_item_vectors`."""
    file = ColumnFile(path)
    fields = {name.partition(":")[0]: name for name in file.names} | {name: name for name in file.names}
    named = next((fields[name] for name in item_columns if name in fields), None) or _usual_id(
        file, column, item_columns
    )
    if named is None and _is_record(file.names):
        raise InputError(
            f"{path} has no header: it begins with {' '.join(file.names)[:_SHOWN]!r}. Begin it with the names of its "
            "columns, such as item,0,1,2, or save numbers alone as .npy."
        )
    item = file.names[0] if named is None else named
    if column is not None and column not in fields:
        file.require(column)
    others = [name for name in file.names if name != item]
    rest = [name for name in others if named is None or not _is_row_number(name)]
    columns = (rest or others or file.names) if column is None else [fields[column]]
    unused = [name for name in others if name not in columns] if column is None else []
    ids: list[str] | None = None if columns == [item] else []
    blocks: list[np.ndarray] = []
    strict, empty = MalformedRecords(path, limit=0.0), 0
    for batch in file.batches(list(dict.fromkeys([item, *columns])), strict, [item]):
        if column is None and not blocks:
            _refuse_several(path, columns, batch)
        has, values = _rows(file, batch, columns, strict.unit)
        blocks.append(values)
        empty += int((~has).sum())
        if ids is not None:
            names = as_text(batch.columns[item], item, path).to_pylist()
            ids += [(names[row] or "").strip() for row in np.flatnonzero(has)]
        elif not has.all():
            record = int(batch.records[int(np.argmin(has))])
            raise InputError(f"{path} has no vector in {strict.unit} {record:,}, nor item ids; leave no row empty.")
    strict.check(file.records)
    widths = sorted({block.shape[1] for block in blocks if len(block)})
    if not widths:
        raise InputError(f"{path} has no vectors; {FORMS}.")
    if len(widths) != 1:
        raise InputError(f"{path} has vectors of the lengths {', '.join(map(str, widths))}; {FORMS}.")
    values = np.concatenate([block for block in blocks if len(block)])
    of_ids = None if ids is None else item
    return ItemVectors(values, ids, of_ids, empty, tuple(columns) if len(columns) > 1 else (), tuple(unused))


def _usual_id(file: ColumnFile, column: str | None, item_columns: Sequence[str]) -> str | None:
    """Return the column of the ids: one of ``item_columns`` written otherwise, else of a usual name; None without one.

    Raises:
        InputError: it could be several.
    """
    names = [name for name in file.names if column not in (name, name.partition(":")[0])]
    same = [name for name in names if plain_name(name) in map(plain_name, item_columns)]
    usual = [name for name in names if may_name_items(name)]
    ids = [name for name in usual if plain_name(name).endswith(_OF_IDS)]  # in contrast to movie, video, ...
    found = same or ids or usual
    if len(found) > 1:
        raise InputError(
            f"{file.path} has several columns that could be the item's id: {', '.join(found)}; take out all but the "
            "one with the ids of the items."
        )
    return found[0] if found else None


def _is_row_number(name: str) -> bool:
    """Return whether a column has a name that pandas gives to the numbers of the rows."""
    return name in ("", "index", "__index_level_0__") or name.startswith("Unnamed: ")


def _refuse_several(path: Path, columns: Sequence[str], batch: Batch) -> None:
    """Refuse several columns of which one holds lists.

    Raises:
        UsageError: there are such.
    """
    lists = [name for name in columns if _is_list(batch.columns[name].type)]
    if lists and len(columns) > 1:
        shown = ", ".join(columns)
        raise UsageError(f"{path} has the columns {shown}; name one: --features MODALITY={path}:{lists[0]}.")


def _is_record(names: Sequence[str]) -> bool:
    """Return whether the names of the columns are a row of numbers, with or without an id, and do not count columns."""
    words = " ".join(names).split()
    numbers = words if all(map(_is_number, words)) else words[1:]
    counted = any([*map(str, range(start, start + len(numbers)))] == numbers for start in (0, 1))
    return bool(numbers) and not counted and all(map(_is_number, numbers))


def _rows(file: ColumnFile, batch: Batch, names: Sequence[str], unit: str) -> tuple[np.ndarray, np.ndarray]:
    """Presence, bool [n], and the values of the rows that are present, [present, dim]."""
    present = np.ones(len(batch.records), bool)
    if len(names) > 1:
        values = np.empty((len(batch.records), len(names)), np.float32)
        for place, name in enumerate(names):
            values[:, place] = _numbers(file, batch, name, unit)
        return present, values
    name, column, path = names[0], batch.columns[names[0]], file.path
    if not _is_list(column.type):
        if not pa.types.is_string(column.type):
            return present, _numbers(file, batch, name, unit)[:, None]
        _refuse_doubtful(file, name, column)
        column = _split(_with_points(file, name, column) if file.decimal_comma else column)
    has = np.asarray(pc.greater(pc.list_value_length(column), 0).fill_null(False))
    column = column.filter(pa.array(has))
    lengths = np.array(pc.list_value_length(column), dtype=np.int64)
    if len(set(lengths.tolist())) > 1:
        odd = int(np.argmax(lengths != lengths[0]))
        record = int(batch.records[np.flatnonzero(has)[odd]])
        raise InputError(
            f"{path}, {unit} {record:,} has {lengths[odd]} numbers in {name}; expected {lengths[0]}, as in the first."
        )
    flat = column.flatten()
    try:
        if pa.types.is_string(flat.type):
            flat = flat.cast(pa.float32())
        numbers = np.asarray(flat.fill_null(float("nan")) if pa.types.is_floating(flat.type) else flat)
    except pa.ArrowInvalid as problem:
        raise InputError(f"{path} has non-numeric cells in {name} ({problem}).") from problem
    return has, numbers.reshape(len(lengths), -1) if len(lengths) else np.zeros((0, 0), np.float32)


def _refuse_doubtful(file: ColumnFile, name: str, texts: pa.Array) -> None:
    """Refuse cells such as ``0,5 0,25``, two numbers with decimal commas, or four.

    Raises:
        InputError: there are such.
    """
    doubtful = texts.filter(pc.match_substring_regex(texts, _COMMAS))
    if len(doubtful):
        raise InputError(
            f"{file.path} has in {name} cells like {doubtful[0].as_py()[:_SHOWN]!r}, whose commas may be decimal or "
            "stand between numbers; write 0.5 0.25, or [0.5, 0.25]."
        )


def _with_points(file: ColumnFile, name: str, texts: pa.Array) -> pa.Array:
    """Return cells with points for decimal commas, where those without a comma show that each is one number.

    Raises:
        InputError: all are like 1,5, which could be one number or two.
    """
    trimmed = pc.utf8_trim_whitespace(texts)
    filled = trimmed.filter(pc.not_equal(trimmed, ""))
    changed = point_for_comma(filled)
    if not pc.all(pc.not_equal(filled, changed), min_count=0).as_py():
        bare = pc.all(pc.invert(pc.match_substring_regex(changed, r"[,;\s\[(]")), min_count=0).as_py()
        return point_for_comma(texts, thousands=file.thousands) if bare else texts
    if len(filled):
        raise InputError(
            f"{file.path} has in {name} cells like {filled[0].as_py()!r}, one number with a decimal comma or two; "
            "write one as 1.5, two as [1, 5]."
        )
    return texts


def _split(texts: pa.Array) -> pa.Array:
    """Return the numbers in texts such as [0.5, 1] as lists of texts."""
    lists = [(text or "").strip().strip("[]()").replace(",", " ").split() or None for text in texts.to_pylist()]
    return pa.array(lists, pa.list_(pa.string()))


def _numbers(file: ColumnFile, batch: Batch, name: str, unit: str) -> np.ndarray:
    """The numbers of a column, float64 [n].

    Raises:
        InputError: a text is no number.
    """
    cells = batch.columns[name]
    values = as_numbers(cells, name, file.path, decimal_comma=file.decimal_comma, thousands=file.thousands)
    if not pa.types.is_string(cells.type):
        return values
    for row in np.flatnonzero(np.isnan(values)).tolist():
        text = (cells[row].as_py() or "").strip()
        if not _is_number(text):
            what = f"{text[:_SHOWN]!r}, no number," if text else "no number"
            raise InputError(
                f"{file.path}, {unit} {int(batch.records[row]):,} has {what} in the column {name}; expected numbers "
                "alone beside the ids: leave out other columns, and items without vectors."
            )
    return values


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def refuse_vectors_as_words(file: ColumnFile, columns: Sequence[str], flag: str) -> None:
    """Refuse columns of vectors among those that should hold words.

    Raises:
        UsageError: a column holds lists of floating-point numbers, or texts such as [0.1, -0.2].
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
    if pa.types.is_string(cells.type):
        filled = list(islice((text for text in cells.to_pylist() if text and text.strip()), 100))
        if not all(text.strip().startswith("[") for text in filled):
            return False
        cells = _split(pa.array(filled, pa.string()))
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
