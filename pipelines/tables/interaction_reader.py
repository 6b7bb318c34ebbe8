"""Interactions from the columns of table files: ids coded, times and ratings read, malformed records counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.errors import InputError
from pipelines.io.raw import MalformedRecords, RawInteractions, check_id
from pipelines.prepared.dataset import SPLITS
from pipelines.tables.column_types import as_numbers, as_text, as_times, cell_texts
from pipelines.tables.table_file import Batch, ColumnFile

_SHOWN = 40


@dataclass(frozen=True)
class Part:
    """One file of interactions, and the names of its columns.

    min_rating: interactions with a lower rating do not count.
    split: the split of the whole file, or split_column: a column that says 0 (train), 1 (validation) or 2 (test).
    """

    path: Path
    user: str
    item: str
    time: str | None = None
    rating: str | None = None
    min_rating: float | None = None
    split: int | None = None
    split_column: str | None = None

    def columns(self) -> list[str]:
        named = (self.user, self.item, self.time, self.rating, self.split_column)
        return list(dict.fromkeys(name for name in named if name is not None))


def gather(
    parts: Sequence[Part], malformed: MalformedRecords, report: Callable[[str], None] = lambda _: None
) -> RawInteractions:
    """Read the files of one set of interactions.

    Args:
        report: is told how many interactions were rated too low to count.

    Raises:
        InputError: a file is damaged or lacks a column, or they hold nothing, or too many malformed records.
    """
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    rows: list[dict[str, np.ndarray]] = []
    records = low = 0
    for part in parts:
        file = ColumnFile(part.path)
        for batch in file.batches(part.columns(), malformed):
            columns, liked = _read_batch(part, batch, malformed, users, items)
            rows.append(columns)
            low += int(len(liked) - liked.sum())
        records += file.records
    malformed.check(records)
    if low:
        report(f"{low:,} interactions with a rating below {parts[0].min_rating:g} left out")
    if not any(len(columns["user"]) for columns in rows):
        raise InputError(f"{parts[0].path} holds no interactions{' that count' if low else ''}.")
    whole = {name: np.concatenate([columns[name] for columns in rows]) for name in rows[0]}
    timestamp, split = whole.get("timestamp"), whole.get("split")
    return RawInteractions(whole["user"], whole["item"], list(users), list(items), timestamp, split)


class _Ids:
    """The ids of a batch, each distinct one looked at once."""

    def __init__(self, texts: pa.Array) -> None:
        encoded = texts.dictionary_encode()
        self._distinct = encoded.dictionary.to_pylist()
        self._position = np.asarray(encoded.indices.fill_null(len(self._distinct)))
        self._problems = [*map(_problem, self._distinct), "the id is missing or not in UTF-8"]
        self.sound = np.array([problem is None for problem in self._problems])[self._position]

    def problem(self, row: int) -> str | None:
        return self._problems[int(self._position[row])]

    def codes(self, kept: np.ndarray, known: dict[str, int]) -> np.ndarray:
        """The codes of the rows that are kept, int32; ids that are new to ``known`` enter it."""
        positions = self._position[kept]
        code_of = np.zeros(len(self._problems), dtype=np.int32)
        for position in np.flatnonzero(np.bincount(positions)):
            code_of[position] = known.setdefault(self._distinct[position], len(known))
        return code_of[positions]


def _problem(text: str) -> str | None:
    try:
        check_id(text)
    except ValueError as problem:
        return str(problem)
    return None


def _wrong(cell: pa.Scalar, why: str) -> str:
    """What is wrong with a cell that is not what its column should hold."""
    text = "".join(cell_texts(cell.as_py())).strip()
    return f"{text[:_SHOWN]!r} is {why}" if text else "there is no value"


def _read_batch(
    part: Part, batch: Batch, malformed: MalformedRecords, users: dict[str, int], items: dict[str, int]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The columns of the records that count, and of all sound records whether their rating counts."""
    ids = {name: _Ids(as_text(batch.columns[name], name, part.path)) for name in (part.user, part.item)}
    sound = {name: column.sound for name, column in ids.items()}
    columns: dict[str, np.ndarray] = {}
    expected: dict[str, str] = {}
    liked = np.ones(len(batch.records), dtype=bool)
    if part.time is not None:
        columns["timestamp"], sound[part.time] = as_times(batch.columns[part.time], part.time, part.path)
        expected[part.time] = "no number and no date in ISO 8601"
    if part.rating is not None and part.min_rating is not None:
        ratings = as_numbers(batch.columns[part.rating], part.rating, part.path)
        liked, sound[part.rating] = ratings >= part.min_rating, ~np.isnan(ratings)
        expected[part.rating] = "no number"
    if part.split_column is not None:
        labels = as_numbers(batch.columns[part.split_column], part.split_column, part.path)
        sound[part.split_column] = np.isin(labels, range(len(SPLITS)))
        expected[part.split_column] = "none of 0 (train), 1 (validation) and 2 (test)"
        columns["split"] = np.nan_to_num(labels).astype(np.int8)
    elif part.split is not None:
        columns["split"] = np.full(len(batch.records), part.split, dtype=np.int8)
    everything = np.logical_and.reduce(list(sound.values()))
    for row in np.flatnonzero(~everything).tolist():
        name = next(name for name, fine in sound.items() if not fine[row])
        reason = ids[name].problem(row) if name in ids else _wrong(batch.columns[name][row], expected[name])
        where = "" if part.path == malformed.path else f"{part.path.name}, "
        malformed.add(int(batch.records[row]), f"{where}{name}: {reason}")
    kept = everything & liked
    coded = {"user": ids[part.user].codes(kept, users), "item": ids[part.item].codes(kept, items)}
    return coded | {name: column[kept] for name, column in columns.items()}, liked[everything]
