"""FoodRecSys-V1: recipes, ratings and pictures of Allrecipes, as published on Kaggle behind a login.

    core-data_recipe.csv               recipe_id, recipe_name, image_url, ingredients (separated by ^),
                                       cooking_directions and nutritions (Python literals)
    core-data-train_rating.csv         user_id, recipe_id, rating, dateLastModified; so are -valid_ and -test_
    core-data-images/                  a picture a recipe, named by its id
    raw-data_recipe.csv, raw-data_interaction.csv, raw-data-images/
                                       the same before it was filtered and split, with malformed lines

A date ends with a line break inside its quotes. Ids are whole numbers, so that a line that begins with one begins
a record: a quote that is never closed costs its own record, not the rest of the file.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.build import RawSource, Row, described
from pipelines.errors import InputError
from pipelines.features.text_cleaning import clean_text
from pipelines.interactions import collect
from pipelines.io.files import read_problem
from pipelines.io.literals import parse_literal
from pipelines.io.raw import LONGEST_LINE, MalformedRecords, RawInteractions, check_id, read_lines
from pipelines.io.reporter import Reporter
from pipelines.sources.numbered_records import numbered_records
from pipelines.tables.time_units import with_fractions

RECIPES = "metadata"
_CORE = {
    "train": "core-data-train_rating.csv",
    "validation": "core-data-valid_rating.csv",
    "test": "core-data-test_rating.csv",
    RECIPES: "core-data_recipe.csv",
}
_RAW = {"interactions": "raw-data_interaction.csv", RECIPES: "raw-data_recipe.csv"}
_HOW_TO_GET_IT = (
    "download FoodRecSys-V1 from https://www.kaggle.com/datasets/elisaxxygao/foodrecsysv1, which needs a login, "
    f"unpack it, and pass the folder that holds {', '.join(_CORE.values())} and core-data-images (or "
    f"{', '.join(_RAW.values())} and raw-data-images) as --raw DIR"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000
_TIMES = re.compile(r"\A\s*(?:(?:Prep|Cook|Ready In)\n[^\n]*\n)+")  # what the directions begin with
_ADDRESS = re.compile(r"https?://[!-~]{1,2000}")


class Allrecipes(RawSource):
    """FoodRecSys-V1, fetched by hand."""

    def files(self, reporter: Reporter) -> Mapping[str, Path]:
        """Find the recipes, and the three splits of the core data, else the raw interactions.

        Raises:
            InputError: neither layout is complete; says what to download from where.
        """
        folder = self.recipe.raw_dir
        for names in (_CORE, _RAW):
            if all((folder / name).is_file() for name in names.values()):
                return {role: folder / name for role, name in names.items()}
        nearer = _RAW if any((folder / name).is_file() for name in _RAW.values()) else _CORE
        missing = [name for name in nearer.values() if not (folder / name).is_file()]
        raise InputError(f"{folder} has no {' and no '.join(missing)}; {_HOW_TO_GET_IT}.")

    def pictures(self) -> list[str]:
        """List the folder, and the names in the folders in it."""
        return [str(self.recipe.raw_dir), *sorted(path.name for path in self.recipe.raw_dir.glob("*images/**/*"))]

    def interactions(self, malformed: MalformedRecords, on_progress: Callable[[str], None]) -> RawInteractions:
        """Read the ratings, whatever they are; with their split where the layout fixes it.

        Times are in seconds since 1970, or, where some have a fraction, in a finer unit.

        Raises:
            InputError: a file is damaged, is no such table, or they hold nothing or too many malformed records.
        """
        parts = [role for role in self.paths if role != RECIPES]
        raw = collect({role: _ratings(self.paths[role], malformed.of(self.paths[role])) for role in parts})
        if not len(raw):
            raise InputError(
                f"{self.paths[parts[0]]} holds no ratings; expected user_id, recipe_id, rating, dateLastModified."
            )
        assert raw.timestamp is not None
        times, fractions = np.divmod(raw.timestamp, _SECOND)
        if fractions.any():
            times, sentence, _ = with_fractions(times, fractions / _SECOND, dates=True)
            malformed.note_all([sentence])
        return replace(raw, timestamp=times)

    def items(self, item_ids: list[str], malformed: MalformedRecords) -> pd.DataFrame:
        """Read name, text (name, ingredients and directions) and picture of each recipe, its address where it has none.

        Raises:
            InputError: the table is damaged, has too many malformed records, or holds none of the recipes.
        """
        pictures = _pictures(self.paths[RECIPES])
        rows: dict[str, Row] = {}
        for recipe, cells in _recipes(self.paths[RECIPES], item_ids, malformed):
            name, names = cells["recipe_name"], ", ".join(_names(cells["ingredients"]))
            address = cells["image_url"].strip()
            image = pictures.get(recipe, address if _ADDRESS.fullmatch(address) else None)
            rows[recipe] = (
                clean_text([name]),
                clean_text([name, names, _directions(cells["cooking_directions"])]),
                image,
            )
        return described(item_ids, rows, malformed)

    def ingredients(self, item_ids: list[str]) -> list[list[str]]:
        """Read the names of the ingredients of each recipe; empty where none are known."""
        malformed = MalformedRecords(self.paths[RECIPES], self.recipe.max_malformed)
        found = {
            recipe: _names(cells["ingredients"]) for recipe, cells in _recipes(self.paths[RECIPES], item_ids, malformed)
        }
        return [found.get(item, []) for item in item_ids]


def _ratings(path: Path, malformed: MalformedRecords) -> Iterator[tuple[str, str, int]]:
    """User, recipe and time, in microseconds since 1970, of each sound record."""
    columns, records = _open(path, ("user_id", "recipe_id", "dateLastModified"))
    width, total = len(columns), 0
    user_at, item_at, time_at = (columns.index(name) for name in ("user_id", "recipe_id", "dateLastModified"))
    for number, record in records:
        total += 1
        # No cell of these tables has a comma or a quote of its own.
        cells = record.replace(b'"', b"").split(b",")
        try:
            if len(cells) != width:
                raise ValueError(f"{len(cells)} cells, not {width}")
            rating = _id(cells[user_at]), _id(cells[item_at]), _micros(cells[time_at])
        except ValueError as problem:
            malformed.add(number, str(problem))
            continue
        yield rating
    malformed.check(total)


def _id(cell: bytes) -> str:
    cell = cell.strip()
    if not cell.isdigit():
        raise ValueError(f"the id {cell.decode(errors='replace')[:40]!r} is no whole number")
    return check_id(cell.decode())


def _micros(cell: bytes) -> int:
    text = cell.decode(errors="replace").strip()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no date") from None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)


def _recipes(path: Path, item_ids: Sequence[str], malformed: MalformedRecords) -> Iterator[tuple[str, dict[str, str]]]:
    """The cells of each wanted recipe, by column; of several records of one recipe the first counts."""
    names = ("recipe_id", "recipe_name", "image_url", "ingredients", "cooking_directions")
    columns, records = _open(path, names)
    position = {name: columns.index(name) for name in names}
    wanted, found, total = set(item_ids), set[str](), 0
    csv.field_size_limit(LONGEST_LINE)  # the raw table has all reviews of a recipe in one cell
    for number, record in records:
        total += 1
        try:
            cells = next(csv.reader([record.decode()], strict=True))
            if len(cells) != len(columns):
                raise ValueError(f"{len(cells)} cells, not {len(columns)}")
            recipe = _id(cells[position["recipe_id"]].encode())
        except (ValueError, csv.Error) as problem:
            malformed.add(number, str(problem))
            continue
        if recipe in wanted and recipe not in found:
            found.add(recipe)
            yield recipe, {name: cells[position[name]] for name in names}
    malformed.check(total)
    if not found:
        raise InputError(f"{path} describes none of the {len(wanted):,} recipes; give the table of the same data.")


def _open(path: Path, needed: Sequence[str]) -> tuple[list[str], Iterator[tuple[int, bytes]]]:
    """Names of the columns of a table, in order, and its records.

    Raises:
        InputError: a needed column is missing, or there are two of its name.
    """
    lines = read_lines(path)
    _, header = next(lines, (0, b""))
    columns = [cell.strip() for cell in header.decode("utf-8-sig", "replace").replace('"', "").split(",")]
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}; expected a table of FoodRecSys-V1.")
    if twice := [name for name in needed if columns.count(name) > 1]:
        raise InputError(f"{path} has more than one column {', '.join(twice)}; expected a table of FoodRecSys-V1.")
    return columns, numbered_records(path, lines, b"\n")


def _names(cell: str) -> list[str]:
    return [name for name in (part.strip() for part in cell.split("^")) if name]


def _directions(cell: str) -> str | None:
    """The text in ``{'directions': u'...'}``, without the times that it begins with."""
    text = cell.strip()
    if text.startswith("{"):
        try:
            directions = parse_literal(text)
        except ValueError:
            return None
        text = directions.get("directions", "")
    return _TIMES.sub("", text) if isinstance(text, str) else None


def _pictures(recipes: Path) -> dict[str, str]:
    """Recipe id -> the path of its picture; Kaggle packs the folder of pictures into one of the same name."""
    outer = recipes.with_name(recipes.name.replace("_recipe.csv", "-images"))
    inner = outer / outer.name
    try:
        folder = inner if inner.is_dir() else outer
        if not folder.is_dir():
            return {}
        return {path.stem: str(path) for path in folder.iterdir() if path.suffix.lower() == ".jpg"}
    except OSError as problem:
        raise read_problem(outer, problem) from problem
