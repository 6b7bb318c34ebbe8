"""Which encoder makes which modality, and how its rows come to be: chunk by chunk where that takes long."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.catalog import FeatureEntry
from pipelines.dataset import Features
from pipelines.errors import InputError, UsageError
from pipelines.features.chunks import ChunkStore, Encoded, chunk_key, encode_in_chunks, stream_in_chunks
from pipelines.files import atomic_folder, remove_leftovers, sha256_of
from pipelines.options import Recipe
from pipelines.steps import WorkFolder, key_of, read_json


class TextRows:
    """Text of items -> features, by Sentence-BERT or TF-IDF."""

    def __init__(self, recipe: Recipe, encoder: str) -> None:
        self.recipe, self.name = recipe, encoder

    @cached_property
    def _encoder(self) -> Any:
        from pipelines.features.sentence_text import SentenceEncoder

        return SentenceEncoder(self.name, precision=self.recipe.dtype, offline=self.recipe.offline)

    def settings(self) -> dict[str, Any]:
        """What makes the rows."""
        return {"name": "tfidf-svd", "seed": self.recipe.seed} if self.name == "tfidf" else self._encoder.identity()

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> tuple[Features, dict[str, str]]:
        """Features of the column ``text``, and why an item has none."""
        texts = [text if isinstance(text, str) and text.strip() else None for text in items["text"]]
        without = {item: "no text" for item, text in zip(items["id"], texts, strict=True) if text is None}
        if self.name == "tfidf":
            from pipelines.features.text import encode_text

            made = encode_text(texts, seed=self.recipe.seed)
            return Features(made.values.astype(self.recipe.dtype), made.present, made.encoder), without
        from pipelines.features.sentence_text import CHUNK_ROWS

        identity = self._encoder.identity()
        store = ChunkStore(work.path / "features" / modality, chunk_key(identity, texts), len(texts), CHUNK_ROWS)
        encode_in_chunks(store, texts, self._encoder.encode, _bar(work, modality))
        return store.assemble(identity), without


def _bar(work: WorkFolder, modality: str) -> Callable[[int, int], None]:
    return lambda done, total: work.reporter.bar(f"Encoding {modality}", done, total, "items")


class ImageRows:
    """Pictures of items -> features: by a network, or statistics of their pixels."""

    def __init__(self, recipe: Recipe, encoder: str) -> None:
        self.recipe, self.name = recipe, encoder

    @cached_property
    def _encoder(self) -> Any:
        from pipelines.features.cnn_image import torchvision_encoder

        recipe = self.recipe
        return torchvision_encoder(self.name, recipe.image_weights, offline=recipe.offline, precision=recipe.dtype)

    def settings(self) -> dict[str, Any]:
        """What makes the rows."""
        return pixel_identity(self.recipe.dtype) if self.name == "pixels" else self._encoder.identity()

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> tuple[Features, dict[str, str]]:
        """Features of the pictures that the column ``image`` names, and why an item has none."""
        from pipelines.features.pictures import picture_problem

        found = self._pictures(items, work)
        paths = [path if isinstance(path, Path) else None for path in found]
        contents = [sha256_of(path) if path is not None and path.is_file() else None for path in paths]
        identity = self.settings()
        store = ChunkStore(work.path / "features" / modality, chunk_key(identity, contents), len(paths), 512)
        if self.name == "pixels":
            encode_in_chunks(store, paths, lambda chunk: pixel_rows(chunk, self.recipe.dtype), _bar(work, modality))
        else:
            stream_in_chunks(store, paths, self._encoder.encode_chunks, _bar(work, modality))
        features = store.assemble(identity)
        without = {}
        for item, path, present in zip(items["id"], found, features.present, strict=True):
            if not present:
                without[item] = f"{path}: {picture_problem(path)}" if isinstance(path, Path) else str(path)
        return features, without

    def _pictures(self, items: pd.DataFrame, work: WorkFolder) -> list[Path | str]:
        """The picture of each item, or why there is none."""
        addresses = [image for image in items["image"] if isinstance(image, str) and "://" in image]
        fetched: Mapping[str, Path | str] = {}
        if addresses:
            fetched = fetch_pictures(addresses, self.recipe, work)
        return [
            "no picture" if not isinstance(image, str) else fetched[image] if image in fetched else Path(image)
            for image in items["image"]
        ]


class VectorRows:
    """The published 4096-d image features of Amazon items."""

    def __init__(self, recipe: Recipe, path: Path) -> None:
        self.recipe, self.path = recipe, path

    def settings(self) -> dict[str, Any]:
        """What makes the rows; the file's hash stands among the sources."""
        from pipelines.features.vectors import vectors_identity

        return {**vectors_identity(self.path), "precision": self.recipe.dtype}

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> tuple[Features, dict[str, str]]:
        """The rows of the items, and which items have none."""
        ids = items["id"].tolist()
        key = key_of(self.settings(), work.sha256(self.path), ids)
        folder = work.path / "features" / modality
        about = read_json(folder / "vectors.json")
        if about.get("key") != key:
            about = self._read(folder, key, ids, modality, work)
        present = np.load(folder / "present.npy", allow_pickle=False)
        values = np.load(folder / "values.npy", mmap_mode="r", allow_pickle=False)
        work.reporter.line(f"{modality}: {about['said']}")
        without = {
            item: f"no usable record in {self.path.name}" for item, here in zip(ids, present, strict=True) if not here
        }
        return Features(values, present, self.settings()), without

    def _read(self, folder: Path, key: str, ids: list[str], modality: str, work: WorkFolder) -> dict[str, Any]:
        from pipelines.features.vectors import DIM, VectorCounts, read_vectors

        counts, present, done = VectorCounts(), np.zeros(len(ids), dtype=bool), 0
        remove_leftovers(folder)
        with atomic_folder(folder) as place:
            shape = (len(ids), DIM)
            values = np.lib.format.open_memmap(place / "values.npy", mode="w+", dtype=self.recipe.dtype, shape=shape)
            for rows, block in read_vectors(self.path, ids, counts):
                values[rows], present[rows] = block, True
                done += len(rows)
                work.reporter.bar(f"Reading {modality}", done, len(ids), "items")
            work.reporter.bar(f"Reading {modality}", len(ids), len(ids), "items")
            values.flush()
            np.save(place / "present.npy", present)
            said = (
                f"{counts.records:,} records, {counts.found:,} of {len(ids):,} items found, {counts.repeated:,} "
                f"repeated, {counts.not_finite:,} with NaN or infinite values left out"
            )
            about = {"key": key, "said": said}
            (place / "vectors.json").write_text(json.dumps(about), encoding="utf-8")
        return about


