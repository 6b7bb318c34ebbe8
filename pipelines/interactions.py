"""Implicit feedback: duplicates removed, an iterative k-core of users and items, and the split.

The result depends on the interactions, the settings and the seed, never on the order of the lines they came in.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from pipelines.entries import SPLITTERS
from pipelines.errors import InputError, UsageError, nearest
from pipelines.io.raw import RawInteractions
from pipelines.prepared.dataset import SPLITS, cold_users_note
from pipelines.splits import TRAIN, assign_splits, seen_in_training, stable_order
from pipelines.text import pluralize


@dataclass(frozen=True)
class Step:
    """Counts after one step."""

    name: str
    users: int
    items: int
    interactions: int

    def __str__(self) -> str:
        counts = {"user": self.users, "item": self.items, "interaction": self.interactions}
        return f"{self.name}: {', '.join(pluralize(number, what) for what, number in counts.items())}"


@dataclass(frozen=True)
class SplitInteractions:
    """Interactions of a data set, and the steps that led to them.

    users, items: columns user (item), int32, 0, 1, ... in ascending order of the original id, and id.
    interactions: columns user, item (int32), split (a categorical of SPLITS) and, where known, timestamp (int64);
        sorted by user, then item; each pair once.
    moved: split -> its pairs that are in another split too, and were left out of this one.
    drawn: number of users whose interactions at one and the same time are in different splits, at random.
    resplit: whether the source fixes a split that was not kept.
    cold: a sentence on the users without a training interaction, where the source fixes the split; else empty.
    """

    users: pd.DataFrame
    items: pd.DataFrame
    interactions: pd.DataFrame
    steps: list[Step]
    moved: Mapping[str, int] = field(default_factory=dict)
    drawn: int = 0
    resplit: bool = False
    cold: str = ""

    def notes(self) -> list[str]:
        """Return notes on random tie-breaks, an unused split, pairs in two splits, and users without training items."""
        some = f"the held-out interactions of {self.drawn:,} of {pluralize(len(self.users), 'user')}"
        counts = [f"{count:,} of {split}" for split, count in self.moved.items() if count]
        said = {
            f"{some} were drawn at random among some of the same time": self.drawn,
            "the split of the files is not used; --split given keeps it": self.resplit,
            f"pairs in two splits, kept in one: {', '.join(counts)} left out": counts,
            self.cold: self.cold,
        }
        return [sentence for sentence, holds in said.items() if holds]

    def remarks(self) -> list[str]:
        """Return a sentence on the items without a training interaction, if there are any."""
        return [sentence] if (sentence := self._cold_items()) else []

    def _cold_items(self) -> str:
        """Return a sentence on the items without a training interaction, for each held-out split; empty without any."""
        table = self.interactions
        trained = table.loc[table["split"] == SPLITS[TRAIN], "item"].unique()
        cold = table[~table["item"].isin(trained)]
        of = {split: rows["item"] for split, rows in cold.groupby("split", observed=True)}
        parts = [
            f"{pluralize(len(items), 'interaction')} with {pluralize(items.nunique(), 'item')} in {split}"
            for split, items in of.items()
        ]
        return f"cold items (without a training interaction): {', '.join(parts)}" if parts else ""


@dataclass(frozen=True)
class _Rows:
    """Columns of equal length [n]; int32 user and item, int64 timestamp, int8 split."""

    user: np.ndarray
    item: np.ndarray
    timestamp: np.ndarray | None
    split: np.ndarray | None

    def kept(self, mask: np.ndarray) -> _Rows:
        columns = (self.user, self.item, self.timestamp, self.split)
        return _Rows(*(None if column is None else column[mask] for column in columns))  # type: ignore[arg-type]

    def step(self, name: str) -> Step:
        users, items = (np.count_nonzero(np.bincount(numbers)) for numbers in (self.user, self.item))
        return Step(name, int(users), int(items), len(self.user))


def collect(parts: Mapping[str, Iterable[tuple[str, str, int]]]) -> RawInteractions:
    """Gather the records (user, item, time) of each part of a source.

    Parts that are named as the splits in SPLITS fix the split.
    """
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    codes, times, ends = array("i"), array("q"), [0]
    for records in parts.values():
        for user, item, time in records:
            codes.append(users.setdefault(user, len(users)))
            codes.append(items.setdefault(item, len(items)))
            times.append(time)
        ends.append(len(times))
    fixed = set(parts) <= set(SPLITS)
    pairs = np.asarray(codes).reshape(-1, 2)
    return RawInteractions(
        user=pairs[:, 0].copy(),
        item=pairs[:, 1].copy(),
        user_ids=list(users),
        item_ids=list(items),
        timestamp=np.asarray(times),
        split=np.repeat(np.array(list(map(SPLITS.index, parts)), np.int8), np.diff(ends)) if fixed else None,
    )


def split_interactions(
    raw: RawInteractions, *, k_core: int = 5, split: str = "ratio", seed: int = 0
) -> SplitInteractions:
    """Fold repeats, keep the k-core, and split.

    A pair that occurs more than once is kept once, at its earliest time (in the earliest split of that time, where
    the source fixes the split).

    Args:
        k_core: keep users and items with at least so many interactions; 1 keeps those that have any, 0 also the ids
            without interactions.
        split: ``ratio``: each user's interactions at random, 8:1:1. Of n >= 3 interactions, max(1, n // 10) are
            for testing, and max(2, n // 5) are held out in all: at least one each for validation and testing, the
            sizes of the published splits. Of two, one is for testing; a single one is for training.
            ``temporal``: the same sizes, the last ones in time for testing, those before for validation.
            ``leave-one-out``: the last one for testing, the one before for validation (of two, no validation; a
            single one is for training); drawn at random where the times are not known.
            ``global-time``: two points in time cut off the last 10 % for testing and the 10 % before for
            validation; held-out interactions of users or items without training ones are dropped, which may leave
            fewer than ``k_core`` of some.
            ``cold-items``: a fifth of the items at random are held out whole, half of them for validation and half for
            testing; interactions with the others are split as by ``ratio``. Held-out interactions of users without
            training ones are dropped.
            ``given``: as the source says.
            Interactions of a user at the same time are in random order.
        seed: of the random choices.

    Raises:
        UsageError: an unknown ``split``, a ``k_core`` or ``seed`` below 0, or a split that needs what the source
            does not know.
        InputError: there are no interactions, nothing is left of them, or time does not cut them.
    """
    _check_settings(raw, k_core, split, seed)
    user_order, item_order = _ascending(raw.user_ids), _ascending(raw.item_ids)
    user, item = _ranks(user_order)[raw.user], _ranks(item_order)[raw.item]
    resplit = raw.split is not None and split != "given"
    rows = _Rows(user, item, raw.timestamp, None if resplit else raw.split)
    steps = [rows.step("read")]
    rows, moved = _fold(rows)
    steps.append(rows.step("duplicates removed"))
    if k_core > 1:
        before, rows = rows, rows.kept(core_mask(rows.user, rows.item, k_core))
        steps.append(rows.step(f"{k_core}-core"))
        if not len(rows.user):
            raise InputError(
                f"Nothing is left of {pluralize(len(before.user), 'interaction')} in the {k_core}-core: no group of "
                f"users and items has {k_core} interactions each; choose a lower --k-core."
            )
    drawn = 0
    if rows.split is None:
        random = np.random.default_rng(seed)
        kinds, drawn = assign_splits(rows.user, rows.item, rows.timestamp, split, random)
        rows = replace(rows, split=kinds)
    assert rows.split is not None
    if split in ("global-time", "cold-items"):
        whole = split == "cold-items"  # items are meant to be unseen
        rows = rows.kept(seen_in_training(rows.user, rows.user if whole else rows.item, rows.split))
        steps.append(rows.step("users unseen in training dropped" if whole else "unseen in training dropped"))
    users, new_users = _table("user", rows.user, raw.user_ids, user_order, everyone=k_core == 0)
    items, new_items = _table("item", rows.item, raw.item_ids, item_order, everyone=k_core == 0)
    columns = {
        "user": new_users[rows.user],
        "item": new_items[rows.item],
        "split": pd.Categorical.from_codes(rows.split, list(SPLITS)),
    }
    if rows.timestamp is not None:
        columns["timestamp"] = rows.timestamp
    interactions = pd.DataFrame(columns, copy=False)
    cold = cold_users_note(interactions) if split == "given" else ""
    return SplitInteractions(users, items, interactions, steps, moved, drawn, resplit, cold)


def _check_settings(raw: RawInteractions, k_core: int, split: str, seed: int) -> None:
    if split not in SPLITTERS:
        raise UsageError(f"There is no split {split!r}: {nearest(split, SPLITTERS)}")
    if k_core < 0:
        raise UsageError(f"--k-core {k_core} is below 0; expected a minimum number of interactions, such as 5.")
    if seed < 0:
        raise UsageError(f"--seed {seed} is below 0; expected a whole number from 0.")
    if split in ("temporal", "global-time") and raw.timestamp is None:
        raise UsageError(f"--split {split} needs the time of each interaction, which is unknown; try ratio.")
    if split == "given" and raw.split is None:
        raise UsageError("--split given needs a source with its own split, which this one lacks; try ratio.")
    if split == "cold-items" and raw.split is not None:
        raise UsageError("--split cold-items draws a split, and this source fixes its own; leave it out.")
    if not len(raw):
        raise InputError("There are no interactions to split.")


def _ascending(ids: Sequence[str]) -> np.ndarray:
    """The positions of ``ids`` in ascending order: of numbers, where all are whole numbers, else of texts."""
    if all(len(text) < 19 and text.isascii() and text.isdigit() and str(int(text)) == text for text in ids):
        return np.argsort(np.array([int(text) for text in ids], dtype=np.int64))
    return np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)


def _ranks(order: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(order), dtype=np.int32)
    ranks[order] = np.arange(len(order), dtype=np.int32)
    return ranks


def _fold(rows: _Rows) -> tuple[_Rows, dict[str, int]]:
    """Each pair once, sorted by user, then item; and split -> its pairs that are kept in another split."""
    order = stable_order(rows.item)
    order = order[stable_order(rows.user[order])]
    user, item = rows.user[order], rows.item[order]
    starts = np.flatnonzero(np.concatenate([[True], (user[1:] != user[:-1]) | (item[1:] != item[:-1])]))
    timestamp, split = (None if column is None else column[order] for column in (rows.timestamp, rows.split))
    given, moved = split, {}
    if timestamp is not None:
        earliest = np.minimum.reduceat(timestamp, starts)
        if split is not None:
            late = timestamp > np.repeat(earliest, np.diff(starts, append=len(order)))
            split = np.where(late, np.int8(len(SPLITS)), split)
        timestamp = earliest
    if split is not None and given is not None:
        split = np.minimum.reduceat(split, starts)
        for number, name in enumerate(SPLITS):
            moved[name] = int((np.logical_or.reduceat(given == number, starts) & (split != number)).sum())
    return _Rows(user[starts], item[starts], timestamp, split), moved


def core_mask(user: np.ndarray, item: np.ndarray, k: int) -> np.ndarray:
    """Return which of the distinct (user, item) pairs, int32 [n] each, are in the k-core, bool [n].

    Users and items below ``k`` are peeled off in turn. Each interaction is visited twice at most, so that a long chain
    of removals takes no longer than one large one.
    """
    ends = (user, item)
    degree = [np.bincount(numbers) for numbers in ends]
    waiting = [np.flatnonzero((counts > 0) & (counts < k)) for counts in degree]
    alive = np.ones(len(user), dtype=bool)
    if not any(map(len, waiting)):
        return alive
    by_node = [stable_order(numbers) for numbers in ends]
    first = [np.cumsum(counts) - counts for counts in degree]
    whole = [counts.copy() for counts in degree]
    while any(map(len, waiting)):
        for here, there in ((0, 1), (1, 0)):
            rows = by_node[here][_ranges(first[here][waiting[here]], whole[here][waiting[here]])]
            waiting[here] = waiting[here][:0]
            rows = rows[alive[rows]]
            alive[rows] = False
            nodes, lost = np.unique(ends[there][rows], return_counts=True)
            before = degree[there][nodes]
            degree[there][nodes] = before - lost
            fallen = nodes[(before >= k) & (before - lost < k)]
            waiting[there] = np.concatenate([waiting[there], fallen])
    return alive


def _ranges(first: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The numbers first[0], first[0] + 1, ... (lengths[0] of them), first[1], ... in one array."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(first - (ends - lengths), lengths)


def _table(
    kind: str, numbers: np.ndarray, ids: Sequence[str], order: np.ndarray, *, everyone: bool
) -> tuple[pd.DataFrame, np.ndarray]:
    """The remaining users (items) with their ids, and the new number of each old one."""
    counts = np.bincount(numbers, minlength=len(order))
    left = np.arange(len(order)) if everyone else np.flatnonzero(counts)
    renumbered = np.zeros(len(order), dtype=np.int32)
    renumbered[left] = np.arange(len(left), dtype=np.int32)
    names = [ids[position] for position in order[left]]
    return pd.DataFrame({kind: np.arange(len(left), dtype=np.int32), "id": names}), renumbered
