"""Interactions from the columns of table files: ids coded, times and ratings read, malformed records counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import InputError
from pipelines.io.raw import MalformedRecords, RawInteractions
from pipelines.prepared.dataset import SPLITS
from pipelines.tables.batch import Batch, joined
from pipelines.tables.column_names import usual_columns
from pipelines.tables.column_types import as_numbers, as_text, cell_texts
from pipelines.tables.ids import IdColumn, shortened_by_spreadsheets
from pipelines.tables.table_file import ColumnFile
from pipelines.tables.time_units import with_fractions
from pipelines.tables.times import TimeColumn
from pipelines.text import pluralize

_EXPECTED = {"rating": "no number", "split": "none of 0 (train), 1 (validation, valid, val, dev) and 2 (test)"}
_SPLITS = {"train": 0, "training": 0, "validation": 1, "valid": 1, "val": 1, "dev": 1, "test": 2}
_ROWS = 1_000_000
"""Records per batch: each batch searches all ids known so far, so that few large batches are faster."""
_SHOWN = 40
_SINGLY = 100
"""Malformed records of a batch that are looked at one by one."""


@dataclass(frozen=True)
class Part:
    """One file of interactions, and the names of its columns.

    min_rating: interactions with a lower rating do not count.
    split: the split of the whole file, or split_column: a column that says train (0), validation,
        valid, val or dev (1), or test (2).
    encoding: encoding of a text file; detected by default.
    columns: names of the columns of a text file without a header.
    """

    path: Path
    user: str
    item: str
    time: str | None = None
    rating: str | None = None
    min_rating: float | None = None
    split: int | None = None
    split_column: str | None = None
    encoding: str | None = None
    columns: tuple[str, ...] | None = None


def gather(
    parts: Sequence[Part],
    malformed: MalformedRecords,
    on_progress: Callable[[str], None] = lambda _: None,
    *,
    exact: bool = True,
) -> RawInteractions:
    """Read the files of one set of interactions.

    Args:
        exact: keep ids exactly as written; see :func:`pipelines.tables.ids.id_of`.
        malformed: counts the records that are left out, and receives notes on the files.
        on_progress: called with a line on the number of interactions rated too low.

    Raises:
        InputError: a file is damaged or lacks a column, or they hold nothing, or too many malformed records.
    """
    users, items = IdColumn(exact), IdColumn(exact)
    rows: list[dict[str, np.ndarray]] = []
    low, dates, numbers = 0, 0, 0
    for part in parts:
        of_part = malformed.of(part.path)
        reader = _PartReader(part, users, items, of_part)
        rows += reader.rows()
        low, dates, numbers = low + reader.low, dates + reader.times[0], numbers + reader.times[1]
        of_part.check(reader.records)
        of_part.note_all(reader.unused_ratings())
        if reader.low:
            of_part.leave_out(f"a rating below {part.min_rating:g}", reader.low)
    if low:
        on_progress(f"{pluralize(low, 'interaction')} with a rating below {parts[0].min_rating:g} left out")
    if not any(len(columns["user"]) for columns in rows):
        rated = f" with a rating of {parts[0].min_rating:g} or more; choose a lower --min-rating" if low else ""
        raise InputError(f"{parts[0].path} holds no interactions{rated}.")
    if any("fraction" in columns for columns in rows):
        for columns in rows:
            columns.setdefault("fraction", np.zeros(len(columns["user"])))
    whole = {name: np.concatenate([columns.pop(name) for columns in rows]) for name in list(rows[0])}
    second = None if numbers else 1
    if dates and numbers:
        mixed = f"{parts[0].time} mixes {pluralize(dates, 'date')} and {pluralize(numbers, 'number')}"
        malformed.note_all([f"{mixed}; numbers are read as times since 1970"])
    if "fraction" in whole:
        whole["timestamp"], sentence, second = with_fractions(whole["timestamp"], whole["fraction"], dates=not numbers)
        malformed.note_all([sentence])
    user, user_ids = users.used(whole["user"])
    item, item_ids = items.used(whole["item"])
    malformed.note_all(shortened_by_spreadsheets(user_ids, "user") + shortened_by_spreadsheets(item_ids, "item"))
    return RawInteractions(user, item, user_ids, item_ids, whole.get("timestamp"), whole.get("split"), second)


class _PartReader:
    """Reader of one file.

    low: number of valid interactions rated too low.
    """

    def __init__(self, part: Part, users: IdColumn, items: IdColumn, malformed: MalformedRecords) -> None:
        self._part, self._malformed = part, malformed
        self._ids = {"user": users, "item": items}
        roles = {
            "user": part.user,
            "item": part.item,
            "time": part.time,
            "rating": None if part.min_rating is None else part.rating,
            "split": part.split_column,
        }
        self._columns = {role: column for role, column in roles.items() if column is not None}
        self._file = ColumnFile(part.path, part.encoding, part.columns)
        self._commas = {"decimal_comma": self._file.decimal_comma, "thousands": self._file.thousands}
        self._times = TimeColumn(part.time or "", part.path, self._time_column, **self._commas)
        self.low = 0

    @property
    def records(self) -> int:
        return self._file.records

    @property
    def times(self) -> tuple[int, int]:
        """The number of times read so far that are dates, and of those that are numbers."""
        return self._times.dates, self._times.numbers

    def unused_ratings(self) -> list[str]:
        """Return a sentence if there is a column of ratings that decides nothing."""
        used = {self._part.user, self._part.item, self._part.time, self._part.split_column}
        rated = [name for name in usual_columns("rating", self._file.names) if name not in used]
        if self._part.min_rating is not None or not rated:
            return []
        return [f"{rated[0]} is not used, every interaction counts; --min-rating leaves the lower ones out"]

    def rows(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield the records that count in large batches: columns user, item (codes), timestamp, its fraction, split."""
        ids = (self._part.user, self._part.item)
        batches = self._file.batches(list(dict.fromkeys(self._columns.values())), self._malformed, ids)
        for batch in joined(batches, _ROWS):
            yield self._read(batch)

    def _time_column(self) -> Iterator[pa.Array]:
        column = self._columns["time"]
        file = ColumnFile(self._part.path, self._part.encoding, self._part.columns)
        for batch in file.batches([column], MalformedRecords(self._part.path)):
            yield batch.columns[column]

    def _read(self, batch: Batch) -> dict[str, np.ndarray]:
        cells = {role: batch.columns[column] for role, column in self._columns.items()}
        columns = {role: ids.codes(self._as_text(role, cells[role])) for role, ids in self._ids.items()}
        sound = {role: codes >= 0 for role, codes in columns.items()}
        liked = np.ones(len(batch.records), dtype=bool)
        if "time" in cells:
            columns["timestamp"], sound["time"], fraction = self._times.read(cells["time"])
            columns |= {"fraction": fraction} if fraction.any() else {}
        if "rating" in cells:
            ratings = self._as_numbers("rating", cells["rating"])
            liked, sound["rating"] = ratings >= self._part.min_rating, ~np.isnan(ratings)
        if "split" in cells:
            labels = self._splits(cells["split"])
            sound["split"] = np.isin(labels, range(len(SPLITS)))
            columns["split"] = np.where(sound["split"], labels, 0).astype(np.int8)
        elif self._part.split is not None:
            columns["split"] = np.full(len(batch.records), self._part.split, dtype=np.int8)
        everything = np.logical_and.reduce(list(sound.values()))
        wrong = np.flatnonzero(~everything)
        for row in wrong[:_SINGLY].tolist():
            role = next(role for role, fine in sound.items() if not fine[row])
            problem, kind = self._problem(role, cells[role][row], columns, row)
            column = self._columns[role]
            self._malformed.add(int(batch.records[row]), f"{column}: {problem}", f"{column}: {kind}")
        self._count(wrong[_SINGLY:], sound, cells, columns)
        self.low += int((everything & ~liked).sum())
        kept = everything & liked
        return columns if kept.all() else {name: column[kept] for name, column in columns.items()}

    def _count(
        self,
        rows: np.ndarray,
        sound: dict[str, np.ndarray],
        cells: dict[str, pa.Array],
        columns: dict[str, np.ndarray],
    ) -> None:
        """Count malformed records as one by one, but without showing them: there may be millions."""
        for role, fine in sound.items():
            wrong, rows = rows[~fine[rows]], rows[fine[rows]]
            kinds: Mapping[str, int]
            if role in self._ids:
                kinds = Counter(self._ids[role].problem(code)[1] for code in columns[role][wrong].tolist())
            else:
                kinds = self._kinds(role, cells[role].take(pa.array(wrong)))
            for kind, count in kinds.items():
                self._malformed.add_all(f"{self._columns[role]}: {kind}", count)

    def _kinds(self, role: str, cells: pa.Array) -> dict[str, int]:
        """Return the problems of cells that are no value of a role, and the number of each."""
        texts = pc.utf8_trim_whitespace(cells.drop_null().cast(pa.string()))
        texts = texts.filter(pc.not_equal(texts, ""))
        found = self._times.problems(texts) if role == "time" else {_EXPECTED[role]: len(texts)}
        return {"there is no value": len(cells) - len(texts), **found}

    def _as_text(self, role: str, cells: pa.Array) -> pa.Array:
        return as_text(cells, self._columns[role], self._part.path)

    def _as_numbers(self, role: str, cells: pa.Array) -> np.ndarray:
        return as_numbers(cells, self._columns[role], self._part.path, **self._commas)

    def _splits(self, cells: pa.Array) -> np.ndarray:
        """Return the positions in SPLITS that a column says, float64 [n]; NaN or another number where it says none."""
        if not pa.types.is_string(cells.type):
            return self._as_numbers("split", cells)
        distinct = cells.dictionary_encode()
        words = distinct.dictionary
        known = [_SPLITS.get((word or "").strip().lower(), math.nan) for word in words.to_pylist()]
        numbers = self._as_numbers("split", words)
        values = np.append(np.where(np.isnan(known), numbers, known), math.nan)
        return values[np.asarray(distinct.indices.fill_null(len(words)))]

    def _problem(self, role: str, cell: pa.Scalar, codes: dict[str, np.ndarray], row: int) -> tuple[str, str]:
        """Return the problem of a cell: with its text, and without."""
        if role in self._ids:
            return self._ids[role].problem(int(codes[role][row]))
        text = "".join(cell_texts(cell.as_py())).strip()
        if not text:
            return "there is no value", "there is no value"
        kind = self._times.problem(text) if role == "time" else _EXPECTED[role]
        return f"{text[:_SHOWN]!r} is {kind}", kind
