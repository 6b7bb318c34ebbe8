"""The encoders of the modalities of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.entries import FeatureEntry
from pipelines.errors import InputError, UsageError
from pipelines.features.modality_encoders import (
    ImageRows,
    IngredientRows,
    Ingredients,
    Rows,
    TextRows,
    TfidfRows,
    VectorRows,
)
from pipelines.io.step_cache import WorkFolder
from pipelines.prepared.dataset import Features
from pipelines.recipe import Recipe


class FeatureBuilder:
    """The encoders of a recipe."""

    def __init__(self, recipe: Recipe, vectors: Path | None = None, ingredients: Ingredients | None = None) -> None:
        """Choose the encoders, which :meth:`load` loads.

        Args:
            vectors: the file of published image features, if any.
            ingredients: item ids -> the ingredients of each, where known.

        Raises:
            UsageError: an encoder without input.
        """
        self.recipe = recipe
        self.makers = {
            modality: _maker(recipe, feature, vectors, ingredients) for modality, feature in recipe.features.items()
        }

    def load(self) -> None:
        """Load every encoder, so that a missing one fails before long work.

        Raises:
            InputError: a model or its weights cannot be loaded.
            UsageError: there is no such encoder.
        """
        for maker in self.makers.values():
            maker.settings()

    def settings(self, items: pd.DataFrame, work: WorkFolder) -> dict[str, Any]:
        """Return modality -> identity of its encoder and a digest of the contents, as plain JSON values."""
        return {
            modality: {**maker.settings(), "contents": maker.contents(items, work)}
            for modality, maker in self.makers.items()
        }

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
                    f"the reasons in {log}); at most {self.recipe.max_absent:.0%} are tolerated. Raise --max-absent, "
                    f"or leave the modality out with --modalities."
                )
        return features


def _maker(recipe: Recipe, feature: FeatureEntry, vectors: Path | None, ingredients: Ingredients | None) -> Rows:
    encoder = str(feature.encoder)
    if feature.input == "text":
        return TfidfRows(recipe) if encoder == "tfidf" else TextRows(recipe, encoder)
    if feature.input == "ingredients":
        if ingredients is None:
            raise UsageError(f"Data set {recipe.name!r} has no ingredients.")
        return IngredientRows(recipe, ingredients)
    if recipe.image_weights is not None and encoder in ("published", "pixels"):
        raise UsageError(f"--image-weights has no use here: {encoder} features need no network.")
    if encoder != "published":
        return ImageRows(recipe, encoder)
    if vectors is None:
        raise UsageError(f"Data set {recipe.name!r} has no published image features; choose another --image-encoder.")
    return VectorRows(recipe, vectors)
