"""The rows of a modality: from text, pictures, published vectors or ingredients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.download.pictures import Passing, fetch_images, image_path
from pipelines.errors import InputError, UsageError
from pipelines.features.chunks import ChunkStore, DamagedChunkError, Encoder, chunk_key, encode_in_chunks, row_writer
from pipelines.features.image import PixelEncoder
from pipelines.features.ingredients import encode_ingredients
from pipelines.features.known_encoders import KnownEncoder
from pipelines.features.model_folders import locate_model
from pipelines.features.pictures import picture_problem
from pipelines.features.ray_encoding import encode_on_ray
from pipelines.features.text import encode_text
from pipelines.features.vectors import DIM, VectorCounts, read_vectors, vectors_identity
from pipelines.io.files import atomic_folder, remove_leftovers, sha256_of
from pipelines.io.step_cache import WorkFolder, key_of, read_record, write_record
from pipelines.prepared.dataset import Features
from pipelines.recipe import Recipe

Made = tuple[Features, Callable[[int], str]]
"""Features, and row -> the reason why its item has no content."""
Ingredients = Callable[[list[str]], list[list[str]]]
"""Item ids -> the names of the ingredients of each."""


class Rows(ABC):
    """The rows of one modality."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def check(self) -> None:  # noqa: B027
        """Check the name of the encoder, before any is loaded.

        Raises:
            InputError: it is no model on this machine, nor can it be downloaded.
            UsageError: there is no such encoder.
        """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the identity of the encoder, as plain JSON values; it is loaded for it, unless that is known."""

    def contents(self, items: pd.DataFrame, work: WorkFolder) -> str:
        """Return a digest of the contents of all items; empty where they are files among the sources."""
        return ""

    @abstractmethod
    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> Made:
        """Make the rows of ``items``.

        Raises:
            InputError: something cannot be read or encoded.
        """


class TfidfRows(Rows):
    """Texts by TF-IDF."""

    def settings(self) -> dict[str, Any]:
        return {"name": "tfidf-svd", "dim": 64, "seed": self.recipe.seed, "precision": self.recipe.dtype}

    def contents(self, items: pd.DataFrame, work: WorkFolder) -> str:
        return chunk_key({}, _texts(items))

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> Made:
        made = encode_text(_texts(items), dim=self.settings()["dim"], seed=self.recipe.seed)
        return Features(made.values.astype(self.recipe.dtype), made.present, self.settings()), lambda _: "no text"


class EncodedRows(Rows):
    """Rows of an encoder that works chunk by chunk, here or on a Ray cluster."""

    def __init__(self, recipe: Recipe, work: WorkFolder, encoder: str) -> None:
        super().__init__(recipe)
        self.name = encoder
        self._known = KnownEncoder(work, self._place, recipe)

    @property
    def _place(self) -> str:
        """The name, or the absolute path of a folder."""
        folder = Path(self.name).expanduser()
        return str(folder.absolute()) if folder.is_dir() else self.name

    @abstractmethod
    def _maker(self) -> Callable[[], Encoder]:
        """Return a function that makes an encoder, also on a node of a cluster, which has another working directory."""

    @abstractmethod
    def _check(self) -> None:
        """Check the name of the encoder; see :meth:`check`."""

    def check(self) -> None:
        if self._known.identity() is None:
            self._check()

    @cached_property
    def _encoder(self) -> Encoder:
        return self._maker()()

    def settings(self) -> dict[str, Any]:
        return self._known.identity() or self._known.remember(self._encoder)

    def _encode(
        self, modality: str, items: Sequence[Any], key: str, work: WorkFolder, order: np.ndarray | None = None
    ) -> Features:
        folder, chunk_rows = work.path / "features" / modality, self._encoder.chunk_rows
        store = ChunkStore(folder, key, len(items), chunk_rows, order, work.reporter.line)

        def progress(done: int, total: int) -> None:
            work.reporter.bar(f"Encoding {modality}", done, total, "items")

        def encode() -> Features:
            if self.recipe.engine == "ray":
                encode_on_ray(self.recipe.address, store, items, self._maker(), self.settings(), progress)
            else:
                encode_in_chunks(store, items, self._encoder.encode_chunks, progress)
            return store.assemble(self.settings())

        try:
            return encode()
        except DamagedChunkError as problem:
            work.reporter.line(f"Encoding again: {problem}")
            return encode()


class TextRows(EncodedRows):
    """Texts by Sentence-BERT."""

    def _maker(self) -> Callable[[], Encoder]:
        from pipelines.features.sentence_text import SentenceEncoder

        return partial(SentenceEncoder, self._place, precision=self.recipe.dtype, offline=self.recipe.offline)

    def _check(self) -> None:
        locate_model(self.name, "text", self.recipe.offline)

    def contents(self, items: pd.DataFrame, work: WorkFolder) -> str:
        return chunk_key({}, _texts(items))

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> Made:
        texts = _texts(items)
        key = chunk_key(self.settings(), texts)
        return self._encode(modality, texts, key, work, longest_first(texts)), lambda _: "no text"


def longest_first(texts: Sequence[str | None]) -> np.ndarray:
    """Return the rows of ``texts`` from the longest to the shortest, int64 [len(texts)].

    In chunks of this order batches are as even as if all texts were encoded in one call, however small the chunks,
    and too little memory shows at once.
    """
    return np.argsort([-len(text or "") for text in texts], kind="stable")


def _texts(items: pd.DataFrame) -> list[str | None]:
    return [text if isinstance(text, str) and text.strip() else None for text in items["text"]]


class ImageRows(EncodedRows):
    """Pictures by a network, or by statistics of their pixels."""

    def _maker(self) -> Callable[[], Encoder]:
        recipe = self.recipe
        if self.name == "pixels":
            return partial(PixelEncoder, recipe.dtype)
        options: dict[str, Any] = {"offline": recipe.offline, "precision": recipe.dtype}
        if self._is_hub_model():
            from pipelines.features.hub_image import HubImageEncoder

            return partial(HubImageEncoder, self._place, **options)
        from pipelines.features.cnn_image import torchvision_encoder

        weights = None if recipe.image_weights is None else recipe.image_weights.absolute()
        return partial(torchvision_encoder, self.name, weights, **options)

    def _is_hub_model(self) -> bool:
        """Return True for a folder or a name on the Hub; a classifier of the same name takes precedence."""
        from pipelines.features.classifiers import is_classifier

        name = self.name
        return ("/" in name or name.startswith("clip-") or Path(name).is_dir()) and not is_classifier(name)

    def _check(self) -> None:
        if self.name == "pixels":
            return
        from pipelines.features.classifiers import check_classifier

        weights = self.recipe.image_weights
        if self._is_hub_model():
            if weights is not None:
                raise UsageError(f"--image-weights has no use here: {self.name} is no classifier of torchvision.")
            locate_model(self.name, "image", self.recipe.offline)
            return
        check_classifier(self.name.partition(":")[0])
        if weights is not None and not weights.is_file():
            raise InputError(f"There is no file {weights}; --image-weights expects a state dict.")

    def contents(self, items: pd.DataFrame, work: WorkFolder) -> str:
        folder = self.recipe.raw_dir / "images"
        paths = [image_path(folder, image) if _is_address(image) else _path(image) for image in items["image"]]
        return chunk_key({}, _hashes(paths, work))

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> Made:
        addresses = [image for image in items["image"] if _is_address(image)]
        fetched = fetch_pictures(addresses, self.recipe, work) if addresses else {}
        found = [fetched.get(image, _path(image) or "no picture") for image in items["image"]]
        paths = [path if isinstance(path, Path) else None for path in found]
        hashes = _hashes(paths, work)
        readable = [path.absolute() if path and known else None for path, known in zip(paths, hashes, strict=True)]
        features = self._encode(modality, readable, chunk_key(self.settings(), hashes), work)

        def why(row: int) -> str:
            path = found[row]
            return f"{path}: {picture_problem(path)}" if isinstance(path, Path) else str(path)

        return features, why


def _is_address(image: object) -> bool:
    return isinstance(image, str) and "://" in image


def _path(image: object) -> Path | None:
    return Path(image) if isinstance(image, str) else None


def _hashes(paths: Sequence[Path | None], work: WorkFolder) -> list[str | None]:
    known = work.hashes(path for path in paths if path is not None)
    return [None if path is None else known.get(path) for path in paths]


def fetch_pictures(addresses: list[str], recipe: Recipe, work: WorkFolder) -> Mapping[str, Path | str]:
    """Return address -> picture, or the lasting reason why there is none.

    Raises:
        InputError: some could not be fetched for a passing reason, and the recipe is not offline.
    """
    work.reporter.line(f"Fetching {len(addresses):,} pictures")

    def show(done: int, total: int) -> None:
        work.reporter.bar("Fetching pictures", done, total, "items")

    fetched = fetch_images(addresses, recipe.raw_dir / "images", offline=recipe.offline, progress=show)
    passing = {address: reason for address, reason in fetched.items() if isinstance(reason, Passing)}
    if passing and not recipe.offline:
        address, reason = next(iter(passing.items()))
        raise InputError(
            f"{len(passing):,} of {len(addresses):,} pictures could not be fetched for now (the first, {address}, "
            f"{reason}); run the same command again to resume, or with --offline to count them as absent."
        )
    return fetched


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
        return encode_ingredients(self.ingredients(ids), ids, seed=self.recipe.seed), lambda _: "no ingredients"
