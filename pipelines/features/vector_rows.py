"""The rows of a modality whose vectors the user brings: ``--features MODALITY=FILE``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import InputError
from pipelines.features.rows import Made, Rows
from pipelines.features.vector_files import files_of, locate_vectors, read_item_vectors
from pipelines.features.vector_tables import ItemVectors
from pipelines.io.raw import MalformedRecords
from pipelines.io.step_cache import WorkFolder, key_of
from pipelines.prepared.dataset import Features, filled_rows
from pipelines.recipe import Recipe
from pipelines.tables.ids import written_as
from pipelines.text import pluralize, some
from pipelines.version import created_by

_SHOWN = 20
ItemOrder = Callable[[], list[str]]
"""Returns the ids in the order of the table of items, empty where there is none."""


class VectorFileRows(Rows):
    """Vectors from a file, by item id where it has ids, else in the order of the items.

    A row of zeros means that the item has no content, as in the published layout.

    Raises:
        InputError: the file is missing or not valid.
        UsageError: the file has no such array or column.
    """

    def __init__(
        self, recipe: Recipe, work: WorkFolder, place: str, order: ItemOrder | None, item_columns: Sequence[str]
    ) -> None:
        super().__init__(recipe)
        self.order, self._item_columns = order, tuple(item_columns)
        self._work = work
        self._path, self._key = locate_vectors(place)
        self._counts = MalformedRecords(self._path)
        files = files_of(self._path)
        hashes = {file.name: digest for file, digest in work.hashes(files).items()}
        self._sha256 = key_of(hashes) if self._path.is_dir() else hashes[self._path.name]
        name, key = f"vectors {place}", key_of(created_by(), self._sha256, self._item_columns)
        about = work.recall(name, key)
        if about is None:
            work.remember(name, key, about := self._describe())
        self._about = about

    def _describe(self) -> dict[str, Any]:
        found = self._read()
        by = {} if found.item is None else {"item": found.item}
        return {"dim": found.values.shape[1], "rows": len(found.values), "keyed": found.ids is not None, **by}

    def _read(self) -> ItemVectors:
        return read_item_vectors(self._path, self._key, self._item_columns)

    def settings(self) -> dict[str, Any]:
        part = {} if self._key is None else {"key": self._key}
        part |= {"item": self._about["item"]} if "item" in self._about else {}
        about = {"dim": self._about["dim"], "sha256": self._sha256, "precision": self.recipe.dtype}
        return {"name": "given", "file": self._path.name, **part, **about}

    def contents(self, items: pd.DataFrame, work: WorkFolder) -> str:
        self.check_count(items)
        return ""

    def check_count(self, items: pd.DataFrame) -> None:
        """Check that a file without ids has a row for each item.

        Raises:
            InputError: the numbers of rows and of items differ.
        """
        self._order_of(items)

    def _order_of(self, items: pd.DataFrame) -> tuple[list[str], bool]:
        """Return the ids to which the rows of a file without ids belong, and whether the table of items lists them."""
        if self._about["keyed"]:
            return [], False
        listed = self.order() if self.order else []
        order, where = (listed, "the table of items has") if listed else (items["id"].tolist(), "the data set has")
        if len(order) != self._about["rows"]:
            raise InputError(
                f"{self._path} has {self._about['rows']:,} rows, but {where} {len(order):,}; expected a row each, in "
                "that order, or item ids: an array ids in an .npz, a dict in a .pt, a column of ids in a table."
            )
        return order, bool(listed)

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> Made:
        order, is_listed = self._order_of(items)
        found = self._read()
        ids = items["id"].tolist()
        known = set(ids)
        names = written_as(order if found.ids is None else found.ids, known)
        row_of: dict[str, int] = {}
        for row, name in enumerate(names):
            if name:
                row_of.setdefault(name, row)
        rows = np.array([row_of.get(name, -1) for name in ids], dtype=np.int64)
        self._report(modality, names, row_of, known, rows)
        if found.ids is None and not is_listed and names != sorted(names, key=_by_number):
            self._counts.note(f"its rows are taken in the order of the item ids as texts: {some(names)}")
        self._report_table(modality, found)
        present = rows >= 0
        values = np.zeros((len(ids), self._about["dim"]), dtype=self.recipe.dtype)
        with np.errstate(over="ignore"):  # refused in a sentence
            values[present] = found.values[rows[present]]
        if not np.isfinite(values).all():
            way_out = "choose --dtype float32" if self.recipe.dtype == "float16" else "scale them down"
            raise InputError(f"{self._path} holds values too large for {self.recipe.dtype}; {way_out}.")
        present &= filled_rows(values)
        why = {False: f"no row in {self._path.name}", True: f"a row of zeros in {self._path.name}"}
        return Features(values, present, self.settings()), lambda row: why[bool(rows[row] >= 0)]

    def record(self, modality: str) -> dict[str, dict[str, Any]]:
        """Return the rows read and left out by :meth:`make`, keyed MODALITY=FILE; empty before."""
        return {f"{modality}={name}": about for name, about in self._counts.record().items()}

    def _report(
        self, modality: str, names: list[str], row_of: dict[str, int], wanted: set[str], rows: np.ndarray
    ) -> None:
        found = int((rows >= 0).sum())
        if not found:
            raise InputError(
                f"{self._path} has vectors of none of the {len(rows):,} items: its ids are like "
                f"{next(iter(row_of), '')!r}, those of the items like {next(iter(sorted(wanted)), '')!r}."
            )
        by = "by item id" if self._about["keyed"] else f"in the order of the items ({some(names)})"
        count = pluralize(len(names), "row")
        line = f"{modality}: {count} of {self._path.name} {by}, {found:,} of {len(rows):,} items found"
        surplus = [name for name in row_of if name not in wanted]
        if surplus:
            line += f"; {pluralize(len(surplus), 'row')} of other items left out ({some(surplus)})"
        if len(row_of) < len(names):
            unused = pluralize(len(names) - len(row_of), "row")
            line += f"; {unused} with no id or a repeated one, of which the first counts"
        self._work.reporter.line(line)
        self._counts = MalformedRecords(self._path, read=len(names))
        self._counts.leave_out("a row of no item that is kept", len(surplus))
        self._counts.leave_out("no id", names.count(""))
        self._counts.leave_out("another row of the same item", len(names) - names.count("") - len(row_of))

    def _report_table(self, modality: str, found: ItemVectors) -> None:
        """Report and count what a table alone has: rows without a vector, and columns that became dimensions."""
        self._counts.read += found.empty
        self._counts.leave_out("no vector", found.empty)
        told = [f"{pluralize(found.empty, 'row')} without a vector left out"] if found.empty else []
        if found.columns:
            names = found.columns
            shown = names if len(names) <= _SHOWN else (*names[: _SHOWN // 2], "...", *names[-_SHOWN // 2 :])
            told.append(f"the dimensions are the columns {', '.join(shown)}")
            if len({re.sub(r"[0-9]+$", "#", name) for name in names}) > 1:  # not numbered, as those of vectors are
                self._counts.note(told[-1])
        if found.unused:
            told.append(f"no dimension, for its name is that of numbers of rows: {', '.join(map(repr, found.unused))}")
            self._counts.note(told[-1])
        for sentence in told:
            self._work.reporter.line(f"{modality}: {sentence}")


def _by_number(name: str) -> list[str | int]:
    """Return a key that sorts i2 before i10."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split("([0-9]+)", name))]
