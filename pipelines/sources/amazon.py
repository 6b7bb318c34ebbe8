"""The Amazon product data: the releases of 2014, 2018 and 2023, told apart by the keys of their records.

    release  reviews (a record a line)             metadata (a record a line)
    2014     JSON: reviewerID, asin,               Python literal: asin, title, brand, categories (lists of
             unixReviewTime in seconds             names), description, imUrl
    2018     as in 2014                            JSON: asin, title, brand, category, description (lists),
                                                   imageURLHighRes, imageURL (lists of addresses)
    2023     JSON: user_id, parent_asin,           JSON: parent_asin, title, store, categories, features,
             timestamp in milliseconds; or CSV     description (lists), images (a list of {variant, large,
             of these and the rating               hi_res, thumb})

A review also has a rating: ``overall``, in 2023 ``rating``.
Files may be packed with gzip. All of them are streamed; anything but the item's id may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from pipelines.build import RawSource, Row, described, fetch_file
from pipelines.errors import InputError, UsageError
from pipelines.features.text_cleaning import clean_text
from pipelines.io.literals import parse_literal
from pipelines.io.parsing import parse_json
from pipelines.io.raw import MalformedRecords, RawInteractions, check_id, read_lines
from pipelines.io.reporter import Reporter
from pipelines.sources.ratings import Rated, collect_rated


class _ReviewKeys(NamedTuple):
    user: str
    item: str
    time: str
    rating: str

    def __str__(self) -> str:
        return " and ".join(self[:3])


_RELEASES = (
    _ReviewKeys("user_id", "parent_asin", "timestamp", "rating"),  # 2023, whose records have an asin as well
    _ReviewKeys("reviewerID", "asin", "unixReviewTime", "overall"),  # 2014, 2018
)
_TABLE = "user_id,parent_asin,rating,timestamp"  # the header of the 5-core ratings of 2023
_LARGEST = 2**63 - 1
# The 2014 metadata begin so, which saves parsing the many lines of items that are not wanted.
_LEADING_ID = re.compile(rb"\{'asin': '([^'\\]+)', ")
_ADDRESS = re.compile(r"https?://[!-~]{1,2000}")
_NO_PICTURE = "/no-img"  # in the address of the shop's placeholder
_PAGE_SOURCE = "getTime"  # in titles of 2018 that are scripts of the page, not titles


class Amazon(RawSource):
    """Reviews, metadata and published image features of one category."""

    options: ClassVar = RawSource.options | {"min_rating", "release", "category"}

    def files(self, reporter: Reporter) -> Mapping[str, Path]:
        """Return the files of datasets.toml that the features need."""
        recipe = self.recipe
        published = any(feature.encoder == "published" for feature in recipe.features.values())
        wanted = ["reviews", *(["metadata"] if recipe.features else []), *(["image-features"] if published else [])]
        for role in wanted:
            if role not in recipe.entry.files:
                raise UsageError(
                    f"[datasets.{recipe.name}] in datasets.toml has no file {role}; add "
                    f"[datasets.{recipe.name}.files.{role}] with its name and urls."
                )
        return {role: fetch_file(recipe, role, reporter) for role in wanted}

    def interactions(self, malformed: MalformedRecords, on_progress: Callable[[str], None]) -> RawInteractions:
        """Read the reviews, interactions all of them or those from ``--min-rating`` on; times in the release's unit.

        Raises:
            InputError: the file is damaged, holds no review, or has too many malformed lines.
        """
        path, least = self.paths["reviews"], self.recipe.table.min_rating
        raw = collect_rated(_reviews(path, malformed, least is not None), least, malformed, on_progress)
        if not len(raw) and least is not None:
            raise InputError(f"{path} holds no reviews with a rating of {least:g} or more.")
        if not len(raw):
            raise InputError(f"{path} holds no reviews; expected a JSON object per line with {_RELEASES[1]}.")
        return raw

    def settings(self) -> dict[str, Any]:
        """The least rating, where there is one."""
        least = self.recipe.table.min_rating
        return {} if least is None else {"min_rating": least}

    def items(self, item_ids: list[str], malformed: MalformedRecords) -> pd.DataFrame:
        """Read title, text (title, brand, categories, features, description) and picture's address from the metadata.

        No more than the wanted items is held in memory.

        Raises:
            InputError: the file is damaged, has too many malformed lines, or holds none of the items.
        """
        path, wanted = self.paths.get("metadata"), set(item_ids)
        if path is None:
            return described(item_ids, {})
        rows: dict[str, Row] = {}
        for number, record in _records(path, malformed, {item.encode() for item in wanted}):
            item = record.get("parent_asin", record.get("asin"))
            if not isinstance(item, str):
                malformed.add(number, "it has no asin or parent_asin")
            elif item in wanted and item not in rows:
                rows[item] = _describe(record)
        if not rows:
            raise InputError(
                f"{path} describes none of the {len(wanted):,} items; give the metadata of the same category and "
                "release."
            )
        return described(item_ids, rows, malformed)


def _reviews(path: Path, malformed: MalformedRecords, rated: bool) -> Iterator[Rated]:
    """User, item, time and, if asked for, rating of each valid record."""
    keys: _ReviewKeys | None = None
    for number, record in _records(path, malformed):
        keys = keys or next((known for known in _RELEASES if known.user in record and known.item in record), None)
        try:
            review = _review(record, keys, rated)
        except ValueError as problem:
            malformed.add(number, str(problem))
            continue
        yield review


def _review(record: dict[str, Any], keys: _ReviewKeys | None, rated: bool) -> Rated:
    """User, item, time and rating (0 unless asked for) of a record of reviews."""
    if keys is None:
        raise ValueError(f"it has neither {_RELEASES[1]} nor {_RELEASES[0]}")
    user, item, time, rating = (record.get(key) for key in keys)
    if not isinstance(user, str) or not isinstance(item, str):
        raise ValueError(f"its {keys.user} or {keys.item} is missing or no text")
    if type(time) is not int or abs(time) > _LARGEST:  # bool is an int
        raise ValueError(f"its {keys.time} is missing or no whole number")
    user, item = check_id(user), check_id(item)
    if not rated:
        return user, item, time, 0.0
    if isinstance(rating, bool) or not isinstance(rating, int | float) or not abs(rating) <= _LARGEST:  # nor nan
        raise ValueError(f"its {keys.rating} is missing or no number")
    return user, item, time, float(rating)


def _records(
    path: Path, malformed: MalformedRecords, wanted: Collection[bytes] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a file with their line numbers, skipping most lines of items that are not ``wanted``.

    Raises:
        InputError: the file is damaged, or, at its end, too many lines were malformed.
    """
    number, parse, header = 0, _parse, False
    for number, line in read_lines(path):
        if number == 1 and line == _TABLE.encode():
            parse, header = _parse_row, True
            continue
        if wanted is not None and (leading := _LEADING_ID.match(line)) and leading[1] not in wanted:
            continue
        try:
            record = parse(line)
        except ValueError as problem:
            malformed.add(number, str(problem))
            continue
        if record is None:
            malformed.leave_out("empty lines")
        else:
            yield number, record
    malformed.check(number - header)


