"""Training, validation and test interactions: by ratio, the last ones of each user, by time, or by item."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipelines.errors import InputError
from pipelines.prepared.dataset import SPLITS

TRAIN, VALIDATION, TEST = range(len(SPLITS))


class Assigned(NamedTuple):
    """The split of each interaction, int8 [n], a position in SPLITS, and how many users chance decided.

    drawn: number of users whose interactions at one and the same time are in different splits.
    """

    split: np.ndarray
    drawn: int = 0


def assign_splits(
    user: np.ndarray, item: np.ndarray, timestamp: np.ndarray | None, split: str, random: np.random.Generator
) -> Assigned:
    """Return the split of each interaction.

    Args:
        user: int32 [n], ascending.
        item: int32 [n].
        timestamp: int64 [n], or None where it is not known; ``global-time`` needs it.
        split: ratio, temporal, leave-one-out, global-time or cold-items; see
            :func:`pipelines.interactions.split_interactions`.

    Raises:
        InputError: time does not cut the interactions, or there are too few items to hold some out.
    """
    if split == "global-time":
        assert timestamp is not None
        return Assigned(_cut_by_time(timestamp))
    if split == "cold-items":
        result = held_out_items(item, random)[item]
        warm = result == TRAIN
        result[warm] = assign_splits(user[warm], item[warm], None, "ratio", random).split
        return Assigned(result)
    counts = np.bincount(user)
    counts = counts[counts > 0]
    if split == "leave-one-out":
        test, held_out = np.minimum(counts - 1, 1), np.minimum(counts - 1, 2)
    else:
        test = np.where(counts < 3, counts - 1, np.maximum(1, counts // 10))
        held_out = np.where(counts < 3, counts - 1, np.maximum(2, counts // 5))
    timestamp = None if split == "ratio" else timestamp
    order = _order_in_users(user, timestamp, random)
    from_end = np.repeat(np.cumsum(counts), counts) - 1 - np.arange(len(order))
    kinds = np.full(len(order), TRAIN, dtype=np.int8)
    kinds[from_end < np.repeat(held_out, counts)] = VALIDATION
    kinds[from_end < np.repeat(test, counts)] = TEST
    result = np.empty_like(kinds)
    result[order] = kinds
    return Assigned(result, 0 if timestamp is None else _drawn(user[order], timestamp[order], kinds))


def _drawn(user: np.ndarray, timestamp: np.ndarray, kinds: np.ndarray) -> int:
    """Count the users with interactions at the same time in different splits; all are [n], by user, then time."""
    alike = (np.diff(user) == 0) & (np.diff(timestamp) == 0) & (np.diff(kinds) != 0)
    return len(np.unique(user[1:][alike]))


def held_out_items(item: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw the items to hold out whole: the split of each item number, int8 [max + 1], TRAIN where it is not drawn.

    Of n items, max(1, n // 10) are for testing, and max(2, n // 5) are held out in all.

    Raises:
        InputError: there are fewer than three items.
    """
    items = np.flatnonzero(np.bincount(item))
    if len(items) < len(SPLITS):
        raise InputError(f"--split cold-items needs items for each of the three splits, and there are {len(items)}.")
    drawn = random.permutation(items)[: max(2, len(items) // 5)]
    result = np.full(int(items[-1]) + 1, TRAIN, dtype=np.int8)
    result[drawn] = VALIDATION
    result[drawn[: max(1, len(items) // 10)]] = TEST
    return result


def seen_in_training(user: np.ndarray, item: np.ndarray, split: np.ndarray) -> np.ndarray:
    """Return which interactions, [n] each, have a user and an item with training interactions, bool [n]."""
    trained = split == TRAIN
    seen = [np.bincount(numbers[trained], minlength=numbers.max() + 1) > 0 for numbers in (user, item)]
    return seen[0][user] & seen[1][item]


def _order_in_users(user: np.ndarray, timestamp: np.ndarray | None, random: np.random.Generator) -> np.ndarray:
    """The rows user by user, each user's in order of time; at random where the time is equal or not known."""
    order = random.permutation(len(user))
    if timestamp is not None:
        order = order[np.argsort(timestamp[order], kind="stable")]
    return order[stable_order(user[order])]


def _cut_by_time(timestamp: np.ndarray) -> np.ndarray:
    held_out, test = len(timestamp) * 8 // 10, len(timestamp) * 9 // 10
    in_time = np.partition(timestamp, (held_out, test))
    result = (timestamp >= in_time[held_out]).astype(np.int8) + (timestamp >= in_time[test]).astype(np.int8)
    if len(np.unique(result)) < len(SPLITS):
        raise InputError(
            f"The times of {len(timestamp):,} interactions cannot be cut into 80, 10 and 10 %: too many are equal, "
            f"from {timestamp.min()} to {timestamp.max()}; choose another --split."
        )
    return result


def stable_order(numbers: np.ndarray) -> np.ndarray:
    """Return the positions of ``numbers`` (int32, from 0) in ascending order of the number, equal ones as they come.

    The transposition of a sparse matrix with one entry per row is a counting sort: several times the speed of argsort.
    """
    from scipy.sparse import csr_array

    rows = np.arange(len(numbers) + 1, dtype=np.int32)
    ones = np.ones(len(numbers), dtype=np.int8)
    return csr_array((ones, numbers, rows), shape=(len(numbers), int(numbers.max()) + 1)).tocsc().indices
