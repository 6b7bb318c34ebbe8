"""How the rows of a modality come to be: from text, pictures, published vectors or ingredients."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import InputError
from pipelines.features.chunks import ChunkStore, chunk_key, encode_in_chunks, stream_in_chunks
from pipelines.features.ray_encoding import encode_on_ray
from pipelines.io.files import atomic_folder, remove_leftovers
from pipelines.io.step_cache import WorkFolder, key_of, read_json
from pipelines.prepared.dataset import Features
from pipelines.recipe import Recipe


class TextRows:
    """Text of items -> features, by Sentence-BERT or TF-IDF."""

    def __init__(self, recipe: Recipe, encoder: str) -> None:
        self.recipe, self.name = recipe, encoder

    @cached_property
    def _make(self) -> Callable[[], Any]:
        from pipelines.features.sentence_text import SentenceEncoder

        folder = Path(self.name).expanduser()
        name = str(folder.absolute()) if folder.is_dir() else self.name  # a node has another current folder
        return partial(SentenceEncoder, name, precision=self.recipe.dtype, offline=self.recipe.offline)

    @cached_property
    def _encoder(self) -> Any:
        return self._make()

    def settings(self) -> dict[str, Any]:
        """What makes the rows."""
        if self.name != "tfidf":
            return self._encoder.identity()
        return {"name": "tfidf-svd", "dim": 64, "seed": self.recipe.seed, "precision": self.recipe.dtype}

    def contents(self, items: pd.DataFrame, work: WorkFolder) -> str:
        """Stands for all texts."""
        return chunk_key({}, _texts(items))

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> tuple[Features, dict[str, str]]:
        """Features of the column ``text``, and why an item has none."""
        texts = _texts(items)
        without = {item: "no text" for item, text in zip(items["id"], texts, strict=True) if text is None}
        if self.name == "tfidf":
            from pipelines.features.text import encode_text

            made = encode_text(texts, dim=self.settings()["dim"], seed=self.recipe.seed)
            return Features(made.values.astype(self.recipe.dtype), made.present, self.settings()), without
        store = self._encoder.chunk_store(work.path / "features" / modality, texts)
        if self.recipe.on_ray:
            encode_on_ray(self.recipe.address, store, texts, self._make, self.settings(), _bar(work, modality))
        else:
            encode_in_chunks(store, texts, self._encoder.encode, _bar(work, modality))
        return store.assemble(self.settings()), without


def _texts(items: pd.DataFrame) -> list[str | None]:
    return [text if isinstance(text, str) and text.strip() else None for text in items["text"]]


def _bar(work: WorkFolder, modality: str) -> Callable[[int, int], None]:
    return lambda done, total: work.reporter.bar(f"Encoding {modality}", done, total, "items")


class ImageRows:
    """Pictures of items -> features: by a network, or statistics of their pixels."""

    def __init__(self, recipe: Recipe, encoder: str) -> None:
        self.recipe, self.name = recipe, encoder

    @cached_property
    def _make(self) -> Callable[[], Any]:
        from pipelines.features.cnn_image import torchvision_encoder
        from pipelines.features.pixels import PixelEncoder

        recipe = self.recipe
        if self.name == "pixels":
            return partial(PixelEncoder, recipe.dtype)
        weights = None if recipe.image_weights is None else recipe.image_weights.absolute()
        return partial(torchvision_encoder, self.name, weights, offline=recipe.offline, precision=recipe.dtype)

    @cached_property
    def _encoder(self) -> Any:
        return self._make()

    def settings(self) -> dict[str, Any]:
        """What makes the rows."""
        return dict(self._encoder.identity())

    def contents(self, items: pd.DataFrame, work: WorkFolder) -> str:
        """Stands for all pictures that are at hand."""
        from pipelines.download.pictures import image_path

        folder = self.recipe.raw_dir / "images"
        paths = [
            None if not isinstance(image, str) else image_path(folder, image) if "://" in image else Path(image)
            for image in items["image"]
        ]
        return chunk_key({}, _hashes(paths, work))

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> tuple[Features, dict[str, str]]:
        """Features of the pictures that the column ``image`` names, and why an item has none."""
        from pipelines.features.pictures import picture_problem

        found = self._pictures(items, work)
        paths = [path if isinstance(path, Path) else None for path in found]
        identity, hashes = self.settings(), _hashes(paths, work)
        key, rows = chunk_key(identity, hashes), self._encoder.chunk_rows
        store = ChunkStore(work.path / "features" / modality, key, len(paths), rows)
        if self.recipe.on_ray:
            there = [path.absolute() if path and known else None for path, known in zip(paths, hashes, strict=True)]
            encode_on_ray(self.recipe.address, store, there, self._make, identity, _bar(work, modality))
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
        fetched = fetch_pictures(addresses, self.recipe, work) if addresses else {}
        return [
            "no picture" if not isinstance(image, str) else fetched[image] if image in fetched else Path(image)
            for image in items["image"]
        ]


def _hashes(paths: Sequence[Path | None], work: WorkFolder) -> list[str | None]:
    known = work.hashes(path for path in paths if path is not None)
    return [None if path is None else known.get(path) for path in paths]


_VECTORS, _ARRAYS = "vectors.json", ("values.npy", "present.npy")


class VectorRows:
    """The published 4096-d image features of Amazon items."""

    def __init__(self, recipe: Recipe, path: Path) -> None:
        self.recipe, self.path = recipe, path

    def settings(self) -> dict[str, Any]:
        """What makes the rows; the file's hash stands among the sources."""
        from pipelines.features.vectors import vectors_identity

        return {**vectors_identity(self.path), "precision": self.recipe.dtype}

    def contents(self, items: pd.DataFrame, work: WorkFolder) -> str:
        """The file stands among the sources."""
        return ""

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> tuple[Features, dict[str, str]]:
        """The rows of the items, and which items have none."""
        ids = items["id"].tolist()
        key = key_of(self.settings(), work.sha256(self.path), ids)
        folder = work.path / "features" / modality
        about = read_json(folder / _VECTORS)
        sizes = {name: (folder / name).stat().st_size for name in _ARRAYS if (folder / name).is_file()}
        if about.get("key") != key or about.get("sizes") != sizes:
            about = self._read(folder, key, ids, modality, work)
        present = np.load(folder / "present.npy", allow_pickle=False)
        values = np.load(folder / "values.npy", mmap_mode="r", allow_pickle=False)
        work.reporter.line(f"{modality}: {about['said']}")
        why = f"no usable record in {self.path.name}"
        return Features(values, present, self.settings()), {
            item: why for item, here in zip(ids, present, strict=True) if not here
        }

    def _read(self, folder: Path, key: str, ids: list[str], modality: str, work: WorkFolder) -> dict[str, Any]:
        from pipelines.features.vectors import DIM, VectorCounts, read_vectors

        counts, present, done = VectorCounts(), np.zeros(len(ids), dtype=bool), 0
        dtype = np.dtype(self.recipe.dtype)
        header = {"descr": dtype.str, "fortran_order": False, "shape": (len(ids), DIM)}
        remove_leftovers(folder)
        # Written row by row: a full disk is then an error to report, where a memory map would end the process.
        with atomic_folder(folder) as place, (place / "values.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            start, width = file.tell(), DIM * dtype.itemsize
            for rows, block in read_vectors(self.path, ids, counts):
                for row, values in zip(rows, block.astype(dtype), strict=True):
                    file.seek(start + int(row) * width)
                    file.write(values.tobytes())
                present[rows] = True
                done += len(rows)
                work.reporter.bar(f"Reading {modality}", done, len(ids), "items")
            work.reporter.bar(f"Reading {modality}", len(ids), len(ids), "items")
            file.truncate(start + len(ids) * width)
            file.flush()
            np.save(place / "present.npy", present)
            said = (
                f"{counts.records:,} records, {counts.found:,} of {len(ids):,} items found, {counts.repeated:,} "
                f"repeated, {counts.not_finite:,} with NaN or infinite values left out"
            )
            about = {"key": key, "said": said, "sizes": {name: (place / name).stat().st_size for name in _ARRAYS}}
            (place / _VECTORS).write_text(json.dumps(about), encoding="utf-8")
        return about


class IngredientRows:
    """Twenty ingredients of each recipe."""

    def __init__(self, recipe: Recipe, ingredients: Callable[[list[str]], list[list[str]]]) -> None:
        self.recipe, self.ingredients = recipe, ingredients

    def settings(self) -> dict[str, Any]:
        """What makes the rows."""
        return {"name": "ingredients", "seed": self.recipe.seed}

    def contents(self, items: pd.DataFrame, work: WorkFolder) -> str:
        """The file stands among the sources."""
        return ""

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> tuple[Features, dict[str, str]]:
        """Ids of the ingredients, and which recipes have none."""
        from pipelines.features.ingredients import encode_ingredients

        ids = items["id"].tolist()
        features = encode_ingredients(self.ingredients(ids), ids, seed=self.recipe.seed)
        return features, {item: "no ingredients" for item, here in zip(ids, features.present, strict=True) if not here}


def fetch_pictures(addresses: list[str], recipe: Recipe, work: WorkFolder) -> Mapping[str, Path | str]:
    """Address -> picture, or why there is none for good.

    Raises:
        InputError: some could not be fetched for a reason that passes, and not for want of asking.
    """
    from pipelines.download.pictures import Passing, fetch_images

    work.reporter.line(f"Fetching {len(addresses):,} pictures")

    def show(done: int, total: int) -> None:
        work.reporter.bar("Fetching pictures", done, total, "items")

    fetched = fetch_images(addresses, recipe.raw_dir / "images", offline=recipe.offline, progress=show)
    passing = {address: reason for address, reason in fetched.items() if isinstance(reason, Passing)}
    if passing and not recipe.offline:
        address, reason = next(iter(passing.items()))
        raise InputError(
            f"{len(passing):,} of {len(addresses):,} pictures could not be fetched for now (the first, {address}, "
            f"{reason}); run the same command again to go on, or with --offline to count them as absent."
        )
    return fetched
