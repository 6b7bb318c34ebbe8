"""Rows that no network makes: the published image features of Amazon, and ingredients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.features.chunks import row_writer
from pipelines.features.ingredients import encode_ingredients
from pipelines.features.rows import Made, Rows, nothing
from pipelines.features.vectors import DIM, VectorCounts, read_vectors, vectors_identity
from pipelines.io.files import atomic_folder, remove_leftovers, sha256_of
from pipelines.io.step_cache import WorkFolder, key_of, read_record, write_record
from pipelines.prepared.dataset import Features
from pipelines.recipe import Recipe

Ingredients = Callable[[list[str]], list[list[str]]]
"""Item ids -> the names of the ingredients of each."""

_VECTORS, _ARRAYS = "vectors.json", ("values.npy", "present.npy")


class VectorRows(Rows):
    """The published 4096-d image features of Amazon items."""

    def __init__(self, recipe: Recipe, path: Path) -> None:
        super().__init__(recipe)
        self.path = path

    def settings(self) -> dict[str, Any]:
        return {**vectors_identity(self.path), "precision": self.recipe.dtype}

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> Made:
        ids = items["id"].tolist()
        key = key_of(self.settings(), work.sha256(self.path), ids)
        folder = work.path / "features" / modality
        about = read_record(folder / _VECTORS, work.reporter.line)
        files = {name: sha256_of(folder / name) for name in _ARRAYS if (folder / name).is_file()}
        if about.get("key") == key and about.get("files") != files:
            work.reporter.line(f"The arrays in {folder} are missing or damaged and are made again")
        if about.get("key") != key or about.get("files") != files:
            about = self._read(folder, key, ids, modality, work)
        present = np.load(folder / "present.npy", allow_pickle=False)
        values = np.load(folder / "values.npy", mmap_mode="r", allow_pickle=False)
        work.reporter.line(f"{modality}: {about['said']}")
        return Features(values, present, self.settings()), lambda _: f"no usable record in {self.path.name}"

    def _read(self, folder: Path, key: str, ids: list[str], modality: str, work: WorkFolder) -> dict[str, Any]:
        counts, present, done = VectorCounts(), np.zeros(len(ids), dtype=bool), 0
        remove_leftovers(folder)
        with atomic_folder(folder) as place:
            with row_writer(place / "values.npy", (len(ids), DIM), np.dtype(self.recipe.dtype)) as write:
                for rows, values in read_vectors(self.path, ids, counts):
                    write(rows, values)
                    present[rows] = True
                    done += len(rows)
                    work.reporter.bar(f"Reading {modality}", done, len(ids), "items")
            work.reporter.bar(f"Reading {modality}", len(ids), len(ids), "items")
            np.save(place / "present.npy", present)
            said = (
                f"{counts.records:,} records, {counts.found:,} of {len(ids):,} items found, {counts.repeated:,} "
                f"repeated, {counts.not_finite:,} with NaN or infinite values left out"
            )
            about = {"key": key, "said": said, "files": {name: sha256_of(place / name) for name in _ARRAYS}}
            write_record(place / _VECTORS, about)
        return about


class IngredientRows(Rows):
    """Twenty ingredients of each recipe."""

    def __init__(self, recipe: Recipe, ingredients: Ingredients) -> None:
        super().__init__(recipe)
        self.ingredients = ingredients

    def settings(self) -> dict[str, Any]:
        return {"name": "ingredients", "seed": self.recipe.seed}

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> Made:
        ids = items["id"].tolist()
        made = encode_ingredients(self.ingredients(ids), ids, seed=self.recipe.seed)
        return made, lambda row: nothing(items, row, "ingredients")
