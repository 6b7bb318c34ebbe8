"""MovieLens, as GroupLens publishes it: ratings, and the titles and genres of films.

    100k            u.data (user, item, rating, time, with tabs between),
                    u.item (id|title|dates|address|flags of genres), u.genre (name|position of its flag)
    1m              ratings.dat (user::item::rating::time), movies.dat (id::title::genre|genre)
    latest-small    ratings.csv (userId,movieId,rating,timestamp), movies.csv (movieId,title,genres)

Times are in seconds since 1970. The older files are Latin-1. A table of one's own beside them, ``--items``, adds plots
and pictures by the id of the film.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from pipelines.build import Plan, RawSource, Request, Row, described, fetch_file
from pipelines.entries import FeatureEntry
from pipelines.errors import InputError, UsageError
from pipelines.features.text_cleaning import clean_text
from pipelines.io.raw import MalformedRecords, RawInteractions, check_id, read_lines
from pipelines.io.reporter import Reporter
from pipelines.recipe import RAW, Recipe, resolve
from pipelines.sources.published import unpacked
from pipelines.sources.ratings import Rated, collect_rated
from pipelines.sources.table import Table

_MOST_SECONDS = 2**40
_HEADERS = {"ratings.csv": "userId,movieId,rating,timestamp", "movies.csv": "movieId,title,genres"}
_NO_GENRES = "(no genres listed)"


class _Files(NamedTuple):
    """The names of the files of a release, and the separator of a line of ratings."""

    ratings: str
    metadata: str
    genres: str | None
    separator: str


_RELEASES = (
    _Files("u.data", "u.item", "u.genre", "\t"),
    _Files("ratings.dat", "movies.dat", None, "::"),
    _Files("ratings.csv", "movies.csv", None, ","),
)


class MovieLens(Table):
    """Ratings are interactions, all of them or those from ``--min-rating`` on."""

    options: ClassVar = RawSource.options | {"items", "item", "text", "image", "images", "encoding", "min_rating"}

    @classmethod
    def plan(cls, request: Request) -> Plan:
        """Find, or download and unpack, the files and make the tables; see :class:`pipelines.build.Source`."""
        options, entry = request.options, request.entry
        options.allow(cls.options, f"{request.name} is prepared from the files of MovieLens.")
        if options.items is not None and not (options.text or options.image or options.images):
            raise UsageError("Name the columns of --items that count: --text COLUMNS, --image-column NAME or both.")
        if options.image is not None or options.images is not None:
            pictures = {"visual": FeatureEntry(input="image")}
            entry = entry.model_copy(update={"features": {**entry.features, **pictures}})
        recipe = resolve(request.name, entry, options, request.data_dir / RAW / request.name)
        folder = _folder(recipe, request)
        return super().plan(replace(request, entry=entry, options=options.model_copy(update={"raw_dir": folder})))

    def files(self, reporter: Reporter) -> Mapping[str, Path]:
        """Find the files of the release, and the table beside them."""
        return {**_files(self.recipe.raw_dir), **self.tables()}

    def interactions(self, malformed: MalformedRecords, on_progress: Callable[[str], None]) -> RawInteractions:
        """Read the ratings, leaving out those that are too low.

        Raises:
            InputError: the file is damaged, holds no rating that counts, or has too many malformed lines.
        """
        path, least = self.paths["ratings"], self.recipe.table.min_rating
        raw = collect_rated(_ratings(path, malformed), least, malformed, on_progress)
        if not len(raw):
            raise InputError(f"{path} holds no ratings{'' if least is None else ' that count'}.")
        return raw

    def items(self, item_ids: list[str], malformed: MalformedRecords) -> pd.DataFrame:
        """Read the title and, as text, title, genres and the columns of the table beside the files; and its pictures.

        Raises:
            InputError: a file is damaged, has too many malformed lines, or describes none of the films.
        """
        films = _films(self.paths, set(item_ids), malformed)
        if not films:
            raise InputError(f"{self.paths['metadata']} describes none of the {len(item_ids):,} films.")
        added = super().items(item_ids, malformed.of(self.paths.get("items", malformed.path)))
        rows: dict[str, Row] = {}
        for name, text, image in zip(item_ids, added["text"], added["image"], strict=True):
            if name not in films and not text and not image:
                continue
            title, genres = films.get(name, ("", ""))
            rows[name] = clean_text([title]), clean_text([title, genres, *([text] if text else [])]), image
        return described(item_ids, rows, malformed)

    def settings(self) -> dict[str, Any]:
        """The least rating, and the columns of the table beside the files."""
        table = self.recipe.table
        least = {} if table.min_rating is None else {"min_rating": table.min_rating}
        return {**least, **(super().settings() if table.items or table.images else {})}


def _folder(recipe: Recipe, request: Request) -> Path:
    """The folder with the files: the raw folder or one in it, else that of the zip, unpacked into the work folder."""
    place = recipe.raw_dir
    if place.is_file():
        return unpacked(place, request.work)
    archive = recipe.entry.files.get("archive")
    inner = [] if archive is None else [place / Path(archive.name).stem]
    for folder in (place, *inner):
        if any((folder / release.ratings).is_file() for release in _RELEASES):
            return folder
    if archive is None:
        return place
    return unpacked(fetch_file(recipe, "archive", request.work.reporter), request.work)


def _files(folder: Path) -> dict[str, Path]:
    """Role -> file of the release that is in ``folder``."""
    release = next((known for known in _RELEASES if (folder / known.ratings).is_file()), None)
    if release is None:
        expected = ", or ".join(" and ".join(filter(None, known[:3])) for known in _RELEASES)
        raise InputError(f"{folder} holds no files of MovieLens; expected {expected}.")
    names = {"ratings": release.ratings, "metadata": release.metadata, "genres": release.genres}
    paths = {role: folder / name for role, name in names.items() if name is not None}
    missing = [path.name for path in paths.values() if not path.is_file()]
    if missing:
        raise InputError(f"{folder} has {release.ratings}, but no {' and no '.join(missing)}; unpack the whole zip.")
    return paths


def _lines(path: Path, malformed: MalformedRecords) -> Iterator[tuple[int, str]]:
    """The lines that are not empty with their numbers, in UTF-8, else Latin-1; without the header of a CSV file."""
    number, header = 0, path.name in _HEADERS
    for number, line in read_lines(path):
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = line.decode("latin-1")
        if number == 1 and header:
            if text.strip("\ufeff ") != _HEADERS[path.name]:
                raise InputError(f"{path} begins with {text[:80]!r}; expected the header {_HEADERS[path.name]}.")
        elif text.strip():
            yield number, text
        else:
            malformed.leave_out("empty lines")
    malformed.check(max(0, number - header))


def _ratings(path: Path, malformed: MalformedRecords) -> Iterator[Rated]:
    """User, film, time and rating of each valid line."""
    separator = next(release.separator for release in _RELEASES if release.ratings == path.name)
    for number, line in _lines(path, malformed):
        cells = line.split(separator)
        try:
            if len(cells) != 4:
                raise ValueError(f"{len(cells)} cells, not 4")
            user, item = (check_id(cell.strip()) for cell in cells[:2])
            rating, time = float(cells[2]), int(cells[3])
            if not math.isfinite(rating) or abs(time) > _MOST_SECONDS:
                raise ValueError("its rating or time is no possible one")
        except ValueError as problem:
            malformed.add(number, str(problem))
            continue
        yield user, item, time, rating


def _films(paths: Mapping[str, Path], wanted: set[str], malformed: MalformedRecords) -> dict[str, tuple[str, str]]:
    """The title and genres of each wanted film; of several lines of one film the first counts."""
    path = paths["metadata"]
    genres = _genre_names(paths["genres"]) if "genres" in paths else []
    films: dict[str, tuple[str, str]] = {}
    for number, line in _lines(path, malformed):
        try:
            name, title, kinds = _film(path, line, genres)
        except (ValueError, csv.Error) as problem:
            malformed.add(number, str(problem))
            continue
        if name in wanted:
            films.setdefault(name, (title, ", ".join(kinds)))
    return films


def _film(path: Path, line: str, genres: list[str]) -> tuple[str, str, list[str]]:
    """The id, title and genres of a line."""
    if genres:
        name, title, *_ = cells = line.split("|")
        flags = cells[-len(genres) :]
        if len(cells) != 5 + len(genres) or set(flags) - {"0", "1"}:
            raise ValueError(f"{len(cells)} cells, not five and a flag, 0 or 1, for each of {len(genres)} genres")
        return check_id(name), title, [genre for genre, flag in zip(genres, flags, strict=True) if flag == "1"]
    cells = next(csv.reader([line])) if path.suffix == ".csv" else line.split("::")
    if len(cells) != 3:
        raise ValueError(f"{len(cells)} cells, not 3")
    return check_id(cells[0].strip()), cells[1], [kind for kind in cells[2].split("|") if kind != _NO_GENRES]


def _genre_names(path: Path) -> list[str]:
    """The genres in the order of their flags."""
    names: dict[int, str] = {}
    for number, line in _lines(path, MalformedRecords(path)):
        name, _, position = line.partition("|")
        if not position.strip().isdecimal():
            raise InputError(
                f"Line {number} of {path} is {line[:40]!r}; expected a genre and its number, with | between."
            )
        names[int(position)] = name
    if sorted(names) != list(range(len(names))) or not names:
        raise InputError(f"{path} does not number the genres from 0 on; get the file again.")
    return [names[position] for position in sorted(names)]
