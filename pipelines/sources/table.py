"""Your own tables: interactions, and items with texts and pictures, as CSV, JSON lines or parquet.

    interactions    a user and an item a record, ids being texts or whole numbers; optionally the time (a number or
                    a date), a rating, and the split
    items           an id a record; any columns of text; optionally a column with the path or address of a picture
    images          optionally a folder of pictures: where such paths begin, else pictures named by the item's id

Columns are those that options name, else those of usual names; a text table of interactions may lack a header.
All files are streamed; text files may be packed with gzip, bzip2 or xz, separated by commas, tabs, semicolons, | or ::,
and in any encoding. White space around ids does not count. Where all ids of a column are like 12 or 12.0, 12.0 means
12.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from pipelines.build import RawSource, Row, described
from pipelines.entries import TableOptions
from pipelines.errors import InputError, UsageError
from pipelines.features.text_cleaning import clean_text
from pipelines.features.vector_tables import refuse_vectors_as_words
from pipelines.io.files import no_file, no_folder
from pipelines.io.raw import MalformedRecords, RawInteractions
from pipelines.io.reporter import Reporter
from pipelines.recipe import PrepOptions, flag_of
from pipelines.sources.own_columns import find_columns
from pipelines.sources.picture_files import file_named, pictures_named, unused_pictures
from pipelines.tables.column_names import may_name_items, plain_name
from pipelines.tables.column_types import as_text, cell_texts
from pipelines.tables.ids import id_of, without_fractions, written_as
from pipelines.tables.interaction_reader import Part, gather
from pipelines.tables.item_records import wanted_records
from pipelines.tables.table_file import ColumnFile
from pipelines.tables.time_units import in_one_unit
from pipelines.text import TABLE, pluralize, some

_MEDIA = ("image", "audio", "video")


class Table(RawSource):
    """The tables that options or datasets.toml name."""

    options: ClassVar = PrepOptions.model_fields.keys() - {"source", "cold_users", "raw_dir", "release", "category"}

    def files(self, reporter: Reporter) -> Mapping[str, Path]:
        """Find the tables.

        Raises:
            InputError: one of them, or the folder of pictures, does not exist.
            UsageError: a table is not named.
        """
        if self.recipe.table.interactions is None:
            raise UsageError(
                f"{self.recipe.name} is prepared from tables; give them as --interactions FILE (--items FILE)."
            )
        return self.tables()

    def tables(self) -> dict[str, Path]:
        """Return role -> table, of those that are named.

        Raises:
            InputError: one of them, or the folder of pictures, does not exist.
            UsageError: columns of the items are named, but not their table.
        """
        table = self.recipe.table
        if table.items is None and (table.text or table.image or table.audio or table.video):
            raise UsageError(
                "--text and the columns of images, audio and video are those of the items; give their table as "
                "--items FILE."
            )
        given = {"interactions": table.interactions, "items": table.items}
        paths = {role: path for role, path in given.items() if path is not None}
        for role, path in paths.items():
            if not path.is_file():
                raise InputError(f"{no_file(path)}; --{role} (in datasets.toml: {role}) expects a table: {TABLE}.")
        if table.images is not None and not table.images.is_dir():
            raise InputError(f"{no_folder(table.images)}; --images expects one with images.")
        return paths

    def check(self) -> None:
        """Refuse names of columns that the tables lack, and vectors among the columns of text.

        Raises:
            InputError: a column is missing, or several could be that of the ids.
            UsageError: an option without the one that it goes with, or a column of vectors as text.
        """
        table = self.table
        if "items" in self.paths:
            file, text = ColumnFile(self.paths["items"], table.encoding), table.text or ()
            self._require(file, self._item_column(file))
            refuse_vectors_as_words(file, text, flag_of("text"))

    def _require(self, file: ColumnFile, item: str) -> None:
        table = self.table
        if file.headerless and item not in file.names:
            file.refuse_other_text()
            raise InputError(f"{file.path} seems to have no header; add a first line with the names of its columns.")
        names = (
            (item, "item"),
            *((column, "text") for column in table.text or ()),
            *((getattr(table, kind), kind) for kind in _MEDIA),
        )
        for column, name in names:
            if column is not None:
                file.require(column, flag_of(name))

    def item_order(self) -> list[str]:
        """Return the id of each row of the table of items, empty where a row has no valid one."""
        if "items" not in self.paths:
            return []
        path, encoding = self.paths["items"], self.table.encoding
        file = ColumnFile(path, encoding)
        column = self._item_column(file)
        batches = file.batches([column], MalformedRecords(path))
        texts = [text or "" for batch in batches for text in as_text(batch.columns[column], column, path).to_pylist()]
        return [text.strip() for text in texts]

    def item_columns(self) -> list[str]:
        """The column that is named, and that of the interactions."""
        return [name for name in (self.recipe.table.item, self.table.item) if name is not None]

    def settings(self) -> dict[str, Any]:
        """The columns; no path, which would tell of this machine."""
        columns = self.table.model_dump(mode="json", exclude={"interactions", "items", "images"})
        rare = {name for name in ("columns", "split_column", "audio", "video") if columns[name] is None}
        given = {"cold_users": "keep"} if self.recipe.split == "given" else {}
        item = self.recipe.table.item
        given |= {} if item in (None, columns["item"]) else {"item_column": str(item)}
        return {"columns": {name: value for name, value in columns.items() if name not in rare}, **given}

    @property
    def table(self) -> TableOptions:
        """The options, with the columns of interactions that were found by their usual names."""
        return self._columns[0]

    @cached_property
    def _columns(self) -> tuple[TableOptions, list[str], list[str]]:
        if "interactions" not in self.paths:
            return self.recipe.table, [], []
        items = ColumnFile(self.paths["items"], self.recipe.table.encoding).names if "items" in self.paths else ()
        return find_columns(self.paths["interactions"], self.recipe.table, self.recipe.split, items)

    def _item_column(self, file: ColumnFile) -> str:
        """The column of the ids in the table of items: the one that is named, unless interactions alone have it.

        Raises:
            InputError: it is not named, and could be several.
        """
        table, named = self.table, self.recipe.table.item
        if named in file.names:
            return str(named)
        return _id_column(file, table.item or "item", {*(table.text or ()), *(getattr(table, kind) for kind in _MEDIA)})

    def pictures(self) -> list[str]:
        """The folder of pictures, and the names in it; that of the table, where it names pictures, audio or video."""
        table = self.recipe.table
        folders = [table.items.parent] if table.items and any(getattr(table, kind) for kind in _MEDIA) else []
        folders += [] if table.images is None else [table.images]
        names = [] if table.images is None else sorted(path.name for path in table.images.iterdir())
        # Cells are kept as paths from the working directory.
        return [*(f"{folder}, {folder.absolute()}" for folder in folders), *names]

    def interactions(self, malformed: MalformedRecords, on_progress: Callable[[str], None]) -> RawInteractions:
        """Read the interactions, leaving out those that are rated too low.

        Times that are whole numbers keep their unit; dates become seconds since 1970, in UTC where they name no zone;
        several units become one, and fractions a finer one.

        Raises:
            InputError: the file is damaged, lacks a column, holds nothing, or has too many malformed records.
            UsageError: an option without the one that it goes with.
        """
        path = self.paths["interactions"]
        table, unsure, notes = self._columns
        for sentence in notes:
            on_progress(sentence)
        malformed.note_all(unsure)
        columns = (str(table.user), str(table.item), table.time, table.rating, table.min_rating)
        part = Part(path, *columns, split_column=table.split_column, encoding=table.encoding, columns=table.columns)
        roles = ("user", "item", "time", "rating", "split_column")
        malformed.flags = {getattr(table, role): flag_of(role) for role in roles if getattr(table, role) is not None}
        if table.time is not None and self.recipe.split in ("ratio", "cold-items", "given"):
            malformed.flags[table.time] = f"{flag_of('time')} (none reads no times)"
        raw = gather([part], malformed, on_progress, exact=False)
        users, user_ids, of_users = without_fractions(raw.user, raw.user_ids, "user")
        items, item_ids, of_items = without_fractions(raw.item, raw.item_ids, "item")
        times, of_times = (None, []) if raw.timestamp is None else in_one_unit(raw.timestamp, raw.second)
        malformed.note_all((*of_users, *of_items, *of_times))
        if self.recipe.k_core == 0 and "items" in self.paths:
            item_ids = list(dict.fromkeys([*item_ids, *self._all_items(set(item_ids))]))
        return RawInteractions(users, items, user_ids, item_ids, times, raw.split)

    def items(self, item_ids: list[str], malformed: MalformedRecords) -> pd.DataFrame:
        """Read title (the first column of text), text (all of them, cleaned and joined) and picture of each item.

        Audio and video are further columns where they are asked for: a path as that of a picture, from the table.

        The ids are in the column of the item's id, as in the interactions, else in the one column of a usual name or
        ``id``. Cells of text may be numbers and lists. A picture is an address, or a path inside the folder of pictures
        (by default that of the table), from there or absolute; without a column of pictures, it is the one that the id
        names. No more than the wanted items is held.

        Raises:
            InputError: the file is damaged, lacks a column, has too many malformed records, or none of the items.
        """
        table = self.table
        media: dict[str, dict[str, str | None]] = {kind: {} for kind in _MEDIA[1:] if getattr(table, kind)}
        rows = self._rows(self.paths["items"], item_ids, malformed, media) if "items" in self.paths else {}
        items = described(item_ids, rows, malformed)
        for kind, files in media.items():
            items[kind] = pd.Series([files.get(name) for name in item_ids], dtype=object)
        if table.image is None and table.images is not None:
            items["image"] = pd.Series(pictures_named(table.images, item_ids), dtype=object)
        return items

    def details(self) -> list[str]:
        """Return a line for each table with columns that are not used."""
        table, lines = self.table, []
        if "interactions" in self.paths:
            used = {table.user, table.item, table.time, table.rating, table.split_column}
            lines += _unused(ColumnFile(self.paths["interactions"], table.encoding, table.columns), used)
        if "items" in self.paths:
            file = ColumnFile(self.paths["items"], table.encoding)
            lines += _unused(
                file, {self._item_column(file), *(table.text or ()), table.image, table.audio, table.video}
            )
        return lines

    def unused(self, items: pd.DataFrame) -> list[str]:
        """Return lines on the files in the folder of pictures that no item names."""
        folder = self.table.images
        if folder is None:
            return []
        return unused_pictures(folder, items, by_id=self.table.image is None)

    def _all_items(self, known: set[str]) -> list[str]:
        """The ids of the table of items, as the ``known`` ones of interactions are written."""
        path, encoding = self.paths["items"], self.table.encoding
        file = ColumnFile(path, encoding)
        item = self._item_column(file)
        return written_as(_ids(path, item, encoding), known)

    def _rows(
        self,
        path: Path,
        item_ids: list[str],
        malformed: MalformedRecords,
        media: Mapping[str, dict[str, str | None]],
    ) -> dict[str, Row]:
        """Read the rows of items by id; ``media`` (kind -> id -> file) receives their audio and video."""
        table = self.table
        file, text, image, folder = ColumnFile(path, table.encoding), table.text or (), table.image, table.images
        item = self._item_column(file)
        self._require(file, item)
        if item not in (table.item, self.recipe.table.item):
            malformed.note(f"{path.name}: the ids of the items are in its column {item}")
        name_of = {f"{name}.0": name for name in item_ids if name.isdigit()} | {name: name for name in item_ids}
        files = {kind: str(getattr(table, kind)) for kind in media}
        columns = list(dict.fromkeys([*text, *([image] if image else []), *files.values()]))
        rows: dict[str, Row] = {}
        outside: list[str] = []
        for _, written, cells in wanted_records(file, item, columns, name_of, malformed, exact=False):
            picture = None if image is None else file_named(cell_texts(cells[image]), folder or path.parent, outside)
            for kind, column in files.items():
                texts = cell_texts(cells[column])
                media[kind][name_of[written]] = file_name = file_named(texts, path.parent, outside)
                if file_name and "://" in file_name:
                    raise InputError(
                        f"{path} has the address {file_name[:80]} in {column}; {kind} is not fetched: download the "
                        "files, and give their paths."
                    )
            parts = [cell_texts(cells[column]) for column in text]
            title = clean_text(parts[0]) if parts else None
            rows[name_of[written]] = (title, clean_text(chain(*parts)), picture)
        if not rows:
            known = next(map(repr, _ids(path, item, table.encoding)), "none")
            raise InputError(
                f"{path} describes none of the {len(item_ids):,} items: its ids in {item} are like {known}, those of "
                f"the interactions like {item_ids[0]!r}. Name the column with the same ids."
            )
        if outside:
            shown = some([repr(cell[:80]) for cell in outside])
            count = f"{pluralize(len(outside), 'cell')} {'names' if len(outside) == 1 else 'name'}"
            malformed.note(f"{count} no file inside the folder of files, taken as empty: {shown}")
        return rows


def _unused(file: ColumnFile, used: set[str | None]) -> list[str]:
    names = [name for name in file.names if name and name not in used]
    return [f"not used: {pluralize(len(names), 'column')} of {file.path.name}: {', '.join(names)}"] if names else []


def _id_column(file: ColumnFile, item: str, others: Container[str | None]) -> str:
    """The column of the ids of items: ``item``, which may be missing, else written otherwise, else of a usual name.

    Args:
        others: columns that hold something else.

    Raises:
        InputError: several are of a usual name.
    """
    if item in file.names:
        return item
    same = [name for name in file.names if plain_name(name) == plain_name(item)]
    usual = [name for name in file.names if may_name_items(name)]
    found = same or [name for name in usual if name not in others] or usual
    if len(found) > 1:
        raise InputError(
            f"{file.path} has several columns that could be the item's id: {', '.join(found)}; name one: add "
            f"{flag_of('item')} {found[0]}"
        )
    return found[0] if found else item


def _ids(path: Path, column: str, encoding: str | None) -> Iterator[str]:
    """The ids of a column, one by one, without those that are missing or not valid."""
    for batch in ColumnFile(path, encoding).batches([column], MalformedRecords(path), [column]):
        for text in as_text(batch.columns[column], column, path).to_pylist():
            with suppress(ValueError):
                yield id_of(text)
