"""Your own tables: interactions, and items with texts and pictures, in columns you name, as CSV, JSON lines or parquet.

    interactions    a user and an item a record, ids being texts or whole numbers; optionally the time (a number or
                    a date) and a rating
    items           an id a record; any columns of text; optionally a column with the path or address of a picture
    images          optionally a folder of pictures: where such paths begin, else pictures named by the item's id

All files are streamed; text files may be packed with gzip, separated by commas, tabs, semicolons, | or ::, and in any
encoding. White space around ids does not count. Where all ids of a column are like 12 or 12.0, 12.0 means 12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from pipelines.build import RawSource, undescribed
from pipelines.errors import InputError, UsageError
from pipelines.features.text_cleaning import clean_text
from pipelines.io.raw import MalformedRecords, RawInteractions
from pipelines.io.reporter import Reporter
from pipelines.recipe import PrepOptions
from pipelines.tables.column_types import as_text, cell_texts
from pipelines.tables.ids import are_whole_numbers, id_of, without_fractions
from pipelines.tables.interaction_reader import Part, gather
from pipelines.tables.item_records import wanted_records
from pipelines.tables.table_file import ColumnFile
from pipelines.tables.time_units import in_one_unit

_ID_COLUMNS = ("id", "item_id")
_KINDS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}


class Table(RawSource):
    """Your own tables, as options or datasets.toml name them."""

    options = PrepOptions.model_fields.keys() - {"source", "cold_users", "raw_dir"}

    def files(self, reporter: Reporter) -> Mapping[str, Path]:
        """The tables; a folder of pictures is none of them."""
        table = self.recipe.table
        if table.interactions is None:
            raise UsageError(
                f"{self.recipe.name} is prepared from tables; give them as --interactions FILE (--items FILE)."
            )
        if table.items is None and (table.text or table.image):
            raise UsageError("--text and --image-column name columns of the items; give their table as --items FILE.")
        found = files(table.interactions, table.items, table.images)
        return {role: path for role, path in found.items() if role != "images"}

    def settings(self) -> dict[str, Any]:
        """The columns; no path, which would tell of this machine."""
        return {"columns": self.recipe.table.model_dump(mode="json", exclude={"interactions", "items", "images"})}

    def pictures(self) -> list[str]:
        """Where they lie, and their names."""
        images = self.recipe.table.images
        return [] if images is None else [str(images), *sorted(path.name for path in images.iterdir())]

    def interactions(self, malformed: MalformedRecords, report: Callable[[str], None]) -> RawInteractions:
        """Each record is an interaction, if it is rated high enough."""
        columns = self.recipe.table.model_dump(include={"user", "item", "time", "rating", "min_rating", "encoding"})
        return read_interactions(self.paths["interactions"], malformed, report=report, **columns)

    def items(self, item_ids: list[str], malformed: MalformedRecords) -> pd.DataFrame:
        """Title, text and picture, as far as columns or a folder tell."""
        images = self.recipe.table.images
        if "items" in self.paths:
            columns = self.recipe.table.model_dump(include={"item", "text", "image", "encoding"})
            return read_items(self.paths["items"], item_ids, malformed, images=images, **columns)
        items = undescribed(item_ids)
        return items if images is None else items.assign(image=pictures_named(images, item_ids))


def files(interactions: Path, items: Path | None = None, images: Path | None = None) -> dict[str, Path]:
    """Role -> path of what is given.

    Raises:
        InputError: one of them is not there.
    """
    for what, path in (("interactions", interactions), ("items", items)):
        if path is not None and not path.is_file():
            raise InputError(f"There is no file {path}; --{what} expects a table: CSV, TSV or parquet.")
    if images is not None and not images.is_dir():
        raise InputError(f"There is no folder {images}; --images expects one with pictures.")
    given = {"interactions": interactions, "items": items, "images": images}
    return {role: path for role, path in given.items() if path is not None}


def read_interactions(
    path: Path,
    malformed: MalformedRecords,
    *,
    user: str = "user",
    item: str = "item",
    time: str | None = None,
    rating: str | None = None,
    min_rating: float | None = None,
    encoding: str | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> RawInteractions:
    """Read a table of interactions.

    Args:
        user, item, time, rating: names of columns. Times that are numbers keep their unit, rounded down; dates
            become seconds since 1970, in UTC where they name no zone; several units become one.
        encoding: of the file, where it is not to be found out.
        min_rating: the least rating that counts; needs ``rating``, and the other way round.
        report: is told how many interactions were rated lower.

    Raises:
        InputError: the file is damaged, lacks a column, holds nothing, or has too many malformed records.
        UsageError: one of ``rating`` and ``min_rating`` without the other.
    """
    if (rating is None) != (min_rating is None):
        raise UsageError("--rating-column and --min-rating go together: which column, and the least that counts.")
    file = ColumnFile(path, encoding)
    for column, role in ((user, "user"), (item, "item"), (time, "time"), (rating, "rating")):
        if column is not None:
            file.require(column, f"--{role}-column")
    part = Part(path, user, item, time, rating, min_rating, encoding=encoding)
    raw = gather([part], malformed, report, exact=False)
    users, user_ids = without_fractions(raw.user, raw.user_ids)
    items, item_ids = without_fractions(raw.item, raw.item_ids)
    times = raw.timestamp
    if times is not None:
        times, said = in_one_unit(times)
        for sentence in said:
            malformed.note(f"{path.name}: {sentence}")
    return RawInteractions(users, items, user_ids, item_ids, times)


def read_items(
    path: Path,
    item_ids: Sequence[str],
    malformed: MalformedRecords,
    *,
    item: str = "item",
    text: Sequence[str] = (),
    image: str | None = None,
    images: Path | None = None,
    encoding: str | None = None,
) -> pd.DataFrame:
    """Read what a table says about ``item_ids``.

    One row an id, in their order: id, title (the first of the ``text`` columns), text (all of them, cleaned and
    joined) and image, each None where it is not known. Of several records of one item the first counts; no more
    than the wanted items is held.

    Args:
        item: the column of ids; where there is none of that name, ``id`` or ``item_id``.
        text: columns of text; numbers and lists of texts will do.
        image: column with an address (``http://``, ``https://``) or a path inside ``images`` (the folder of the
            table, where that is None), from there or absolute; any other path counts as no picture.
        images: folder of pictures; without ``image``, those named by an item's id.
        encoding: of the file, where it is not to be found out.

    Raises:
        InputError: the file is damaged, lacks a column, has too many malformed records, or none of the items.
    """
    file = ColumnFile(path, encoding)
    item = _id_column(file, item)
    file.require(item, "--item-column")
    for column in text:
        file.require(column, "--text")
    if image is not None:
        file.require(image, "--image-column")
    name_of = {name: name for name in item_ids}
    if are_whole_numbers(_ids(path, item, encoding)):
        name_of = {f"{name}.0": name for name in item_ids} | name_of
    columns = list(dict.fromkeys([*text, *([image] if image else [])]))
    rows: dict[str, tuple[str | None, str | None, str | None]] = {}
    for _, written, cells in wanted_records(file, item, columns, name_of, malformed, exact=False):
        folder = path.parent if images is None else images
        picture = _picture(cell_texts(cells[image]), folder) if image is not None else None
        parts = [cell_texts(cells[column]) for column in text]
        title = clean_text(parts[0]) if parts else None
        rows.setdefault(name_of[written], (title, clean_text(chain(*parts)), picture))
    if not rows:
        known = next(map(repr, _ids(path, item, encoding)), "none")
        raise InputError(
            f"{path} describes none of the {len(item_ids):,} items: its ids in {item} are like {known}, those of the "
            f"interactions like {item_ids[0]!r}. Name the column with the same ids."
        )
    described = [(name, *rows.get(name, (None, None, None))) for name in item_ids]
    table = pd.DataFrame(described, columns=["id", "title", "text", "image"], dtype=object)
    if image is None and images is not None:
        table["image"] = pd.Series(pictures_named(images, item_ids), dtype=object)
    return table


def unused_columns(
    path: Path, *, item: str = "item", text: Sequence[str] = (), image: str | None = None, encoding: str | None = None
) -> list[str]:
    """The columns of a table of items that :func:`read_items` would not look at, in their order.

    Raises:
        InputError: the file is damaged.
    """
    file = ColumnFile(path, encoding)
    used = {_id_column(file, item), *text, image}
    return [name for name in file.names if name not in used]


def _id_column(file: ColumnFile, item: str) -> str:
    return item if item in file.names else next((name for name in _ID_COLUMNS if name in file.names), item)


def _ids(path: Path, column: str, encoding: str | None) -> Iterator[str]:
    """The ids of a column, one by one, without those that are missing or not valid."""
    for batch in ColumnFile(path, encoding).batches([column], MalformedRecords(path)):
        for text in as_text(batch.columns[column], column, path).to_pylist():
            with suppress(ValueError):
                yield id_of(text)


def pictures_named(folder: Path, item_ids: Sequence[str]) -> list[str | None]:
    """The picture in ``folder`` that bears each id as its name; of several kinds, the first in order of the alphabet.

    The ids are looked up among the names that are there, so that none of them is taken for a path.
    """
    pictures = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in _KINDS]
    by_id = {path.stem: str(path) for path in reversed(pictures)}
    return [by_id.get(name) for name in item_ids]


def _picture(texts: list[str], folder: Path) -> str | None:
    """The picture that a cell names, the first of several; None where there is none, or none inside ``folder``."""
    if not texts or texts[0].startswith(("http://", "https://")):
        return texts[0] if texts else None
    path = PurePosixPath(texts[0])
    if ".." in path.parts or set(texts[0]) & set("\\\ufffd") or not texts[0].isprintable():
        return None
    if not path.is_absolute():
        return str(folder / path)
    places = (folder.absolute(), folder.resolve())
    return next((str(folder / path.relative_to(place)) for place in places if path.is_relative_to(place)), None)
