"""A prepared data set in memory, and its validation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import InputError, UsageError
from pipelines.prepared.manifest import check_name
from pipelines.text import pluralize, some

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Features:
    """The feature rows of one modality.

    values: float16 or float32 [items, dim], a zero row where an item has no content of this modality; or int32
        [items, tokens] where the content is tokens (ingredients): ids from 1, and 0 as padding.
    present: bool [items], whether an item has content of this modality.
    encoder: its identity, as plain JSON values; of tokens, ``vocabulary`` is the number of ids, 0 included.
    vocabulary: of tokens, a table of id (1, 2, ...), token and count; else None.
    """

    values: np.ndarray
    present: np.ndarray
    encoder: dict[str, Any] = field(default_factory=dict)
    vocabulary: pd.DataFrame | None = None

    @property
    def holds_tokens(self) -> bool:
        """Return whether the values are ids of tokens, not numbers to compute with."""
        return self.values.dtype == np.int32

    def describe(self) -> dict[str, Any]:
        """Return their entry in a manifest: columns, type, number of items with content, and encoder."""
        dim, dtype = self.values.shape[1], self.values.dtype.name
        return {"dim": dim, "dtype": dtype, "present": int(self.present.sum()), "encoder": self.encoder}


@dataclass(frozen=True)
class PreparedDataset:
    """One data set as every model sees it.

    users: columns user (0 .. users - 1, in order), id (the original one).
    items: columns item (0 .. items - 1, in order), id and, where known, title, text, image (an address, or a
        path inside the prepared folder).
    interactions: columns user, item, split (train, validation or test) and, where known, timestamp.
    features: modality name -> Features.
    settings: how it was prepared; sources: raw file -> sha256.
    steps: counts after each step of cleaning the interactions: name, users, items, interactions.
    """

    name: str
    users: pd.DataFrame
    items: pd.DataFrame
    interactions: pd.DataFrame
    features: dict[str, Features] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def num_users(self) -> int:
        return len(self.users)

    @property
    def num_items(self) -> int:
        return len(self.items)

    def pairs(self, split: str) -> np.ndarray:
        """Return the (user, item) pairs of a split, int64 [n, 2], sorted by user, then item."""
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
        rows = self.interactions.loc[self.interactions["split"] == split, ["user", "item"]]
        pairs: np.ndarray = rows.to_numpy(dtype=np.int64, copy=True)
        steps = np.diff(pairs, axis=0)
        if ((steps[:, 0] > 0) | ((steps[:, 0] == 0) & (steps[:, 1] >= 0))).all():  # as preparation writes them
            return pairs
        return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]

    def counts(self) -> dict[str, int]:
        """Return the numbers of users, items and interactions of each split."""
        splits = self.interactions["split"].value_counts()
        return {
            "users": self.num_users,
            "items": self.num_items,
            **{split: int(splits.get(split, 0)) for split in SPLITS},
        }


def cold_users(interactions: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the users of each held-out split who have no training interaction; columns are user, item and split."""
    users = {split: rows["user"].unique() for split, rows in interactions.groupby("split", observed=True)}
    trained = users.get("train", ())
    return {split: np.setdiff1d(users.get(split, ()), trained).astype(np.int64) for split in SPLITS[1:]}


def cold_users_note(interactions: pd.DataFrame) -> str:
    """Return a sentence on the ``cold_users`` of each held-out split; empty if there are none."""
    counts = [f"{len(users):,} in {split}" for split, users in cold_users(interactions).items() if len(users)]
    return f"users without a training interaction are kept: {', '.join(counts)}" if counts else ""


def check_cold_users(interactions: pd.DataFrame, ids: pd.Series) -> None:
    """Refuse users with held-out interactions but none in training; ``ids`` are the original ones, by user.

    Raises:
        InputError: there are such users.
    """
    cold = cold_users(interactions)
    everyone = np.unique(np.concatenate(list(cold.values())))
    if not len(everyone):
        return
    each = ", ".join(f"{len(users):,} in {split}" for split, users in cold.items())
    those = f"{pluralize(len(everyone), 'user')} {'has' if len(everyone) == 1 else 'have'}"
    raise InputError(
        f"{those} validation or test interactions but none in training ({each}; first ids "
        f"{some(ids.iloc[everyone], 5)}); prepare with --cold-users keep to evaluate them all the same, or "
        "--cold-users drop to leave their held-out interactions out."
    )


def filled_rows(values: np.ndarray) -> np.ndarray:
    """Return which rows of [n, dim] hold another number than 0, bool [n]; without a warning of NaN."""
    with np.errstate(invalid="ignore"):
        return np.asarray(values.any(axis=1))


def validate(dataset: PreparedDataset) -> None:
    """Check that a data set can be trained and evaluated on.

    Raises:
        InputError: the first thing that is wrong, with counts and the first offending ids.
    """
    try:
        check_name("data set", dataset.name)
        for name, features in dataset.features.items():
            check_name("modality", name)
            _check_features(dataset, name, features)
        _check_ids("user", dataset.users)
        _check_ids("item", dataset.items)
        _check_interactions(dataset)
    except (InputError, UsageError) as problem:
        raise InputError(f'Data set "{dataset.name}": {problem}') from None


def check_images(dataset: PreparedDataset, files: set[str]) -> None:
    """Check that the image of an item is an address or one of ``files``.

    Raises:
        InputError: an image is neither.
    """
    if "image" not in dataset.items:
        return
    named = dataset.items["image"].dropna()
    missing = [name for name in named if "://" not in name and name not in files]
    if missing:
        raise InputError(
            f'Data set "{dataset.name}": images of {pluralize(len(missing), "item")} are missing '
            f"(first {some(missing)})."
        )


