"""Texts encoded by a Sentence-BERT model (Reimers and Gurevych, 2019) of sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from pipelines.errors import InputError
from pipelines.features.chunks import Encoded
from pipelines.features.device import NetworkEncoder
from pipelines.features.model_folders import check_safe, locate_model
from pipelines.text import shortened


class SentenceEncoder(NetworkEncoder):
    """A sentence-transformers model, of any dimension.

    Weights come from safetensors where the model has them, else from ``torch.load(weights_only=True)``. Code of a
    model is never run: ``trust_remote_code`` stays off, and module classes of other packages are refused.
    """

    def __init__(
        self,
        model: str,
        *,
        normalize: bool = False,
        precision: str = "float32",
        batch_size: int = 32,
        device: str | None = None,
        offline: bool = False,
    ) -> None:
        """Find the model, downloading it if need be; it is loaded when first used.

        Args:
            model: a folder, or the name of a model on the Hugging Face Hub, NAME or NAME@REVISION.
            normalize: scale rows to unit length, even where the model does not.
            offline: never ask the Hub, use its cache.

        Raises:
            UsageError: a precision or device that does not exist.
            InputError: there is no such folder, or the model cannot be downloaded.
        """
        super().__init__(precision, batch_size, device)
        self._normalize = normalize
        self._found = locate_model(model, "text", offline)
        self.folder = self._folder = self._found.path

    def identity(self) -> dict[str, Any]:
        """Return all that determines the rows: model, hash of its files, settings and versions, as JSON values."""
        return {
            "name": "sentence-bert",
            **self._found.identity(),
            "dim": self._dim,
            "normalize": self._normalize,
            "max_seq_length": self._model.max_seq_length,
            **self._circumstances("sentence-transformers", "transformers", "torch"),
        }

    def encode(self, items: Sequence[str | None]) -> Encoded:
        """Return values [len(items), dim] and presence: a text that is None or blank is absent, its row zero.

        Raises:
            InputError: the model cannot be loaded, or the GPU is too small for a batch.
        """
        kept = [_encodable(text) for text in items if _has_words(text)]
        present = np.array([_has_words(text) for text in items], dtype=bool)
        values = np.zeros((len(items), self._dim), dtype=self._dtype)
        if kept:
            with self._enough_memory(), np.errstate(over="ignore"):  # the store refuses what overflows
                values[present] = self._encode(kept)
        return values, present

    def _encode(self, texts: list[str]) -> np.ndarray:
        rows = self._model.encode(
            texts, batch_size=self._batch_size, show_progress_bar=False, normalize_embeddings=self._normalize
        )
        return np.asarray(rows)

    @cached_property
    def _model(self) -> Any:
        check_safe(self._folder)
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            return SentenceTransformer(
                str(self._folder), device=self._device, trust_remote_code=False, local_files_only=True
            )
        except Exception as problem:  # configuration, tokenizer and weights each fail in their own ways
            reason = shortened(problem, 300)
            raise InputError(
                f"{self._folder} cannot be loaded as a sentence-transformers model ({reason}); expected a folder as "
                "SentenceTransformer.save writes it."
            ) from problem

    @cached_property
    def _dim(self) -> int:
        return int(self._encode(["a"]).shape[1])


def _has_words(text: str | None) -> bool:
    return isinstance(text, str) and bool(text.strip())


def _encodable(text: str | None) -> str:
    """Half a surrogate pair, as broken JSON yields it, is no text to a tokenizer: it becomes a question mark."""
    return str(text).encode("utf-8", "replace").decode("utf-8")
