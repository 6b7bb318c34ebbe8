"""The raw layouts behind one door: which files each has, and how its interactions and items are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.download.fetch import fetch
from pipelines.download.progress import Transfer
from pipelines.errors import UsageError
from pipelines.io.raw import MalformedRecords, RawInteractions
from pipelines.io.reporter import Reporter
from pipelines.recipe import Recipe
from pipelines.sources import allrecipes, amazon, table


class Amazon:
    """Reviews, metadata and published image features of one category."""

    def __init__(self, recipe: Recipe, reporter: Reporter) -> None:
        inputs = {feature.input for feature in recipe.features.values()}
        published = any(feature.encoder == "published" for feature in recipe.features.values())
        wanted = ["reviews", *(["metadata"] if inputs else []), *(["image-features"] if published else [])]
        files = recipe.entry.files
        missing = [role for role in wanted if role not in files]
        if missing:
            raise UsageError(
                f"[datasets.{recipe.name}] in datasets.toml has no file {missing[0]}; add "
                f"[datasets.{recipe.name}.files.{missing[0]}] with its name and urls."
            )
        self._paths = {role: _obtain(recipe, role, reporter) for role in wanted}

    def paths(self) -> Mapping[str, Path]:
        """Role -> file."""
        return self._paths

    def settings(self) -> dict[str, Any]:
        """The release shows in the records."""
        return {}

    def pictures(self) -> list[str]:
        """Pictures are addresses in the metadata."""
        return []

    def interactions(self, malformed: MalformedRecords, report: Callable[[str], None]) -> RawInteractions:
        """Each review is an interaction."""
        return amazon.read_interactions(self._paths["reviews"], malformed)

    def items(self, item_ids: list[str], malformed: MalformedRecords) -> pd.DataFrame:
        """Title, text and address of the picture, where metadata are wanted."""
        if "metadata" not in self._paths:
            return _nothing_known(item_ids)
        return amazon.read_items(self._paths["metadata"], item_ids, malformed)


class Table:
    """Your own tables."""

    def __init__(self, recipe: Recipe, reporter: Reporter) -> None:
        self.columns = recipe.table
        if self.columns.interactions is None:
            raise UsageError(f"{recipe.name} is prepared from tables; give them as --interactions FILE (--items FILE).")
        if self.columns.items is None and (self.columns.text or self.columns.image):
            raise UsageError("--text and --image-column name columns of the items; give their table as --items FILE.")
        self._paths = table.files(self.columns.interactions, self.columns.items)
        self._images = table.files(self.columns.interactions, None, self.columns.images).get("images")

    def paths(self) -> Mapping[str, Path]:
        """Role -> file."""
        return self._paths

    def settings(self) -> dict[str, Any]:
        """The columns; no path, which would tell of this machine."""
        return {"columns": self.columns.model_dump(mode="json", exclude={"interactions", "items", "images"})}

    def pictures(self) -> list[str]:
        """Where they lie, and their names."""
        if self._images is None:
            return []
        return [str(self._images), *sorted(path.name for path in self._images.iterdir())]

    def interactions(self, malformed: MalformedRecords, report: Callable[[str], None]) -> RawInteractions:
        """Each record is an interaction, if it is rated high enough."""
        columns = self.columns.model_dump(include={"user", "item", "time", "rating", "min_rating"})
        return table.read_interactions(self._paths["interactions"], malformed, report=report, **columns)

    def items(self, item_ids: list[str], malformed: MalformedRecords) -> pd.DataFrame:
        """Title, text and picture, as far as columns or a folder tell."""
        if "items" in self._paths:
            columns = self.columns.model_dump(include={"item", "text", "image"})
            return table.read_items(self._paths["items"], item_ids, malformed, images=self._images, **columns)
        items = _nothing_known(item_ids)
        return items if self._images is None else items.assign(image=table.pictures_named(self._images, item_ids))


class Allrecipes:
    """FoodRecSys-V1, fetched by hand."""

    def __init__(self, recipe: Recipe, reporter: Reporter) -> None:
        self.recipe = recipe
        self._paths = allrecipes.files(recipe.raw_dir)

    def paths(self) -> Mapping[str, Path]:
        """Role -> file."""
        return self._paths

    def settings(self) -> dict[str, Any]:
        """There is nothing to choose."""
        return {}

    def pictures(self) -> list[str]:
        """The folder, and the names in the folders in it."""
        return [str(self.recipe.raw_dir), *sorted(path.name for path in self.recipe.raw_dir.glob("*images/**/*"))]

    def interactions(self, malformed: MalformedRecords, report: Callable[[str], None]) -> RawInteractions:
        """Each rating is an interaction."""
        return allrecipes.read_interactions(self._paths, malformed)

    def items(self, item_ids: list[str], malformed: MalformedRecords) -> pd.DataFrame:
        """Name, text and picture of each recipe."""
        return allrecipes.read_items(self._paths, item_ids, malformed)

    def ingredients(self, item_ids: list[str]) -> list[list[str]]:
        """The names of each recipe's ingredients."""
        malformed = MalformedRecords(self._paths["metadata"], self.recipe.max_malformed)
        return allrecipes.read_ingredients(self._paths, item_ids, malformed)


LAYOUTS: dict[str, Callable[[Recipe, Reporter], Amazon | Allrecipes | Table]] = {
    "amazon": Amazon,
    "allrecipes": Allrecipes,
    "table": Table,
}


def _obtain(recipe: Recipe, role: str, reporter: Reporter) -> Path:
    def show(transfer: Transfer) -> None:
        reporter.bar(transfer.name, transfer.done, transfer.total, "bytes")

    remote = recipe.entry.files[role].remote()
    unpacked = recipe.raw_dir / remote.name.removesuffix(".gz")
    if remote.sha256 is None and not (recipe.raw_dir / remote.name).exists() and unpacked.is_file():
        return unpacked
    return fetch(remote, recipe.raw_dir, offline=recipe.offline, progress=show, report=reporter.line).path


def _nothing_known(item_ids: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"id": item_ids}, dtype=object).assign(title=None, text=None, image=None)
