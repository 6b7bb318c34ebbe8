"""The ingredients of recipes as tokens: at most 20 a recipe, numbered by a vocabulary."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipelines.features.text_cleaning import clean_text
from pipelines.prepared.dataset import Features

INGREDIENTS = 20


def encode_ingredients(recipes: Sequence[Sequence[str]], recipe_ids: Sequence[str], seed: int = 0) -> Features:
    """Return ingredients as tokens, int32 [len(recipes), 20]: ids from 1, padded with 0.

    Of more than 20, 20 are sampled without replacement, by the seed, the recipe's id and the names alone. The
    vocabulary (id, token, count) holds the sampled names, the most frequent first, then by letters; ``count`` is the
    number of recipes. A recipe without ingredients is marked as absent.

    Args:
        recipes: the names of each recipe's ingredients.
    """
    sampled = [_sample(names, recipe, seed) for names, recipe in zip(recipes, recipe_ids, strict=True)]
    counts = Counter(name for names in sampled for name in names)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    number = {name: position for position, (name, _) in enumerate(ranked, start=1)}
    values = np.zeros((len(sampled), INGREDIENTS), dtype=np.int32)
    for row, names in zip(values, sampled, strict=True):
        row[: len(names)] = [number[name] for name in names]
    vocabulary = pd.DataFrame(
        {
            "id": np.arange(1, len(ranked) + 1, dtype=np.int32),
            "token": pd.Series([name for name, _ in ranked], dtype=object),
            "count": np.array([count for _, count in ranked], dtype=np.int64),
        }
    )
    encoder = {"name": "ingredients", "tokens": INGREDIENTS, "seed": seed, "vocabulary": len(ranked) + 1}
    return Features(values, values[:, 0] > 0, encoder, vocabulary)


def normalise_name(name: str) -> str:
    """Return a name without markup, in lower case and the compatible form of Unicode (NFKC), with single spaces.

    No word is taken away: the lists hold no amounts, and "diced onion" may well be another thing than "onion".
    """
    return " ".join(unicodedata.normalize("NFKC", clean_text([name]) or "").lower().split())


def _sample(names: Sequence[str], recipe: str, seed: int) -> list[str]:
    """The distinct names of a recipe in their order, or 20 of them: those with the lowest hashes."""
    distinct = [name for name in dict.fromkeys(map(normalise_name, names)) if name]
    if len(distinct) <= INGREDIENTS:
        return distinct

    def drawn(name: str) -> bytes:
        return hashlib.sha256(f"{seed}\0{recipe}\0{name}".encode("utf-8", "surrogatepass")).digest()

    chosen = set(sorted(distinct, key=drawn)[:INGREDIENTS])
    return [name for name in distinct if name in chosen]
