"""The rows of a modality: their base, and that of those which a network makes chunk by chunk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from pipelines.features.chunks import ChunkStore, DamagedChunkError, Encoder, encode_in_chunks
from pipelines.features.known_encoders import KnownEncoder
from pipelines.features.ray_encoding import encode_on_ray
from pipelines.io.files import expanded
from pipelines.io.step_cache import WorkFolder
from pipelines.prepared.dataset import Features
from pipelines.recipe import Recipe

Made = tuple[Features, Callable[[int], str]]
"""Features, and row -> the reason why its item has no content."""
RECORDED = "recorded"
"""Column of the items, where known: whether the table of items has a record of the item."""


def nothing(items: pd.DataFrame, row: int, what: str) -> str:
    """Say that an item has no ``what``, and whether the table of items has a record of it at all."""
    recorded = RECORDED not in items or bool(items[RECORDED].iloc[row])
    return f"no {what}" if recorded else f"no {what}, nor any record in the table of items"


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


class EncodedRows(Rows):
    """Rows of an encoder that works chunk by chunk, here or on a Ray cluster."""

    kind: ClassVar[str]
    """The kind of its input, which names its flag."""

    def __init__(self, recipe: Recipe, work: WorkFolder, encoder: str) -> None:
        super().__init__(recipe)
        self.name = encoder
        self._known = KnownEncoder(work, self.kind, self._place, recipe)

    @property
    def _place(self) -> str:
        """The name, or the absolute path of a folder."""
        folder = expanded(self.name)
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