def _check_ids(kind: str, table: pd.DataFrame) -> None:
    if not len(table):
        raise InputError(f"there are no {kind}s; at least one is needed.")
    if not np.array_equal(table[kind].to_numpy(), np.arange(len(table))):
        raise InputError(f"the {kind}s are not numbered 0 to {len(table) - 1:,} in order.")
    if table["id"].isna().any():
        raise InputError(f"{int(table['id'].isna().sum()):,} {kind}s have no original id.")
    repeated = table.loc[table["id"].duplicated(), "id"]
    if len(repeated):
        raise InputError(f"{len(repeated):,} {kind} ids occur more than once (first {some(repeated, 5)}).")


def _check_interactions(dataset: PreparedDataset) -> None:
    table = dataset.interactions
    for kind, known in (("user", dataset.num_users), ("item", dataset.num_items)):
        numbers = table[kind].to_numpy()
        if not np.issubdtype(numbers.dtype, np.integer):
            raise InputError(f"the {kind} numbers of the interactions are {numbers.dtype}, not integers.")
        outside = np.unique(numbers[(numbers < 0) | (numbers >= known)])
        if len(outside):
            raise InputError(
                f"{len(outside):,} {kind} numbers of the interactions are out of range (first "
                f"{some(outside, 5)}); there are {known:,} {kind}s, numbered from 0."
            )
    strange = table.loc[~table["split"].isin(SPLITS), "split"].unique()
    if len(strange):
        raise InputError(f"unknown split {some(strange, 5)}; expected train, validation or test.")
    for split, count in dataset.counts().items():
        if count == 0:
            own = dataset.settings.get("split") == "given"
            way_out = f": label some {split}, or use a --split that draws one" if own else ""
            raise InputError(f"the {split} split is empty; each of the three splits needs interactions{way_out}.")
    _check_repeated(dataset)
    if dataset.settings.get("cold_users") != "keep":
        check_cold_users(dataset.interactions, dataset.users["id"])


def _check_repeated(dataset: PreparedDataset) -> None:
    table = dataset.interactions
    both = table["user"].to_numpy(np.int64) * dataset.num_items + table["item"].to_numpy(np.int64)
    order = np.argsort(both, kind="stable")
    later = order[1:][both[order[1:]] == both[order[:-1]]]
    if not len(later):
        return
    row = table.iloc[later[0]]
    pair = table[(table["user"] == row["user"]) & (table["item"] == row["item"])]
    splits = list(dict.fromkeys(pair["split"]))
    user, item = dataset.users["id"].iloc[row["user"]], dataset.items["id"].iloc[row["item"]]
    where = f"in {' and '.join(splits)}" if len(splits) > 1 else f"{len(pair)} times in {splits[0]}"
    those = f"{pluralize(len(later), 'interaction')} {'is' if len(later) == 1 else 'are'}"
    raise InputError(
        f"{those} repeated, the first one of user {user} with item {item}, {where}; list each pair of user and item "
        "once, in one split."
    )


def _check_features(dataset: PreparedDataset, name: str, features: Features) -> None:
    values, present = features.values, features.present
    if values.dtype not in (np.float16, np.float32, np.int32):
        raise InputError(
            f'modality "{name}" holds {values.dtype} values; expected float16 or float32, or int32 for tokens.'
        )
    if values.ndim != 2 or values.shape[1] == 0:
        raise InputError(f'modality "{name}" has shape {values.shape}; expected one row of numbers an item.')
    if len(values) != dataset.num_items:
        raise InputError(
            f'modality "{name}" has {len(values):,} feature rows for {dataset.num_items:,} items; '
            "expected exactly one row per item."
        )
    if present.dtype != np.bool_ or present.shape != (dataset.num_items,):
        raise InputError(
            f'the presence mask of modality "{name}" is {present.dtype} {present.shape}; '
            f"expected bool ({dataset.num_items},)."
        )
    if features.holds_tokens:
        _check_tokens(name, features)
    finite = np.concatenate([np.isfinite(rows).all(axis=1) for rows in _blocks(values)])
    if not finite.all():
        ids = dataset.items["id"].to_numpy()[~finite]
        raise InputError(
            f'modality "{name}" has NaN or infinite features for {len(ids):,} items '
            f"(first ids {some(ids, 5)}); replace them, or use a zero row for an item without content."
        )
    # By blocks, since values may lie in a file and be larger than the memory.
    filled = np.concatenate([filled_rows(rows) for rows in _blocks(values)])
    stray = np.flatnonzero(filled[~present])
    if len(stray):
        raise InputError(
            f'modality "{name}" has features other than zero for {len(stray):,} items marked as absent '
            f"(first ids {some(dataset.items['id'].to_numpy()[~present][stray], 5)})."
        )


def _blocks(values: np.ndarray, rows: int = 16_384) -> list[np.ndarray]:
    return np.split(values, range(rows, len(values), rows))


def _check_tokens(name: str, features: Features) -> None:
    known, vocabulary = features.encoder.get("vocabulary"), features.vocabulary
    if not isinstance(known, int) or vocabulary is None or len(vocabulary) != known - 1:
        raise InputError(f'modality "{name}" holds tokens, but not the vocabulary that its encoder describes.')
    if not np.array_equal(vocabulary["id"].to_numpy(), np.arange(1, known)):
        raise InputError(f'the vocabulary of modality "{name}" is not numbered 1 to {known - 1:,} in order.')
    outside = (features.values < 0) | (features.values >= known)
    if outside.any():
        raise InputError(
            f'modality "{name}" has {int(outside.sum()):,} token ids out of range (first '
            f"{features.values[outside][0]}); there are {known - 1:,} tokens, numbered from 1, and 0 is padding."
        )
