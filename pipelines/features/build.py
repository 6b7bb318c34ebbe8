"""The encoders of the modalities of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.entries import FeatureEntry
from pipelines.errors import InputError, UsageError
from pipelines.features.image_rows import ImageRows
from pipelines.features.media_rows import AudioRows, VideoRows
from pipelines.features.published_rows import IngredientRows, Ingredients, VectorRows
from pipelines.features.rows import Rows
from pipelines.features.text_rows import TextRows, TfidfRows
from pipelines.features.vector_rows import ItemOrder, VectorFileRows
from pipelines.io.step_cache import WorkFolder
from pipelines.prepared.dataset import Features
from pipelines.recipe import Recipe
from pipelines.text import percent


class FeatureBuilder:
    """The encoders of a recipe."""

    def __init__(
        self,
        recipe: Recipe,
        work: WorkFolder,
        vectors: Path | None = None,
        ingredients: Ingredients | None = None,
        order: ItemOrder | None = None,
        item_columns: Sequence[str] = (),
    ) -> None:
        """Choose the encoders, which :meth:`load` loads, and check the files of --features.

        Args:
            vectors: the file of published image features, if any.
            ingredients: item ids -> the ingredients of each, where known.
            order: the ids in the order of the source's table of items; by default that of the data set.
            item_columns: names of the column of the item's id, first that in a table of vectors.

        Raises:
            UsageError: an encoder without input.
            InputError: a file of --features is missing or not valid.
        """
        self.recipe = recipe
        self.given = {
            name: VectorFileRows(recipe, work, place, order, item_columns) for name, place in recipe.vectors.items()
        }
        self.makers: dict[str, Rows] = {
            **self.given,
            **{name: _maker(recipe, work, feature, vectors, ingredients) for name, feature in recipe.features.items()},
        }

    def set_order(self, ids: list[str]) -> None:
        """Set the ids in the order of the table of items; if there are none, the order is that of the data set."""
        for maker in self.given.values():
            maker.order = (lambda: ids) if ids else None

    def load(self) -> None:
        """Check every encoder, then load those that are not known yet, so that none fails after long work.

        Raises:
            InputError: a model or its weights cannot be loaded.
            UsageError: there is no such encoder.
        """
        for maker in self.makers.values():
            maker.check()
        for maker in self.makers.values():
            maker.settings()

    def settings(self, items: pd.DataFrame, work: WorkFolder) -> dict[str, Any]:
        """Return modality -> identity of its encoder and a digest of the contents, as plain JSON values."""
        return {
            modality: {**maker.settings(), "contents": maker.contents(items, work)}
            for modality, maker in self.makers.items()
        }

    def given_settings(self) -> dict[str, Any]:
        """Return ``vectors``: modality -> identity of the file of --features; empty where none is given."""
        return {"vectors": {name: maker.settings() for name, maker in self.given.items()}} if self.given else {}

    def _way_out(self, modality: str) -> str:
        if modality in self.given:
            return f"out --features {modality}={self.recipe.vectors[modality]}"
        if self.recipe.entry.source == "published":  # a folder of some layout, which has no --modalities
            return f"out --{self.recipe.features[modality].input}-encoder"
        return "the modality out with --modalities"

    def records(self) -> dict[str, dict[str, Any]]:
        """Return the rows read and left out of each file of --features, once it is made."""
        return {words: about for name, maker in self.given.items() for words, about in maker.record(name).items()}

    def make_all(self, items: pd.DataFrame, work: WorkFolder) -> dict[str, Features]:
        """Make the features of every modality; see :meth:`make`."""
        for maker in self.given.values():
            maker.check_count(items)  # counts that do not fit are found before anything is encoded
        return {modality: self.make(modality, items, work) for modality in self.makers}

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> Features:
        """Make the features of a modality; items without content are counted and listed in a log.

        Raises:
            InputError: more items are without content than the recipe allows.
        """
        work.reporter.line(f"Features of {modality}")
        features, why = self.makers[modality].make(modality, items, work)
        without = np.flatnonzero(~features.present).tolist()
        if without:
            log = work.log(f"absent-{modality}", [f"{items['id'].iloc[row]}\t{why(row)}" for row in without])
            work.reporter.line(f"{modality}: {len(without):,} of {len(items):,} items without content, listed in {log}")
            if len(without) > self.recipe.max_absent * len(items):
                raise InputError(
                    f"{len(without):,} of {len(items):,} items have no content of modality {modality} (listed with "
                    f"the reasons in {log}; the first, {items['id'].iloc[without[0]]}: {why(without[0])}); at most "
                    f"{percent(self.recipe.max_absent)} are tolerated. Raise --max-absent, or leave "
                    f"{self._way_out(modality)}."
                )
        return features


def _maker(
    recipe: Recipe, work: WorkFolder, feature: FeatureEntry, vectors: Path | None, ingredients: Ingredients | None
) -> Rows:
    encoder = str(feature.encoder)
    if feature.input == "text":
        return TfidfRows(recipe) if encoder == "tfidf" else TextRows(recipe, work, encoder)
    if feature.input in ("audio", "video"):
        return (AudioRows if feature.input == "audio" else VideoRows)(recipe, work, encoder)
    if feature.input == "ingredients":
        if ingredients is None:
            raise UsageError(f"Data set {recipe.name!r} has no ingredients.")
        return IngredientRows(recipe, ingredients)
    if recipe.image_weights is not None and encoder in ("published", "pixels"):
        raise UsageError(f"--image-weights is not applicable: {encoder} features need no network.")
    if encoder != "published":
        return ImageRows(recipe, work, encoder)
    if vectors is None:
        raise UsageError(f"Data set {recipe.name!r} has no published image features; choose another --image-encoder.")
    return VectorRows(recipe, vectors)
