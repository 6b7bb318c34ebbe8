"""MicroLens, as https://recsys.westlake.edu.cn publishes it: short videos with titles and covers, in one folder.

    MicroLens-50k_pairs.csv     user, item, timestamp in milliseconds; or
    MicroLens-50k_pairs.tsv     a user a line: the id, a tab, and items in the order of time with spaces between
    MicroLens-50k_titles.csv    item, title; MicroLens-100k_title_en.csv, which has no header, is read too
    MicroLens-50k_covers/       a picture an item, named by its id

Titles and covers are optional, as is the size in the names.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import dropwhile
from pathlib import Path
from typing import ClassVar

import pandas as pd

from pipelines.build import Plan, RawSource, Request, Row, described
from pipelines.entries import DatasetEntry, FeatureEntry
from pipelines.errors import InputError, UsageError
from pipelines.features.text_cleaning import clean_text
from pipelines.interactions import collect
from pipelines.io.raw import MalformedRecords, RawInteractions, check_id, read_lines
from pipelines.io.reporter import Reporter
from pipelines.sources.numbered_records import begins_record, numbered_records
from pipelines.sources.picture_files import pictures_named
from pipelines.tables.interaction_reader import Part, gather

_PAIRS = ("MicroLens*_pairs.csv", "MicroLens*_pairs.tsv")
_TITLES = ("MicroLens*_titles.csv", "MicroLens*_title_en.csv", "MicroLens*_title.csv")
_COVERS = "MicroLens*_covers"


def recognises(folder: Path) -> bool:
    """Return whether a folder holds a release of MicroLens."""
    return _first(folder, *_PAIRS) is not None


class MicroLens(RawSource):
    """Videos that users commented on; the features are made from titles and covers."""

    options: ClassVar = RawSource.options | {"source"}

    @classmethod
    def plan_folder(cls, folder: Path, request: Request) -> Plan:
        """Plan to read a folder; see :class:`pipelines.build.Source`."""
        request.options.allow(cls.options - {"raw_dir"}, f"{folder} is a release of MicroLens.")
        inputs = {"textual": "text"} if _first(folder, *_TITLES) else {}
        inputs |= {"visual": "image"} if _first(folder, _COVERS) else {}
        features = {modality: FeatureEntry.model_validate({"input": kind}) for modality, kind in inputs.items()}
        entry = DatasetEntry(title=request.name, source="microlens", features=features)
        options = request.options.model_copy(update={"raw_dir": folder, "source": None})
        return cls.plan(replace(request, entry=entry, options=options))

    def files(self, reporter: Reporter) -> Mapping[str, Path]:
        """Find the interactions and the titles."""
        folder = self.recipe.raw_dir
        paths = {"pairs": _first(folder, *_PAIRS), "items": _first(folder, *_TITLES)}
        return {role: path for role, path in paths.items() if path is not None}

    def pictures(self) -> list[str]:
        """The folder of covers, and the names in it."""
        covers = _first(self.recipe.raw_dir, _COVERS)
        return [] if covers is None else [str(covers), *sorted(path.name for path in covers.iterdir())]

    def interactions(self, malformed: MalformedRecords, on_progress: Callable[[str], None]) -> RawInteractions:
        """Read the interactions; their times, or, where only the order is known, places in the order of the user.

        Raises:
            InputError: the file is damaged, holds nothing, or has too many malformed lines.
            UsageError: a split by points in time, which are not known.
        """
        path = self.paths["pairs"]
        if path.suffix == ".csv":
            return gather([Part(path, "user", "item", "timestamp")], malformed, on_progress)
        if self.recipe.split == "global-time":
            raise UsageError(f"{path} has no times, which --split global-time needs; put the .csv beside it.")
        raw = collect({"pairs": _histories(path, malformed)})
        if not len(raw):
            raise InputError(f"{path} holds no interactions; expected a user, a tab and items with spaces between.")
        return raw

    def items(self, item_ids: list[str], malformed: MalformedRecords) -> pd.DataFrame:
        """Read the title of each item, which is its text too, and find its cover.

        Raises:
            InputError: the titles are damaged, or none of them is of one of the items.
        """
        rows: dict[str, Row] = {}
        if "items" in self.paths:
            titles = _titles(self.paths["items"], set(item_ids), malformed)
            if not titles:
                raise InputError(f"{self.paths['items']} has no title of any of the {len(item_ids):,} items.")
            rows = {name: (title, title, None) for name, title in titles.items()}
        items, covers = described(item_ids, rows, malformed), _first(self.recipe.raw_dir, _COVERS)
        if covers is not None:
            items["image"] = pd.Series(pictures_named(covers, item_ids), dtype=object)
        return items


def _first(folder: Path, *patterns: str) -> Path | None:
    """The file or folder of the first pattern that has one."""
    return next((path for pattern in patterns for path in sorted(folder.glob(pattern))), None)


def _histories(path: Path, malformed: MalformedRecords) -> Iterator[tuple[str, str, int]]:
    """User, item and the place of the item in the user's history."""
    number = 0
    for number, line in read_lines(path):
        if not line.strip():
            malformed.leave_out("empty lines")
            continue
        try:
            user, tab, items = line.decode().partition("\t")
            if not tab:
                raise ValueError("there is no tab after the user")
            history = [(check_id(user.strip()), check_id(item), place) for place, item in enumerate(items.split())]
        except ValueError as problem:
            malformed.add(number, str(problem))
            continue
        yield from history
    malformed.check(number)


def _titles(path: Path, wanted: set[str], malformed: MalformedRecords) -> dict[str, str | None]:
    """The title of each wanted item; of several records of one item the first counts."""
    titles: dict[str, str | None] = {}
    total = 0
    lines = dropwhile(lambda line: not begins_record(line[1]), read_lines(path))  # past the names of the columns
    for number, record in numbered_records(path, lines, b" "):
        total += 1
        try:
            name, *parts = next(csv.reader([record.decode()]))
        except (ValueError, csv.Error) as problem:
            malformed.add(number, str(problem))
            continue
        if name in wanted:
            titles.setdefault(name, clean_text([",".join(parts)]))  # a title with commas may have no quotes
    malformed.check(total)
    return titles
