"""The rows of texts: by TF-IDF, or by Sentence-BERT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from pipelines.errors import UsageError
from pipelines.features.chunks import Encoder, chunk_key
from pipelines.features.model_folders import locate_model
from pipelines.features.rows import EncodedRows, Made, Rows, nothing
from pipelines.features.text import encode_text
from pipelines.io.step_cache import WorkFolder
from pipelines.prepared.dataset import Features
from pipelines.recipe import DEFAULT_ENCODERS

_SHOWN = 40


class TfidfRows(Rows):
    """Texts by TF-IDF."""

    def settings(self) -> dict[str, Any]:
        return {"name": "tfidf-svd", "dim": 64, "seed": self.recipe.seed, "precision": self.recipe.dtype}

    def contents(self, items: pd.DataFrame, work: WorkFolder) -> str:
        return chunk_key({}, _texts(items))

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> Made:
        texts = _texts(items)
        made = encode_text(texts, dim=self.settings()["dim"], seed=self.recipe.seed)

        def why(row: int) -> str:
            text = texts[row]
            return nothing(items, row, "text") if text is None else f"no word that TF-IDF counts in {text[:_SHOWN]!r}"

        return Features(made.values.astype(self.recipe.dtype), made.present, self.settings()), why


class TextRows(EncodedRows):
    """Texts by Sentence-BERT."""

    kind: ClassVar = "text"

    def _maker(self) -> Callable[[], Encoder]:
        from pipelines.features.sentence_text import SentenceEncoder

        return partial(SentenceEncoder, self._place, precision=self.recipe.dtype, offline=self.recipe.offline)

    def _check(self) -> None:
        if "/" not in self.name and not Path(self.name).exists() and get_close_matches(self.name.lower(), ["tfidf"]):
            raise UsageError(
                f"--text-encoder cannot be {self.name!r}: did you mean tfidf? It also takes the folder of a model, or "
                f"a name on the Hugging Face Hub, such as {DEFAULT_ENCODERS['text']}."
            )
        locate_model(self.name, "text", self.recipe.offline)

    def contents(self, items: pd.DataFrame, work: WorkFolder) -> str:
        return chunk_key({}, _texts(items))

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> Made:
        texts = _texts(items)
        key = chunk_key(self.settings(), texts)
        made = self._encode(modality, texts, key, work, longest_first(texts))
        return made, lambda row: nothing(items, row, "text")


def longest_first(texts: Sequence[str | None]) -> np.ndarray:
    """Return the rows of ``texts`` from the longest to the shortest, int64 [len(texts)].

    In chunks of this order batches are as even as if all texts were encoded in one call, however small the chunks,
    and too little memory shows at once.
    """
    return np.argsort([-len(text or "") for text in texts], kind="stable")


def _texts(items: pd.DataFrame) -> list[str | None]:
    return [text if isinstance(text, str) and text.strip() else None for text in items["text"]]