class IngredientRows:
    """Twenty ingredients of each recipe."""

    def __init__(self, recipe: Recipe, source: Any) -> None:
        self.recipe, self.source = recipe, source

    def settings(self) -> dict[str, Any]:
        """What makes the rows."""
        return {"name": "ingredients", "seed": self.recipe.seed}

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> tuple[Features, dict[str, str]]:
        """Ids of the ingredients, and which recipes have none."""
        from pipelines.features.ingredients import encode_ingredients

        ids = items["id"].tolist()
        features = encode_ingredients(self.source.ingredients(ids), ids, seed=self.recipe.seed)
        return features, {item: "no ingredients" for item, here in zip(ids, features.present, strict=True) if not here}


class FeatureBuilder:
    """The encoders of a recipe, and what becomes of items without content."""

    def __init__(self, recipe: Recipe, source: Any) -> None:
        """Name the encoders; each is loaded when first used.

        Raises:
            UsageError: an encoder that the source has nothing for.
        """
        self.recipe = recipe
        self.makers = {modality: _maker(recipe, feature, source) for modality, feature in recipe.features.items()}

    def settings(self) -> dict[str, Any]:
        """Modality -> what makes its rows, as plain JSON values."""
        return {modality: maker.settings() for modality, maker in self.makers.items()}

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> Features:
        """The features of one modality; items without content are counted and listed in a log.

        Raises:
            InputError: more items are without content than the recipe allows.
        """
        work.reporter.line(f"Features of {modality}")
        features, without = self.makers[modality].make(modality, items, work)
        if without:
            log = work.log(f"absent-{modality}", [f"{item}\t{reason}" for item, reason in without.items()])
            work.reporter.line(f"{modality}: {len(without):,} of {len(items):,} items without content, listed in {log}")
            if len(without) > self.recipe.max_absent * len(items):
                raise InputError(
                    f"{len(without):,} of {len(items):,} items have no content of modality {modality} (listed with "
                    f"the reasons in {log}); at most {self.recipe.max_absent:.0%} are tolerated. Raise --max-absent, "
                    f"or leave the modality out with --modalities."
                )
        return features


def _maker(recipe: Recipe, feature: FeatureEntry, source: Any) -> Any:
    encoder = str(feature.encoder)
    if feature.input == "text":
        return TextRows(recipe, encoder)
    if feature.input == "ingredients":
        if not hasattr(source, "ingredients"):
            raise UsageError(f"Data set {recipe.name!r} has no ingredients.")
        return IngredientRows(recipe, source)
    if encoder != "published":
        return ImageRows(recipe, encoder)
    path = source.paths().get("image-features")
    if path is None:
        raise UsageError(f"Data set {recipe.name!r} has no published image features; choose another --image-encoder.")
    return VectorRows(recipe, path)


def pixel_identity(dtype: str) -> dict[str, Any]:
    """What makes pixel statistics."""
    from pipelines.features.image import DIM, SIDE

    return {"name": "pixel-statistics", "side": SIDE, "dim": DIM, "precision": dtype}


def pixel_rows(paths: Sequence[Path | None], dtype: str) -> Encoded:
    """Pixel statistics of pictures; one that cannot be read is absent."""
    from pipelines.features.image import encode_images
    from pipelines.features.pictures import picture_problem

    readable = [path if path is not None and picture_problem(path) is None else None for path in paths]
    made = encode_images(readable)
    return made.values.astype(dtype), made.present


def fetch_pictures(addresses: list[str], recipe: Recipe, work: WorkFolder) -> Mapping[str, Path | str]:
    """Address -> picture, or why there is none."""
    from pipelines.features.fetch_images import fetch_images

    work.reporter.line(f"Fetching {len(addresses):,} pictures")

    def show(done: int, total: int) -> None:
        work.reporter.bar("Fetching pictures", done, total, "items")

    return fetch_images(addresses, recipe.raw_dir / "images", offline=recipe.offline, progress=show)
