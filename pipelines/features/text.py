"""Texts encoded without any download: TF-IDF of the words, reduced by a truncated SVD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.prepared.dataset import Features


def encode_text(texts: Sequence[str | None], dim: int = 64, seed: int = 0) -> Features:
    """Return latent semantic features, float32 [len(texts), at most ``dim``]: TF-IDF, then truncated SVD.

    Latent semantic analysis (Deerwester et al., 1990) over words and pairs of words. A text with words gets a row of
    unit length; one without is marked as absent. The sign of a column makes its largest term weight positive, so that
    the same texts give the same rows.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # seconds to import: only when needed

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, strip_accents="unicode", dtype=np.float64)
    try:
        weights = words.fit_transform([text if isinstance(text, str) else "" for text in texts])
    except ValueError:  # scikit-learn's way to say that there is not one word in all the texts
        weights = None
    values = np.zeros((len(texts), 1)) if weights is None else _reduce(weights, dim, seed)
    present = np.zeros(len(texts), bool) if weights is None else np.asarray(weights.getnnz(axis=1) > 0)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    values = np.divide(values, length, out=np.zeros_like(values), where=present[:, None] & (length > 1e-9))
    encoder: dict[str, Any] = {"name": "tfidf-svd", "dim": dim, "seed": seed, "ngrams": [1, 2]}
    # Rounding hides the last bits, in which linear algebra libraries differ.
    return Features(np.round(values, 4).astype(np.float32), present, encoder)


def _reduce(weights: Any, dim: int, seed: int) -> np.ndarray:
    """Rows of a sparse matrix [n, words] in its strongest singular directions, [n, at most dim]."""
    from sklearn.decomposition import TruncatedSVD

    rank = min(dim, *weights.shape)
    if rank == min(weights.shape):  # nothing to reduce, and the randomised solver needs room
        left, singular, right = np.linalg.svd(weights.toarray(), full_matrices=False)
        values = left * singular
    else:
        svd = TruncatedSVD(rank, n_iter=8, random_state=seed)
        values, right = svd.fit_transform(weights), svd.components_
    largest = right[np.arange(len(right)), np.abs(right).argmax(axis=1)]
    return np.asarray(values * np.where(largest < 0, -1.0, 1.0))