def _parse(line: bytes) -> dict[str, Any] | None:
    """The record of a line, JSON or a Python literal; None for an empty line."""
    text = line.decode().strip()
    if not text:
        return None
    if text.startswith("{'"):
        record = parse_literal(text)
    else:
        try:
            record = parse_json(text)
        except ValueError as problem:
            raise ValueError(f"it is not JSON: {problem}") from None
    if not isinstance(record, dict):
        raise ValueError("it is not an object with names and values")
    return record


def _parse_row(line: bytes) -> dict[str, Any] | None:
    """The record of a line of the table; None for an empty line."""
    text = line.decode().strip()
    if not text:
        return None
    cells = text.split(",")
    if len(cells) != 4:
        raise ValueError(f"it has {len(cells)} cells, not the 4 of {_TABLE}")
    return {"user_id": cells[0], "parent_asin": cells[1], "rating": float(cells[2]), "timestamp": int(cells[3])}


def _describe(record: dict[str, Any]) -> Row:
    """Title, text and image of a record of metadata."""
    titles = [text for text in _texts(record.get("title")) if _PAGE_SOURCE not in text]
    brand = _texts(record.get("brand")) or _texts(record.get("store"))
    categories = _texts(record.get("categories")) or _texts(record.get("category"))
    # Paths through the categories share their beginnings.
    points = [*_texts(record.get("features")), *_texts(record.get("description"))]
    parts = [*titles, *brand, *dict.fromkeys(categories), *points]
    return clean_text(titles), clean_text(parts), _image(record)


def _image(record: dict[str, Any]) -> str | None:
    """The address of the main picture, in a size that a network can use."""
    pictures = [picture for picture in _listed(record.get("images")) if isinstance(picture, dict)]
    pictures.sort(key=lambda picture: picture.get("variant") != "MAIN")  # stable: else the first one
    of_2023 = [picture.get(size) for picture in pictures for size in ("large", "hi_res", "thumb")]
    of_2018 = [*_listed(record.get("imageURLHighRes")), *_listed(record.get("imageURL"))]
    for address in [*of_2023, *of_2018, record.get("imUrl")]:
        if isinstance(address, str) and _ADDRESS.fullmatch(address) and _NO_PICTURE not in address:
            return address
    return None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    """The texts of a value that is a text, a list of texts or a list of such lists."""
    if isinstance(value, str):
        return [value]
    parts = [part for item in _listed(value) for part in (item if isinstance(item, list) else [item])]
    return [part for part in parts if isinstance(part, str)]
